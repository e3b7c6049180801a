"""`gemlet transcribe`: formats, output files, what is refused, and a microphone that the test speaks into."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sounds
from gemlet import transcription
from gemlet.cli import main
from gemlet.media import voice
from listeners import Scripted

RATE = 16000


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    made = Scripted(lambda *_: "<0> hello <1> <1> world <2>")
    monkeypatch.setattr(transcription, "listener_of", lambda model, **options: made)
    monkeypatch.setattr(voice, "find_spec", lambda name: None)
    return made


@pytest.fixture
def wav(tmp_path: Path) -> str:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "talk.wav", sounds.speech_like(4 * RATE), RATE)
    return str(tmp_path / "talk.wav")


def test_formats(listener: Scripted, wav: str, capsys: Any) -> None:
    assert main(["transcribe", wav, "--no-vad", "--language", "en"]) == 0
    out, err = capsys.readouterr()
    assert out == "hello world\n"
    assert err == "gemlet: 00:04.00 of sound, 00:04.00 of speech, en, scripted\n"
    assert main(["transcribe", wav, "--no-vad", "--format", "srt", "-q"]) == 0
    assert capsys.readouterr() == (
        "1\n00:00:00,000 --> 00:00:01,000\nhello\n\n2\n00:00:01,000 --> 00:00:02,000\nworld\n\n", "",
    )  # fmt: skip
    assert main(["transcribe", wav, "--no-vad", "--format", "vtt", "-q"]) == 0
    assert capsys.readouterr().out.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nhello\n\n")
    for words in (["--json"], ["--format", "json"]):
        assert main(["transcribe", wav, "--no-vad", "-q", *words]) == 0
        made = json.loads(capsys.readouterr().out)
        assert (made["text"], len(made["segments"]), made["duration"]) == ("hello world", 2, 4.0)
    options = ["--beam-size", "2", "--temperature", "0", "--task", "translate", "--initial-prompt", "x", "--end", "3"]
    assert main(["transcribe", wav, "--no-vad", *options]) == 0
    call = listener.calls[-1]
    assert (call["beam_size"], call["temperature"], call["task"]) == (2, 0, "translate")
    assert listener.windows[-1][0] == 3 * RATE


def test_a_file_is_written_whole_or_not(listener: Scripted, wav: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "talk.srt"
    assert main(["transcribe", wav, "--no-vad", "-o", str(out), "-q"]) == 0
    assert out.read_text().startswith("1\n00:00:00,000")
    assert capsys.readouterr().out == ""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    assert main(["transcribe", str(broken), "-o", str(tmp_path / "b.txt")]) == 1
    assert "no sound that can be read" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.wav", "talk.srt", "talk.wav"]


def test_captions_of_a_film(listener: Scripted, tmp_path: Path, capsys: Any) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as film:
        pictures = film.add_stream("mpeg4", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = film.add_stream("aac", rate=48000, layout="stereo")
        for i in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), i, np.uint8), format="rgb24")
            film.mux(pictures.encode(frame))
        samples = np.repeat(sounds.speech_like(RATE * 3), 3)[None].repeat(2, 0)
        heard = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        heard.sample_rate = 48000
        for packet in (*pictures.encode(None), *sound.encode(heard), *sound.encode(None)):
            film.mux(packet)
    assert main(["transcribe", str(path), "--no-vad", "--format", "srt"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    assert "gemlet: warning: audio: 2 channels were mixed to one" in err


@pytest.mark.parametrize(("words", "code", "message"), [
    ([], 2, "give a file, or --mic"),
    (["a.wav", "--mic"], 2, "give a file, or --mic"),
    (["a.wav", "--json", "--format", "srt"], 2, "--json contradicts --format srt"),
    (["/no/such.wav"], 1, "there is no file"),
    (["a.wav", "--langage", "en"], 2, "did you mean --language"),
    (["https://example.org/a.wav"], 1, "nothing is fetched"),
])  # fmt: skip
def test_mistakes(listener: Scripted, words: list[str], code: int, message: str, capsys: Any) -> None:
    assert main(["transcribe", *words]) == code
    assert message in capsys.readouterr().err


class Device:
    """What sounddevice opens: calls back with blocks as soon as it is entered, then is interrupted."""

    PortAudioError = type("PortAudioError", (Exception,), {})
    spoken = np.concatenate([sounds.speech_like(3 * RATE), np.zeros(RATE, np.float32)])

    def __init__(self, *, samplerate: int, channels: int, dtype: str, blocksize: int, callback: Callable[..., object]):
        assert (samplerate, channels, dtype) == (RATE, 1, "float32")
        self._size, self._callback = blocksize, callback

    def __enter__(self) -> None:
        for at in range(0, len(self.spoken), self._size):
            self._callback(self.spoken[at : at + self._size, None], self._size, None, None)

    def __exit__(self, *_: object) -> None: ...


def test_the_microphone(listener: Scripted, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import queue

    class Interrupted(queue.SimpleQueue):  # type: ignore[type-arg]
        def get(self, *args: Any) -> Any:
            if self.empty():
                raise KeyboardInterrupt
            return super().get()

    fake = types.SimpleNamespace(InputStream=Device, PortAudioError=Device.PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(queue, "SimpleQueue", Interrupted)
    assert main(["transcribe", "--mic", "-q"]) == 0
    assert capsys.readouterr().out == "hello world\n"


def test_no_microphone(listener: Scripted, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["transcribe", "--mic"]) == 1
    assert "pip install 'gemlet[mic]'" in capsys.readouterr().err

    def none(**_: object) -> None:
        raise Device.PortAudioError("no default input device")

    fake = types.SimpleNamespace(InputStream=none, PortAudioError=Device.PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    assert main(["transcribe", "--mic"]) == 1
    assert "no input device can be opened: no default input device" in capsys.readouterr().err
