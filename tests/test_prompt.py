"""`gemlet.Prompt` and its parts: what becomes of them, what is encoded and when, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemlet
from chat_model import write_model
from gemlet.prompt import Prompt, Span
from gemlet.soft import SoftCache, stamp
from soft_prompts import soft_prompt
from towers import Towers, with_towers

pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("prompt") / "model.gguf")


@pytest.fixture
def model(path: Path) -> Iterator[gemlet.Model]:
    with gemlet.load(path, context=512) as made:
        with_towers(made)
        yield made


def towers_of(model: gemlet.Model) -> Towers:
    towers = model._senses.towers
    assert isinstance(towers, Towers)
    return towers


def ids_of(model: gemlet.Model, *names: str) -> list[int]:
    return [model._engine.tokenizer.find(name) for name in names]


def test_parts_stand_in_a_row(model):
    """Begin token, soft tokens, end token; a frame behind its time, in one with the text around it."""
    boi, image, eoi, video = ids_of(model, "<|image>", "<|image|>", "<image|>", "<|video|>")
    boa, audio, eoa = ids_of(model, "<|audio>", "<|audio|>", "<audio|>")
    prompt = Prompt(
        ["an and", gemlet.Image(b"a", image_tokens=70), " and ", gemlet.Video(b"v"), "an", gemlet.Audio(b"s")]
    )
    model.logits(prompt)

    def text(given: str) -> list[int]:
        return model.tokenize(given, add_bos=False).tolist()

    def frame(count: int) -> list[int]:
        return [boi, *[video] * count, eoi]

    wanted = [2, *text("an and"), boi, *[image] * 3, eoi, *text(" and 00:00 "), *frame(3), *text(" 00:30 "), *frame(3),
              *text(" 01:01 "), *frame(3), *text("an"), boa, *[audio] * 6, eoa]  # fmt: skip
    assert prompt.ids.tolist() == wanted
    kinds = [(span.kind, span.end - span.begin) for span in prompt.spans]
    assert kinds == [("image", 3), *[("video", 3)] * 3, ("audio", 6)]
    for begin, end, kind in prompt.spans:
        assert set(prompt.ids[begin:end]) == {{"image": image, "video": video, "audio": audio}[kind]}
        assert prompt.ids[begin - 1] in (boi, boa)
        assert prompt.ids[end] in (eoi, eoa)


def test_the_engine_gets_the_rows(model):
    prompt = Prompt(["an ", gemlet.Image(b"a"), " and"])
    logits = model.logits(prompt)
    (span,) = prompt.spans
    rows = towers_of(model).rows(b"a", 6)
    np.testing.assert_array_equal(logits, model._engine.logits(soft_prompt(prompt.ids, [(span.begin, "image", rows)])))
    assert np.abs(logits - model.logits(prompt.ids)).max() > 1e-3
    np.testing.assert_array_equal(model.hidden(prompt, layers=[0]), model.hidden(Prompt(prompt.parts), layers=[0]))
    (score,) = model.score(prompt, [" an"], per_token=True)
    after = model.tokenize(" an", add_bos=False)
    np.testing.assert_array_equal(score, model._engine.score(
        soft_prompt(np.concatenate([prompt.ids, after]), [(span.begin, "image", rows)]), len(prompt.ids)))  # fmt: skip


def test_rows_of_ones_own_are_parts(model):
    rows = np.random.default_rng(1).normal(0, 1, (4, 16)).astype(np.float32)
    plain, named = Prompt(["an ", rows]), Prompt(["an ", gemlet.SoftTokens(rows)])
    np.testing.assert_array_equal(model.logits(plain), model.logits(named))
    assert plain.spans == [Span(begin=len(plain.ids) - 5, end=len(plain.ids) - 1, kind="image")]
    heard = Prompt(["an ", gemlet.SoftTokens(rows, "audio")])
    model.logits(heard)
    assert heard.spans[0].kind == "audio"
    assert towers_of(model).calls == []


def test_ids_come_as_they_are(model):
    prompt = Prompt([np.array([7, 8]), "an", [9]])
    model.logits(prompt)
    assert prompt.ids.tolist() == [7, 8, *model.tokenize("an", add_bos=False).tolist(), 9]
    assert prompt.spans == []
    text = Prompt(["an ", "and", " an"])
    model.logits(text)
    np.testing.assert_array_equal(text.ids, model.tokenize("an and an"))


def test_generate_tells_what_was_done(model):
    prompt = Prompt([gemlet.Image(b"a", image_tokens=140), "an", gemlet.Audio(b"s")])
    answer = model.generate(prompt, max_tokens=2, temperature=0, ignore_eos=True)
    assert answer.warnings == ["generate: parts[0]: 4 of 140 tokens"]
    assert (answer.usage.image_tokens, answer.usage.audio_tokens) == (4, 6)
    assert answer.usage.as_dict()["image_tokens"] == 4
    assert answer.usage.prompt_tokens == len(prompt.ids)
    again = model.generate(prompt, max_tokens=2, temperature=0, ignore_eos=True)
    assert again.usage.cached_tokens == len(prompt.ids) - 1
    np.testing.assert_array_equal(again.token_ids, answer.token_ids)


def test_a_second_question_encodes_nothing(model, tmp_path):
    """The same picture by path, by bytes or in another prompt; another budget or content is another."""
    file = tmp_path / "a.png"
    file.write_bytes(b"a")
    towers = towers_of(model)
    for question in ("an", "and", "an and"):
        model.logits(Prompt([gemlet.Image(file), question]))
        model.logits(Prompt([question, gemlet.Image(str(file))]))
    assert len(towers.calls) == 1
    model.logits(Prompt([gemlet.Image(file, image_tokens=70)]))
    file.write_bytes(b"b")
    model.logits(Prompt([gemlet.Image(file)]))
    assert len(towers.calls) == 3
    assert model.memory()["soft_tokens"] == (6 + 3 + 6) * 16 * 4
    model.forget()
    assert model.memory()["soft_tokens"] == 0
    model.logits(Prompt([gemlet.Image(file)]))
    assert len(towers.calls) == 4


def test_the_cache_keeps_what_was_used_last():
    made: list[bytes] = []

    def make(key: bytes) -> Any:
        made.append(key)
        return gemlet.SoftTokens(np.zeros((5 if key != b"large" else 50, 10), np.float32))

    cache = SoftCache(budget=3 * 200)
    for key in (b"a", b"b", b"c", b"a", b"d", b"a", b"b"):
        cache.get(key, lambda key=key: make(key))
    assert made == [b"a", b"b", b"c", b"d", b"b"]
    assert cache.nbytes == 600
    assert len(cache.get(b"large", lambda: make(b"large"))) == 50
    assert cache.nbytes == 600  # more than the budget is never kept
    cache.get(None, lambda: make(b"a"))
    assert made[-2:] == [b"large", b"a"]
    cache.clear()
    assert cache.nbytes == 0


def test_nothing_is_encoded_before_a_model_reads(model):
    prompt = Prompt([gemlet.Image("missing.png"), gemlet.Audio(b"s")])
    assert towers_of(model).calls == []
    with pytest.raises(ValueError, match="once a model has read it"):
        _ = prompt.ids
    assert repr(prompt) == "Prompt([Image('missing.png', image_tokens=280), Audio(bytes)])"


def test_errors_name_the_part(path):
    with gemlet.load(path) as model:
        for part, name in (
            (gemlet.Image(b"a"), "images"),
            (gemlet.Video(b"a"), "videos"),
            (gemlet.Audio(b"a"), "sound"),
        ):
            with pytest.raises(gemlet.MediaError, match=rf"parts\[1\]: the model 'gemma4_chat' has no part for {name}"):
                model.generate(Prompt(["an", part]))
        with_towers(model)
        with pytest.raises(gemlet.MediaError, match=r"^generate: parts\[1\]: no image: its header is cut$"):
            model.generate(Prompt(["an", gemlet.Image(b"broken")]))
        with pytest.raises(gemlet.MediaError, match=r"parts\[0\]: soft tokens of width 7, .* has width 16"):
            model.logits(Prompt([np.zeros((2, 7), np.float32)]))
        with pytest.raises(gemlet.MediaError, match="soft tokens of kind 'image' where 'audio' is expected"):
            model.logits(Prompt([gemlet.Audio(gemlet.SoftTokens(np.zeros((2, 16))))]))
        with pytest.raises(gemlet.ContextOverflow, match="cuts text only"):
            model.generate(Prompt(["an " * 2000, gemlet.Image(b"a")]), overflow="truncate")
        with pytest.raises(TypeError, match=r"'images' is an option of m.chat; here pass gemlet.Prompt"):
            model.generate("an", images=["a.png"])


def test_a_vocabulary_without_the_tokens_takes_no_pictures(tmp_path):
    few = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>"]
    with gemlet.load(write_model(tmp_path / "poor.gguf", keep=few)) as model:
        with_towers(model)
        with pytest.raises(gemlet.MediaError, match=r"parts\[0\]: the model's vocabulary has no '<\|image>'"):
            model.logits(Prompt([gemlet.Image(b"a")]))


def test_parts_are_checked():
    with pytest.raises(TypeError, match="parts must be a list of parts, not str"):
        Prompt("text")
    with pytest.raises(ValueError, match="no parts"):
        Prompt([])
    with pytest.raises(TypeError, match=r"parts\[1\]: bytes; say what they are: gemlet.Image"):
        Prompt(["a", b"abc"])
    with pytest.raises(TypeError, match=r"parts\[0\] must be a string, ids .*, not ndarray of shape \(2, 2, 2\)"):
        Prompt([np.zeros((2, 2, 2))])
    for wrong in (100, True, 280.0, "all", None):
        with pytest.raises(ValueError, match="image_tokens must be one of 70, 140, 280, 560, 1120 or 'auto'"):
            gemlet.Image(b"a", image_tokens=wrong)
    for address in ("http://x/a.png", "https://x/a.png", "file:///etc/passwd", "FTP://x"):
        for kind in (gemlet.Image, gemlet.Audio, gemlet.Video):
            with pytest.raises(gemlet.MediaError, match=r"nothing is fetched"):
                kind(address)
    assert gemlet.Image("data:image/png;base64,YWJj").source == b"abc"
    assert gemlet.Image("data:,a%20b").source == b"a b"
    for broken in ("data:image/png;base64,YWJ", "data:image/png;base64,Y!Jj", "data:image/png"):
        with pytest.raises(gemlet.MediaError, match="data URL"):
            gemlet.Image(broken)


def test_soft_tokens_are_checked():
    rows = np.zeros((3, 4))
    for wrong, message in (
        ((np.zeros(3),), "rows"),
        ((np.zeros((0, 4)),), "rows"),
        ((np.full((2, 2), np.nan),), "finite"),
        ((rows, "smell"), "kind must be one of"),
        (([], "video"), "no frames"),
        (([rows, np.zeros((3, 5))], "video"), "differ in width"),
    ):
        with pytest.raises(ValueError, match=message):
            gemlet.SoftTokens(*wrong)
    with pytest.raises(ValueError, match="2 frames, but 1 times"):
        gemlet.SoftTokens([rows, rows], "video", times=[0.0])
    with pytest.raises(ValueError, match="times= is for a video"):
        gemlet.SoftTokens(rows, times=[0.0])
    film = gemlet.SoftTokens(np.zeros((30, 2, 4)), "video")
    assert (len(film.frames), len(film), film.frames[24].text, film.rows.shape) == (30, 60, " 00:01 ", (60, 4))
    assert repr(film) == "<gemlet.SoftTokens, video, 30 frames, 60 tokens>"
    assert stamp(59.99) == "00:59"
    mine = np.ones((2, 2), np.float32)
    kept = gemlet.SoftTokens(mine)
    mine[:] = 5
    assert kept.rows.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        kept.rows[0, 0] = 2
    assert gemlet.SoftTokens(kept.rows).rows is kept.rows  # nobody can change them


def test_contents_tell_sources_apart(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    keys = {
        kind(source, **options).key()
        for kind, source, options in (
            (gemlet.Image, tmp_path / "a", {}),
            (gemlet.Image, np.zeros((2, 3, 3), np.uint8), {}),
            (gemlet.Image, np.zeros((3, 2, 3), np.uint8), {}),
            (gemlet.Image, np.ones((2, 3, 3), np.uint8), {}),
            (gemlet.Video, b"abc", {}),
            (gemlet.Video, b"abc", {"frames": 8}),
            (gemlet.Audio, b"abc", {}),
            (gemlet.Audio, (np.zeros(5, np.float32), 16000), {}),
            (gemlet.Audio, (np.zeros(5, np.float32), 8000), {}),
            (gemlet.Audio, b"abc", {"start": 1}),
        )
    }
    assert len(keys) == 10
    assert None not in keys
    assert gemlet.Image(b"abc").key() == gemlet.Image(tmp_path / "a").key() == gemlet.Image(bytearray(b"abc")).key()
    assert gemlet.Audio(iter([b"abc"])).key() is None  # can be read only once
    assert gemlet.Image("nowhere.png").key() is None
