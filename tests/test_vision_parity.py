"""Soft tokens of tiny models at every budget and many shapes, live beside transformers; and what 8 bits cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gemlet
import load_tool
import pictures
import vision_models
from gemlet._core import testing
from vision_models import script

pytestmark = pytest.mark.parity
SHAPES = ((480, 640), (1000, 170), (90, 400), (48, 48), (333, 333))


@pytest.mark.parametrize("name", vision_models.NAMES)
def test_every_budget(name: str, tmp_path: Path) -> None:
    maker, v = script("make_vision"), vision_models.variant(name)
    run = maker.transformers_part(v, maker.weights(v))
    with gemlet.load(vision_models.write_folder(tmp_path / "m", name), threads=2) as model:
        for budget, (height, width) in zip(pictures.BUDGETS, SHAPES, strict=True):
            picture = pictures.noise(height, width, seed=budget)
            wanted = run(testing.resize(picture, *testing.target_size(height, width, budget), 2))
            made = model.encode_image(picture, image_tokens=budget)
            assert made.shape == wanted.shape
            assert np.linalg.norm(made - wanted) <= 1e-4 * np.linalg.norm(wanted), (name, budget)


def test_padding_as_the_processor_does_changes_nothing() -> None:
    maker, v = script("make_vision"), vision_models.variant("e2b")
    picture = testing.resize(pictures.noise(60, 90), *testing.target_size(60, 90, 70))
    plain = maker.transformers_part(v, maker.weights(v))(picture)
    padded = maker.transformers_part(v, maker.weights(v), patches=630)(picture)
    assert np.linalg.norm(padded - plain) <= 1e-5 * np.linalg.norm(plain)


@pytest.mark.slow
def test_rounding_costs_a_few_thousandths_at_real_size(tmp_path: Path) -> None:
    """E2B's width, heads and layers, random weights in bfloat16, at 70 tokens."""
    benchmark = load_tool.script(Path(__file__).resolve().parents[1] / "benchmarks" / "vision.py")
    maker, v, made = benchmark.tower()
    picture = pictures.gradient(750, 1000) // 2 + pictures.noise(750, 1000) // 2
    resized = testing.resize(picture, *testing.target_size(750, 1000, 70), 2)
    wanted = maker.transformers_part(v, made)(resized)
    with gemlet.load(vision_models.write_variant(tmp_path / "m", maker, v, made, "BF16"), threads=2) as model:
        assert benchmark.distance(model.encode_image(resized, image_tokens=70), wanted) <= 0.003
