"""The benchmarks beside llama.cpp: their arithmetic, and the processes they ask, on a file small enough for a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import real_shapes
import speed
from comparison import Bench, Check, Row, of_peak, pairs, ratio
from engines import GEMLET, LIMITS, Process, ids_for
from speed_rows import prompt_operations


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("speed") / "tiny.gguf"
    real_shapes.write(real_shapes.TINY, "Q4_0", path)
    return str(path)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_process_answers_and_is_stopped_between_questions(path):
    with Process(GEMLET, path, threads=2, context=256) as process:
        assert state_of(process._process.pid) == "T"
        assert process.ask("prompt", 64) > 0
        assert process.ask("logits", 16) > 0
        assert process.ask("decode", 4) > 0
        assert process.ask("together", 4, 3) > 0
        found = process.ask("profile", 64)
        assert 0 < found["attention_s"] < found["seconds"]
        memory = process.ask("memory")
        assert 0 < memory["kv_mib"] < memory["anon_mib"]
        assert state_of(process._process.pid) == "T"
    assert process._process.returncode == 0


def test_what_goes_wrong_inside_is_told_outside(path):
    with Process(GEMLET, path, context=64) as process, pytest.raises(RuntimeError, match="ContextOverflow"):
        process.ask("prompt", 65)
    with pytest.raises(RuntimeError, match=r"gemlet: .*no-such-file"):
        Process(GEMLET, "no-such-file.gguf")


def test_pairs_take_turns_and_have_limits_around_each_of_ours(path, monkeypatch):
    asked = []

    class Fake:
        def __init__(self, kind: str) -> None:
            self.kind = kind

        def __enter__(self) -> Fake:
            return self

        def __exit__(self, *_: object) -> None: ...

        def ask(self, name: str) -> dict[str, float]:
            asked.append(self.kind)
            return {"read_gb_s": float(len(asked)), "int8_gops": 1.0}

    bench = Bench(path, Path(), 2, 2)
    monkeypatch.setattr(bench, "start", lambda kind: Fake(kind))

    def ask(process: Fake) -> float:
        asked.append(process.kind)
        return 0.5 if process.kind == GEMLET else 1.0

    row = pairs(bench, Row("x", "x"), {GEMLET: Fake(GEMLET), "llama.cpp": Fake("llama.cpp")}, ask)
    kinds = [GEMLET, LIMITS, "llama.cpp", LIMITS, "llama.cpp", LIMITS, GEMLET, LIMITS]
    assert asked == [GEMLET, "llama.cpp", LIMITS, *kinds]
    assert (row.ours, row.theirs) == ([2.0, 2.0], [1.0, 1.0])
    assert [limits["read_gb_s"] for limits in row.limits] == [(3 + 5) / 2, (9 + 11) / 2]


def test_shares_ratios_and_bars():
    limits = [{"read_gb_s": 10.0}, {"read_gb_s": 20.0}, {"read_gb_s": 20.0}]
    row = Row("r", "r", ours=[5.0, 8.0, 4.0], theirs=[1.0, 4.0, 4.0], limits=limits)
    assert of_peak(row, 1e9, "read_gb_s") == pytest.approx(0.4)
    assert ratio(row, 2.0).value == 2.0
    assert [Check("c", value, 2.0).met for value in (1.9, 2.0)] == [False, True]
    assert [Check("c", value, 2.0, at_most=True).met for value in (2.0, 2.1)] == [True, False]
    assert Check("c", 1.0).met is None
    info = {"madds_per_prompt_token": 10, "madds_per_token": 30, "madds_head": 200}
    assert prompt_operations(info) * 512 == 2 * (511 * 10 + 230)


def test_a_run_is_written_read_and_told(tmp_path):
    row = Row("270m-decode", "270M", ours=[3.0, 4.0], theirs=[1.0, 2.0], checks=[Check("x llama.cpp", 2.5, 3.0)])
    growth = Row("prefill-growth", "growth", "ms/token", ours=[1.0], note="n")
    growth.points = [{"tokens": 512, "seconds": 2e-3, "attention_s": 5e-4, "attention_ops": 1.0, "rest_s": 1.5e-3}]
    speed.write(tmp_path / "a.json", {"threads": 2, "isa": "avx2", "samples": 2}, [row, growth])
    machine, rows = speed.read([tmp_path / "a.json"])
    assert rows == [row, growth]
    text = speed.markdown(machine, rows)
    assert "| 270M | 3.5 tok/s | 1.5 tok/s | 2.50 (2.00 to 3.00) | x llama.cpp 2.5 (≥ 3) **missed** |" in text
    assert text.startswith("2 threads, avx2, 2 samples of each")
    assert "| 512 | 2.000 | 0.500 | 1.500 |" in text


def test_ids_are_inside_every_vocabulary():
    for vocabulary in (512, 1024, 262_144):
        ids = ids_for(300, vocabulary, 5)
        assert 0 < min(ids) <= max(ids) < vocabulary
        assert len(set(ids)) > 200
