"""Sixty shapes of pictures at every budget, live beside the image processor of transformers and torch's resize."""

from __future__ import annotations

import numpy as np
import pytest

import pictures
from gemlet._core import testing

pytestmark = pytest.mark.parity


def test_sixty_shapes_are_resized_alike() -> None:
    import torch
    from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size

    for i, (height, width) in enumerate(pictures.shapes()):
        source = pictures.noise(height, width, seed=i)
        planes = torch.from_numpy(source).permute(2, 0, 1)[None]
        for budget in pictures.BUDGETS:
            size = get_aspect_ratio_preserving_size(height, width, 16, budget * 9, 3)
            assert testing.target_size(height, width, budget) == size
            if budget not in (280, pictures.BUDGETS[i % 5]):  # every budget, each shape twice
                continue
            wanted = torch.nn.functional.interpolate(planes, size=list(size), mode="bicubic", antialias=True)
            made = testing.resize(source, *size, threads=2)
            assert np.array_equal(made, wanted[0].permute(1, 2, 0).numpy()), (height, width, budget)
