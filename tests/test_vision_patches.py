"""Which pixel goes where, and with which position: towers without layers' part in it, beside plain numpy.

A soft token of the encoder is the mean of nine patches, each a product of its pixels plus the embeddings of its column
and its row; of the model without an encoder it is one square, normed. Layers are kept out by weights of zero, so that
a patch, a pixel or a position in the wrong place cannot hide behind attention.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemlet
import pictures
import vision_models
from vision_models import script

SIZE = (336, 432)  # 21 x 27 patches, 7 x 9 soft tokens: what the smallest budget makes of it, so nothing is resized


def silent(name: str) -> dict[str, np.ndarray]:
    """Weights whose layers add nothing: what they would add is normed by zeros."""
    made = script("make_vision").weights(vision_models.variant(name))
    for key, array in made.items():
        if "post_attention" in key or "post_feedforward" in key:
            array[:] = 0
    return made


def rms(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)


def layer_norm(x: np.ndarray, made: dict[str, np.ndarray], name: str) -> np.ndarray:
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    return x * made[f"vision_embedder.{name}.weight"] + made[f"vision_embedder.{name}.bias"]


def cut(pixels: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches (n, side * side * 3) of 0 to 1 in reading order, row, column, colour; and their (column, row)."""
    patches, places = [], []
    for y in range(0, pixels.shape[0], side):
        for x in range(0, pixels.shape[1], side):
            patches.append(pixels[y : y + side, x : x + side].astype(np.float64).ravel() / 255)
            places.append((x // side, y // side))
    return np.stack(patches), np.array(places)


def expected(name: str, made: dict[str, np.ndarray], patches: np.ndarray, places: np.ndarray) -> np.ndarray:
    v = vision_models.variant(name)
    join = made["embed_vision.embedding_projection.weight"].T
    if v.L == 0:
        x = layer_norm(patches, made, "patch_ln1") @ made["vision_embedder.patch_dense.weight"].T
        x = layer_norm(x + made["vision_embedder.patch_dense.bias"], made, "patch_ln2")
        table = made["vision_embedder.pos_embedding"]
        return rms(layer_norm(x + table[places[:, 0], 0] + table[places[:, 1], 1], made, "pos_norm")) @ join
    table = made["vision_tower.patch_embedder.position_embedding_table"]
    x = (2 * patches - 1) @ made["vision_tower.patch_embedder.input_proj.weight"].T
    x = x + table[0, places[:, 0]] + table[1, places[:, 1]]
    columns = places[:, 0].max() // 3 + 1
    token = places[:, 0] // 3 + columns * (places[:, 1] // 3)
    pooled = np.stack([x[token == i].sum(axis=0) / 9 for i in range(token.max() + 1)]) * np.sqrt(v.d)
    if v.standardize:
        pooled = (pooled - made["vision_tower.std_bias"]) * made["vision_tower.std_scale"]
    return rms(pooled) @ join


def soft_tokens(name: str, kind: str, folder: Path, made: dict[str, np.ndarray], pixels: np.ndarray) -> np.ndarray:
    if kind == "folder":
        path = vision_models.write_folder(folder, name, made=made)
    else:
        path = vision_models.write_gguf(folder, name)
        script("make_vision").write_projector(vision_models.variant(name), folder / "other.gguf", made)
    with gemlet.load(path, threads=2) as model:
        ((tokens, size, _),) = gemlet._core.see(model._engine, [pixels], 70)
    assert size == pixels.shape[:2]
    return tokens


@pytest.mark.parametrize("name", vision_models.NAMES)
@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_every_pixel_and_position_is_where_it_belongs(name: str, kind: str, tmp_path: Path) -> None:
    made, pixels = silent(name), pictures.noise(*SIZE, seed=5)
    if name == "12b" and kind == "gguf":
        made["vision_embedder.patch_ln1.bias"] *= 3  # planes in a file: another order of the same numbers
    tokens = soft_tokens(name, kind, tmp_path / "m", made, pixels)
    wanted = expected(name, made, *cut(pixels, 16 if vision_models.variant(name).L else 48))
    np.testing.assert_allclose(tokens, wanted, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parity
def test_patches_and_positions_are_the_processor_s() -> None:
    """What the numbers above are made of, as transformers' image processor cuts the same picture."""
    pytest.importorskip("torch")
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

    pixels = pictures.noise(*SIZE, seed=5)
    out = Gemma4ImageProcessorPil(max_soft_tokens=70)(images=[pixels], return_tensors="np")
    patches, places = cut(pixels, 16)
    given, at = out["pixel_values"][0], out["image_position_ids"][0]
    assert np.array_equal(at[: len(places)], places)
    assert (at[len(places) :] == -1).all()
    np.testing.assert_allclose(given[: len(patches)], patches, atol=1e-6)


@pytest.mark.parity
def test_squares_of_the_model_without_an_encoder() -> None:
    """Its processor merges nine patches to a square. The module needs torchvision; its two functions torch alone."""
    torch = pytest.importorskip("torch")
    import transformers

    source = Path(transformers.__file__).parent / "models" / "gemma4_unified" / "image_processing_gemma4_unified.py"
    wanted = ("convert_image_to_patches", "patches_merge")
    tree = ast.parse(source.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    unified: dict[str, Any] = {"torch": torch, "math": math}
    exec(compile(tree, str(source), "exec"), unified)

    pixels = pictures.noise(*SIZE, seed=5)
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    _, small = cut(pixels, 16)
    squares, places = cut(pixels, 48)
    patches = unified["convert_image_to_patches"](image, 16)
    made, at = unified["patches_merge"](patches[None], torch.from_numpy(small)[None], len(squares))
    assert np.array_equal(at[0].numpy(), places)
    np.testing.assert_allclose(made[0].numpy(), squares, atol=1e-6)
