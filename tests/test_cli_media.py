"""`gemlet run` and `gemlet chat` with images, sound and video, on a model that was given eyes and ears."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from chat_cases import TEMPLATE
from chat_model import write_model
from gemlet.cli import main
from gemlet.model.model import Model
from gemlet.soft import Senses
from towers import Towers

pytest.importorskip("gguf")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    towers = Towers(16)
    monkeypatch.setattr(Model, "_senses", property(lambda self: Senses(self.name, 16, towers)))
    for name in ("a.png", "v.mp4", "s.wav"):
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return str(write_model(tmp_path / "model.gguf", template=TEMPLATE, per_layer=4))


def piped(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_run_with_media(path, capsys):
    words = ["run", path, "an", "-n", "2", "--temperature", "0", "--ignore-eos", "--json"]
    assert main([*words, "--image", "a.png", "--image-tokens", "70", "--audio", "s.wav", "--video", "v.mp4"]) == 0
    made: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert made["usage"]["image_tokens"] == 3 + 9
    assert made["usage"]["audio_tokens"] == 6
    assert made["warnings"] == ["generate: parts[0]: 3 of 70 tokens"]
    assert main([*words, "--image", "a.png", "--special"]) == 0
    assert json.loads(capsys.readouterr().out)["usage"]["image_tokens"] == 6
    assert main([*words, "--image", "a.png", "--image-tokens", "71"]) == 2
    assert "image_tokens must be one of 70" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main([*words, "--image", "https://x/a.png"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "MediaError"


def test_chat_with_media(path, capsys, monkeypatch, tmp_path):
    lines = ("/image a.png", "/audio s.wav", "an and", "and", "/save talk.json", "/undo", "/undo")
    piped(monkeypatch, *lines)
    assert main(["chat", path, "-n", "3", "--temperature", "0", "--image-tokens", "140"]) == 0
    said = capsys.readouterr().err
    assert f"image: {tmp_path / 'a.png'}, 4 tokens, with the next message; 4 of 140 tokens" in said
    assert f"audio: {tmp_path / 's.wav'}, 6 tokens, with the next message" in said
    assert f"forgotten: {tmp_path / 'a.png'} {tmp_path / 's.wav'} an and" in said
    first = json.loads((tmp_path / "talk.json").read_text())["messages"][0]
    assert [part["type"] for part in first["content"]] == ["image", "audio", "text"]
    assert first["content"][0] == {"type": "image", "image": str(tmp_path / "a.png"), "image_tokens": 140}

    piped(monkeypatch, "/load talk.json", "/retry", "/save again.json")
    assert main(["chat", path, "-n", "3", "--temperature", "0", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["usage"]["image_tokens"], answer["usage"]["audio_tokens"]) == (4, 6)
    again, saved = (json.loads((tmp_path / name).read_text()) for name in ("again.json", "talk.json"))
    assert again["messages"][:3] == saved["messages"][:3]


def test_chat_tells_at_once_what_is_wrong(path, capsys, monkeypatch):
    piped(monkeypatch, "/image nowhere.png", "/image", "/image file:///etc/passwd", "an")
    monkeypatch.setattr(
        Towers, "encode_image", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError("no such file"))
    )
    assert main(["chat", path, "-n", "2", "-q"]) == 1
    said = capsys.readouterr().err
    assert "no such file" in said
    assert "/image needs a file name" in said
    assert "/image: an address ('file:///etc/passwd'), and nothing is fetched" in said
