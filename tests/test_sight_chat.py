"""Conversations about pictures, from files to answers, on a tiny model whose projector lies beside it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gemlet
from chat_cases import TEMPLATE
from chat_model import write_model
from gemlet import _core
from load_tool import maker

pytest.importorskip("gguf")
pytest.importorskip("jinja2")
PILLOW = pytest.importorskip("PIL.Image")

OPTIONS: dict[str, Any] = {"max_tokens": 3, "temperature": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gemlet.Model]:
    from vision_models import variant

    folder = tmp_path_factory.mktemp("sight")
    path = write_model(folder / "model.gguf", template=TEMPLATE, per_layer=4)
    maker("make_vision").write_projector(variant("e2b"), folder / "eyes.gguf")
    with gemlet.load(path, context=2048) as made:
        yield made


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call of the tower had."""
    calls: list[int] = []
    see = _core.see

    def counted(engine: _core.Model, pictures: Any, tokens: int, **options: bool) -> Any:
        calls.append(len(pictures))
        return see(engine, pictures, tokens, **options)

    monkeypatch.setattr(_core, "see", counted)
    return calls


def picture(seed: int, height: int = 90, width: int = 140) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(array: np.ndarray) -> bytes:
    into = io.BytesIO()
    PILLOW.fromarray(array).save(into, "png")
    return into.getvalue()


def test_what_is_encoded_is_what_is_read(model, tmp_path):
    """By path, bytes, array or PIL image, and as soft tokens of one's own: the same answer, bit for bit."""
    array = picture(1)
    file = tmp_path / "a.png"
    file.write_bytes(png(array))
    soft = gemlet.SoftTokens(model.encode_image(array, image_tokens=70))
    model.forget()
    expected = model.chat("an and", images=[soft], logprobs=2, **OPTIONS)
    for source in (file, png(array), array, PILLOW.fromarray(array)):
        model.forget()
        got = model.chat("an and", images=[source], image_tokens=70, logprobs=2, **OPTIONS)
        assert got.logprobs == expected.logprobs
        (warning,) = got.warnings
        assert warning.startswith("images[0]: resized from 140 x 90 to ")
        assert got.usage.image_tokens == len(soft) > 50


def test_a_second_question_encodes_nothing(model, seen):
    model.forget()
    first = model.chat("an and", images=[picture(2)], image_tokens=70, **OPTIONS)
    second = model.chat("and", images=[png(picture(2)), picture(3)], image_tokens=70, **OPTIONS)
    assert seen == [1, 1, 1]  # an array, the same as a file, and another
    third = model.chat("an", images=[picture(2)], image_tokens=70, **OPTIONS)
    assert seen == [1, 1, 1]
    assert first.warnings == third.warnings
    assert third.usage.cached_tokens > third.usage.image_tokens
    assert second.usage.image_tokens == 2 * first.usage.image_tokens
    assert model.memory()["soft_tokens"] > 0


def test_a_session_about_a_picture(model, seen, tmp_path):
    with model.session() as s:
        s.chat("an", images=[picture(4)], image_tokens=70, **OPTIONS)
        s.save(tmp_path / "talk.gls")
        expected = s.chat("and", **OPTIONS)
    model.forget()
    again = model.load_session(tmp_path / "talk.gls").chat("and", **OPTIONS)
    assert again.token_ids.tolist() == expected.token_ids.tolist()
    assert again.usage.cached_tokens == expected.usage.cached_tokens > 50
    assert seen == [1]


def test_closing_lets_go_of_everything(tmp_path):
    import gc
    import sys

    from vision_models import variant

    path = write_model(tmp_path / "model.gguf", template=TEMPLATE, per_layer=4)
    maker("make_vision").write_projector(variant("e2b"), tmp_path / "eyes.gguf")
    made = gemlet.load(path, context=2048)
    made.chat("an", images=[picture(1)], image_tokens=70, **OPTIONS)
    engine = made._engine
    made.close()
    gc.collect()
    assert sys.getrefcount(engine) == 2  # this name and the call


def test_frames_stand_behind_their_times(model, seen):
    frames = [picture(i) for i in range(3)]
    answer = model.chat("an", video=frames, **OPTIONS)
    text = model.apply_chat_template("an", video=frames, tokenize=False)
    assert seen == [3]
    assert text.count("00:00 <|image><|video|>") == 3  # 24 a second
    assert answer.usage.image_tokens == text.count("<|video|>")
    assert answer.warnings[0].startswith("video: 3 frames from 00:00 to 00:00, ")


def test_counting_encodes_nothing(model, monkeypatch, tmp_path):
    """And counts what a chat then reads."""
    monkeypatch.setattr(_core, "see", None)
    monkeypatch.setattr(_core, "Ear", None)
    model.forget()
    (tmp_path / "a.png").write_bytes(png(picture(8)))
    turned = PILLOW.fromarray(picture(9))
    turned.getexif()[0x0112] = 6
    cases: list[dict[str, Any]] = [
        {"images": [tmp_path / "a.png", png(picture(7, 48, 300))], "image_tokens": 70},
        {"images": [turned], "image_tokens": "auto"},
        {"video": [picture(i) for i in range(9)]},
        {"images": [gemlet.SoftTokens(np.zeros((5, 16)))]},
    ]
    counted = [model.count_tokens("an and", **given) for given in cases]
    written = [model.apply_chat_template("an and", **given) for given in cases]
    assert [len(ids) for ids in written] == counted
    monkeypatch.undo()
    for given, count, ids in zip(cases, counted, written, strict=True):
        assert model.chat("an and", **given, **OPTIONS).usage.prompt_tokens == count
        assert np.array_equal(model.apply_chat_template("an and", **given), ids)
    with pytest.raises(gemlet.MediaError, match=r"^images\[1\]: "):
        model.count_tokens("an", images=[picture(1), png(picture(1))[:30]])


def test_counting_what_is_known_reads_no_picture(model, monkeypatch):
    model.chat("an", video=[picture(i) for i in range(3)], **OPTIONS)
    monkeypatch.setattr("gemlet.media.video.sample", None)
    assert model.count_tokens("an", video=[picture(i) for i in range(3)]) > 150


def test_ten_thousand_frames_are_refused_before_one_is_encoded(model, seen):
    still = picture(1)
    with pytest.raises(
        gemlet.MediaError, match=r"^video: 10000 frames of 60 tokens, and the context has 2048; take fewer"
    ):
        model.chat("an", video=gemlet.Video(np.broadcast_to(still, (10_000, *still.shape)), frames=10_000))
    endless = gemlet.Video(itertools.repeat(still), image_tokens=560)  # nobody knows how many
    with pytest.raises(gemlet.MediaError, match=r"^video\[1\]: 4 frames of 5\d\d tokens"):
        model.chat("an", video=[gemlet.Video([still]), endless])
    assert seen == [1]


def test_a_broken_picture_is_named(model):
    with pytest.raises(gemlet.MediaError, match=r"^images\[1\]: "):
        model.chat("an", images=[picture(1), png(picture(1))[:60]])
    with pytest.raises(gemlet.MediaError, match=r"^images\[0\]: there is no file 'nowhere.png'"):
        model.chat("an", images=["nowhere.png"])
    with pytest.raises(gemlet.MediaError, match=r"^audio: the model 'gemma4_chat' has no part for sound"):
        model.chat("an", audio="a.wav")
    with pytest.raises(gemlet.MediaError, match=r"^generate: parts\[0\]: "):
        model.generate(gemlet.Prompt([gemlet.Image(b"no picture")]))
