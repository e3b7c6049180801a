"""Gemma 4's drafter against its numpy twin and transformers' golden answers, in both dialects of GGUF; wrong files."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gemlet import _core
from gemlet.errors import BadFile, UnsupportedModel

pytest.importorskip("gguf")

from load_tool import maker
from reference_assistant import Assistant
from reference_gemma4 import Gemma4

GOLDEN = Path(__file__).parent / "golden"
PAIRS = {"assistant_tiny_e2b": "gemma4_tiny_e2b", "assistant_tiny_31b": "gemma4_tiny_31b"}
CASES = [(name, length) for name in PAIRS for length in (60, 5)]


def make_assistant() -> ModuleType:
    if "make_assistant" not in sys.modules:
        maker("make_assistant")
    return sys.modules["make_assistant"]


def write_assistant_folder(folder: Path, name: str, shards: int = 1) -> None:
    from gemma4_folder import write_folder

    script = make_assistant()
    assistant = next(a for a in script.ASSISTANTS if a.name == name)
    write_folder(folder, script.hf_config(assistant), script.hf_state(script.weights(assistant)), shards=shards)


def golden(name: str, length: int) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: file[f"{key}_{length}"] for key in ("ids", "logits", "states")}


def target(name: str, **options) -> _core.Model:
    return _core.Model(str(GOLDEN / f"{PAIRS[name]}.gguf"), **options)


@pytest.mark.parametrize(("name", "length"), CASES)
def test_the_reference_equals_transformers(name, length):
    expected = golden(name, length)
    twin = Assistant.load(GOLDEN / f"{name}.gguf", Gemma4.load(GOLDEN / f"{PAIRS[name]}.gguf"))
    logits, states = twin.drafts(expected["ids"], len(expected["logits"]))
    assert np.abs(logits - expected["logits"]).max() < 1e-4
    assert np.abs(states - expected["states"]).max() < 1e-4
    assert np.ptp(expected["logits"]) > 10


@pytest.mark.parametrize(("name", "length"), CASES)
def test_the_drafter_equals_transformers(name, length):
    expected = golden(name, length)
    model, path = target(name), str(GOLDEN / f"{name}.gguf")
    logits, states = _core.testing.draft(model, path, expected["ids"], len(expected["logits"]))
    assert np.abs(logits - expected["logits"]).max() <= 2e-4
    assert np.abs(states - expected["states"]).max() <= 2e-4


@pytest.mark.parametrize("name", PAIRS)
def test_threads_and_half_precision_keys(name):
    expected, path = golden(name, 60), str(GOLDEN / f"{name}.gguf")
    one = _core.testing.draft(target(name, threads=1), path, expected["ids"], 4)
    three = _core.testing.draft(target(name, threads=3), path, expected["ids"], 4)
    np.testing.assert_array_equal(one[0], three[0])
    half, _ = _core.testing.draft(target(name, kv_dtype="f16"), path, expected["ids"], 1)
    assert 0 < np.abs(half - one[0][:1]).max() < 0.2


def test_the_other_dialect_is_the_same_drafter(tmp_path):
    """ik_llama.cpp has other names, and tells each id's centroid instead of each centroid's ids."""
    script = make_assistant()
    script.write_gguf(script.ASSISTANTS[0], tmp_path / "other.gguf", dialect="ik_llama.cpp")
    name = script.ASSISTANTS[0].name
    ids = golden(name, 60)["ids"]
    usual = _core.testing.draft(target(name), str(GOLDEN / f"{name}.gguf"), ids, 4)
    other = _core.testing.draft(target(name), str(tmp_path / "other.gguf"), ids, 4)
    np.testing.assert_array_equal(other[0], usual[0])
    np.testing.assert_array_equal(other[1], usual[1])


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shards", [1, 3])
def test_a_folder_is_the_same_drafter(tmp_path, name, shards):
    write_assistant_folder(tmp_path / name, name, shards)
    ids = golden(name, 60)["ids"]
    usual = _core.testing.draft(target(name), str(GOLDEN / f"{name}.gguf"), ids, 4)
    other = _core.testing.draft(target(name), str(tmp_path / name), ids, 4)
    np.testing.assert_array_equal(other[0], usual[0])
    np.testing.assert_array_equal(other[1], usual[1])


def test_a_drafters_folder_is_no_model(tmp_path):
    from folder_models import write_tokenizer

    write_assistant_folder(tmp_path, "assistant_tiny_e2b")
    write_tokenizer(tmp_path, 280)
    with pytest.raises(UnsupportedModel, match="holds a drafter"):
        _core.Model(str(tmp_path))


def test_all_centroids_are_the_plain_head(tmp_path):
    script = make_assistant()
    centroids = script.ASSISTANTS[0]
    made = script.weights(centroids)
    script.write_gguf(dataclasses.replace(centroids, used=centroids.centroids), tmp_path / "all.gguf", made)
    plain = {name: array for name, array in made.items() if not name.startswith("mtp.")}
    script.write_gguf(dataclasses.replace(centroids, centroids=0), tmp_path / "plain.gguf", plain)
    model, ids = target(centroids.name), golden(centroids.name, 60)["ids"]
    every, _ = _core.testing.draft(model, str(tmp_path / "all.gguf"), ids, 2)
    np.testing.assert_array_equal(every, _core.testing.draft(model, str(tmp_path / "plain.gguf"), ids, 2)[0])


# --- files that are wrong ---


def draft_with(tmp_path: Path, change, assistant=None, of: str = "assistant_tiny_e2b"):
    script = make_assistant()
    assistant = assistant or script.ASSISTANTS[0]
    made = script.weights(assistant)
    change(made)
    script.write_gguf(assistant, tmp_path / "draft.gguf", made)
    return _core.testing.draft(target(of), str(tmp_path / "draft.gguf"), np.array([2, 5, 6], np.int32), 1)


def test_a_drafter_of_another_model_is_refused(tmp_path):
    with pytest.raises(BadFile, match=r"made for a width of 16, the model has 20; the drafter was made for another"):
        draft_with(tmp_path, lambda w: None, of="assistant_tiny_31b")


def test_other_heads_are_refused(tmp_path):
    assistant = make_assistant().ASSISTANTS[0]
    other = dataclasses.replace(assistant, own=dataclasses.replace(assistant.own, C=(8, 24)))
    with pytest.raises(BadFile, match=r"layer 3 has 2 heads of 24 channels, the model's full layers 1 key heads of 32"):
        draft_with(tmp_path, lambda w: None, other)


def test_another_vocabulary_is_refused(tmp_path):
    assistant = make_assistant().ASSISTANTS[0]
    other = dataclasses.replace(assistant, own=dataclasses.replace(assistant.own, V=300))
    with pytest.raises(BadFile, match="300 tokens, the model has 280"):
        draft_with(tmp_path, lambda w: None, other)


def test_a_missing_tensor_is_named(tmp_path):
    with pytest.raises(BadFile, match=r"'blk.1.attn_q.weight' \(16, 12\) is missing"):
        draft_with(tmp_path, lambda w: w.pop("blk.1.attn_q.weight"))


def test_a_tensor_nobody_reads_is_refused(tmp_path):
    with pytest.raises(UnsupportedModel, match=r"'blk.1.inp_gate.weight' \(4, 12\) has no place"):
        draft_with(tmp_path, lambda w: w.update({"blk.1.inp_gate.weight": np.ones((4, 12), np.float32)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda order: order.__setitem__(3, order[4]), r"expected every id from 0 to 279 once, got \d+ at"),
        (lambda order: order.__setitem__(0, -1), r"expected every id from 0 to 279 once, got -1 at 0"),
        (lambda order: order.__setitem__(slice(None), 7), "expected 14 ids for each centroid, got more for 7"),
    ],
)
def test_an_ordering_that_is_none_is_refused(tmp_path, change, message):
    with pytest.raises(BadFile, match=f"mtp.token_ordering.weight': {message}"):
        draft_with(tmp_path, lambda w: change(w["mtp.token_ordering.weight"]))


def test_centroids_that_do_not_divide_the_vocabulary_are_refused(tmp_path):
    assistant = dataclasses.replace(make_assistant().ASSISTANTS[0], centroids=19)
    with pytest.raises(BadFile, match="19 centroids, 5 at a time, over 280 tokens"):
        draft_with(tmp_path, lambda w: None, assistant)


def test_a_model_is_no_drafter_and_a_drafter_no_model():
    ids = np.array([2, 5, 6], np.int32)
    with pytest.raises(UnsupportedModel, match="architecture 'gemma4' is no drafter; draft= wants"):
        _core.testing.draft(target("assistant_tiny_e2b"), str(GOLDEN / "gemma4_tiny_e2b.gguf"), ids, 1)
    with pytest.raises(UnsupportedModel, match=r"holds a drafter.*load that model, with draft= this path"):
        _core.Model(str(GOLDEN / "assistant_tiny_e2b.gguf"))
    gemma3 = _core.Model(str(GOLDEN / "gemma3_tiny.gguf"))
    with pytest.raises(UnsupportedModel, match="a drafter of Gemma 4, but the model is 'gemma3'"):
        _core.testing.draft(gemma3, str(GOLDEN / "assistant_tiny_e2b.gguf"), ids, 1)


# --- live ---


@pytest.mark.parity
def test_golden_files_are_what_the_script_makes(tmp_path):
    pytest.importorskip("torch")
    script = make_assistant()
    for assistant in script.ASSISTANTS:
        script.make(assistant, tmp_path)
        kept = (GOLDEN / f"{assistant.name}.gguf").read_bytes()
        assert (tmp_path / f"{assistant.name}.gguf").read_bytes() == kept
        with np.load(tmp_path / f"{assistant.name}.npz") as made, np.load(GOLDEN / f"{assistant.name}.npz") as stored:
            assert set(made) == set(stored)
            for key in stored:
                np.testing.assert_allclose(made[key], stored[key], rtol=0, atol=5e-5, err_msg=key)


@pytest.mark.parity
@pytest.mark.parametrize("target_name", ["gemma4_tiny_26b", "gemma4_tiny_e2b", "gemma4_tiny_31b"])
def test_other_drafters_live(tmp_path, target_name):
    """Against transformers in float32 with a drafter that is not stored, at lengths around the window."""
    pytest.importorskip("torch")
    script = make_assistant()
    of = script.TARGETS[target_name]
    assistant = script.of(of, "live", 31, D=22, F=26, centroids=4, used=2)
    made = script.weights(assistant)
    script.write_gguf(assistant, tmp_path / "live.gguf", made)
    model = _core.Model(str(GOLDEN / f"{target_name}.gguf"))
    for length in (2, of.window, of.window + 1, of.window + 2, 90):
        ids = np.array([2, *np.random.default_rng(length).integers(4, of.V, length - 1)], np.int64)
        expected = script.compute(assistant, made, ids)
        logits, states = _core.testing.draft(model, str(tmp_path / "live.gguf"), ids, script.STEPS)
        assert np.abs(logits - expected["logits"]).max() <= 2e-4, length
        assert np.abs(states - expected["states"]).max() <= 2e-4, length
