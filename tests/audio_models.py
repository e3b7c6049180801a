"""Tiny models that hear, as whole folders and as GGUF files with a projector beside them; golden/make_audio.py's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import folder_models
from folder_models import script

NAMES = ("e2b", "free", "12b")


def variant(name: str) -> Any:
    return next(v for v in script("make_audio").VARIANTS if v.name == name)


def write_folder(folder: Path, name: str, dtype: str = "F32", made: dict[str, np.ndarray] | None = None,
                 **config: Any) -> str:  # fmt: skip
    """A Hugging Face folder of text and hearing together; `config` has the last word on `audio_config`."""
    return write_variant(folder, variant(name), made, dtype, **config)


def write_variant(folder: Path, v: Any, made: dict[str, np.ndarray] | None, dtype: str, **config: Any) -> str:
    maker = script("make_audio")
    state = {f"model.{key}": array for key, array in (maker.weights(v) if made is None else made).items()}
    return folder_models.write(
        folder, v.text, config={"audio_config": maker.config(v) | config}, state=state, dtype=dtype,
        prefix="model.language_model.",
    )  # fmt: skip


def write_gguf(folder: Path, name: str, dtype: str = "F32", **metadata: str) -> str:
    """A model and its projector, under a name that says nothing, in an empty folder."""
    v = variant(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.gguf"
    script("make_gemma4").write_gguf(folder_models.variant(v.text), path)
    script("make_audio").write_projector(v, folder / "other.gguf", dtype=dtype, **metadata)
    return str(path)
