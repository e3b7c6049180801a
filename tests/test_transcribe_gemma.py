"""Speech to text by a Gemma that hears: pieces of sound as questions, on a tiny model with random ears."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import audio_models
import gemlet
import sounds
from chat_cases import TEMPLATE
from chat_model import write_model
from gemlet.media import voice

pytest.importorskip("gguf")
pytest.importorskip("jinja2")

RATE = 16000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gemlet.Model]:
    folder = tmp_path_factory.mktemp("hearing")
    path = write_model(folder / "model.gguf", template=TEMPLATE, per_layer=4)
    audio_models.script("make_audio").write_projector(audio_models.variant("e2b"), folder / "ears.gguf")
    with gemlet.load(path, context=2048) as made:
        yield made


@pytest.fixture(autouse=True)
def own_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice, "find_spec", lambda name: None)


@pytest.fixture
def asked(model: gemlet.Model, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, dict[str, Any]]]:
    """Questions, soft tokens and options; the answers are short."""
    calls = []
    chat = model.chat

    def short(question: str, *, audio: gemlet.SoftTokens, **options: Any) -> Any:
        calls.append((question, len(audio), dict(options)))
        return chat(question, audio=audio, **{**options, "max_tokens": 6})

    monkeypatch.setattr(model, "chat", short)
    return calls


def talk() -> np.ndarray:
    voiced = sounds.speech_like(3 * RATE)
    quiet = np.zeros(2 * RATE, np.float32)
    return np.concatenate([quiet, voiced, quiet, voiced, quiet])


def test_each_piece_is_a_question(model: gemlet.Model, asked: list[Any]) -> None:
    made = model.transcribe((talk(), RATE), language="de", temperature=0, initial_prompt="Wye")
    assert len(asked) >= 2
    assert sum(count for _, count, _ in asked) == pytest.approx(25 * made.speech, abs=2 * len(asked))
    assert made.speech < made.duration - 3
    for question, _, options in asked:
        assert "'de'" in question
        assert question.endswith("Wye")
        assert options["temperature"] == 0
    assert all(a.end <= b.start for a, b in zip(made.segments, made.segments[1:], strict=False))
    assert 1.4 < asked[0][1] / 25 + 0 < 5
    assert made.warnings[0] == "the times of segments are those of the pieces that the sound was cut into at pauses"
    assert any("cut off after" in text for text in made.warnings)  # six tokens end no answer
    for segment in made:
        assert segment.no_speech_prob is None
        assert segment.avg_logprob is not None
        assert segment.avg_logprob < 0
        assert len(segment.tokens) == 6
    assert made.language == "de"


def test_live_and_loaded_give_the_same(model: gemlet.Model, asked: list[Any]) -> None:
    whole = gemlet.transcribe((talk(), RATE), model, temperature=0, pause=0.6)
    blocks = (talk()[at : at + 1600] for at in range(0, len(talk()), 1600))
    stream = model.transcribe((blocks, RATE), temperature=0)
    assert tuple(stream) == whole.segments
    assert len(whole.segments) >= 1
    assert stream.result.text == whole.text


def test_what_is_whispers_alone_is_told(model: gemlet.Model, asked: list[Any]) -> None:
    made = model.transcribe((talk()[: 4 * RATE], RATE), beam_size=5, every=1.0, task="translate", temperature=(0, 0.5))
    assert "beam_size, every: of Whisper models only, and of no effect here" in made.warnings
    assert "into English" in asked[0][0]


def test_nothing_is_kept_of_a_sound(model: gemlet.Model, asked: list[Any]) -> None:
    model.transcribe((talk(), RATE), temperature=0)
    assert model.memory()["soft_tokens"] == 0


def test_a_damaged_part_of_a_conversation_is_told(model: gemlet.Model) -> None:
    soundfile = pytest.importorskip("soundfile")
    import io

    file = io.BytesIO()
    soundfile.write(file, sounds.speech_like(8 * RATE), RATE, format="FLAC")
    content = bytearray(file.getvalue())
    half = len(content) // 2
    content[half:] = bytes(len(content) - half)
    answer = model.chat("What is said?", audio=bytes(content), max_tokens=2, temperature=0)
    assert len(answer.warnings) == 1
    assert answer.warnings[0].startswith("audio: the file is damaged behind ")
    assert 0 < answer.usage.audio_tokens < 150
    with pytest.raises(gemlet.MediaError, match=r"^audio\[1\]: .*read"):
        model.chat("What is said?", audio=[bytes(content), b"no sound"], max_tokens=2)
    parts = [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]
    with pytest.raises(gemlet.MediaError, match=r"^messages\[0\]"):
        model.chat([{"role": "user", "content": parts}], max_tokens=2)
