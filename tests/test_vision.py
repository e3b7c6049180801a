"""Soft tokens of tiny models that see, against what transformers makes of the same pixels (golden/vision.npz)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import gemlet
import pictures
import vision_models
from gemlet import _core
from vision_models import script

GOLDEN = np.load(Path(__file__).parent / "golden" / "vision.npz")


def distance(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


def gradient() -> np.ndarray:
    return pictures.gradient(*script("make_vision").PICTURE)


@pytest.mark.parametrize("name", vision_models.NAMES)
@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_soft_tokens_are_the_reference_s(name: str, kind: str, tmp_path: Path) -> None:
    write = vision_models.write_folder if kind == "folder" else vision_models.write_gguf
    with gemlet.load(write(tmp_path / "m", name), threads=2) as model:
        made = model.encode_image(gradient(), image_tokens=70)
        assert model.sees
        assert model.warnings == []
    wanted = GOLDEN[name]
    assert made.dtype == np.float32
    assert made.shape == wanted.shape
    assert distance(made, wanted) < 1e-5


@pytest.mark.parametrize(("kind", "dtype", "bound"), [
    ("folder", "F16", 1e-2), ("folder", "BF16", 2e-2), ("gguf", "F16", 1e-2), ("gguf", "BF16", 2e-2),
    ("gguf", "Q8_0", 2e-2),
])  # fmt: skip
@pytest.mark.parametrize("name", ["e2b", "31b"])
def test_weights_in_fewer_bits(name: str, kind: str, dtype: str, bound: float, tmp_path: Path) -> None:
    """Rounded weights, and 8-bit products where `compute` allows them: near the reference, and nearer without them."""
    write = vision_models.write_folder if kind == "folder" else vision_models.write_gguf
    path = write(tmp_path / "m", name, dtype)
    with gemlet.load(path) as model:
        quick = model.encode_image(gradient(), image_tokens=70)
    with gemlet.load(path, compute="float32") as model:
        exact = model.encode_image(gradient(), image_tokens=70)
    assert not np.array_equal(quick, exact)
    assert distance(quick, GOLDEN[name]) < 3 * bound
    assert distance(exact, GOLDEN[name]) < bound


def test_threads_company_and_instruction_sets_change_nothing(tmp_path: Path) -> None:
    path = vision_models.write_folder(tmp_path / "m", "e2b", "BF16")
    others = [pictures.noise(60, 200), gradient(), pictures.noise(48, 48)]
    with gemlet.load(path, threads=1) as model:
        alone = model.encode_image(gradient(), image_tokens=70)
        together = _core.see(model._engine, others, 70)
    with gemlet.load(path, threads=3) as model:
        assert np.array_equal(model.encode_image(gradient(), image_tokens=70), alone)
    assert np.array_equal(together[1][0], alone)


def test_budgets_and_auto(tmp_path: Path) -> None:
    with gemlet.load(vision_models.write_folder(tmp_path / "m", "12b")) as model:
        assert len(model.encode_image(pictures.noise(480, 640))) == 266
        assert len(model.encode_image(pictures.noise(480, 640), image_tokens=560)) == 540
        assert len(model.encode_image(pictures.noise(100, 100), image_tokens="auto")) == 64
        with pytest.raises(ValueError, match="70, 140, 280, 560, 1120 or 'auto', not 300"):
            model.encode_image(pictures.noise(10, 10), image_tokens=300)
        with pytest.raises(ValueError, match="more than the 96 positions"):
            model.encode_image(pictures.noise(1, 1000), image_tokens=1120)


def test_a_projector_is_found_by_what_it_says(tmp_path: Path) -> None:
    path = vision_models.write_gguf(tmp_path / "m", "e2b")
    with gemlet.load(path) as model:
        assert _core.vision(model._engine)["path"] == str(tmp_path / "m" / "other.gguf")
        assert _core.vision(model._engine)["side"] == 48


def test_a_projector_of_another_model_is_told(tmp_path: Path) -> None:
    path = vision_models.write_gguf(tmp_path / "m", "e2b")
    maker = script("make_vision")
    maker.write_projector(vision_models.variant("31b"), tmp_path / "m" / "other.gguf")
    with gemlet.load(path) as model:
        assert not model.sees
        assert "have 20 values, the model's 16" in model.warnings[0]
        with pytest.raises(gemlet.MediaError, match="has no part that sees"):
            model.encode_image(gradient())


def test_a_quantised_folder_still_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMLET_CACHE", str(tmp_path / "cache"))
    path = vision_models.write_folder(tmp_path / "m", "31b")
    with gemlet.load(path, quant="f16") as model:
        assert distance(model.encode_image(gradient(), image_tokens=70), GOLDEN["31b"]) < 1e-5


def test_a_text_model_refuses_pictures_and_films(m: gemlet.Model) -> None:
    assert not m.sees
    with pytest.raises(gemlet.MediaError, match=r"image: the model .* has no part that sees"):
        m.encode_image(gradient())
    with pytest.raises(gemlet.MediaError, match=r"video: the model .* has no part that sees"):
        m.encode_video([gradient()])


@pytest.mark.parametrize(("change", "words"), [
    (lambda made: made.pop("vision_tower.encoder.layers.1.mlp.up_proj.linear.weight"), "ffn_up.weight': it is missing"),
    (lambda made: made.update({"vision_tower.patch_embedder.position_embedding_table": np.ones((3, 4, 32), "f4")}),
     r"position_embd.weight': expected \(2, n, 32\), got \(3, 4, 32\)"),
    (lambda made: made.update({"vision_tower.encoder.layers.0.self_attn.q_norm.weight": np.ones(5, np.float32)}),
     r"attn_q_norm.weight': expected \(16\), got \(5\)"),
    (lambda made: made.update({"vision_tower.encoder.layers.0.mlp.up_proj.input_max": np.array(np.nan, np.float32)}),
     "input_max': expected a number, got NaN"),
])  # fmt: skip
def test_damaged_weights_are_named(change: object, words: str, tmp_path: Path) -> None:
    made = script("make_vision").weights(vision_models.variant("e2b"))
    change(made)  # type: ignore[operator]
    with gemlet.load(vision_models.write_folder(tmp_path / "m", "e2b", made=made)) as model:
        assert not model.sees
        assert re.search(words, model.warnings[0])
        assert len(model.generate([2, 5], max_tokens=1, ignore_eos=True).token_ids) == 1  # reading goes on
