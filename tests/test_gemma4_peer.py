"""llama.cpp on the tiny Gemma 4 files: it loads them, and its logits are those of transformers up to its rounding.

Models that begin to share keys elsewhere than right after a full layer make it abort the process, so none is here.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gguf")

import reference_gemma4

EXACT_GELU = reference_gemma4.gelu
pytestmark = pytest.mark.peer

GOLDEN = Path(__file__).parent / "golden"
# llama.cpp goes on calling a log callback after the test that set it: none may be collected.
KEPT: list[object] = []
NAMES = ["gemma4_tiny_e2b", "gemma4_tiny_31b", "gemma4_tiny_26b"]


def llama_logits(path: Path, ids: np.ndarray) -> np.ndarray:
    """ids (T,) -> (T, V), the cache in F32, the whole prompt in one batch."""
    llama = pytest.importorskip("llama_cpp")
    silent = llama.llama_log_callback(lambda level, text, data: None)
    KEPT.append(silent)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    assert model, f"llama.cpp cannot load {path}"
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = 256, 256, 256
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = 0  # F32
    params.flash_attn_type = 0  # off
    params.swa_full = True
    context = llama.llama_init_from_model(model, params)
    assert context
    batch = llama.llama_batch_init(len(ids), 0, 1)
    try:
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids.tolist()):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
            batch.seq_id[i][0] = 0
        assert llama.llama_decode(context, batch) == 0
        size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        return np.stack(
            [np.ctypeslib.as_array(llama.llama_get_logits_ith(context, i), (size,)) for i in range(len(ids))]
        )
    finally:
        llama.llama_batch_free(batch)
        llama.llama_free(context)
        llama.llama_model_free(model)


def gelu_from_a_half_precision_table(x: np.ndarray) -> np.ndarray:
    """llama.cpp's: argument and result rounded to F16."""
    near = EXACT_GELU(x.astype(np.float16).astype(np.float64)).astype(np.float16)
    return np.where(x <= -10, 0, np.where(x >= 10, x, near))


@pytest.mark.parametrize("name", NAMES)
def test_logits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(GOLDEN / f"{name}.npz") as expected:
        ids = expected["ids"]
        got = llama_logits(GOLDEN / f"{name}.gguf", ids)
        error = np.abs(got - expected["logits"])
    # Its gelu is the largest difference ...
    assert error.max() < 0.05
    assert error.mean() < 3e-3
    # ... and nearly the only one: with the same gelu, the reference agrees far better.
    monkeypatch.setattr(reference_gemma4, "gelu", gelu_from_a_half_precision_table)
    same = reference_gemma4.Gemma4.load(GOLDEN / f"{name}.gguf").logits(ids)
    assert np.abs(got - same).max() < 1e-2
    assert np.abs(got - same).mean() < 2e-4
