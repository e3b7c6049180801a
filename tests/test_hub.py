"""Pulling: the real client of the hub, talking to a hub on loopback."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import gemlet
from gemlet.cli import main
from gemlet.hub import transfer
from gemlet.hub.pull import pull
from gemlet.local import caches, sources
from gemlet.local.names import Name
from hub_cache import PACKAGE, TINY
from hub_server import REPO, TOKEN, WEIGHTS, Repo, cache_of, served

library = pytest.importorskip("huggingface_hub", reason="needs the extra: pip install 'gemlet[hub]'")


@pytest.fixture
def server(tmp_path, monkeypatch):
    with served(tmp_path, monkeypatch) as hub_of_the_test:
        yield hub_of_the_test


def test_a_gguf_file_is_fetched_checked_and_loads_without_a_network(server, tmp_path, monkeypatch):
    told = []
    done = pull(f"{REPO}:q8_0", progress=lambda *step: told.append(step))
    size = TINY.stat().st_size
    assert (done.name, done.format, done.quant, done.bytes) == (f"{REPO}:Q8_0", "gguf", "Q8_0", size)
    assert done.downloaded_bytes == size
    assert Path(done.path).read_bytes() == TINY.read_bytes()
    assert told[0] == ("tiny-Q8_0.gguf", 0, size)
    assert told[-1] == ("tiny-Q8_0.gguf", size, size)
    assert sorted(path.name for path in Path(done.path).parent.iterdir()) == ["tiny-Q8_0.gguf"]
    assert (cache_of(tmp_path) / "refs" / "main").read_text() == done.revision == server.repos[REPO].commit
    # The layout is the library's own: it finds the file too, and knows its content by its hash.
    found = library.try_to_load_from_cache(REPO, "tiny-Q8_0.gguf", cache_dir=tmp_path / "hf" / "hub")
    assert found == done.path
    (entry,) = library.scan_cache_dir(tmp_path / "hf" / "hub").repos
    assert (entry.repo_id, entry.size_on_disk) == (REPO, size)

    def refuse(self, address):
        raise AssertionError(address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with gemlet.load(done.name, context=64) as model:
        assert model.path == done.path
        assert len(model.generate([2, 3], max_tokens=2, ignore_eos=True).token_ids) == 2
    assert not list(cache_of(tmp_path).glob("blobs/*.incomplete"))


def test_a_folder_is_weights_configuration_tokeniser_and_template_only(server):
    done = pull("https://huggingface.co/org/tiny")
    wanted = {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "model.safetensors",
    }
    assert {path.name for path in Path(done.path).iterdir()} == wanted
    assert {file["name"] for file in done.files} == wanted
    assert (done.name, done.format, done.quant) == ("org/tiny", "safetensors", "safetensors")
    assert sources.resolve("org/tiny") == done.path
    assert {request.path.rsplit("/", 1)[1] for request in server.gets()} == wanted


def test_pulling_again_fetches_nothing_and_offline_asks_nobody(server, monkeypatch, capsys):
    first = pull(REPO)
    assert first.quant == "Q4_K_M"
    server.asked.clear()
    again = pull(REPO)
    assert (again.path, again.downloaded_bytes) == (first.path, 0)
    assert [file["cached"] for file in again.files] == [True]
    assert server.gets() == []
    server.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = pull(REPO)
    assert (offline.path, offline.downloaded_bytes, offline.revision) == (first.path, 0, first.revision)
    assert "HF_HUB_OFFLINE" in offline.warnings[0]
    with pytest.raises(gemlet.ModelNotFound, match=r"no model is 'Q8_0'; there is: Q4_K_M"):
        pull(f"{REPO}:Q8_0")
    assert main(["pull", "org/tiny", "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == "ModelNotFound"
    assert "HF_HUB_OFFLINE forbids" in error["message"]
    assert server.asked == []


def test_a_broken_connection_goes_on_where_it_broke(server):
    server.cut["tiny-Q4_K_M.gguf"] = [100_000, 50_000]
    done = pull(REPO)
    assert Path(done.path).read_bytes() == WEIGHTS
    asked = [request.headers.get("range") for request in server.gets("Q4_K_M") if request.port == server.ports[1]]
    assert asked == [None, "bytes=100000-", "bytes=150000-"]


def test_what_an_interrupted_pull_left_is_used(server, tmp_path):
    class Interrupt(Exception):
        pass

    def stop(file: str, done: int, total: int) -> None:
        if done > 60_000:
            raise Interrupt

    server.cut["tiny-Q4_K_M.gguf"] = [70_000]
    with pytest.raises(Interrupt):
        pull(REPO, progress=stop)
    (partial,) = cache_of(tmp_path).glob("blobs/*.incomplete")
    left = partial.stat().st_size
    assert 60_000 < left <= 70_000
    assert not (cache_of(tmp_path) / "refs").exists()
    with pytest.raises(gemlet.ModelNotFound):
        gemlet.load(REPO)
    server.asked.clear()
    done = pull(REPO)
    assert done.downloaded_bytes == len(WEIGHTS) - left
    assert Path(done.path).read_bytes() == WEIGHTS
    assert server.gets("Q4_K_M")[0].headers["range"] == f"bytes={left}-"


def test_a_server_without_ranges_and_a_longer_remainder_start_anew(server, tmp_path):
    server.ranges = False
    server.cut["tiny-Q4_K_M.gguf"] = [100_000]
    assert Path(pull(REPO).path).read_bytes() == WEIGHTS
    blobs = cache_of(tmp_path) / "blobs"
    name = server.repos[REPO].etag("tiny-Q8_0.gguf")
    (blobs / f"{name}.incomplete").write_bytes(bytes(1_000_000))
    assert Path(pull(f"{REPO}:Q8_0").path).read_bytes() == TINY.read_bytes()


def test_the_token_goes_to_the_hub_and_not_to_its_storage(server, monkeypatch):
    server.repos[REPO].private = True
    with pytest.raises(gemlet.ModelNotFound, match=r"no such repository at .*, or a private one .*set HF_TOKEN"):
        pull(REPO)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    server.asked.clear()
    pull(REPO)
    for request in server.asked:
        assert request.headers.get("authorization") == (f"Bearer {TOKEN}" if request.port == server.ports[0] else None)
        agent = request.headers["user-agent"]
        assert agent.startswith("gemlet/")
        assert "torch" not in agent  # telemetry is off
    assert {request.port for request in server.asked} == set(server.ports)


def test_without_hashes_the_library_fetches_and_a_warning_tells(server):
    server.repos["org/tiny"].hashes = False
    done = pull("org/tiny")
    assert (Path(done.path) / "model.safetensors").read_bytes() == b"tensors"
    assert "the hub gives no hash of model.safetensors: its content was not checked" in done.warnings


def test_a_file_too_large_for_plain_requests_is_fetched_by_the_library_and_checked(server, monkeypatch):
    monkeypatch.setattr(transfer, "_LARGEST_PLAIN", 100)
    assert Path(pull(REPO).path).read_bytes() == WEIGHTS
    server.corrupt.add("tiny-Q8_0.gguf")
    with pytest.raises(gemlet.BadFile, match="SHA-256"):
        pull(f"{REPO}:Q8_0")
    assert caches.find(Name(REPO, None, "Q4_K_M"), caches.hub_cache())
    assert [model.name for model in caches.everything()] == [f"{REPO}:Q4_K_M"]


def test_two_that_pull_at_once_fetch_once(server):
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(pull, [REPO, REPO]))
    assert both[0].path == both[1].path
    assert sorted(done.downloaded_bytes for done in both) == [0, len(WEIGHTS)]
    assert len([request for request in server.gets() if request.port == server.ports[1]]) == 1


def test_a_file_system_without_links(server, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(transfer.os, "symlink", refuse)
    done = pull(f"{REPO}:Q8_0")
    assert Path(done.path).is_file()
    assert not Path(done.path).is_symlink()
    assert pull(f"{REPO}:Q8_0").downloaded_bytes == 0
    assert sources.resolve(done.name) == done.path
    assert main(["rm", done.name, "--yes"]) == 0
    assert not Path(done.path).exists()


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_the_bar_on_a_terminal(server, monkeypatch, with_tqdm):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    if not with_tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["pull", REPO]) == 0
    shown = terminal.getvalue()
    assert "tiny-Q4_K_M.gguf" in shown
    assert ("375k/375k" if with_tqdm else "375.0 KiB of 375.0 KiB\n") in shown
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    terminal.truncate(0)
    assert main(["pull", f"{REPO}:Q8_0"]) == 0
    assert "163k" not in terminal.getvalue()
    assert "\r" not in terminal.getvalue()


def test_split_files_come_together_and_parts_that_lack_are_an_error(server):
    parts = {f"big-Q8_0-{i:05d}-of-00003.gguf": bytes([i]) * 50 for i in (1, 2, 3)}
    server.repos["org/big"] = Repo(dict(parts))
    done = pull("org/big")
    assert [file["name"] for file in done.files] == sorted(parts)
    assert done.path.endswith("big-Q8_0-00001-of-00003.gguf")
    del server.repos["org/big"].files["big-Q8_0-00002-of-00003.gguf"]
    with pytest.raises(gemlet.BadFile, match=r"only a part of big-Q8_0: big-Q8_0-00002-of-00003\.gguf missing"):
        pull("org/big")


def test_the_projector_is_told_and_fetched_on_demand(server, capsys):
    assert main(["pull", REPO]) == 0
    said = capsys.readouterr()
    assert "not fetched, for images and sound only: mmproj-tiny-F16.gguf; fetch one with --mmproj" in said.err
    assert main(["pull", REPO, "--mmproj", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["companions"] == [{"name": "mmproj-tiny-F16.gguf", "bytes": 9, "fetched": True}]
    assert facts["downloaded_bytes"] == 9
    assert (Path(facts["path"]).parent / "mmproj-tiny-F16.gguf").read_bytes() == b"projector"
    server.repos[REPO].files["mmproj-tiny-BF16.gguf"] = b"another"
    assert pull(REPO, mmproj=True).files[-1]["name"] == "mmproj-tiny-BF16.gguf"
    with pytest.raises(gemlet.ModelNotFound, match="no projector file"):
        pull("org/tiny", mmproj=True)


def test_a_revision_is_kept_beside_the_default_one(server):
    repo = server.repos[REPO]
    repo.refs["v1"] = repo.commit
    old = pull(f"{REPO}:Q8_0", revision="v1")
    assert old.name == f"{REPO}@v1:Q8_0"
    assert sources.resolve(old.name) == old.path
    repo.files["README.md"] = b"# newer\n"
    new = pull(f"{REPO}:Q4_K_M")
    assert new.revision != old.revision
    assert sources.resolve(f"{REPO}:Q8_0") == old.path  # only the older snapshot has it
    assert sources.resolve(f"{REPO}@{old.revision[:10]}:Q8_0") == old.path
    with pytest.raises(gemlet.ModelNotFound, match="to fetch it: gemlet pull org/tiny-gguf@v2:Q8_0"):
        gemlet.load(f"{REPO}@v2:Q8_0")


def test_the_command_says_little_and_ends_with_the_path(server, capsys):
    assert main(["pull", f"{REPO}:Q8_0"]) == 0
    said = capsys.readouterr()
    path = said.out.strip()
    assert Path(path).read_bytes() == TINY.read_bytes()
    assert "gemlet: fetching tiny-Q8_0.gguf (0 B of 163.0 KiB here)" in said.err
    assert f"use it by this name: gemlet run {REPO}:Q8_0" in said.err
    assert main(["pull", f"{REPO}:Q8_0", "-q"]) == 0
    said = capsys.readouterr()
    assert (said.out.strip(), said.err) == (path, "")
    assert main(["pull", "gemma"]) == 2


def test_ctrl_c_in_a_process_of_its_own_and_on_again(server, tmp_path):
    server.stall["tiny-Q4_K_M.gguf"] = 200_000
    command = [sys.executable, "-W", "error", "-m", "gemlet", "pull", REPO]
    environment = {**os.environ, "PYTHONPATH": PACKAGE}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    ended = time.monotonic() + 30
    while time.monotonic() < ended and not (left := _partial_bytes(tmp_path)):
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=20)[1]
    assert running.returncode == 130, said
    assert "Traceback" not in said
    left = _partial_bytes(tmp_path)
    assert left > 0
    server.stall.clear()
    server.asked.clear()
    done = pull(REPO)
    assert done.downloaded_bytes == len(WEIGHTS) - left
    assert Path(done.path).read_bytes() == WEIGHTS


def _partial_bytes(tmp_path: Path) -> int:
    return sum(path.stat().st_size for path in cache_of(tmp_path).glob("blobs/*.incomplete"))
