"""Weights in fewer bits: `quantize` writes a GGUF file, `cached` keeps one for a folder loaded with `quant`.

Which tensor gets which format, and the writing, is C++ (`_core.quantize`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core
from .errors import GemletError
from .local import demo, sources
from .progress import line
from .types import check_choice, check_int

if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[int, int], object]

FORMATS = ("q8_0", "q4_0", "f16")
_VERSION = 1  # of what the files of the cache hold: a new number makes them anew
_SMALL = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("chat_template.jinja", "chat_template.json"),
)


def quantize(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    format: str,
    *,
    threads: int | str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a model as a GGUF file in fewer bits; what has the name `dst` is replaced once the new file is whole.

    src: a Hugging Face folder, or a GGUF file in F32, F16 or BF16. format: "q8_0", "q4_0" or "f16".
    progress: called with (done, total) bytes of weights read; a terminal shows a line without it.
    Gives {"bytes", "parameters", "notes"}; notes say what a GGUF file cannot hold.

    >>> quantize("demo", "/tmp/smaller.gguf", "q4_0")
    Traceback (most recent call last):
    gemlet.errors.UnsupportedModel: ...quantising twice would lose more: start from the original weights
    """
    source, target = sources.resolve(src), os.path.expanduser(os.fspath(dst))
    if os.path.isdir(target):
        raise ValueError(f"quantize: dst must be the name of a file, not the folder {target!r}")
    if os.path.exists(target) and os.path.samefile(source, target):
        raise ValueError(f"quantize: dst is the source itself, {target!r}; name another file")
    return _write(source, target, format, threads, progress)


def _write(source: str, target: str, format: str, threads: int | str, told: Progress | None) -> dict[str, Any]:
    count = 0 if threads == "auto" else check_int("quantize", "threads", threads, 1, 1024)
    report = told or line(f"writing {os.path.basename(target)}")
    return dict(_core.quantize(source, target, format, count, report))


def cache_folder() -> Path:
    """Where files made by `load(..., quant=...)` are kept: GEMLET_CACHE, else the folder of models."""
    if folder := os.environ.get("GEMLET_CACHE"):
        return Path(folder).expanduser()
    return demo.models_folder() / "quantized"


def cached(source: str, quant: str | None) -> tuple[str, list[str]]:
    """The file to map for a source, made first if `quant` asks for one that is not there yet; and what to tell."""
    if quant is None:
        return source, []
    check_choice("load", "quant", quant, FORMATS)
    target = cache_folder() / _name(source, quant)
    if target.exists():
        return str(target), []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _Lock(target):
            if target.exists():  # another process was quicker
                return str(target), []
            made = _write(source, str(target), quant, "auto", None)
    except OSError as error:
        raise GemletError(
            f"load: cannot write {target}: {error.strerror or error}; set GEMLET_CACHE to a folder that can be written"
        ) from error
    note = f"wrote the weights as {quant} to {target} ({made['bytes'] / 1e6:.0f} MB), once; remove it when not needed"
    return str(target), [note, *made["notes"]]


def _name(source: str, quant: str) -> str:
    """Changes with what the file is made of: places, sizes and times of the files, and the settings themselves."""
    import hashlib

    path = Path(source).resolve()
    digest = hashlib.sha256(f"{_VERSION} {quant} {path}".encode())
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if not path.is_dir() or file.name in _SMALL or ".safetensors" in file.name:
            found = file.stat()
            digest.update(f"\n{file.name} {found.st_size} {found.st_mtime_ns} ".encode())
            if file.name == "config.json":
                digest.update(file.read_bytes())
    # The hub's cache names folders after commits; the model's name is two levels up.
    named = path.parent.parent if path.parent.name == "snapshots" else path
    plain = "".join(c if c.isalnum() or c in "-._" else "-" for c in named.name.removeprefix("models--"))
    return f"{plain[:80]}-{quant}-{digest.hexdigest()[:16]}.gguf"


class _Lock:
    """An advisory file lock: two processes that start at once write the file once; without locks, both do."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> None:
        self._file = open(f"{self._target}.lock", "w")
        try:
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            return
        # Whoever left a partial file no longer runs: a live writer would hold the lock.
        for stale in self._target.parent.glob(f"{self._target.name}.*.partial"):
            stale.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        self._file.close()
