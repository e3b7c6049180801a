"""Soft tokens beside llama.cpp's part that sees (libmtmd), from the same projector files and the same pixels.

For models with an encoder it takes x * sigmoid(1.702 x) for the GELU that the reference takes, unless the file has a
key that released files have not: one part in a hundred. So it is held against the reference with that function.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gemlet
import pictures
import vision_models
from gemlet._core import testing
from vision_models import script

pytestmark = pytest.mark.peer
pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

from mtmd_peer import open_mtmd  # noqa: E402


def distance(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


CASES = [("e2b", "F32", 0.02, 280), ("e2b", "F16", 0.02, 70), ("31b", "F32", 0.02, 70), ("12b", "F32", 1e-5, 70),
         ("12b", "F16", 1e-3, 70)]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "bound", "budget"), CASES)
def test_soft_tokens_of_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, dtype: str, bound: float, budget: int
) -> None:
    maker, v = script("make_vision"), vision_models.variant(name)
    path = vision_models.write_gguf(tmp_path / "m", name, dtype)
    shape = (120, 170)
    picture = pictures.noise(*shape) // 4 + pictures.gradient(*shape) // 2
    pixels = testing.resize(picture, *testing.target_size(*shape, budget))
    tokens = pixels.shape[0] * pixels.shape[1] // 48**2
    with open_mtmd(path, str(tmp_path / "m" / "other.gguf"), width=v.D, tokens=tokens) as peer:
        theirs = peer.encode(pixels)
    with gemlet.load(path, compute="float32") as model:
        ours = model.encode_image(pixels, image_tokens=budget)
    assert ours.shape == theirs.shape == (tokens, v.D)
    assert distance(theirs, ours) < bound
    if v.L:
        pytest.importorskip("torch")
        plain = maker.config
        monkeypatch.setattr(maker, "config", lambda v: {**plain(v), "hidden_activation": "quick_gelu"})
        assert distance(theirs, maker.transformers_part(v, maker.weights(v))(pixels)) < 2e-3
