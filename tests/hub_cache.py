"""Writes a repository into a cache folder by hand, in the hub's layout: what its own tools leave behind."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

import gemlet

GOLDEN = Path(__file__).parent / "golden"
TINY = GOLDEN / "gemma3_tiny_q8_0.gguf"
PACKAGE = str(Path(gemlet.__file__).absolute().parents[1])  # for processes that start elsewhere
COMMIT = "a" * 40
OTHER = "b" * 40


def only_this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which no model is there, and the hub's cache that it names."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("GEMLET_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("gemlet.local.demo.installed", lambda: False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hf" / "hub"


def write_repo(cache: Path, repo: str, files: dict[str, bytes], commit: str = COMMIT, ref: str | None = "main") -> Path:
    """The snapshot's folder."""
    folder = cache / ("models--" + repo.replace("/", "--"))
    snapshot = folder / "snapshots" / commit
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if ref:
        path = folder / "refs" / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit)
    return snapshot


def everything_below(folder: Path) -> dict[str, bytes | str]:
    """Names and contents, links as what they say: for comparing before and after."""
    found: dict[str, bytes | str] = {}
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(here, name)
            content = os.readlink(path) if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
            found[str(path.relative_to(folder))] = content
    return found
