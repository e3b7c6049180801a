"""Pulling what is damaged, forbidden, absent or hostile: one clear error each, and nothing wrong left behind."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("huggingface_hub", reason="needs the extra: pip install 'gemlet[hub]'")
import gemlet
from gemlet.hub import transfer
from gemlet.hub.pull import pull
from hub_server import REPO, TOKEN, WEIGHTS, Repo, cache_of, served


@pytest.fixture
def server(tmp_path, monkeypatch):
    with served(tmp_path, monkeypatch) as hub_of_the_test:
        yield hub_of_the_test


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_damaged_content_is_refused_and_removed(server, tmp_path, file):
    server.corrupt.add(file)
    with pytest.raises(gemlet.BadFile, match=rf"{file}: the .* of what was fetched is .*removed, pull again"):
        pull("org/tiny")
    folder = cache_of(tmp_path, "org/tiny")
    etag = server.repos["org/tiny"].etag(file)
    assert not list(folder.glob(f"blobs/{etag}*"))
    assert not list(folder.glob(f"snapshots/*/{file}"))
    server.corrupt.clear()
    assert (Path(pull("org/tiny").path) / file).exists()


def test_more_bytes_than_listed_are_refused(server):
    server.extra = b"and more"
    with pytest.raises(gemlet.BadFile, match=r"more than the 384000 bytes that the hub lists"):
        pull(REPO)


def test_a_damaged_beginning_is_found_too(server, tmp_path):
    blobs = cache_of(tmp_path) / "blobs"
    blobs.mkdir(parents=True)
    partial = blobs / f"{server.repos[REPO].etag('tiny-Q4_K_M.gguf')}.incomplete"
    partial.write_bytes(b"something else")
    with pytest.raises(gemlet.BadFile, match="SHA-256"):
        pull(REPO)
    assert not partial.exists()
    assert Path(pull(REPO).path).read_bytes() == WEIGHTS


def test_a_gated_model_says_where_to_ask(server, monkeypatch):
    server.repos[REPO].gated = True
    with pytest.raises(
        gemlet.GemletError, match=rf"accept its terms at {server.url}/{REPO} .*without a token"
    ) as caught:
        pull(REPO)
    assert not isinstance(caught.value, gemlet.ModelNotFound)
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(gemlet.GemletError, match="asked with the token of HF_TOKEN"):
        pull(REPO)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert pull(REPO).downloaded_bytes == len(WEIGHTS)


def test_what_is_not_there_is_said(server, monkeypatch):
    with pytest.raises(gemlet.ModelNotFound, match=r"org/nothing: no such repository"):
        pull("org/nothing")
    with pytest.raises(gemlet.ModelNotFound, match=r"no revision 'v9'"):
        pull(REPO, revision="v9")
    with pytest.raises(gemlet.ModelNotFound, match=r"no model is 'Q5_K_M'; there is: Q4_K_M, Q8_0"):
        pull(f"{REPO}:Q5_K_M")
    with pytest.raises(gemlet.ModelNotFound, match="no GGUF files"):
        pull("org/tiny:Q8_0")
    server.repos["org/data"] = Repo({"a.csv": b"1", "README.md": b"2"})
    with pytest.raises(gemlet.ModelNotFound, match=r"expected \*\.gguf, or config.json.*has: \.csv, \.md"):
        pull("org/data")
    for wrong in ("tiny", "org/../etc", "org/tiny/more", "/org/tiny", "org/tiny:", "org/--", ""):
        with pytest.raises(ValueError, match="is no repository of the hub"):
            pull(wrong)
    with pytest.raises(ValueError, match="is no branch, tag or commit"):
        pull(REPO, revision="../../main")
    with pytest.raises(ValueError, match="revision 'v1' contradicts 'org/tiny-gguf@v2'"):
        pull(f"{REPO}@v2", revision="v1")
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/nowhere")
    with pytest.raises(gemlet.GemletError, match="status 404"):
        pull(REPO)


def test_a_hub_that_cannot_be_reached(server, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        server.ports.append(port)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        with pytest.raises(gemlet.GemletError, match=rf"cannot reach http://127\.0\.0\.1:{port}: "):
            pull(REPO)


def test_a_busy_hub_is_asked_again_but_not_for_ever(server, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=waits.append))
    server.status = [503, 429]
    assert pull(REPO).downloaded_bytes == len(WEIGHTS)
    assert waits == [1, 2]
    server.status = [503] * 20
    with pytest.raises(gemlet.GemletError, match="answered with status 503"):
        pull(f"{REPO}:Q8_0")
    assert len(server.status) == 15
    server.status = [500]
    server.cut["tiny-Q8_0.gguf"] = [0] * 9
    with pytest.raises(gemlet.GemletError, match=r"cannot reach|the connection ended"):
        pull(f"{REPO}:Q8_0")


@pytest.mark.parametrize(
    "name",
    ["../../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf", "a\\..\\evil.gguf", "a//b.gguf", "./e.gguf", "n\n"],
)
def test_names_that_leave_the_folder_are_refused(server, tmp_path, name):
    server.repos[REPO].files[name] = b"evil"
    with pytest.raises(gemlet.BadFile, match="a name that leaves its folder; nothing was fetched"):
        pull(f"{REPO}:Q8_0")
    assert not (tmp_path / "hf").exists()
    assert server.gets() == []


def test_hashes_that_are_none_are_refused(server, monkeypatch):
    for field, value in (("etag", lambda self, name: "../../../evil"), ("commit", "../../evil")):
        with monkeypatch.context() as changed:
            changed.setattr(Repo, field, value)
            with pytest.raises(gemlet.BadFile, match=r"expected (64|40) hexadecimal digits"):
                pull(REPO)


def test_a_disk_that_is_too_small(server, monkeypatch):
    monkeypatch.setattr("gemlet.hub.pull.shutil.disk_usage", lambda path: type("Usage", (), {"free": 280_000}))
    with pytest.raises(gemlet.GemletError, match=r"0\.4 MB to fetch, 0\.3 MB free in .*; make room"):
        pull(REPO)
    assert server.gets() == []
