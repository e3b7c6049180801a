"""A hub on loopback: repositories of bytes, served as huggingface_hub asks for them, with faults to order.

It answers repository information, HEAD and GET of files with ranges, and redirects large files to a second port, as the
hub does to its storage. It keeps what was asked in `asked`.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from gemlet.local import caches
from hub_cache import TINY, only_this

TOKEN = "hf_goodtoken"
REPO = "org/tiny-gguf"
WEIGHTS = bytes(range(256)) * 1500
CONNECT = socket.socket.connect


@dataclass
class Repo:
    """Files by name; those in `large` are in large-file storage."""

    files: dict[str, bytes]
    large: tuple[str, ...] = (".gguf", ".safetensors", "tokenizer.json")
    private: bool = False
    gated: bool = False
    hashes: bool = True
    refs: dict[str, str] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        names = "".join(f"{name}{hashlib.sha1(data).hexdigest()}" for name, data in sorted(self.files.items()))
        return hashlib.sha1(names.encode()).hexdigest()

    def is_large(self, name: str) -> bool:
        return name.endswith(self.large)

    def etag(self, name: str) -> str:
        data = self.files[name]
        if self.is_large(name):
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def sibling(self, name: str) -> dict[str, Any]:
        if not self.hashes:
            return {"rfilename": name}
        entry: dict[str, Any] = {"rfilename": name, "size": len(self.files[name]), "blobId": "0" * 40}
        if self.is_large(name):
            return {**entry, "lfs": {"sha256": self.etag(name), "size": entry["size"], "pointerSize": 134}}
        return {**entry, "blobId": self.etag(name)}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    port: int
    headers: dict[str, str]


class Hub:
    """The server; `with Hub() as hub:`. Faults are by file name and wear off where a count is given."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.asked: list[Request] = []
        self.cut: dict[str, list[int]] = {}  # bytes after which each next answer breaks off
        self.stall: dict[str, int] = {}  # bytes after which nothing more comes
        self.corrupt: set[str] = set()
        self.status: list[int] = []  # refuse the next requests for files with these
        self.ranges = True
        self.ending = threading.Event()
        self.extra = b""
        self._servers = [
            ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self})) for _ in range(2)
        ]
        self.ports = [server.server_address[1] for server in self._servers]
        self.url = f"http://127.0.0.1:{self.ports[0]}"

    def __enter__(self) -> Hub:
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def gets(self, name: str = "") -> list[Request]:
        """The requests for file contents, of one name or of all."""
        return [r for r in self.asked if r.method == "GET" and "/api/" not in r.path and name in r.path]


class _Handler(BaseHTTPRequestHandler):
    """Answers for the hub that its class was made with."""

    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        port = self.server.server_address[1]
        self.hub.asked.append(Request(self.command, path, port, {k.lower(): v for k, v in self.headers.items()}))
        words = path.strip("/").split("/")
        if words[:2] == ["api", "models"] and len(words) >= 4:
            self._info("/".join(words[2:4]), "/".join(words[5:]) or "main")
        elif len(words) >= 5 and words[2] == "resolve":
            self._resolve("/".join(words[:2]), words[3], "/".join(words[4:]))
        else:
            self._refuse(404, "EntryNotFound")

    def _repo(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repo is None or (repo.private and not known):
            self._refuse(404 if known else 401, "RepoNotFound")
            return None
        return repo

    def _info(self, name: str, revision: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        if revision not in ("main", repo.commit, *repo.refs):
            self._refuse(404, "RevisionNotFound")
            return
        body = {"_id": "1", "id": name, "modelId": name, "private": repo.private, "gated": repo.gated}
        body |= {"sha": repo.refs.get(revision, repo.commit), "siblings": [repo.sibling(f) for f in repo.files]}
        self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _resolve(self, name: str, commit: str, file: str) -> None:
        on_hub = self.server.server_address[1] == self.hub.ports[0]
        repo = self._repo(name) if on_hub else self.hub.repos.get(name)
        if repo is None:
            return
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if on_hub and repo.gated and not known:
            self._refuse(403, "GatedRepo")
        elif file not in repo.files:
            self._refuse(404, "EntryNotFound")
        elif self.hub.status:
            self._refuse(self.hub.status.pop(0), None)
        elif on_hub and repo.is_large(file):
            headers = {"X-Repo-Commit": repo.commit, "X-Linked-Etag": f'"{repo.etag(file)}"'}
            headers |= {"X-Linked-Size": str(len(repo.files[file])), "ETag": f'"{repo.etag(file)}"'}
            place = f"http://127.0.0.1:{self.hub.ports[1]}/{name}/resolve/{commit}/{file}"
            self._send(302, b"", {**headers, "Location": place})
        else:
            self._content(repo, file)

    def _content(self, repo: Repo, file: str) -> None:
        data = repo.files[file]
        if file in self.hub.corrupt:
            data = bytes(byte ^ 1 for byte in data[:10]) + data[10:]
        headers = {"ETag": f'"{repo.etag(file)}"', "X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        status, begin = 200, 0
        asked = self.headers.get("Range")
        if asked and self.hub.ranges:
            begin = int(asked.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            status = 206
        self._send(status, data[begin:], headers, file)

    def _refuse(self, status: int, code: str | None) -> None:
        headers = {"X-Error-Message": "no"} | ({"X-Error-Code": code} if code else {})
        self._send(status, b'{"error": "no"}', headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str], file: str = "") -> None:
        self.send_response(status)
        if not (file and self.hub.extra):
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cuts = self.hub.cut.get(file)
        if cuts:
            self.wfile.write(body[: cuts.pop(0)])
            return
        if file in self.hub.stall:
            self.wfile.write(body[: self.hub.stall[file]])
            self.wfile.flush()
            self.hub.ending.wait(60)
            return
        self.wfile.write(body + (self.hub.extra if file else b""))


@contextmanager
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with two models, and an environment that knows no other."""
    only_this(tmp_path, monkeypatch)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("gemlet.hub.transfer.time", SimpleNamespace(sleep=lambda seconds: None))
    with Hub() as hub:

        def connect(self, address):
            assert address[0] == "127.0.0.1", address
            assert address[1] in hub.ports, address
            return CONNECT(self, address)

        monkeypatch.setattr(socket.socket, "connect", connect)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repos[REPO] = Repo(
            {
                "README.md": b"# tiny\n",
                "tiny-Q8_0.gguf": TINY.read_bytes(),
                "tiny-Q4_K_M.gguf": WEIGHTS,
                "mmproj-tiny-F16.gguf": b"projector",
            }
        )
        hub.repos["org/tiny"] = Repo(folder_files())
        yield hub


def folder_files() -> dict[str, bytes]:
    config = {"model_type": "gemma3_text", "dtype": "bfloat16", "hidden_size": 8}
    return {
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "README.md": b"# tiny\n",
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
        "chat_template.jinja": b"{{ messages }}",
        "model.safetensors": b"tensors",
        "consolidated.safetensors": b"the same again",
        "pytorch_model.bin": b"pickle",
        "onnx/model.onnx": b"onnx",
        "original/model.safetensors": b"elsewhere",
    }


def cache_of(tmp_path: Path, repo: str = REPO) -> Path:
    return caches.storage(tmp_path / "hf" / "hub", repo)
