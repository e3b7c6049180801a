"""Log-mel frames of 0.05 s to 30 s live beside the feature extractor of transformers."""

from __future__ import annotations

import numpy as np
import pytest

import sounds
from gemlet._core import testing

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("samples", [800, 801, 959, 961, 4000, 16001, 50123, 127999, 479999, 480000])
def test_frames_are_the_reference_s(samples: int) -> None:
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor

    for loud in (1.0, 0.01):
        sound = sounds.speech_like(samples, seed=samples) * np.float32(loud)
        wanted = Gemma4AudioFeatureExtractor()([sound])
        valid = wanted["input_features"][0][wanted["input_features_mask"][0]]
        made = testing.log_mel(sound)
        assert made.shape == valid.shape
        assert np.max(np.abs(made - valid)) < 1e-4
