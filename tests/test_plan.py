"""`gemlet.plan`: what it chooses, what it says when something does not fit, and what it refuses."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

import gemlet
from gemlet.cli import main
from gemlet.planning import estimates, subjects
from gemlet.planning import plan as planning
from gemlet.types import check_bytes
from gemma4_folder import write_folder
from test_reference4 import make_gemma4

GOLDEN = Path(__file__).parent / "golden"
LIMITS = {"read_gb_s": 30.0, "int8_gops": 800.0}
GIB = 2**30


def plan(model, **options) -> gemlet.Plan:
    return gemlet.plan(model, limits=LIMITS, **options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8GiB", 8 * GIB),
        ("16 GB", 16 * 10**9),
        ("512mib", 2**29),
        (" 1.5GiB ", 3 * GIB // 2),
        ("2TB", 2 * 10**12),
        (7, 7),
    ],
)
def test_sizes_of_memory(text, expected):
    assert check_bytes("plan", "ram", text) == expected


@pytest.mark.parametrize("text", ["8", "8G", "GiB", "-1GiB", "1e3GiB", "0GiB", "8GiB8", "٣ZiB", "9" * 30 + "GB", ""])
def test_unclear_sizes_of_memory_are_refused(text):
    with pytest.raises(ValueError, match="'8GiB', '16GB' or '512MiB'"):
        plan("E2B", ram=text)


def test_the_bar_of_the_small_model_is_planned_for():
    """E2B in Q4_0 with 4K of context: below 1.5 GiB; with 128K and small keys and values below 2.2."""
    short = plan("E2B:Q4_0", ram="1.5GiB", context=4096, prompt=1500)
    assert short.fits
    assert short.kv_dtype == "f16"
    assert short.memory["weights"] == 1_406_941_324
    assert short.on_disk == 1_321_205_760
    long = plan("E2B:Q4_0", ram="2.2GiB", context=131_072, kv_dtype="q8_0")
    assert long.fits
    assert long.total < 2 * GIB
    assert long.decode_full_tok_s < 0.7 * long.decode_tok_s


def test_smaller_keys_and_values_where_only_they_fit():
    roomy, tight, tighter = (plan("E2B", ram=ram) for ram in ("8GiB", "2GiB", "1.7GiB"))
    assert (roomy.kv_dtype, roomy.context) == ("f16", 131_072)
    assert (tight.kv_dtype, tight.context) == ("q8_0", 131_072)
    assert "where f16 does not" in tight.reasons[0]
    assert tighter.kv_dtype == "q8_0"
    assert 512 <= tighter.context < 131_072
    assert tighter.fits
    assert tighter.context == tighter.largest_context["q8_0"]
    assert "longest context" in tighter.reasons[0]


def test_what_earlier_prompts_keep_is_told_where_it_may_not_fit():
    assert any(
        "earlier prompts are kept, 256.0 MiB" in text for text in plan("E2B", ram="1.6GiB", context=4096).warnings
    )
    assert not any("earlier prompts" in text for text in plan("E2B", ram="3GiB", context=4096).warnings)


def test_the_largest_context_is_the_largest():
    found = plan("31B", ram="24GiB")
    for kind, tokens in found.largest_context.items():
        assert 0 < tokens < 262_144
        assert plan("31B", ram="24GiB", context=tokens, kv_dtype=kind).fits
        assert not plan("31B", ram="24GiB", context=tokens + 64, kv_dtype=kind).fits
    assert found.largest_context["f32"] < found.largest_context["f16"] < found.largest_context["q8_0"]


def test_a_context_that_does_not_fit_names_the_one_that_does():
    found = plan("12B", ram="9GiB", context=262_144)
    assert not found.fits
    assert found.context == 262_144
    tokens = found.largest_context["q8_0"]
    assert any(f"{tokens:,}" in text and "q8_0" in text for text in found.warnings)


def test_a_mixture_larger_than_memory_is_told_honestly():
    whole, part, none = (plan("26B-A4B", ram=ram, context=4096) for ram in ("24GiB", "10GiB", "1GiB"))
    assert whole.fits
    assert any("8 of 128 experts" in text for text in whole.reasons)
    assert whole.bytes_per_token < 0.25 * whole.memory["weights"]
    assert not part.fits
    assert any("of the experts fit" in text and "from disk" in text for text in part.warnings)
    assert any("(assumed)" in text for text in part.warnings)
    assert any("what would fit: 12B:Q4_0" in text for text in part.warnings)
    assert none.decode_tok_s < part.decode_tok_s < whole.decode_tok_s
    assert part.prefill_tok_s < whole.prefill_tok_s


def test_a_dense_model_larger_than_memory_reads_all_from_disk():
    found = plan("31B:Q8_0", ram="20GiB")
    assert not found.fits
    assert set(found.largest_context.values()) == {0}
    assert found.decode_tok_s < 1e9 / found.memory["weights"]  # a disk of 1 GB/s
    assert any("all of it comes from disk" in text for text in found.warnings)
    assert any("the same model as Q4_K_M" in text for text in found.warnings)


def test_a_disk_is_measured_where_there_is_a_file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(70 << 20))
    speed, how = planning._disk_gb_s(str(path))
    assert speed > 0
    assert how in ("measured", "assumed")  # a file system may refuse reads past the page cache
    assert planning._disk_gb_s(None) == (1.0, "assumed")


def test_speeds_follow_the_limits():
    one = gemlet.plan("E2B", ram="8GiB", context=4096, limits=LIMITS)
    two = gemlet.plan("E2B", ram="8GiB", context=4096, limits={name: 2 * value for name, value in LIMITS.items()})
    assert 1.8 < two.decode_tok_s / one.decode_tok_s < 2
    assert two.prefill_tok_s == pytest.approx(2 * one.prefill_tok_s)
    assert 30e9 / 1.41e9 * 0.6 < one.decode_tok_s < 30e9 / 1.41e9  # below what reading alone allows
    assert one.prefill_tok_s < 800e9 / (2 * 536e6)
    assert plan("E2B:F16", ram="16GiB").prefill_tok_s is None


def test_names_of_the_family():
    same = {plan(name, ram="8GiB").model for name in ("E2B", "e2b:q4_0", "google/gemma-4-E2B-it", "gemma-4-E2B:Q4_0")}
    assert same == {"E2B:Q4_0"}
    assert plan("26b-a4b", quant="q8_0", ram="64GiB").model == "26B-A4B:Q8_0"
    assert "no file yet" in plan("E2B", ram="8GiB").warnings[0]


@pytest.mark.parametrize(
    ("model", "options", "error", "said"),
    [
        ("E9B", {}, gemlet.ModelNotFound, "plan knows E2B, E4B, 12B, 26B-A4B, 31B, as in"),
        ("no/such/file.gguf", {}, gemlet.ModelNotFound, "no file 'no/such/file.gguf'"),
        ("E2B:Q7_K", {}, ValueError, "quant must be one of .* not 'Q7_K'"),
        ("E2B", {"quant": "q9"}, ValueError, "quant must be one of"),
        ("E2B", {"kv_dtype": "f8"}, ValueError, "kv_dtype must be one of"),
        ("E2B", {"context": 0}, ValueError, "context must be"),
        ("E2B", {"context": 131_073}, ValueError, "at most 131072"),
        ("E2B", {"ran": "8GiB"}, TypeError, "did you mean 'ram'"),
        ("E2B", {"limits": {"read_gb_s": 1}}, ValueError, "int8_gops"),
        (3, {}, TypeError, "model must be a string or a path, not 3"),
    ],
)
def test_what_is_refused(model, options, error, said):
    with pytest.raises(error, match=said):
        gemlet.plan(model, **{"ram": "8GiB", "limits": LIMITS, **options})


def test_a_file_is_read_and_not_guessed():
    found = plan(GOLDEN / "gemma4_tiny_e2b.gguf", ram="1GiB")
    assert found.source == "file"
    assert found.fits
    assert found.kv_dtype == "f32"  # its weights are
    assert found.context == 2048
    with pytest.raises(ValueError, match="quant is for folders"):
        plan(GOLDEN / "gemma4_tiny_e2b.gguf", quant="Q8_0")
    with pytest.raises(gemlet.BadFile):
        plan(__file__)


def test_a_name_on_this_machine_comes_before_the_family(tmp_path, monkeypatch):
    monkeypatch.setenv("GEMLET_MODELS", str(tmp_path))
    (tmp_path / "E2B.gguf").write_bytes((GOLDEN / "gemma4_tiny_e2b.gguf").read_bytes())
    assert (plan("E2B", ram="8GiB").source, plan("E4B", ram="8GiB").source) == ("file", "table")


def test_a_folder_as_it_is_and_as_it_would_be(tmp_path):
    script = make_gemma4()
    v = script.VARIANTS[0]
    write_folder(tmp_path, script.hf_config(v), script.hf_state(script.weights(v)), "BF16")
    found = plan(tmp_path, ram="1GiB")
    assert (found.source, found.context) == ("folder", 2048)
    small = plan(tmp_path, ram="1GiB", quant="f32")
    assert small.memory["weights"] > 1.8 * found.memory["weights"]
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(gemlet.BadFile, match="not JSON"):
        plan(tmp_path, ram="1GiB")
    (tmp_path / "config.json").unlink()
    with pytest.raises(gemlet.ModelNotFound, match=r"no config\.json"):
        plan(tmp_path, ram="1GiB")


def test_the_demo_takes_what_was_planned(demo_path):
    """Parts of a real model: the mapped weights, and the scratch of a prompt."""
    found = plan(demo_path, ram="4GiB", context=1024, prompt=600)
    file = subjects.subject_of(demo_path, None)
    with gemlet.load(demo_path, context=1024) as model:
        assert found.memory["weights"] + file.header == pytest.approx(model.memory()["weights_file"], rel=0.001)
        model.generate(list(range(1000, 1600)), max_tokens=1)
        assert estimates.activation_bytes(file.sizes, 600) == pytest.approx(model.memory()["activations"], rel=0.15)


def test_measured_limits_are_those_of_the_machine(monkeypatch):
    asked = []
    monkeypatch.setattr(planning._core, "measure_limits", lambda threads: asked.append(threads) or LIMITS)
    assert gemlet.plan("E2B", ram="8GiB", threads=3).limits == LIMITS
    assert asked == [3]


def test_memory_that_is_free_is_the_default(monkeypatch):
    told = {"total": 16 * GIB, "available": 3 * GIB, "cgroup_limit": 2 * GIB}
    monkeypatch.setattr(planning.doctor, "memory", lambda: told)
    assert plan("E2B").ram == 2 * GIB
    monkeypatch.setattr(planning.doctor, "memory", lambda: dict.fromkeys(told))
    with pytest.raises(ValueError, match='say ram="8GiB"'):
        plan("E2B")


def test_the_report_and_its_record():
    found = plan("E2B", ram="2GiB")
    text = str(found)
    assert text.startswith("E2B:Q4_0: 1.8")
    assert all(word in text for word in ("fits in 2.00 GiB", "per-layer embeddings", "tok/s", "30.0 GB/s", "q8_0"))
    assert "does NOT fit" in str(plan("31B", ram="2GiB"))
    assert repr(found).startswith("<Plan E2B:Q4_0:")
    assert sum(found.memory.values()) == found.total
    assert pickle.loads(pickle.dumps(found)) == found
    assert json.loads(json.dumps(found.as_dict()))["kv_dtype"] == "q8_0"


def test_the_command(capsys, monkeypatch):
    monkeypatch.setattr(planning._core, "measure_limits", lambda threads: LIMITS)
    assert main(["plan", "E2B:Q4_0", "--ram", "8GiB", "--context", "4096", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["fits"], figures["context"], figures["kv_dtype"]) == (True, 4096, "f16")
    assert main(["plan", "E2B", "--ram", "8GiB"]) == 0
    assert "fits in 8.00 GiB" in capsys.readouterr().out
    assert main(["plan", "E2B", "--ram", "8"]) == 2
    assert main(["plan", "E3B"]) == 1
