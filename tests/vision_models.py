"""Tiny models that see (golden/make_vision.py), as whole folders and as GGUF files with a projector beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import folder_models
from folder_models import script

NAMES = ("e2b", "31b", "12b")


def variant(name: str) -> Any:
    return next(v for v in script("make_vision").VARIANTS if v.name == name)


def write_folder(folder: Path, name: str, dtype: str = "F32", made: dict[str, np.ndarray] | None = None) -> str:
    """A Hugging Face folder of text and sight together."""
    return write_variant(folder, script("make_vision"), variant(name), made, dtype)


def write_variant(folder: Path, maker: Any, v: Any, made: dict[str, np.ndarray] | None, dtype: str) -> str:
    state = {f"model.{key}": array for key, array in (maker.weights(v) if made is None else made).items()}
    return folder_models.write(
        folder, v.text, config={"vision_config": maker.config(v)}, state=state, dtype=dtype,
        prefix="model.language_model.",
    )  # fmt: skip


def write_gguf(folder: Path, name: str, dtype: str = "F32", **metadata: str) -> str:
    """A model and its projector, under a name that says nothing, in an empty folder."""
    v = variant(name)
    folder.mkdir(parents=True, exist_ok=True)
    text = script("make_gemma4")
    path = folder / "model.gguf"
    text.write_gguf(folder_models.variant(v.text), path)
    script("make_vision").write_projector(v, folder / "other.gguf", dtype=dtype, **metadata)
    return str(path)
