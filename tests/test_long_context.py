"""Caches of every type in a model: same bits however the work is cut, sizes as computed, decoding behind long ones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlet import _core
from gemlet._core import testing
from test_engine import greedy

GOLDEN = Path(__file__).parent / "golden"
NAMES = ["gemma4_tiny_e2b", "gemma4_tiny_31b", "gemma4_tiny_26b", "gemma3_tiny"]
each_model = pytest.mark.parametrize("name", NAMES)


def open_model(name: str, **options) -> _core.Model:
    return _core.Model(str(GOLDEN / f"{name}.gguf"), prefix_bytes=0, **options)


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


@each_model
@pytest.mark.parametrize("block", [1, 7, 16, 59])
def test_bytes_give_the_same_bits_however_the_work_is_cut(name, block):
    ids = golden(name)["ids"]
    whole, cut = (open_model(name, kv_dtype="q8_0", **o) for o in ({"threads": 1}, {"block": block, "threads": 3}))
    np.testing.assert_array_equal(cut.logits(ids), whole.logits(ids))
    assert greedy(cut, ids, 8)["ids"] == greedy(whole, ids, 8)["ids"]


@each_model
@pytest.mark.parametrize("isa", _core.isas())
def test_bytes_give_the_same_bits_on_every_instruction_set(name, isa, monkeypatch):
    ids = golden(name)["ids"]
    monkeypatch.setenv("GEMLET_ISA", "scalar")
    expected = open_model(name, kv_dtype="q8_0").logits(ids)
    monkeypatch.setenv("GEMLET_ISA", isa)
    np.testing.assert_array_equal(open_model(name, kv_dtype="q8_0").logits(ids), expected)


@each_model
def test_bytes_change_little(name):
    """Random weights spread their attention: what rounding does to keys and values hardly averages out."""
    expected = golden(name)
    model = open_model(name, kv_dtype="q8_0")
    assert model.info()["kv_dtype"] == "q8_0"
    difference = np.abs(model.logits(expected["ids"]) - expected["logits"])
    assert 0 < difference.mean() < 0.06 * expected["logits"].std()


def padded(kind: str, channels: int) -> float:
    """Bytes of one key of that many channels."""
    if kind == "q8_0":
        return -(-channels // 32) * 34
    return -(-channels // 8) * 8 * {"f16": 2, "f32": 4}[kind]


@each_model
def test_bytes_read_before_are_used_again(name):
    """Pages of one generation are shared by the next, and copied when it writes into the last of them."""
    ids = golden(name)["ids"]
    model = _core.Model(str(GOLDEN / f"{name}.gguf"), kv_dtype="q8_0")
    for cut in (40, 50, len(ids)):
        again = greedy(model, ids[:cut], 8)
        assert again["ids"] == greedy(open_model(name, kv_dtype="q8_0"), ids[:cut], 8)["ids"]
    assert again["cached_tokens"] > 0


def layer_sizes(name: str) -> list[tuple[bool, int, int]]:
    """Of layers with keys of their own: sliding, key heads, channels"""
    gguf = pytest.importorskip("gguf")
    reader = gguf.GGUFReader(GOLDEN / f"{name}.gguf")

    def field(key: str):
        return reader.fields["gemma4." + key].contents()

    layers = field("block_count")
    sliding = field("attention.sliding_window_pattern")
    heads = field("attention.head_count_kv")
    heads = heads if isinstance(heads, list) else [heads] * layers
    channels = field("attention.key_length"), field("attention.key_length_swa")
    own = layers - (field("attention.shared_kv_layers") if "gemma4.attention.shared_kv_layers" in reader.fields else 0)
    return [(bool(sliding[i]), heads[i], channels[bool(sliding[i])]) for i in range(own)]


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize("name", NAMES[:3])
@pytest.mark.parametrize("tokens", [1, 63, 64, 700, 2000])
def test_the_cache_is_as_large_as_its_pages(name, kind, tokens):
    """Sliding layers keep what the next token, or one 16 before it, sees; a page is 64 keys and 64 values."""
    model = open_model(name, kv_dtype=kind)
    end, window = tokens + 1, model.info()["window"]
    got = testing.decode_filled(model, tokens, 1)
    expected = 0
    for sliding, heads, channels in layer_sizes(name):
        pages = -(-end // 64)
        if sliding:
            pages -= max(0, end - 16 - window + 1) // 64
        expected += pages * 2 * -(-heads * 64 * int(padded(kind, channels)) // 64) * 64
    assert got["cache_bytes"] == expected
    assert np.isfinite(got["logits"]).all()


@given(tokens=st.integers(0, 2045), kind=st.sampled_from(["f32", "f16", "q8_0"]), threads=st.integers(2, 4))
@settings(max_examples=12, deadline=None)
def test_decoding_behind_any_length_gives_the_same_bits(tokens, kind, threads):
    results = []
    for count in (1, threads):
        model = open_model("gemma4_tiny_31b", kv_dtype=kind, threads=count)
        results.append(testing.decode_filled(model, tokens, 3, seed=tokens))
    np.testing.assert_array_equal(results[0]["logits"], results[1]["logits"])
    assert len(results[0]["seconds"]) == 3


def test_what_a_step_reads_grows_with_full_layers_only():
    model = open_model("gemma4_tiny_e2b", kv_dtype="q8_0")
    window, lengths = model.info()["window"], [200, 300, 400]
    read = [testing.decode_filled(model, n - 1, 1)["bytes_read"] for n in lengths]
    assert window < 200
    first, second = (b - a for a, b in pairwise(read))
    assert first == second > 0


def test_a_cache_longer_than_the_context_is_refused():
    model = open_model("gemma4_tiny_e2b")
    with pytest.raises(ValueError, match="tokens, steps"):
        testing.decode_filled(model, model.info()["context"], 1)
    with pytest.raises(ValueError, match="tokens, steps"):
        testing.decode_filled(model, 0, 0)
