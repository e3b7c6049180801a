"""Which models lie on this machine: in the hub's cache, in GEMLET_MODELS, and the demo. Reads only.

The hub's layout (`models--org--name/{refs,snapshots,blobs}`) is read directly, without its package or a network.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelNotFound
from . import demo
from .names import DEFAULT_REVISION, GgufGroup, Name, gguf_groups, is_repo, pick

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMIT = re.compile(r"[0-9a-f]{40}")
_LARGEST_JSON = 1 << 25
_TYPE_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


@dataclass(frozen=True)
class CachedModel:
    """One model that can be loaded by `name`; `path` is what the engine opens, None for a demo not yet put together."""

    name: str
    format: str  # "gguf" or "safetensors"
    quant: str
    path: str | None
    files: tuple[str, ...]
    bytes: int
    modified: float  # seconds since 1970
    revision: str | None
    origin: str  # "hub", "folder" or "demo"
    missing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self.__dict__, "files": list(self.files), "missing": list(self.missing)}


def hub_cache() -> Path:
    """The hub's cache, by the same variables as its own tools: HF_HUB_CACHE, else HF_HOME/hub, else in ~/.cache."""
    if folder := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return _expand(folder)
    if home := os.environ.get("HF_HOME"):
        return _expand(home) / "hub"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (_expand(cache) if cache else Path.home() / ".cache") / "huggingface" / "hub"


def _expand(folder: str) -> Path:
    return Path(os.path.expandvars(folder)).expanduser()


def storage(cache: Path, repo: str) -> Path:
    """The folder of a repository in a cache."""
    return cache / ("models--" + repo.replace("/", "--"))


# ---- the hub's cache


def repos(cache: Path) -> list[str]:
    """The model repositories of a cache."""
    try:
        names = [entry.name for entry in os.scandir(cache) if entry.is_dir()]
    except OSError:
        return []
    found = (name.removeprefix("models--").replace("--", "/", 1) for name in names if name.startswith("models--"))
    return sorted(name for name in found if is_repo(name))


def commit_of(cache: Path, repo: str, revision: str) -> str | None:
    """The commit that a branch or tag stood for when it was last pulled, or that begins like `revision`."""
    folder = storage(cache, repo)
    try:
        commit = (folder / "refs" / revision).read_text(encoding="ascii").strip()
        if COMMIT.fullmatch(commit):
            return commit
    except (OSError, ValueError):
        pass
    if not re.fullmatch(r"[0-9a-f]{7,40}", revision):
        return None
    matches = [commit for commit in commits(cache, repo) if commit.startswith(revision)]
    return matches[0] if len(matches) == 1 else None


def commits(cache: Path, repo: str) -> list[str]:
    """The commits of which something is there, the default branch's first, then the newest."""
    folder = storage(cache, repo) / "snapshots"
    try:
        found = [entry for entry in os.scandir(folder) if entry.is_dir() and COMMIT.fullmatch(entry.name)]
    except OSError:
        return []
    try:
        first = (folder.parent / "refs" / DEFAULT_REVISION).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        first = ""
    found.sort(key=lambda entry: (entry.name != first, -entry.stat().st_mtime, entry.name))
    return [entry.name for entry in found]


def snapshot_files(folder: Path) -> list[str]:
    """The files below a folder that are really there, as relative names; a link to nothing is not."""
    found = []
    for here, _, files in os.walk(folder):
        found += [os.path.join(here, file) for file in files]
    return sorted(os.path.relpath(file, folder).replace(os.sep, "/") for file in found if os.path.isfile(file))


def models_of(cache: Path, repo: str, commit: str) -> list[CachedModel]:
    """The models of one snapshot: its GGUF files, and the folder if it holds safetensors and a configuration."""
    folder = storage(cache, repo) / "snapshots" / commit
    files = snapshot_files(folder)
    found = []
    if is_model_folder(folder, files):
        found.append(_folder_model(folder, files, repo, commit, "hub"))
    groups = gguf_groups(files)
    for group in groups:
        unique = sum(group.label == other.label for other in groups) == 1
        name = str(Name(repo, None, group.label if unique else group.stem))
        found.append(_gguf_model(folder, group, name, commit, "hub"))
    return found


def is_model_folder(folder: Path, files: list[str]) -> bool:
    """Whether a folder holds a model as transformers saves it."""
    return "config.json" in files and any(file.endswith(".safetensors") and "/" not in file for file in files)


def find(name: Name, cache: Path) -> CachedModel | None:
    """The cached model that a name stands for; None if the cache has nothing of it, an error if it has only others.

    Without a revision, the default branch's snapshot comes first; a quant that only an older one has is found there.
    """
    if name.revision is None:
        looked = commits(cache, name.repo)
    else:
        commit = commit_of(cache, name.repo, name.revision)
        looked = [commit] if commit else []
    refusal: ModelNotFound | None = None
    for commit in looked:
        try:
            found = _choose(models_of(cache, name.repo, commit), name, cache, commit)
        except ModelNotFound as error:
            refusal = refusal or error
            continue
        if found is not None:
            return found
    if refusal is not None:
        raise refusal
    return None


def _choose(models: list[CachedModel], name: Name, cache: Path, commit: str) -> CachedModel | None:
    folders = [model for model in models if model.format == "safetensors"]
    if folders and name.quant is None:
        return folders[0]
    files = [model for model in models if model.format == "gguf"]
    if not files:
        if folders:
            raise ModelNotFound(
                f"{name.repo}: no model is {name.quant!r}: it is a folder of safetensors ({folders[0].quant}); load it "
                f"as {name.repo!r}, with quant= to convert it"
            )
        return None
    folder = storage(cache, name.repo) / "snapshots" / commit
    group = pick(gguf_groups(snapshot_files(folder)), name.quant, f"{name.repo}, as far as it is in {cache}")
    return next(model for model in files if model.files == group.files)


# ---- folders of one's own


def own_models(folder: Path | None = None) -> list[CachedModel]:
    """The models of GEMLET_MODELS: GGUF files, by their stems, and model folders, by their names; without the demo."""
    folder = folder or demo.models_folder()
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
    files = [entry.name for entry in entries if entry.name != demo.FILE_NAME and entry.is_file()]
    found = [_gguf_model(folder, group, group.stem, None, "folder") for group in gguf_groups(files)]
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith("."):
            found += folder_models(Path(entry.path), entry.name)
    return found


def folder_models(folder: Path, name: str) -> list[CachedModel]:
    """The models that lie directly in a folder; one by the folder's name, several GGUF files by `name:QUANT`."""
    try:
        files = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return []
    if is_model_folder(folder, files):
        return [_folder_model(folder, files, name, None, "folder")]
    groups = gguf_groups(files)
    return [
        _gguf_model(folder, group, name if len(groups) == 1 else f"{name}:{group.label}", None, "folder")
        for group in groups
    ]


def demo_model() -> CachedModel | None:
    """The demo, if its file or its package is there."""
    path = demo.models_folder() / demo.FILE_NAME
    if not demo.ready() and not demo.installed():
        return None
    made = path.stat().st_mtime if demo.ready() else 0.0
    where = os.fspath(path) if demo.ready() else None
    return CachedModel("demo", "gguf", "Q4_K_M", where, (demo.FILE_NAME,), demo.FILE_BYTES, made, None, "demo")


def everything(cache: Path | None = None) -> Iterator[CachedModel]:
    """All models: the demo, GEMLET_MODELS, the hub's cache. A name is said once, with the newest that it stands for."""
    shipped = demo_model()
    if shipped is not None:
        yield shipped
    yield from own_models()
    cache = cache or hub_cache()
    for repo in repos(cache):
        said: set[str] = set()
        for commit in commits(cache, repo):
            for model in models_of(cache, repo, commit):
                if model.name not in said:
                    said.add(model.name)
                    yield model


# ---- what both have


def _gguf_model(folder: Path, group: GgufGroup, name: str, commit: str | None, origin: str) -> CachedModel:
    total, newest = _measure(folder, group.files)
    path = os.fspath(folder / group.files[0])
    return CachedModel(name, "gguf", group.label, path, group.files, total, newest, commit, origin, group.missing)


def _folder_model(folder: Path, files: list[str], name: str, commit: str | None, origin: str) -> CachedModel:
    total, newest = _measure(folder, files)
    quant = _TYPE_NAMES.get(_dtype(read_json(folder / "config.json")), "unknown")
    missing = tuple(sorted(_shards(folder) - set(files)))
    path = os.fspath(folder)
    return CachedModel(name, "safetensors", quant, path, tuple(files), total, newest, commit, origin, missing)


def _measure(folder: Path, files: list[str] | tuple[str, ...]) -> tuple[int, float]:
    facts = [os.stat(folder / file) for file in files]
    return sum(fact.st_size for fact in facts), max(fact.st_mtime for fact in facts)


def _shards(folder: Path) -> set[str]:
    table = read_json(folder / "model.safetensors.index.json").get("weight_map")
    return {str(file) for file in table.values()} if isinstance(table, dict) else set()


def _dtype(config: dict[str, Any]) -> str:
    inner = config.get("text_config")
    for values in (config, inner if isinstance(inner, dict) else {}):
        for key in ("dtype", "torch_dtype"):
            if isinstance(values.get(key), str):
                return str(values[key])
    return ""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, or nothing: what is wrong with the file is told by whoever loads it."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            return {}
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
