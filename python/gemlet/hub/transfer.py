"""One file from the hub into its cache: resumed where it stopped, hashed as it comes, named only when it is right.

The hub's own download starts anew after an interruption and compares no hashes, which is why this exists.
Requests, addresses and tokens are the library's.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadFile, GemletError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

_BLOCK = 1 << 20
_TRIES = 5  # without a byte of progress between them
_BUSY = (408, 429, 500, 502, 503, 504)
_LARGEST_PLAIN = 50_000_000_000  # past this the hub serves a file through its own library's protocol only


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository as the hub lists it; of the two hashes, at most one is given."""

    name: str
    size: int
    sha256: str | None = None  # of the content, for files in large-file storage
    git_sha1: str | None = None  # of git's header and the content, for the others

    @property
    def etag(self) -> str | None:
        """The name of the file's content in the cache."""
        return self.sha256 or self.git_sha1


class Connection:
    """Fetches files of one commit into a repository's folder. `warnings` says what could not be checked."""

    def __init__(self, hub: Any, endpoint: str, repo: str, commit: str, folder: Path) -> None:
        self._hub, self._endpoint, self._repo, self._commit, self._folder = hub, endpoint, repo, commit, folder
        self.warnings: list[str] = []

    def fetch(self, file: RemoteFile, progress: Callable[[int], object]) -> int:
        """Have the file in its snapshot, and say how many bytes had to come; `progress` is called with those there."""
        if file.etag is None or file.size > _LARGEST_PLAIN:
            return self._by_library(file, progress)
        blob = self._folder / "blobs" / file.etag
        blob.parent.mkdir(parents=True, exist_ok=True)
        locks = self._folder.parent / ".locks" / self._folder.name
        locks.mkdir(parents=True, exist_ok=True)
        fetched = 0
        # The library's own lock: two processes that pull the same file write it once.
        with self._hub.utils.WeakFileLock(locks / f"{file.etag}.lock"):
            if not _has_size(blob, file.size):
                fetched = self._complete(file, blob, progress)
            self._link(blob, file.name)
        progress(file.size)
        return fetched

    def _complete(self, file: RemoteFile, blob: Path, progress: Callable[[int], object]) -> int:
        partial = blob.with_name(f"{blob.name}.incomplete")
        digest = (
            hashlib.sha256() if file.sha256 else hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
        )
        with partial.open("a+b") as out:
            begun = _rehash(out, digest, file.size)
            self._stream(file, out, digest, begun, progress)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != file.etag:
            partial.unlink()
            kind = "SHA-256" if file.sha256 else "git hash"
            raise BadFile(
                f"{self._repo}: {file.name}: the {kind} of what was fetched is {digest.hexdigest()}, the hub's is "
                f"{file.etag}; the damaged file was removed, pull again"
            )
        os.replace(partial, blob)
        return file.size - begun

    def _stream(
        self, file: RemoteFile, out: BinaryIO, digest: Any, have: int, progress: Callable[[int], object]
    ) -> None:
        """Append what is missing, asking again from where the connection broke."""
        failures = 0
        progress(have)
        while have < file.size:
            before = have
            try:
                for block in self._blocks(file, have):
                    if have + len(block) > file.size:
                        raise BadFile(
                            f"{self._repo}: {file.name}: more than the {file.size} bytes that the hub lists came"
                        )
                    out.write(block)
                    digest.update(block)
                    have += len(block)
                    progress(have)
                error: Exception = GemletError(
                    f"{self._repo}: {file.name}: the connection ended at {have} of {file.size} bytes; "
                    "what came is kept, pull again to go on"
                )
            except self._hub.errors.HfHubHTTPError as refused:
                if getattr(refused.response, "status_code", 0) not in _BUSY:
                    raise
                error = refused
            except Exception as broken:
                if not is_transport(self._hub.errors, broken):
                    raise
                error = broken
            if have == file.size:
                return
            failures = failures + 1 if have == before else 1
            if failures >= _TRIES:
                raise error
            _wait(error, failures)

    def _blocks(self, file: RemoteFile, start: int) -> Any:
        """The file's bytes from `start` on."""
        hub = self._hub
        url = hub.hf_hub_url(self._repo, file.name, revision=self._commit, endpoint=self._endpoint)
        headers = hub.utils.build_hf_headers(library_name="gemlet", library_version=_version())
        headers["Accept-Encoding"] = "identity"  # a range of compressed bytes would be of no use
        if start:
            headers["Range"] = f"bytes={start}-"
        seconds = import_module("huggingface_hub.constants").HF_HUB_DOWNLOAD_TIMEOUT
        with hub.get_session().stream("GET", url, headers=headers, timeout=seconds, follow_redirects=True) as response:
            if response.status_code >= 400:
                response.read()
            hub.utils.hf_raise_for_status(response)
            skip = 0
            if start and response.status_code != 206:
                skip = start  # a server without ranges begins at the beginning
            elif start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                told = response.headers.get("Content-Range")
                raise BadFile(
                    f"{self._repo}: {file.name}: asked for the bytes from {start} on, the server sent {told!r}"
                )
            for block in response.iter_bytes():  # as they come: a break then costs nothing that was received
                yield block[skip:]
                skip = max(0, skip - len(block))

    def _by_library(self, file: RemoteFile, progress: Callable[[int], object]) -> int:
        path = Path(
            self._hub.hf_hub_download(
                self._repo,
                file.name,
                revision=self._commit,
                cache_dir=self._folder.parent,
                endpoint=self._endpoint,
                library_name="gemlet",
                library_version=_version(),
            )
        )
        if file.sha256 is None:
            self.warnings.append(f"the hub gives no hash of {file.name}: its content was not checked")
        else:
            with path.open("rb") as source:
                digest = hashlib.sha256()
                while block := source.read(_BLOCK):
                    digest.update(block)
            if digest.hexdigest() != file.sha256:
                (self._folder / "blobs" / file.sha256).unlink(missing_ok=True)
                path.unlink()
                raise BadFile(
                    f"{self._repo}: {file.name}: SHA-256 {digest.hexdigest()}, the hub's is {file.sha256}; removed"
                )
        progress(file.size)
        return path.stat().st_size

    def _link(self, blob: Path, name: str) -> None:
        link = self._folder / "snapshots" / self._commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        new = link.with_name(f"{link.name}.{os.getpid()}.partial")
        new.unlink(missing_ok=True)
        try:
            os.symlink(os.path.relpath(blob, link.parent), new)
        except OSError:  # a file system without links: the file itself goes there
            os.replace(blob, link)
        else:
            os.replace(new, link)


def is_transport(errors: Any, error: BaseException) -> bool:
    """Whether an error is of the connection; the hub's library changed the package that raises it, not the base."""
    bases = [base for base in errors.HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"]
    return isinstance(error, (*bases, ConnectionError, TimeoutError)) and not isinstance(error, errors.HfHubHTTPError)


def _version() -> str:
    from .._core import __version__

    return __version__


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _rehash(out: BinaryIO, digest: Any, size: int) -> int:
    """Bytes that an earlier try left, taken into the digest; what cannot be a beginning is dropped."""
    have = out.seek(0, os.SEEK_END)
    if have > size:
        out.truncate(0)
        return 0
    out.seek(0)
    while block := out.read(_BLOCK):
        digest.update(block)
    return have


def _wait(error: Exception, failures: int) -> None:
    """A second, then twice as long each time; or as long as the server asks, up to a minute."""
    response = getattr(error, "response", None)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    time.sleep(min(60, int(asked)) if asked.isdigit() else 2 ** (failures - 1))
