"""Looking inside: what a mixture chose, and what a head looked at, against the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gguf")

from reference_gemma4 import Gemma4, rope, softmax
from test_gemma4 import NAMES, golden, open_model

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("block", [0, 1, 13])
def test_routing_equals_transformers(block):
    expected = golden(NAMES[2])
    model = Gemma4.load(GOLDEN / f"{NAMES[2]}.gguf")
    experts, weights = open_model(NAMES[2], block=block).routing(expected["ids"])
    np.testing.assert_array_equal(experts, expected["experts"])
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)  # before the experts' own scales
    for layer in range(model.L):
        scale = model.w[f"blk.{layer}.ffn_down_exps.scale"][experts[layer]]
        np.testing.assert_allclose(weights[layer] * scale, expected["expert_weights"][layer], atol=1e-5)


def test_a_dense_model_routes_nothing():
    with pytest.raises(ValueError, match="has no experts"):
        open_model(NAMES[0]).routing(golden(NAMES[0])["ids"])


def attention_of(model: Gemma4, layer: int, states: np.ndarray) -> np.ndarray:
    """states (L + 1, T, D) -> (H, T, T) of a layer, from what goes into it."""
    donor = model.donor[layer]
    key_input = model.norm(f"blk.{donor}.attn_norm", states[donor])
    k, _ = model.keys_values(donor, key_input)
    q = (model.norm(f"blk.{layer}.attn_norm", states[layer]) @ model.w[f"blk.{layer}.attn_q.weight"].T).reshape(
        len(k), model.H, model.C[layer]
    )
    q = rope(model.norm(f"blk.{layer}.attn_q_norm", q), model.frequencies(layer))
    distance = np.arange(len(k))[:, None] - np.arange(len(k))
    unseen = (distance < 0) | (model.sliding[layer] & (distance >= model.window))
    group = model.H // model.K[layer]
    return np.stack(
        [softmax(np.where(unseen, -np.inf, q[:, h] @ k[:, h // group].T * model.scale(layer))) for h in range(model.H)]
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kv_dtype", ["f32", "f16", "q8_0"])
def test_attention_equals_the_reference(name, kv_dtype):
    ids = golden(name)["ids"]
    model = Gemma4.load(GOLDEN / f"{name}.gguf")
    embedded = model.w["token_embd.weight"][ids] * np.sqrt(model.D)
    states = np.concatenate([embedded[None], model.hidden(ids)])
    layers = [0, model.L - 1]
    heads, positions = [0, model.H - 1], [0, 17, 59]
    got = open_model(name, block=20, kv_dtype=kv_dtype).attention(ids, layers, heads, positions)
    for slot, layer in enumerate(layers):
        expected = attention_of(model, layer, states)[heads][:, positions]
        np.testing.assert_allclose(got[slot], expected, atol={"f32": 1e-4, "f16": 2e-2, "q8_0": 5e-2}[kv_dtype])


@pytest.mark.parametrize(
    ("layers", "heads", "positions"), [([99], [0], [0]), ([0], [9], [0]), ([0], [0], [60]), ([-1], [0], [0])]
)
def test_what_is_not_there_is_named(layers, heads, positions):
    with pytest.raises(ValueError, match=r"attention: \w+ -?\d+ is none of 0 to \d+"):
        open_model(NAMES[0]).attention(golden(NAMES[0])["ids"], layers, heads, positions)
