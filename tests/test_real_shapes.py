"""The writer of files with real sizes and random weights, on sizes small enough for a test."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import gemlet
from gemlet import _core
from gemlet.planning import mixes
from gemlet.planning.sizes import FAMILY

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import memory
import real_shapes
import shapes_vocabulary


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shapes")
    made = {mix: folder / f"{mix}.gguf" for mix in ("Q4_0", "Q4_K_M", "Q8_0", "BF16")}
    for mix, path in made.items():
        real_shapes.write(real_shapes.TINY, mix, path)
    return made


@pytest.mark.parametrize("mix", ["Q4_0", "Q4_K_M", "Q8_0", "BF16"])
def test_the_engine_runs_what_was_written(files, mix):
    with gemlet.load(files[mix], threads=1) as model:
        ids = model.tokenize("the cat and the dog")
        assert len(ids) < 15
        assert model.detokenize(ids) == "the cat and the dog"
        logits = model.logits(ids)
        found = model.generate(ids, max_tokens=20, temperature=0, ignore_eos=True)
    assert np.isfinite(logits).all()
    assert 1 < logits.std() < 20  # neither vanished nor at the cap
    assert len(set(found.token_ids.tolist())) > 4


@pytest.mark.parametrize("mix", ["Q4_0", "Q4_K_M"])
def test_a_mixture_runs_too(tmp_path, mix):
    path = tmp_path / "mixture.gguf"
    real_shapes.write(real_shapes.TINY_MIXTURE, mix, path)
    types = {t["name"]: t["type"] for t in _core.Gguf(path).tensors()}
    assert types["blk.0.ffn_down_exps.weight"] == {"Q4_0": "Q4_0", "Q4_K_M": "Q5_0"}[mix]  # rows of 96
    assert types["blk.0.ffn_up.weight"] == "Q8_0"
    assert "blk.3.attn_v.weight" not in types
    with gemlet.load(path, threads=1) as model:
        logits = model.logits(model.tokenize("the cat and the dog"))
    assert 1 < logits.std() < 20


def test_types_and_bytes_are_those_of_the_mix(files):
    for mix, path in files.items():
        expected = mixes.tensors_of(real_shapes.TINY, mix)
        found = [(t["name"], tuple(t["shape"]), t["type"], t["bytes"]) for t in _core.Gguf(path).tensors()]
        assert found == expected


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"])
def test_random_blocks_have_the_wanted_size_and_no_mean(kind):
    made = real_shapes.Random(7).blocks(kind, 4096, 0.02)
    values = _core.testing.decode(kind, made, mixes.BLOCKS[kind][0])
    assert np.isfinite(values).all()
    assert values.std() == pytest.approx(0.02, rel=0.05)
    assert abs(values.mean()) < 0.02 * 0.02


def test_a_seed_gives_the_same_bytes_and_another_gives_others(tmp_path, files):
    for seed, same in ((1, True), (2, False)):
        path = tmp_path / f"{seed}.gguf"
        real_shapes.write(real_shapes.TINY, "Q4_0", path, seed=seed)
        assert (path.read_bytes() == files["Q4_0"].read_bytes()) is same


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    path = tmp_path / "x.gguf"

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        real_shapes.write(real_shapes.TINY, "Q4_0", path, progress=stop)
    assert list(tmp_path.iterdir()) == []
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(real_shapes.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(SystemExit, match=r"needs .* GB"):
        real_shapes.write(real_shapes.TINY, "Q4_0", path)
    assert list(tmp_path.iterdir()) == []


def test_the_real_vocabulary_splits_text_as_the_demo_does(demo_path):
    pieces, kinds, merges = shapes_vocabulary.vocabulary(262_144)
    assert len(merges) > 500_000
    made = _core.testing.tokenizer_from_arrays(
        [piece.encode() for piece in pieces], [], kinds, bos=2, merges=[merge.encode() for merge in merges]
    )
    demo = _core.Tokenizer(demo_path)
    text = "The quick brown fox jumps over the lazy dog, naïvely."
    assert made.encode(text).tolist() == demo.encode(text).tolist()
    marks = {"<|turn>": 105, "<turn|>": 106, "<|tool_response>": 50, '<|"|>': 52, "<|image|>": 258_880, "</s>": 212}
    assert {piece: made.find(piece) for piece in marks} == marks
    assert made.encode("\n\n\n").tolist()[1:] == [109]
    assert kinds[50] == kinds[52] == shapes_vocabulary.USER_DEFINED
    assert kinds[105] == shapes_vocabulary.CONTROL
    assert kinds[212] == kinds[107] == shapes_vocabulary.NORMAL


def test_fewer_layers_keep_the_widths():
    part = real_shapes.first_layers(FAMILY["31B"], 6)
    assert part.layers == FAMILY["31B"].layers[:6]
    assert part.width == 5376
    for count in (0, 5, 61):
        with pytest.raises(SystemExit, match="needs a sliding and a full layer"):
            real_shapes.first_layers(FAMILY["31B"], count)


def test_sizes_of_vocabularies_are_checked():
    with pytest.raises(ValueError, match="it can be 262144, or 700 to 255998"):
        shapes_vocabulary.vocabulary(300_000)
    pieces, kinds, merges = shapes_vocabulary.vocabulary(1024)
    assert len(pieces) == len(kinds) == 1024
    assert pieces[107] == "\n"
    assert pieces[239] == "<0x01>"
    assert "▁t he" not in merges  # "he" alone is no piece here
    assert "▁ t" in merges


def test_memory_of_another_process_is_seen(files):
    case = memory.Case("tiny", context=256, prompt=100, generate=4)
    peak = memory.measure("gemlet", str(files["Q4_0"]), case, threads=1)
    assert 10 < peak.peak_mib < 500
    assert 0 < peak.anon_mib + peak.file_mib <= peak.peak_mib * 1.05
    assert peak.decode_tok_s > 0
    assert peak.decode_filled_tok_s is None
    filled = memory.Case("filled", context=1024, prompt=100, generate=4, kv_dtype="f16", filled=1000)
    full = memory.measure("gemlet", str(files["Q4_0"]), filled, threads=1)
    assert full.decode_filled_tok_s > 0
    assert full.unexplained > 0
    assert memory.verdict(peak, 1e6).startswith("met")
    assert memory.verdict(peak, 1).startswith("MISSED")
    with pytest.raises(SystemExit, match="gemlet: the process ended with 1"):
        memory.measure("gemlet", "no-such-file", case, threads=1)
