"""Putting the demo model together: all or nothing, once, and with errors that say what to do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from gemlet import BadFile, GemletError, MissingExtra
from gemlet.local import demo

CONTENT = [b"first part " * 1000, b"second " * 999, b"last"]
WHOLE = b"".join(CONTENT)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small weights package in place of the real one, and an empty cache."""
    chunks = []
    for i, content in enumerate(CONTENT):
        chunks.append(tmp_path / f"part{i}")
        chunks[-1].write_bytes(content)
    weights = types.SimpleNamespace(chunk_paths=lambda: list(chunks), chunks=chunks)
    monkeypatch.setattr(demo, "import_module", lambda name: weights)
    monkeypatch.setattr(demo, "FILE_BYTES", len(WHOLE))
    monkeypatch.setattr(demo, "SHA256", hashlib.sha256(WHOLE).hexdigest())
    monkeypatch.setenv("GEMLET_MODELS", str(tmp_path / "models"))
    return weights


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_made_once_then_only_looked_at(package, tmp_path):
    seen = []
    path = demo.path(progress=lambda *at: seen.append(at))
    assert path == tmp_path / "models" / demo.FILE_NAME
    assert path.read_bytes() == WHOLE
    assert seen[-1] == (len(WHOLE), len(WHOLE))
    assert demo.ready()
    before = path.stat().st_mtime_ns
    package.chunks[0].unlink()  # not needed any more
    assert demo.path() == path
    assert path.stat().st_mtime_ns == before
    assert names(path.parent) == {demo.FILE_NAME, f"{demo.FILE_NAME}.checked", f"{demo.FILE_NAME}.lock"}


def test_a_changed_file_is_made_anew(package):
    path = demo.path()
    path.write_bytes(WHOLE.replace(b"first", b"burst"))
    os.utime(path, ns=(1, 1))
    assert not demo.ready()
    assert demo.path().read_bytes() == WHOLE


def test_a_truncated_file_is_made_anew(package):
    path = demo.path()
    path.write_bytes(WHOLE[:-1])
    assert demo.path().read_bytes() == WHOLE


def test_wrong_content_leaves_nothing_under_the_name(package, tmp_path):
    package.chunks[1].write_bytes(b"other")
    with pytest.raises(BadFile, match=r"SHA-256.*--force-reinstall"):
        demo.path()
    assert names(tmp_path / "models") == {f"{demo.FILE_NAME}.lock"}
    assert not demo.ready()


def test_an_interruption_leaves_nothing_under_the_name(package, tmp_path):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.path(progress=interrupt)
    assert names(tmp_path / "models") == {f"{demo.FILE_NAME}.lock"}


def test_what_a_killed_process_left_is_cleaned_up(package, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / f"{demo.FILE_NAME}.123.partial").write_bytes(b"half")
    assert demo.path().read_bytes() == WHOLE
    assert not list(folder.glob("*.partial"))


def test_a_missing_chunk(package):
    package.chunks[2].unlink()
    with pytest.raises(BadFile, match="part2 is missing"):
        demo.path()


def test_a_missing_package_names_the_install_line(package, monkeypatch):
    def missing(name: str):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(demo, "import_module", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'gemlet\[demo\]'") as caught:
        demo.path()
    assert isinstance(caught.value, ImportError)


def test_a_folder_that_cannot_be_made(package, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("GEMLET_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(GemletError, match="set GEMLET_MODELS"):
        demo.path()


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"GEMLET_MODELS": "/m", "XDG_CACHE_HOME": "/x"}, "/m"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/gemlet"),
        ({"HOME": "/h"}, "/h/.cache/gemlet"),
        ({"HOME": "/h", "GEMLET_MODELS": "~/weights"}, "/h/weights"),
        ({"HOME": "/h", "GEMLET_MODELS": "", "XDG_CACHE_HOME": ""}, "/h/.cache/gemlet"),
    ],
)
def test_where_models_are_kept(environment, folder, monkeypatch):
    for name in ("GEMLET_MODELS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert demo.models_folder() == Path(folder)


RACE = """
import hashlib, sys, types
from pathlib import Path
from gemlet.local import demo
chunks = sorted(Path(sys.argv[1]).glob("part*"))
whole = b"".join(chunk.read_bytes() for chunk in chunks)
demo.FILE_BYTES, demo.SHA256 = len(whole), hashlib.sha256(whole).hexdigest()
demo.import_module = lambda name: types.SimpleNamespace(chunk_paths=lambda: chunks)
made = []
path = demo.path(progress=lambda done, total: made.append(done))
assert path.read_bytes() == whole
print("made" if made else "found")
"""


def test_processes_that_start_at_once_make_it_once(tmp_path):
    for i in range(4):
        (tmp_path / f"part{i}").write_bytes(os.urandom(3 << 20))
    environment = {**os.environ, "GEMLET_MODELS": str(tmp_path / "models")}
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    racing = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = sorted(process.communicate()[0].strip() for process in racing)
    assert [process.returncode for process in racing] == [0, 0, 0]
    assert said == ["found", "found", "made"]
    assert names(tmp_path / "models") == {demo.FILE_NAME, f"{demo.FILE_NAME}.checked", f"{demo.FILE_NAME}.lock"}
