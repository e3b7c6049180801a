"""Writes a tiny Gemma 4 as a Hugging Face folder: config.json and safetensors, one file or sharded, in any float type.

It owns the layout of the files only; names and configuration come from golden/make_gemma4.py. Needs numpy.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def as_bytes(array: np.ndarray, dtype: str) -> bytes:
    if dtype == "I64":
        return array.astype("<i8").tobytes()
    if dtype == "BF16":  # to the nearest, ties to even
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return array.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def write_safetensors(path: Path, tensors: dict[str, np.ndarray], dtype: str = "F32") -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    parts, at = [], 0
    for name, array in tensors.items():
        kind = "I64" if array.dtype == np.int64 else dtype
        parts.append(as_bytes(array, kind))
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + len(parts[-1])]}
        at += len(parts[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def write_folder(
    folder: Path, config: dict[str, object], state: dict[str, np.ndarray], dtype: str = "F32", shards: int = 1
) -> None:
    """config and state: make_gemma4.hf_config(variant) and hf_state(weights)."""
    folder.mkdir(parents=True, exist_ok=True)
    name = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[dtype]
    (folder / "config.json").write_text(json.dumps(config | {"dtype": name}, indent=2) + "\n")
    if shards == 1:
        write_safetensors(folder / "model.safetensors", state, dtype)
        return
    index: dict[str, str] = {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: state[name] for name in list(state)[i::shards]}
        write_safetensors(folder / file, part, dtype)
        index |= dict.fromkeys(part, file)
    total = sum(array.size for array in state.values()) * (4 if dtype == "F32" else 2)
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2)
    (folder / "model.safetensors.index.json").write_text(text + "\n")
