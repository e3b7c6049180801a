"""Images, sound and video in conversations: where they stand, what is encoded, what is told, and what is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemlet
from chat_cases import TEMPLATE, WEATHER, call, model, tool, user
from chat_model import write_model
from gemlet import _core
from gemlet.errors import BadFile
from soft_prompts import soft_prompt
from towers import Towers, with_towers

pytest.importorskip("gguf")
pytest.importorskip("jinja2")

PNG = "data:image/png;base64," + base64.b64encode(b"a").decode()
WAV = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"s").decode(), "format": "wav"}}
OPTIONS: dict[str, Any] = {"max_tokens": 4, "temperature": 0}


def text(given: str) -> dict[str, Any]:
    return {"type": "text", "text": given}


def image(url: str = PNG, **options: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **options}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    write_model(folder / "plain.gguf", per_layer=4)
    write_model(folder / "template.gguf", template=TEMPLATE, per_layer=4)
    write_model(folder / "large.gguf")
    (folder / "a.png").write_bytes(b"a")
    return folder


@pytest.fixture(scope="module")
def plain(files: Path) -> Iterator[gemlet.Model]:
    with gemlet.load(files / "plain.gguf", context=1024) as made:
        with_towers(made)
        yield made


@pytest.fixture(scope="module")
def templated(files: Path) -> Iterator[gemlet.Model]:
    with gemlet.load(files / "template.gguf", context=1024) as made:
        with_towers(made)
        yield made


@pytest.fixture
def large(files: Path) -> Iterator[gemlet.Model]:
    """Pictures are seen both ways by this one."""
    with gemlet.load(files / "large.gguf", context=1024) as made:
        with_towers(made)
        yield made


CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "one": [user([image(), text("What is this?")])],
    "several": [user([text("a "), image(), text(" b"), image(), WAV, text("c")])],
    "turns": [
        {"role": "system", "content": "an"},
        user([image(), text("an")]),
        model("and"),
        user([text("an"), {"type": "video", "video": b"v"}]),
        model("an"),
        user([WAV, text("and")]),
    ],
    "a tool's answer": [
        user("an"),
        model("", tool_calls=[call("get_weather", {"city": "an"}, "1")]),
        tool([text("and"), image()], tool_call_id="1"),
    ],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_both_ways_of_writing_give_the_same_ids(name, plain, templated):
    messages = CONVERSATIONS[name]
    formats = [m._chat_format() for m in (plain, templated)]
    ours, theirs = (made.render(messages, tools=[WEATHER]) for made in formats)
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    assert [span[:2] for span in ours.spans] == [span[:2] for span in theirs.spans]
    assert ours.text == theirs.text
    assert ours.text.count("<|image|>") == len(ours.ids[ours.ids == plain._engine.tokenizer.find("<|image|>")])


def test_a_video_is_frames_with_times(templated):
    asked = templated.apply_chat_template([user([text("an"), {"type": "video", "video": b"v"}])], tokenize=False)
    frame = "<|image>" + "<|video|>" * 3 + "<image|>"
    assert f"an00:00 {frame} 00:30 {frame} 01:01 {frame}<turn|>" in asked


def test_the_engine_reads_what_is_written(templated):
    """The same prompt put together by hand."""
    answer = templated.chat([user([image(), text("an")])], logprobs=0, **OPTIONS)
    wanted = "<bos><|turn>user\n<|image>" + "<|image|>" * 6 + "<image|>an<turn|>\n<|turn>model\n"
    ids = templated.tokenize(wanted, add_bos=False, parse_special=True)
    begin = int(np.flatnonzero(ids == templated._engine.tokenizer.find("<|image|>"))[0])
    rows = templated._senses.towers.rows(b"a", 6)
    options = _core.GenerateOptions()
    options.temperature, options.max_tokens = 0, 4
    logits = templated._engine.logits(soft_prompt(ids, [(begin, "image", rows)]), [len(ids) - 1])
    assert answer.usage.prompt_tokens == len(ids)
    best = answer.logprobs[0]
    expected = logits[0] - np.log(np.exp(logits[0].astype(np.float64)).sum())
    assert abs(best.logprob - expected[best.id]) < 1e-4


def test_images_beside_the_messages(templated, files):
    """Before the last user's text, or where a part without a source stands."""
    towers: Towers = templated._senses.towers
    templated.forget()
    towers.calls.clear()
    inside = templated.apply_chat_template([user([image(), text("an")])])
    for given in ([files / "a.png"], [str(files / "a.png")], [b"a"], (PNG,), [gemlet.Image(b"a")]):
        np.testing.assert_array_equal(templated.apply_chat_template("an", images=given), inside)
    np.testing.assert_array_equal(
        templated.apply_chat_template([user([text("an"), {"type": "image"}])], images=[b"a"]),
        templated.apply_chat_template([user([text("an"), image()])]),
    )
    assert len(towers.calls) == 1  # it was always the same picture
    talk = [user("an"), model("and"), user("an")]
    both = templated.apply_chat_template(talk, images=[b"a", b"b"], audio=b"s", video=b"v", fps=2, tokenize=False)
    order = [both.rindex(mark) for mark in ("<|image|>", "<|video|>", "<|audio|>", "an<turn|>\n<|turn>model\n")]
    assert order == sorted(order)
    assert both.index("<|image|>") > both.index("and")
    assert towers.calls[-1][0] == "audio"
    assert ("video", {"image_tokens": 70, "fps": 2}) in towers.calls
    templated.chat("an", audio=[("x.mp3", 0, 30)][0:0], **OPTIONS)  # an empty list is none


def test_budgets(templated):
    towers: Towers = templated._senses.towers
    for options, parts, wanted in (
        ({"images": [b"a"], "image_tokens": 1120}, [], 1120),
        ({"images": [b"a"]}, [], 280),
        ({"images": [gemlet.Image(b"a", image_tokens=70)], "image_tokens": 560}, [], 70),
        ({}, [image(detail="low")], 70),
        ({}, [image(detail="high")], 1120),
        ({}, [image(detail="auto")], 280),
        ({}, [{"type": "image", "image": b"a", "image_tokens": 140}], 140),
        ({}, [{"type": "input_image", "image_url": PNG}], 280),
    ):
        templated.forget()
        towers.calls.clear()
        answer = templated.chat([user([*parts, text("an")])], **options, **OPTIONS)
        assert towers.calls == [("image", {"image_tokens": wanted})]
        where = "messages[0].content[0]" if parts else "images[0]"
        assert answer.warnings == [f"{where}: {wanted // 70 + 2} of {wanted} tokens"]
        assert answer.usage.image_tokens == wanted // 70 + 2
    with pytest.raises(ValueError, match="image_tokens must be one of"):
        templated.chat("an", images=[b"a"], image_tokens=300)


def test_counts(templated):
    bare = templated.count_tokens("an")
    assert templated.count_tokens("an", images=[b"a", b"b"], image_tokens=70) == bare + 2 * (3 + 2)
    assert templated.count_tokens("an", audio=b"s") == bare + 6 + 2
    answer = templated.chat("an", images=[b"a"], audio=b"s", **OPTIONS)
    assert (answer.usage.image_tokens, answer.usage.audio_tokens) == (6, 6)


def test_text_cannot_smuggle_a_picture(templated):
    """A placeholder in a message is text; the picture stands where its part does."""
    ids = templated.apply_chat_template([user([text("<|image|> <|image>"), image()])])
    find = templated._engine.tokenizer.find
    assert (ids == find("<|image|>")).sum() == 6
    assert (ids == find("<|image>")).sum() == 1


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            [image("https://example.org/a.png")],
            r"content\[0\].image_url.url must be a data: URL, for nothing is fetched",
        ),
        ([image("file:///etc/passwd")], r"must be a data: URL"),
        ([image("a.png")], r"a local file is a part like \{'type': 'image', 'image': path\}"),
        ([{"type": "image", "image": "http://x/a.png"}], r"content\[0\]: an address .* nothing is fetched"),
        ([{"type": "image", "url": "file://a.png"}], r"content\[0\]: an address"),
        ([{"type": "video_url", "video_url": {"url": "https://x/v.mp4"}}], "must be a data: URL"),
        ([{"type": "input_audio", "input_audio": {"data": "***", "format": "wav"}}], "base64 is broken"),
        ([{"type": "input_audio", "input_audio": {"format": "wav"}}], r"data must be a string, not NoneType"),
        ([text("a"), {"type": "image"}], r"messages\[0\].content\[1\] is a part of kind 'image' without a source"),
        ([text("a"), {"type": "image", "image": b"broken"}], r"^messages\[0\].content\[1\]: no image: its header"),
    ],
)
def test_what_is_refused_is_named(parts, message, templated):
    with pytest.raises(gemlet.MediaError, match=message):
        templated.chat([user(parts)])


def test_a_model_without_towers_says_so(files):
    with gemlet.load(files / "template.gguf") as blind:
        for messages, where in (("an", r"images\[0\]"), ([user([text("a"), image()])], r"messages\[0\].content\[1\]")):
            given = {"images": [b"a"]} if messages == "an" else {}
            for ask in (blind.chat, blind.count_tokens, blind.apply_chat_template):
                with pytest.raises(
                    gemlet.MediaError, match=rf"^{where}: the model 'gemma4_chat' has no part for images"
                ):
                    ask(messages, **given)
        with pytest.raises(gemlet.MediaError, match="has no part for sound"):
            blind.chat("an", audio=b"s")


def test_a_template_without_a_place_is_an_error(tmp_path):
    with gemlet.load(write_model(tmp_path / "m.gguf", template="{{ messages[0].role }}")) as made:
        with_towers(made)
        with pytest.raises(gemlet.TemplateError, match=r"no place for images\[0\]"):
            made.chat("an", images=[b"a"])


def test_media_need_a_user():
    from gemlet.chat.attachments import Given, placed

    with pytest.raises(ValueError, match=r"images\[0\]: there is no user message"):
        placed([{"role": "system", "content": "an"}], Given(images=[b"a"]))
    with pytest.raises(TypeError, match="a part of kind 'audio', not 'image'"):
        Given(images=[gemlet.Audio(b"a")]).parts()
    frames = [np.zeros((2, 2, 3), np.uint8)] * 3
    assert [name for name, _ in Given(video=frames).parts()] == ["video"]
    assert [name for name, _ in Given(video=["a.mp4", b"b"]).parts()] == ["video[0]", "video[1]"]
    (part,) = [part for _, part in Given(audio=("talk.mp3", 0, 30)).parts()]
    assert (part.source, part.options) == ("talk.mp3", {"start": 0, "end": 30})


def test_a_truncated_conversation_leaves_pictures_out_with_their_turns(files):
    with gemlet.load(files / "template.gguf", context=128) as small:
        towers = with_towers(small)
        talk = [user([image(), text("an " * 60)]), model("and"), user("an")]
        answer = small.chat(talk, audio=b"s", overflow="truncate", **OPTIONS | {"max_tokens": 80})
        assert (answer.usage.image_tokens, answer.usage.audio_tokens) == (0, 6)
        assert any("messages 0 to 1 were left out" in warning for warning in answer.warnings)
        assert len(towers.calls) == 2


# --- sessions ---


def test_a_session_encodes_once(large, tmp_path):
    """Not even when the cache forgets, nor after a save; and its answers are those of a chat, bit for bit."""
    towers: Towers = large._senses.towers
    with large.session(system="an") as s:
        first = s.chat("an and", images=[b"a"], video=b"v", **OPTIONS)
        assert first.warnings[-1] == "messages[1].content[0]: 6 of 280 tokens"
        large.forget()
        second = s.chat("and", **OPTIONS)
        assert len(towers.calls) == 2
        assert not [warning for warning in second.warnings if "of 280" in warning]  # it was told
        assert second.usage.cached_tokens >= first.usage.prompt_tokens - 6  # the empty thought is no part of the past
        assert second.usage.image_tokens == 6 + 9
        assert s.memory() > s._read.size
        parts = s.messages[1]["content"]
        assert [part["type"] for part in parts] == ["image", "video", "text"]
        assert isinstance(parts[0]["image"], gemlet.SoftTokens)
        s.save(tmp_path / "talk.gls")
        third = s.chat("an", **OPTIONS)
        fork = s.fork()
        s.rewind()
        again = large.load_session(tmp_path / "talk.gls")
    large.forget()
    loaded = again.chat("an", **OPTIONS)
    assert len(towers.calls) == 2
    assert (loaded.text, loaded.usage.cached_tokens) == (third.text, third.usage.cached_tokens)
    assert loaded.token_ids.tolist() == third.token_ids.tolist()
    np.testing.assert_array_equal(again.messages[1]["content"][1]["video"].rows, parts[1]["video"].rows)
    assert again.messages[1]["content"][1]["video"].times == parts[1]["video"].times
    assert len(fork.messages) == 7
    large.forget()
    fresh = large.chat([*again.messages[:-1]], **OPTIONS)  # the messages are those of a chat
    assert fresh.token_ids.tolist() == third.token_ids.tolist()


def test_damaged_notes_are_refused(large, tmp_path):
    import json

    s = large.session()
    s.chat("an", images=[b"a"], **OPTIONS)
    s.save(tmp_path / "talk.gls")
    notes = _core.Session(large._engine, 1 << 20).load(str(tmp_path / "talk.gls"))
    head, _, rows = notes.partition(b"\0")
    assert len(rows) == 6 * 16 * 4
    sizes = json.loads(head)["messages"][0]["content"][0]["image"]["soft"]
    assert sizes == [[[6, 16]], []]
    for i, wrong in enumerate((head, head + b"\0" + rows[:-4], notes + b"more", head.replace(b"[6, 16]", b"[-6, 16]"))):
        large.session()._read.save(str(tmp_path / f"{i}.gls"), wrong)
        with pytest.raises(BadFile, match="its notes are no conversation"):
            large.load_session(tmp_path / f"{i}.gls")


def test_ids_alone_are_no_picture(templated):
    ids = templated.apply_chat_template("an", images=[b"a"])
    (warning,) = templated.generate(ids, max_tokens=1).warnings
    assert warning.startswith("the ids have 6 placeholders of images or sound, and nothing to put there")


def test_map_with_pictures(templated):
    towers: Towers = templated._senses.towers
    templated.forget()
    towers.calls.clear()
    rows = [
        [user([text("an and an and an and an and an and"), image(), text(word)])] for word in ("an", "and", "a", "n")
    ]
    with templated.map(rows, lambda row: row, **OPTIONS) as answers:
        got = [answer.token_ids.tolist() for answer in answers]
    assert len(towers.calls) == 1
    templated.forget()
    assert got == [templated.chat(row, **OPTIONS).token_ids.tolist() for row in rows]
    with templated.map(
        ["an and an and an and an", "an and an and an and and"], "{row}", images=[b"a"], **OPTIONS
    ) as two:
        assert [answer.usage.image_tokens for answer in two] == [6, 6]


def test_achat_takes_pictures(templated):
    import asyncio

    async def ask() -> Any:
        return await templated.achat("an", images=[b"a"], **OPTIONS)

    answer = asyncio.run(ask())
    assert answer.token_ids.tolist() == templated.chat("an", images=[b"a"], **OPTIONS).token_ids.tolist()
    with pytest.raises(gemlet.MediaError):
        asyncio.run(templated.achat("an", images=[b"broken"]))  # type: ignore[arg-type]
