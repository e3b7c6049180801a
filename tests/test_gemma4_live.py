"""Every variant of Gemma 4, freshly drawn, against what transformers and llama.cpp compute from the same weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemlet
from gemlet import _core

pytest.importorskip("gguf")

from gemma4_folder import write_folder
from llama_oracle import kl
from test_engine import greedy
from test_reference4 import make_gemma4

GOLDEN = Path(__file__).parent / "golden"
NAMES = [
    "gemma4_tiny_e2b",
    "gemma4_tiny_31b",
    "gemma4_tiny_26b",
    "gemma4_more_e4b",
    "gemma4_more_dead",
    "gemma4_more_moe",
]
PROMPT = 130  # past several windows, whose lengths are 5 to 11, and past a page of keys
STEPS = 64


def drawn(name: str, seed: int) -> tuple[Any, Any]:
    script = make_gemma4()
    variant = next(v for v in (*script.VARIANTS, *script.MORE) if v.name == name)
    return script, dataclasses.replace(variant, seed=seed)


def reference(path: Path) -> Any:
    """The folder as transformers takes it: a function from ids to logits (T, V)."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path, attn_implementation="eager", experts_implementation="eager"
    )

    def logits(ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(ids).long()[None], use_cache=False).logits[0].numpy()

    return logits


@pytest.mark.parity
@pytest.mark.parametrize("seed", [101, 102])
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_greedy_ids(tmp_path, name, seed):
    script, variant = drawn(name, seed)
    made = script.write_gguf(variant, tmp_path / "model.gguf")
    write_folder(tmp_path / "folder", script.hf_config(variant), script.hf_state(made))
    logits = reference(tmp_path / "folder")
    ids = np.random.default_rng(seed).integers(4, variant.V, PROMPT).astype(np.int32)
    with gemlet.load(tmp_path / "model.gguf") as m:
        ours = m.logits(ids)
        new = m.generate(ids, max_tokens=STEPS, temperature=0, ignore_eos=True).token_ids
    expected = logits(ids)
    scale = max(1.0, np.abs(expected).max() / 30)  # without a cap the logits are larger
    assert np.abs(ours - expected).max() <= 2e-4 * scale
    # What follows our own ids, and was it the best, wherever the best is clear? One pass of the reference tells.
    after = logits(np.concatenate([ids, new]))[PROMPT - 1 : -1]
    two = np.sort(after, axis=1)[:, -2:]
    clear = two[:, 1] - two[:, 0] > 1e-3
    assert clear.sum() > STEPS // 2
    np.testing.assert_array_equal(after.argmax(axis=1)[clear], new[clear])


@pytest.mark.peer
@pytest.mark.parametrize("form", ["f32", "f16"])
@pytest.mark.parametrize("name", NAMES[:3])
def test_llama_cpp_has_the_same_distribution(tmp_path, name, form):
    from test_gemma4_peer import llama_logits

    path = GOLDEN / f"{name}.gguf"
    if form == "f16":
        path = tmp_path / "f16.gguf"
        gemlet.quantize(GOLDEN / f"{name}.gguf", path, "f16")
    with np.load(GOLDEN / f"{name}.npz") as golden:
        ids = golden["ids"]
    ours = _core.Model(str(path), kv_dtype="f32").logits(ids)
    theirs = llama_logits(path, ids)
    assert kl(theirs, ours) <= 1e-4
    assert greedy(_core.Model(str(path)), ids, 4)["ids"]
