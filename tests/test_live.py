"""Speech that is just coming: what is final does not depend on when it comes, and what is not yet is shown."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gemlet
import sounds
from gemlet.media import voice
from gemlet.speech.stitching import agreed
from gemlet.speech.utterances import Utterances
from listeners import Scripted

RATE = 16000


@pytest.fixture(autouse=True)
def own_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice, "find_spec", lambda name: None)


def told(samples: np.ndarray, _: Any) -> str:
    """A word for each second that there is."""
    count = round(len(samples) / RATE)
    return "<0> " + " ".join(f"w{i}" for i in range(count)) + f" <{len(samples) // 320 * 0.02:.2f}>"


def talk() -> np.ndarray:
    voiced = np.concatenate([sounds.speech_like(3 * RATE, seed) for seed in (0, 0)])
    quiet = np.zeros(2 * RATE)
    return np.concatenate([quiet, voiced, quiet, voiced[: 3 * RATE], quiet]).astype(np.float32)


def played(samples: np.ndarray, step: int, wait: float = 0.0) -> Iterator[np.ndarray]:
    for at in range(0, len(samples), step):
        if wait:
            time.sleep(wait)
        yield samples[at : at + step]


def test_final_segments_are_the_same_however_it_comes() -> None:
    sound = talk()
    steps = (160, 1280, 70_000)
    every = [gemlet.transcribe((played(sound, step), RATE), Scripted(told)) for step in steps]
    made = [[segment for segment in stream if segment.final] for stream in every]
    assert made[0] == made[1] == made[2]
    assert len(made[0]) >= 2
    assert [segment.id for segment in made[0]] == list(range(len(made[0])))
    assert 1.4 < made[0][0].start < 2.2
    assert all(segment.final for segment in made[0])
    stream = gemlet.transcribe((played(sound, 8000, 0.03), RATE), Scripted(told))
    waiting = [next(stream)]
    assert (waiting[0].final, stream.language) == (False, None)  # what is provisional settles nothing
    waiting += stream
    finals = [segment for segment in waiting if segment.final]
    assert [(s.start, s.end, s.text) for s in finals] == [(s.start, s.end, s.text) for s in made[0]]
    early = [segment for segment in waiting if not segment.final]
    assert len(early) >= 4
    assert early[1].agreed == early[0].text  # its words come up again in the next one
    for segment in early:
        after = next(s for s in finals if s.id == segment.id)
        assert after.start <= segment.start + 0.5
        assert after.text.startswith(segment.text)


def test_blocks_alone_are_at_16_khz() -> None:
    stream = gemlet.transcribe(played(talk(), 4000), Scripted(told))
    with stream:
        first = next(stream)
        assert first.final
    assert stream.result.segments == (first,)
    assert stream.text == first.text.strip()
    assert stream.language == "de"
    whole = gemlet.transcribe(played(talk(), 4000), Scripted(told), stream=False)
    assert whole.duration == pytest.approx(len(talk()) / RATE)


def test_no_pause_is_waited_for_too_long() -> None:
    utterances = Utterances(lambda frame: 0.9 - 0.4 * (frame[0] < 0.1), pause=0.6, longest=5.0)
    sound = np.full(20 * RATE, 0.2, np.float32)
    sound[3 * RATE : 3 * RATE + 2048] *= 0.05  # the quietest moment
    runs = [run for frame in voice.frames([sound]) if (run := utterances.feed(frame)) is not None]
    ends = [run.at + len(run.samples) for run in runs]
    assert abs(ends[0] - 3 * RATE) < 3000
    assert all(len(run.samples) <= 5 * RATE for run in runs)
    assert [run.at for run in runs[1:]] == ends[:-1]  # nothing is lost in between


def test_a_click_is_no_utterance() -> None:
    sound = np.zeros(3 * RATE, np.float32)
    sound[RATE : RATE + 300] = 0.9
    listener = Scripted(told)
    stream = gemlet.transcribe((played(sound, 1600), RATE), listener)
    assert list(stream) == []
    assert stream.warnings == ["audio: no speech was found; vad=False hears all of it"]
    assert listener.windows == []


def test_all_of_it_is_heard_without_voice_activity() -> None:
    listener = Scripted(told)
    segments = list(gemlet.transcribe((played(np.zeros(40 * RATE, np.float32), 1600), RATE), listener, vad=False))
    assert segments[-1].end == pytest.approx(40, abs=0.05)
    assert sum(size for size, seconds in listener.windows if seconds == 30) == pytest.approx(40 * RATE, abs=RATE)


def test_memory_does_not_grow() -> None:
    voiced = np.concatenate([sounds.speech_like(3 * RATE), np.zeros(2 * RATE, np.float32)])
    peaks = []

    def long() -> Iterator[np.ndarray]:
        for _ in range(9):
            yield from played(voiced, 4000)
            peaks.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        count = sum(1 for _ in gemlet.transcribe((long(), RATE), Scripted(told)))
    finally:
        tracemalloc.stop()
    assert count >= 9
    assert max(peaks[4:]) - min(peaks[4:]) < 1 << 20


def test_words_agree_whatever_their_punctuation() -> None:
    assert agreed(" And so, my", " And so my fel") == " And so my"
    assert agreed("", " And") == ""
    assert agreed(" One two", " One three") == " One"
