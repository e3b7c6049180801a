"""Soft tokens of sounds of 0.05 s to 30 s live beside transformers' feature extractor and tower, in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import audio_models
import gemlet
import sounds
from audio_models import script

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", audio_models.NAMES)
def test_soft_tokens_are_the_reference_s(name: str, tmp_path: Path) -> None:
    maker = script("make_audio")
    v = audio_models.variant(name)
    reference = maker.transformers_part(v, maker.weights(v))
    with gemlet.load(audio_models.write_folder(tmp_path / "m", name), threads=2) as model:
        for samples in (800, 801, 1601, 3333, 16001, 50123, 200_000, 479_999, 480_000):
            sound = sounds.speech_like(samples, seed=samples)
            made, wanted = model.encode_audio((sound, 16000)), reference(sound)
            assert made.shape == wanted.shape
            assert np.linalg.norm(made - wanted) <= 1e-4 * np.linalg.norm(wanted), samples  # 0: silence of the 12B
