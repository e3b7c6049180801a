"""Sizes and the resize of pictures, against what the reference made (golden/image.npz)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pictures
from gemlet._core import testing
from load_tool import maker

GOLDEN = np.load(Path(__file__).parent / "golden" / "image.npz")


@pytest.mark.parametrize("column", range(len(pictures.BUDGETS)))
def test_target_sizes(column: int) -> None:
    for (height, width), sizes in zip(pictures.shapes(), GOLDEN["sizes"], strict=True):
        budget = pictures.BUDGETS[column]
        assert testing.target_size(height, width, budget) == tuple(sizes[column]), (height, width, budget)


def test_resized_pictures_are_the_reference_s() -> None:
    cases = maker("make_image").RESIZED
    assert len(cases) == 5
    for i, (source, target) in enumerate(cases):
        made = testing.resize(pictures.noise(*source, seed=i), *target)
        assert np.array_equal(made, GOLDEN[f"resized{i}"]), (source, target)


def test_threads_and_bands_change_nothing() -> None:
    picture = pictures.noise(333, 200)
    assert np.array_equal(testing.resize(picture, 144, 480, 1), testing.resize(picture, 144, 480, 3))


def test_a_constant_picture_stays_constant() -> None:
    for value in (0, 128, 255):
        assert np.all(testing.resize(np.full((50, 70, 3), value, np.uint8), 96, 48) == value)


def test_smallest_budget_loses_nothing_or_is_the_largest() -> None:
    assert testing.smallest_budget(100, 100) == 70
    assert testing.smallest_budget(480, 640) == 280
    assert testing.smallest_budget(3000, 4000) == 1120


@pytest.mark.parametrize(("height", "width", "tokens", "words"), [
    (0, 5, 280, "at least one pixel"), (5, 0, 280, "at least one pixel"), (5, 5, 256, "70, 140, 280, 560 or 1120"),
])  # fmt: skip
def test_impossible_sizes(height: int, width: int, tokens: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        testing.target_size(height, width, tokens)
