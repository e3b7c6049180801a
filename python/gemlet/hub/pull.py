"""Getting models from the hub: what a repository holds, which of it is wanted, and all of that in the hub's cache.

With `transfer`, which fetches one file, the only part that connects, and only when `pull` is called.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import BadFile, GemletError, MissingExtra, ModelNotFound
from ..local import caches, names
from ..local.names import Name
from .transfer import Connection, RemoteFile, is_transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_TRUE = {"1", "ON", "YES", "TRUE"}
_LISTING_SECONDS = 30
_MODEL_SAFETENSORS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
# Beside the weights of a folder: what configuration, tokeniser and chat template can be read from.
_FOLDER_FILES = {
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
}


@dataclass
class Pulled:
    """What `pull` did: `path` can be loaded; `companions` were seen and left unless asked for."""

    name: str
    repo: str
    revision: str
    format: str
    quant: str
    path: str
    files: list[dict[str, Any]]
    bytes: int
    downloaded_bytes: int
    companions: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def offline() -> bool:
    """Whether the environment forbids the hub: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""
    return any(os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, else the public one."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def pull(
    name: str,
    *,
    revision: str | None = None,
    mmproj: bool = False,
    progress: Callable[[str, int, int], object] | None = None,
) -> Pulled:
    """Fetch a model into the hub's cache, or find it there; every file is checked against the hub's hashes.

    name: "org/name", "org/name:quant", or its address. revision: a branch, tag or commit; the default branch if None.
    mmproj: also the projector for images and sound beside a GGUF model. progress: gets (file, done, total) bytes.

    >>> pull("gemma")
    Traceback (most recent call last):
    ValueError: pull: 'gemma' is no repository of the hub; expected 'org/name' or 'org/name:quant'
    """
    asked = _asked(name, revision)
    cache = caches.hub_cache()
    if offline():
        return _cached(asked, cache)
    hub = _library()
    commit, files = _listing(hub, asked)
    wanted, companions, quant = choose(files, asked.quant, asked.repo, mmproj)
    folder = caches.storage(cache, asked.repo)
    absent = [file for file in wanted if not _is_there(folder, commit, file)]
    _check_space(folder, absent)
    total = sum(file.size for file in absent)
    fetched = before = 0
    connection = Connection(hub, endpoint(), asked.repo, commit, folder)
    for file in absent:

        def told(done: int, file: RemoteFile = file, before: int = before) -> None:
            if progress is not None:
                progress(file.name, before + done, total)

        with _explained(hub, asked):
            fetched += connection.fetch(file, told)
        before += file.size
    _write_ref(folder, asked.revision or names.DEFAULT_REVISION, commit)
    snapshot = folder / "snapshots" / commit
    gguf = wanted[0].name.lower().endswith(".gguf")
    return Pulled(
        name=str(Name(asked.repo, asked.revision, quant if gguf else None)),
        repo=asked.repo,
        revision=commit,
        format="gguf" if gguf else "safetensors",
        quant=quant,
        path=os.fspath(snapshot / wanted[0].name) if gguf else os.fspath(snapshot),
        files=[
            {"name": file.name, "bytes": file.size, "sha256": file.sha256, "cached": file not in absent}
            for file in wanted
        ],
        bytes=sum(file.size for file in wanted),
        downloaded_bytes=fetched,
        companions=[{"name": file.name, "bytes": file.size, "fetched": file in wanted} for file in companions],
        warnings=connection.warnings,
    )


def _asked(name: str, revision: str | None) -> Name:
    asked = names.parse(name)
    if asked is None:
        raise ValueError(f"pull: {name!r} is no repository of the hub; expected 'org/name' or 'org/name:quant'")
    if revision is not None and not names.is_revision(revision):
        raise ValueError(f"pull: revision {revision!r} is no branch, tag or commit")
    if revision is not None and asked.revision not in (None, revision):
        raise ValueError(f"pull: revision {revision!r} contradicts {name!r}")
    return Name(asked.repo, revision or asked.revision, asked.quant)


def choose(
    files: Sequence[RemoteFile], quant: str | None, repo: str, mmproj: bool = False
) -> tuple[list[RemoteFile], list[RemoteFile], str]:
    """Of a repository's files: those to have, the companions beside them, and the quant's name.

    >>> listed = [RemoteFile("a-Q8_0.gguf", 8), RemoteFile("a-Q4_K_M.gguf", 4), RemoteFile("mmproj-a-F16.gguf", 1)]
    >>> [[file.name for file in part] for part in choose(listed, None, "org/a")[:2]]
    [['a-Q4_K_M.gguf'], ['mmproj-a-F16.gguf']]
    """
    by_name = {file.name: file for file in files}
    groups = names.gguf_groups(by_name)
    if groups:
        group = names.pick(groups, quant, repo)
        if group.missing:
            raise BadFile(f"{repo}: the hub has only a part of {group.stem}: {names.listed(group.missing)} missing")
        companions = [file for file in files if names.is_companion(file.name)]
        unique = sum(group.label == other.label for other in groups) == 1
        wanted = [by_name[name] for name in group.files]
        return (
            wanted + ([_projector(companions, repo)] if mmproj else []),
            companions,
            group.label if unique else group.stem,
        )
    if quant is not None or mmproj:
        what = f"{quant!r} to choose" if quant is not None else "projector file"
        raise ModelNotFound(f"{repo}: there are no GGUF files, so there is no {what}; pull it as {repo!r}")
    weights = [name for name in by_name if name.endswith(".safetensors") and "/" not in name]
    weights = [name for name in weights if _MODEL_SAFETENSORS.fullmatch(name)] or weights
    if not weights or "config.json" not in by_name:
        kinds = names.listed(os.path.splitext(name)[1] or name for name in by_name)
        raise ModelNotFound(f"{repo}: expected *.gguf, or config.json with *.safetensors; the repository has: {kinds}")
    names_wanted = [name for name in by_name if name in weights or name in _FOLDER_FILES]
    # Small files first: what is wrong with access or the connection shows before gigabytes are on their way.
    return sorted((by_name[name] for name in names_wanted), key=lambda file: (file.size, file.name)), [], "safetensors"


def _projector(companions: Sequence[RemoteFile], repo: str) -> RemoteFile:
    if not companions:
        raise ModelNotFound(f"{repo}: there is no mmproj file; pull it without --mmproj")
    for kind in ("BF16", "F16", ""):
        fitting = [file for file in companions if kind in re.split(r"[-_.]", file.name.upper()) or not kind]
        if len(fitting) == 1:
            return fitting[0]
    raise ModelNotFound(f"{repo}: more than one mmproj file: {names.listed(file.name for file in companions)}")


# ---- asking the hub


def _library() -> Any:
    # Read once, when the library is imported: without it, requests say which other packages are installed.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        hub = import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtra("pull: huggingface_hub is not installed; run: pip install 'gemlet[hub]'") from error
    constants: Any = import_module("huggingface_hub.constants")
    constants.HF_HUB_DISABLE_TELEMETRY = True  # if somebody imported it before
    return hub


def _listing(hub: Any, asked: Name) -> tuple[str, list[RemoteFile]]:
    from .._core import __version__

    api = hub.HfApi(endpoint=endpoint(), library_name="gemlet", library_version=__version__)
    with _explained(hub, asked):
        try:
            info = api.model_info(asked.repo, revision=asked.revision, files_metadata=True, timeout=_LISTING_SECONDS)
        except (ValueError, KeyError, TypeError) as error:
            raise BadFile(f"{asked.repo}: what {endpoint()} answers is no listing of the hub: {error!r}") from error
    if not isinstance(info.sha, str) or not caches.COMMIT.fullmatch(info.sha):
        raise BadFile(f"{asked.repo}: the hub says that its commit is {info.sha!r}; expected 40 hexadecimal digits")
    return info.sha, [_remote_file(asked.repo, sibling) for sibling in info.siblings or ()]


def _remote_file(repo: str, sibling: Any) -> RemoteFile:
    name, size = sibling.rfilename, sibling.size
    if not isinstance(name, str) or not names.is_inside(name):
        raise BadFile(f"{repo}: the hub lists a file {name!r}, a name that leaves its folder; nothing was fetched")
    sha256 = sibling.lfs.get("sha256") if sibling.lfs else None
    git_sha1 = None if sibling.lfs else sibling.blob_id
    for text, digits in ((sha256, 64), (git_sha1, 40)):
        if text is not None and not (isinstance(text, str) and re.fullmatch(rf"[0-9a-f]{{{digits}}}", text)):
            raise BadFile(f"{repo}: the hub gives {name} the hash {text!r}; expected {digits} hexadecimal digits")
    if size is not None and (not isinstance(size, int) or size < 0):
        raise BadFile(f"{repo}: the hub says that {name} has {size!r} bytes")
    return RemoteFile(name, 0) if size is None else RemoteFile(name, size, sha256, git_sha1)


@contextmanager
def _explained(hub: Any, asked: Name) -> Iterator[None]:
    """Turns what the hub, the connection or the disk refuses into errors that say what to do."""
    try:
        yield
    except GemletError:
        raise
    except Exception as error:
        text = explanation(hub.errors, error, asked)
        if text is None:
            raise
        missing = (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError)
        gated = isinstance(error, hub.errors.GatedRepoError)
        raise (ModelNotFound if isinstance(error, missing) and not gated else GemletError)(text) from error


def explanation(errors: Any, error: Exception, asked: Name) -> str | None:
    """A refusal of the hub in words, or None for an error that is not the hub's."""
    token = "with the token of HF_TOKEN or `hf auth login`" if _has_token() else "without a token: set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{asked.repo}: access is granted on request only; accept its terms at {endpoint()}/{asked.repo} and pull "
            f"with that account (asked {token})"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{asked.repo}: no such repository at {endpoint()}, or a private one (asked {token})"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{asked.repo}: no revision {asked.revision!r} at {endpoint()}"
    if isinstance(error, errors.HfHubHTTPError):
        status = int(getattr(error.response, "status_code", 0))
        reason = {401: f"; the token is not accepted (asked {token})", 403: "; access is denied", 429: "; ask later"}
        return f"{asked.repo}: {endpoint()} answered with status {status}{reason.get(status, '')}"
    if is_transport(errors, error) or isinstance(error, errors.LocalEntryNotFoundError):
        kind = str(error) or type(error).__name__
        return f"{asked.repo}: cannot reach {endpoint()}: {kind}; what was fetched is kept, pull again to go on"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{asked.repo}: the disk is full; what was fetched is kept: make room and pull again to go on"
    return None


def _has_token() -> bool:
    return bool(import_module("huggingface_hub").get_token())


# ---- the cache


def _is_there(folder: Path, commit: str, file: RemoteFile) -> bool:
    try:
        return (folder / "snapshots" / commit / file.name).stat().st_size == file.size
    except OSError:
        return False


def _check_space(folder: Path, absent: Sequence[RemoteFile]) -> None:
    need = 0
    for file in absent:
        need += file.size
        for name in (f"{file.etag}", f"{file.etag}.incomplete"):  # already there, or begun
            try:
                need -= min(file.size, (folder / "blobs" / name).stat().st_size)
                break
            except OSError:
                pass
    where = folder
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free
    if need > free:
        raise GemletError(
            f"pull: {need / 1e6:,.1f} MB to fetch, {free / 1e6:,.1f} MB free in {where}; make room (gemlet rm), or "
            "set HF_HUB_CACHE to a folder on another disk"
        )


def _write_ref(folder: Path, revision: str, commit: str) -> None:
    # Last of all: until then the revision means the snapshot that was complete before.
    if revision == commit:
        return
    path = folder / "refs" / revision
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(commit, encoding="ascii")
    os.replace(partial, path)


def _cached(asked: Name, cache: Path) -> Pulled:
    found = caches.find(asked, cache)
    if found is None or found.path is None or found.missing:
        part = f"only a part of it is in {cache}" if found else f"it is not in {cache}"
        raise ModelNotFound(f"{asked}: {part}, and HF_HUB_OFFLINE forbids to fetch it; unset it to pull")
    snapshot = caches.storage(cache, asked.repo) / "snapshots" / str(found.revision)
    files = [
        {"name": name, "bytes": (snapshot / name).stat().st_size, "sha256": None, "cached": True}
        for name in found.files
    ]
    told = ["HF_HUB_OFFLINE is set: this is the model as it lies in the cache, the hub was not asked"]
    quant = found.quant if found.format == "gguf" else "safetensors"
    name = str(Name(asked.repo, asked.revision, found.quant if found.format == "gguf" else None))
    return Pulled(
        name, asked.repo, str(found.revision), found.format, quant, found.path, files, found.bytes, 0, [], told
    )
