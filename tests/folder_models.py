"""Whole Hugging Face folders of tiny models, weights, sizes and tokenizer, and the same models as GGUF files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import tokenizer_json_files
from bpe_vocabulary import MARK
from gemma4_folder import write_folder
from load_tool import maker

GOLDEN = Path(__file__).parent / "golden"
NAMES = [*("gemma4_tiny_e2b", "gemma4_tiny_31b", "gemma4_tiny_26b"),
         *("gemma4_more_e4b", "gemma4_more_dead", "gemma4_more_moe")]  # fmt: skip


@cache
def script(name: str) -> ModuleType:
    """tests/golden/NAME.py, the same module for all."""
    return maker(name)


def variant(name: str) -> Any:
    made = script("make_gemma4")
    return next(v for v in (*made.VARIANTS, *made.MORE) if v.name == name)


def write_tokenizer(folder: Path, size: int, settings: dict[str, Any] | None = None) -> None:
    """The vocabulary of make_gemma4.py as tokenizer.json."""
    pieces, _, kinds, merges = script("make_gemma4").vocabulary(size)
    document = tokenizer_json_files.document(
        list(zip(pieces, kinds, strict=True)), [merge.split(" ") for merge in merges]
    )
    tokenizer_json_files.write(folder, document, settings)


def write(
    folder: Path,
    name: str,
    *,
    config: dict[str, Any] | None = None,
    state: dict[str, np.ndarray] | None = None,
    prefix: str = "model.",
    dtype: str = "F32",
    shards: int = 1,
) -> str:
    """Gemma 4; `config` and `state` have the last word over what the variant says (None takes an entry out)."""
    made, v = script("make_gemma4"), variant(name)
    tensors = made.hf_state(made.weights(v), prefix) | (state or {})
    sizes = made.hf_config(v) | (config or {})
    write_folder(folder, {k: x for k, x in sizes.items() if x is not ...},
                 {k: x for k, x in tensors.items() if x is not None}, dtype, shards)  # fmt: skip
    write_tokenizer(folder, v.V)
    return str(folder)


def write_gemma3(folder: Path, name: str, **config: Any) -> tuple[str, str]:
    """Gemma 3 as a folder, with a tokenizer of hardly more than the bytes, and as a GGUF file."""
    made = script("make_gemma3")
    v = next(v for v in made.VARIANTS if v.name == name)
    folder.mkdir(parents=True, exist_ok=True)
    gguf = folder.parent / f"{folder.name}.gguf"
    state = {}
    for key, array in made.write_gguf(v, gguf).items():
        if key == "token_embd.weight":
            state["model.embed_tokens.weight"] = array
        elif key == "output_norm.weight":
            state["model.norm.weight"] = array - np.float32(1)
        else:
            _, layer, part, _ = key.split(".")
            stored = array - np.float32(1) if array.ndim == 1 else array
            state[f"model.layers.{layer}.{made.HF_NAMES[part]}.weight"] = stored
    sizes = {
        "model_type": "gemma3_text",
        "vocab_size": v.V,
        "hidden_size": v.D,
        "intermediate_size": v.F,
        "num_hidden_layers": v.L,
        "num_attention_heads": v.H,
        "num_key_value_heads": v.K,
        "head_dim": v.C,
        "query_pre_attn_scalar": v.C,
        "sliding_window": v.window,
        "max_position_embeddings": 2048,
        "rope_local_base_freq": 10000.0,
        "rope_theta": 1000000.0,
        "rope_scaling": {"rope_type": "linear", "factor": v.linear} if v.linear != 1 else None,
    }
    write_folder(folder, sizes | config, state)
    tokenizer_json_files.write(folder, tokenizer_json_files.document(*tokenizer_json_files.tiny(MARK * 2)))
    return str(folder), str(gguf)
