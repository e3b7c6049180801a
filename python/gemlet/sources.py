"""Which file or folder a model's name stands for. Local names only; opening and checking it is the engine's work."""

from __future__ import annotations

import os

from .errors import ModelNotFound

# GGUF's general.file_type in words: what most of the weights were quantised to.
FILE_TYPES = {
    **dict(enumerate(("F32", "F16", "Q4_0", "Q4_1"))),
    **dict(enumerate(("Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L"), 7)),
    **dict(enumerate(("Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"), 14)),
    **{21: "Q2_K_S", 25: "IQ4_NL", 30: "IQ4_XS", 32: "BF16", 38: "MXFP4"},
}


def resolve(path: str | os.PathLike[str]) -> str:
    """The file or folder that a name stands for, or ModelNotFound with what would help."""
    try:
        name = os.fspath(path)
    except TypeError:
        raise TypeError(f"load: path must be a string or a path, not {path!r}") from None
    if not isinstance(name, str):
        raise TypeError(f"load: path must be a string or a path, not {path!r}")
    if name == "demo":
        from . import demo

        return os.fspath(demo.path())
    name = os.path.expanduser(name)
    if not os.path.exists(name):
        raise ModelNotFound(
            f"load: no file {name!r} (from {os.getcwd()}); give the path of a GGUF file or of a Hugging Face folder, "
            "or 'demo' for the demo model"
        )
    return name
