"""Which file a model's name stands for. Local names only; opening and checking the file is the engine's work."""

from __future__ import annotations

import os

from .errors import ModelNotFound, UnsupportedModel


def resolve(path: str | os.PathLike[str]) -> str:
    """The file that a name stands for, or ModelNotFound with what would help."""
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
    if os.path.isdir(name):
        raise UnsupportedModel(f"load: {name} is a folder; this version reads GGUF files: give the path of one")
    if not os.path.exists(name):
        raise ModelNotFound(
            f"load: no file {name!r} (from {os.getcwd()}); give the path of a GGUF file, or 'demo' for the demo model"
        )
    return name
