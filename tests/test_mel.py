"""Log-mel frames against the formula in numpy, and numbers that the reference made once."""

from __future__ import annotations

import numpy as np
import pytest

import sounds
from gemlet._core import testing

# Of a second of a tone of 1000 Hz, half as loud as can be, by transformers' Gemma4AudioFeatureExtractor.
BANDS = [0, 1, 30, 43, 44, 45, 100, 127]
FRAMES = {
    0: [-6.90776, -0.03515, 0.37581, 2.84524, 3.01294, 3.00698, -1.2533, -1.32641],
    50: [-6.90776, -5.72251, -4.7238, 3.12739, 3.63048, 3.60519, -6.84334, -6.89088],
}


def test_a_tone_is_the_reference_s() -> None:
    made = testing.log_mel(sounds.tone(16000))
    assert made.shape == (99, 128)
    for frame, values in FRAMES.items():
        np.testing.assert_allclose(made[frame, BANDS], values, atol=1e-4)  # its own transform is in float32


@pytest.mark.parametrize("samples", [161, 800, 1601, 15999, 16000, 50123])
def test_frames_are_the_formula_s(samples: int) -> None:
    sound = sounds.speech_like(samples)
    np.testing.assert_allclose(testing.log_mel(sound), sounds.log_mel(sound), atol=1e-5)


def test_silence() -> None:
    assert np.all(testing.log_mel(np.zeros(5000, np.float32)) == np.float32(np.log(0.001)))


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (160, 0), (161, 1), (320, 1), (321, 2), (480000, 2999)])
def test_how_many_frames(samples: int, frames: int) -> None:
    assert testing.log_mel(np.zeros(samples, np.float32)).shape == (frames, 128)


@pytest.mark.parametrize("piece", [1, 37, 160, 1000, 1280])
def test_pieces_change_no_bit(piece: int) -> None:
    sound = sounds.speech_like(3333)
    assert np.array_equal(testing.log_mel(sound, piece), testing.log_mel(sound))
