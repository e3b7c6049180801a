"""The compiled Gemma 4 against transformers' golden answers, and its promise: the same bits however the work is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gemlet import _core
from gemlet.errors import BadFile, UnsupportedModel

gguf = pytest.importorskip("gguf")

from reference_gemma4 import Gemma4  # noqa: E402
from test_engine import greedy  # noqa: E402
from test_reference4 import make_gemma4  # noqa: E402

GOLDEN = Path(__file__).parent / "golden"
NAMES = ["gemma4_tiny_e2b", "gemma4_tiny_31b", "gemma4_tiny_26b"]


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def open_model(name: str, **options) -> _core.Model:
    return _core.Model(str(GOLDEN / f"{name}.gguf"), **options)


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_transformers(name):
    expected = golden(name)
    assert np.abs(open_model(name).logits(expected["ids"]) - expected["logits"]).max() <= 2e-4


@pytest.mark.parametrize("name", NAMES)
def test_hidden_states_equal_transformers(name):
    expected = golden(name)
    model = open_model(name)
    hidden = model.hidden(expected["ids"], list(range(model.info()["layers"] + 1)))
    assert np.abs(hidden[:, -expected["hidden"].shape[1] :] - expected["hidden"]).max() <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_greedy_ids_equal_transformers(name):
    expected = golden(name)
    assert greedy(open_model(name), expected["ids"], len(expected["greedy"]))["ids"] == expected["greedy"].tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", [1, 2, 7, 16, 59])
def test_any_chunking_and_thread_count_gives_the_same_bits(name, block):
    """Rows nobody wants stop at the last layer with keys of its own; those that somebody wants must not notice."""
    ids = golden(name)["ids"]
    whole, cut = open_model(name, threads=1), open_model(name, block=block, threads=3)
    logits = whole.logits(ids)
    np.testing.assert_array_equal(cut.logits(ids), logits)
    np.testing.assert_array_equal(cut.logits(ids, np.array([59, 3, 30])), logits[[59, 3, 30]])
    layers = list(range(whole.info()["layers"] + 1))
    np.testing.assert_array_equal(cut.hidden(ids, layers), whole.hidden(ids, layers))
    np.testing.assert_array_equal(cut.score(ids), whole.score(ids))
    assert greedy(cut, ids, 8)["ids"] == greedy(whole, ids, 8)["ids"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("isa", _core.isas())
def test_every_instruction_set_gives_the_same_bits(name, isa, monkeypatch):
    ids = golden(name)["ids"]
    monkeypatch.setenv("GEMLET_ISA", "scalar")
    expected = open_model(name).logits(ids)
    monkeypatch.setenv("GEMLET_ISA", isa)
    np.testing.assert_array_equal(open_model(name).logits(ids), expected)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_keys_change_little(name):
    expected = golden(name)
    logits = open_model(name, kv_dtype="f16").logits(expected["ids"])
    difference = np.abs(logits - expected["logits"]).max()
    assert 0 < difference < 0.2


def test_layers_that_share_keys_hold_none():
    """10 layers, of which 4 share: 6 own 60 keys of 2 x 8 (sliding) or 2 x 16 channels, in pages of 64, as float32."""
    model = open_model("gemma4_tiny_e2b")
    info = model.info()
    assert info["madds_per_prompt_token"] < 0.7 * info["madds_per_token"]


@pytest.mark.parametrize("name", ["gemma4_more_e4b", "gemma4_more_dead", "gemma4_more_moe"])
def test_other_sizes_equal_the_reference(tmp_path, name):
    path = rewritten(tmp_path, name, lambda w: None)
    ids = np.random.default_rng(2).integers(4, 270, 100).astype(np.int32)
    expected = Gemma4.load(Path(path))
    model = _core.Model(path)
    assert np.abs(model.logits(ids) - expected.logits(ids)).max() <= 2e-4
    assert greedy(model, ids[:60], 8)["ids"] == expected.greedy(ids[:60], 8)


# --- files that are wrong ---


def rewritten(tmp_path: Path, name: str, change) -> str:
    """A tiny checkpoint whose tensors went through `change(dict)`."""
    script = make_gemma4()
    variant = next(v for v in [*script.VARIANTS, *script.MORE] if v.name == name)
    path = tmp_path / "model.gguf"
    made = script.weights(variant)
    change(made)
    original, script.weights = script.weights, lambda v: made
    try:
        script.write_gguf(variant, path)
    finally:
        script.weights = original
    return str(path)


def test_a_missing_tensor_is_named(tmp_path):
    path = rewritten(tmp_path, NAMES[0], lambda w: w.pop("blk.2.inp_gate.weight"))
    with pytest.raises(BadFile, match=r"'blk.2.inp_gate.weight' \(\d+, \d+\) is missing"):
        _core.Model(path)


def test_a_tensor_nobody_reads_is_refused(tmp_path):
    path = rewritten(tmp_path, NAMES[1], lambda w: w.update({"blk.1.attn_sinks.weight": np.ones(4, np.float32)}))
    with pytest.raises(UnsupportedModel, match=r"'blk.1.attn_sinks.weight' \(4\) has no place"):
        _core.Model(path)


def test_dead_keys_of_shared_layers_are_ignored(tmp_path):
    def revive(w):
        w["blk.9.attn_k.weight"] = np.full_like(w["blk.4.attn_k.weight"], np.nan)

    ids = golden(NAMES[0])["ids"]
    with_dead = _core.Model(rewritten(tmp_path, NAMES[0], revive))
    np.testing.assert_array_equal(with_dead.logits(ids), open_model(NAMES[0]).logits(ids))


def test_no_rope_freqs_is_an_error(tmp_path):
    path = rewritten(tmp_path, NAMES[0], lambda w: w.pop("rope_freqs.weight"))
    with pytest.raises(BadFile, match=r"'rope_freqs.weight' \(16\) is missing"):
        _core.Model(path)


def test_a_wrong_shape_is_named(tmp_path):
    path = rewritten(
        tmp_path, NAMES[2], lambda w: w.update({"blk.0.ffn_gate_inp.weight": np.ones((7, 16), np.float32)})
    )
    with pytest.raises(BadFile, match=r"'blk.0.ffn_gate_inp.weight': expected \(8, \d+\), got \(7, 16\)"):
        _core.Model(path)
