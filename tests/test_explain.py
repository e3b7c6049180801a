"""Where a model looked in an image: maps against the numpy reference, how they are shown, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemlet
import looking_model
import pictures
from chat_cases import TEMPLATE
from chat_model import write_model
from gemlet.model.explaining import ImageExplanation, enlarged, words_of
from load_tool import maker

pytest.importorskip("gguf")
pytest.importorskip("jinja2")

from reference_gemma4 import Gemma4
from test_inside import attention_of
from vision_models import variant

PICTURE = pictures.noise(96, 240)
OPTIONS: dict[str, Any] = {"max_tokens": 12, "temperature": 0, "ignore_eos": True}


def open_model(folder: Path, per_layer: int) -> gemlet.Model:
    path = write_model(folder / "model.gguf", template=TEMPLATE, per_layer=per_layer)
    maker("make_vision").write_projector(variant("e2b"), folder / "eyes.gguf")
    return gemlet.load(path, context=1024, kv_dtype="f32", threads=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gemlet.Model]:
    with open_model(tmp_path_factory.mktemp("explain"), 4) as made:
        yield made


@pytest.mark.parametrize("per_layer", [4, 0], ids=["causal", "both ways"])
def test_maps_are_the_reference_s(per_layer: int, tmp_path: Path) -> None:
    """The second of two images, and a text in front of both."""
    with open_model(tmp_path, per_layer) as model:
        check_maps(model)


def check_maps(model: gemlet.Model) -> None:
    other = pictures.noise(48, 48)
    given: dict[str, Any] = {"images": [other, PICTURE], "image_tokens": 70}
    made = model.explain_image("an and", which=1, answer="and an", **given)
    prompt = model.apply_chat_template("an and", **given)
    ids = np.concatenate([prompt, model.tokenize("and an", add_bos=False)])
    rows = [model.encode_image(image, image_tokens=70) for image in (other, PICTURE)]
    marks = np.flatnonzero(ids == model._engine.tokenizer.find("<|image|>"))
    begins = [int(marks[0]), int(marks[len(rows[0])])]
    soft = [(begin, "image", row) for begin, row in zip(begins, rows, strict=True)]
    oracle = Gemma4.load(model.path)
    states = oracle.hidden(ids, soft)
    embedded = oracle.w["token_embd.weight"][ids] * np.sqrt(oracle.D)
    for begin, _, row in soft:
        embedded[begin : begin + len(row)] = row
    layers = [i for i in range(oracle.L) if not oracle.sliding[i]]
    assert layers == model.info["global_layers"] == [1]
    looked = attention_of(oracle, 1, np.concatenate([embedded[None], states])).mean(axis=0)
    looked = looked[len(prompt) - 1 : len(ids) - 1, begins[1] : begins[1] + len(rows[1])]
    tokens = [at for _, at in words_of([model._engine.tokenizer.piece(int(i)) for i in ids[len(prompt) :]])]
    expected = np.stack([looked[at].mean(axis=0) for at in tokens])
    assert made.words == ["and", "an"]
    assert made.map.dtype == np.float32
    assert made.map.shape == (2, *made.grid)
    assert made.grid[1] > made.grid[0] > 1  # as wide as the image
    np.testing.assert_allclose(made.map.reshape(2, -1), expected, atol=1e-5)
    np.testing.assert_allclose(made.share, expected.sum(axis=1), atol=1e-4)


def test_what_was_read_already_changes_no_bit(model: gemlet.Model) -> None:
    """Of a generated answer keys are at hand; threads share the positions."""
    given = {"images": [PICTURE], "image_tokens": 70}
    made = model.explain_image("an", **given, **OPTIONS)
    assert len(made.map) == len(made.words) > 0
    again = model.explain_image("an", answer=None, **given, **OPTIONS)
    model.forget()
    afresh = model.explain_image("an", **given, **OPTIONS)
    for other in (again, afresh):
        assert other.words == made.words
        assert np.array_equal(other.map, made.map)
    assert made.text == model.chat("an", **given, **OPTIONS).text
    assert made.warnings[0].startswith("images[0]: resized from 240 x 96")


def test_layers_and_heads_are_averaged(model: gemlet.Model) -> None:
    given: dict[str, Any] = {"images": [PICTURE], "image_tokens": 70, "answer": "and an"}
    every = model.explain_image("an", layers=[0, -1], **given).map
    ones = [model.explain_image("an", layers=[i], heads=[h], **given).map for i in (0, 1) for h in (0, 1)]
    np.testing.assert_allclose(np.mean(ones, axis=0), every, atol=1e-6)
    assert not np.array_equal(ones[2], ones[3])
    assert ones[0][:, :, :-8].max() == 0  # a sliding layer saw eight keys: the answer's own, and the question's
    for wrong in ({"layers": [2]}, {"heads": [2]}, {"layers": []}, {"heads": []}):
        with pytest.raises(ValueError, match="explain_image: "):
            model.explain_image("an", **given, **wrong)


def test_what_cannot_be_explained(model: gemlet.Model) -> None:
    soft = model.encode_image(PICTURE, image_tokens=70)
    with pytest.raises(gemlet.MediaError, match="the messages have no image"):
        model.explain_image("an")
    with pytest.raises(ValueError, match="which=1, and the conversation has 1 images"):
        model.explain_image("an", images=[PICTURE], which=1)
    with pytest.raises(ValueError, match=r"images\[0\]: nobody knows in which grid"):
        model.explain_image("an", images=[gemlet.SoftTokens(soft)])
    with pytest.raises(ValueError, match="overflow must be 'error'"):
        model.explain_image("an", images=[PICTURE], overflow="truncate")
    with pytest.raises(TypeError, match="max_tokens: nothing is generated"):
        model.explain_image("an", images=[PICTURE], answer="an", max_tokens=3)
    with pytest.raises(ValueError, match="do not lie in a grid of"):
        gemlet.SoftTokens(soft, grid=(3, 7))
    large = gemlet.SoftTokens(np.zeros((1100, 16)), grid=(11, 100))
    with pytest.raises(gemlet.ContextOverflow):
        model.explain_image("an", images=[large], answer="an")


def test_soft_tokens_with_a_grid(model: gemlet.Model) -> None:
    expected = model.explain_image("an", images=[PICTURE], image_tokens=70, answer="an and")
    soft = gemlet.SoftTokens(model.encode_image(PICTURE, image_tokens=70), grid=expected.grid)
    made = model.explain_image("an", images=[soft], answer="an and")
    assert np.array_equal(made.map, expected.map)
    assert made.image is None
    with pytest.raises(ValueError, match="pass the image to lay it over"):
        made.overlay()
    assert np.array_equal(made.overlay(PICTURE), expected.overlay())


def test_a_model_that_looks_for_colours_is_seen_to_look_there(tmp_path: Path) -> None:
    """Made by hand: it says what it finds, and each word's map lies on the thing of that colour."""
    picture = np.full((384, 528, 3), 255, np.uint8)
    things = {"red": (48, 48), "green": (192, 384), "blue": (240, 96)}
    for i, (top, left) in enumerate(things.values()):
        picture[top : top + 96, left : left + 96] = np.eye(3)[i] * 200
    with gemlet.load(looking_model.write(tmp_path / "m")) as model:
        made = model.explain_image("What is there?", images=[picture], image_tokens=280, temperature=0)
    assert made.text == " red green blue"
    assert made.words == list(things)
    assert made.share.min() > 0.9
    for word, (top, left) in things.items():
        hot = enlarged(made.heat(word), 384, 528)
        row, column = np.unravel_index(hot.argmax(), hot.shape)
        assert top <= row < top + 96
        assert left <= column < left + 96
        assert hot[np.r_[0 : max(0, top - 96), top + 192 : 384]].max() < 0.02


def small(image: np.ndarray | None = None) -> ImageExplanation:
    heat = np.zeros((2, 2, 4), np.float32)
    heat[0, 0, 1], heat[1, 1, 3], heat[1, 0, 0] = 0.5, 0.2, 0.1
    return ImageExplanation("Total: 8", ["Total:", "8"], heat, image)


def test_heat_lies_where_it_belongs() -> None:
    grey = np.full((40, 80, 3), 100, np.uint8)
    made = small(grey)
    assert made.share.tolist() == pytest.approx([0.5, 0.3])
    assert made.heat().max() == made.heat(0).max() == 1
    assert made.heat("8").max() == pytest.approx(0.4)  # words can be compared
    assert ImageExplanation("", [], np.zeros((0, 2, 2), np.float32)).heat().tolist() == [[0, 0], [0, 0]]
    laid = made.overlay(word="Total:")
    assert laid.shape == grey.shape
    assert laid.dtype == np.uint8
    changed = np.abs(laid.astype(int) - 100).sum(axis=2)  # the picture is grey
    assert np.unravel_index(changed.argmax(), changed.shape)[0] < 20  # in the upper row of two
    assert changed[:, 60:].max() == 0  # a cell and a half away, nothing
    assert np.array_equal(made.overlay(strength=0), grey)
    assert made.overlay(np.full((300, 20, 3), 9, np.uint8), word=1).shape == (300, 20, 3)
    with pytest.raises(ValueError, match="the answer has no word 'Sum'; it has 'Total:', '8'"):
        made.heat("Sum")
    with pytest.raises(ValueError, match="strength must lie between 0 and 1"):
        made.overlay(strength=2)


def test_a_notebook_shows_text_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    made = small()
    assert "Total: 8" in made._repr_html_()
    assert "<img" not in made._repr_html_()
    assert repr(made) == "<ImageExplanation, 2 words, 2 x 4, 40% on the image>"
    with pytest.raises(gemlet.MissingExtra, match=r"gemlet\[plot\]"):
        made.plot()


def test_words_are_made_of_tokens() -> None:
    pieces = [
        b" The",
        b" to",
        b"tal",
        b" is",
        b" ",
        b"8",
        b".",
        b"3",
        "€".encode()[:1],
        "€".encode()[1:],
        b"\n\n",
        b"",
        b"Yes",
    ]
    assert words_of(pieces) == [
        ("The", [0]), ("total", [1, 2]), ("is", [3]), ("8.3€", [5, 6, 7, 8, 9]), ("Yes", [12]),
    ]  # fmt: skip
    assert words_of([b"", b" "]) == []
