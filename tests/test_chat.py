"""`Model.chat`, `achat`, `apply_chat_template` and `count_tokens`: on real engines, and on answers put into a mouth."""

from __future__ import annotations

import asyncio
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gemlet
from chat_cases import CASES, TEMPLATE, WEATHER, user
from chat_model import say, write_model
from gemlet.chat.format import read_templates

TALK = (
    "Let me see.<|channel>thought\nA tool, é.\n<channel|> One "
    '<|tool_call>call:get_weather{city:<|"|>Oslo<|"|>}<tool_call|>'
    '<|tool_call>call:get_weather{city:<|"|>Rom<|"|>,days:2}<tool_call|> moment'
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chat")


@pytest.fixture(scope="module")
def g4(folder: Path) -> gemlet.Model:
    """Like the large ones, without a template."""
    return gemlet.load(write_model(folder / "large.gguf"), context=512)


@pytest.fixture(scope="module")
def g4_template(folder: Path) -> gemlet.Model:
    return gemlet.load(write_model(folder / "template.gguf", template=TEMPLATE, per_layer=4), context=512)


@pytest.fixture(scope="module")
def g4_small(folder: Path) -> gemlet.Model:
    """Like E2B and E4B, without a template."""
    return gemlet.load(write_model(folder / "small.gguf", per_layer=4), context=512)


# ---- the prompt


def test_the_files_own_template_is_used(folder, g4_template):
    path = write_model(
        folder / "own.gguf", template="{{ bos_token }}<|turn>{{ messages[0].content }}{{ enable_thinking }}"
    )
    with gemlet.load(path) as model:
        assert model.apply_chat_template("a<|turn>", tokenize=False, think=True) == "<bos><|turn>a<|turn>True"
        ids = model.apply_chat_template("a<|turn>")
        assert ids.dtype == np.int32
        assert list(ids).count(model._engine.tokenizer.find("<|turn>")) == 1
        assert model.chat("Hi", max_tokens=1).warnings == []
    assert g4_template.chat("Hi", max_tokens=1).warnings == []


def test_a_template_for_tools_is_used_with_tools(folder):
    both = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools[0].function.name }}"}]
    with gemlet.load(write_model(folder / "two.gguf", template=both)) as model:
        assert model.apply_chat_template("Hi", tokenize=False) == "plain"
        assert model.apply_chat_template("Hi", tools=[WEATHER], tokenize=False) == "get_weather"


@pytest.mark.parametrize("case", CASES)
def test_with_and_without_a_template_the_ids_are_the_same(case, g4_small, g4_template):
    plain = g4_small
    for think in (False, True):
        ids = plain.apply_chat_template(CASES[case], tools=[WEATHER], think=think)
        np.testing.assert_array_equal(ids, g4_template.apply_chat_template(CASES[case], tools=[WEATHER], think=think))
        assert plain.count_tokens(CASES[case], tools=[WEATHER], think=think) == len(ids)


def test_large_models_open_with_an_empty_thought(g4, g4_template):
    assert g4.apply_chat_template("Hi", tokenize=False).endswith("<|turn>model\n<|channel>thought\n<channel|>")
    assert g4.apply_chat_template("Hi", think=True, tokenize=False).endswith("<|turn>model\n")
    assert g4_template.apply_chat_template("Hi", tokenize=False).endswith("<|turn>model\n")
    assert g4.apply_chat_template("Hi", add_generation_prompt=False, tokenize=False).endswith("Hi<turn|>\n")


def test_without_a_template_it_is_told(g4):
    (warning,) = g4.chat("Hi", max_tokens=1).warnings
    assert warning.startswith("large.gguf has no chat template")


def test_without_jinja2_it_is_told(folder, g4_template, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with gemlet.load(folder / "template.gguf") as model:
        answer = model.chat(CASES["answered"], max_tokens=1)
        assert ["pip install 'gemlet[chat]'" in warning for warning in answer.warnings] == [True]
        monkeypatch.undo()
        with gemlet.load(folder / "template.gguf") as other:
            ids = other.apply_chat_template(CASES["answered"])
        np.testing.assert_array_equal(model.apply_chat_template(CASES["answered"]), ids)


def test_a_template_that_raises_is_a_template_error(folder):
    path = write_model(folder / "raises.gguf", template="x\n{{ raise_exception('no such role') }}")
    with gemlet.load(path) as model, pytest.raises(gemlet.TemplateError, match=r"raises.gguf, line 2: no such role"):
        model.chat("Hi")


def test_a_missing_control_token_is_an_error(folder):
    few = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>"]
    path = write_model(folder / "poor.gguf", keep=few, per_layer=4)
    with gemlet.load(path) as model:
        assert model.chat("Hi", max_tokens=1).usage.completion_tokens <= 1
        with pytest.raises(gemlet.UnsupportedModel, match=r"no control token '<\|think\|>'"):
            model.chat("Hi", think=True)
    with gemlet.load(write_model(folder / "poor and large.gguf", keep=few)) as model:
        assert model.apply_chat_template("Hi", tokenize=False).endswith("<|turn>model\n")  # it cannot think anyway


def test_templates_of_folders(tmp_path):
    (tmp_path / "config.json").write_text('{"text_config": {"hidden_size_per_layer_input": 0}}')
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "a"}')
    assert read_templates(str(tmp_path)) == ({"default": "a"}, True)
    named = '{"chat_template": [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]}'
    (tmp_path / "tokenizer_config.json").write_text(named)
    (tmp_path / "config.json").write_text('{"hidden_size_per_layer_input": 256}')
    assert read_templates(str(tmp_path)) == ({"default": "a", "tool_use": "b"}, False)
    (tmp_path / "chat_template.jinja").write_text("c")
    (tmp_path / "config.json").write_text("{}")
    assert read_templates(str(tmp_path)) == ({"default": "c"}, False)
    (tmp_path / "config.json").write_text('{"model_type": "gemma4_unified"}')
    assert read_templates(str(tmp_path)) == ({"default": "c"}, True)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(gemlet.BadFile, match=r"chat_template.jinja: not UTF-8 at byte 0"):
        read_templates(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(gemlet.BadFile, match=r"config.json: not JSON"):
        read_templates(str(tmp_path))


def test_gemma_3_has_no_tools_and_no_thinking(m):
    for option, what in (({"think": True}, "thinking"), ({"tools": [WEATHER]}, "tools")):
        with pytest.raises(gemlet.UnsupportedModel, match=f"is of the gemma3 family, which has no {what}"):
            m.chat("Hi", **option)
    with pytest.raises(gemlet.TemplateError, match="take turns"):
        m.chat([user("a"), user("b")])


# ---- a real engine


def test_the_models_own_end_tokens_end_an_answer(g4):
    for name in ("<turn|>", "<|tool_response>", "<eos>"):
        end = g4._engine.tokenizer.find(name)
        answer = g4.chat("Hi", logit_bias={end: 1e4}, max_tokens=8)
        assert (answer.text, answer.finish_reason, answer.usage.completion_tokens) == ("", "stop", 0)


def test_an_answer_is_the_generation_after_its_prompt(g4):
    answer = g4.chat("Hi", max_tokens=12, seed=5, logprobs=1)
    same = g4.generate(g4.apply_chat_template("Hi"), max_tokens=12, seed=5, logit_bias=_never(g4))
    assert answer.token_ids.tolist() == same.token_ids.tolist()
    assert answer.usage.prompt_tokens == g4.count_tokens("Hi")
    assert len(answer.logprobs) == len(answer.token_ids)
    assert str(answer) == answer.text
    assert not any(marker in answer.text for marker in ("<|", "|>"))
    assert pickle.loads(pickle.dumps(answer)).text == answer.text


def _never(model: gemlet.Model) -> dict[int, float]:
    names = ("<image|>", "<audio|>", "<|tool_call>")
    return {model._engine.tokenizer.find(name): float("-inf") for name in names}


def test_without_tools_no_call_can_be_drawn(g4, monkeypatch):
    opens = g4._engine.tokenizer.find("<|tool_call>")
    asked = say(g4, monkeypatch, "x")
    for options, banned in (
        ({}, True),
        ({"tools": [WEATHER]}, False),
        ({"tools": [WEATHER], "tool_choice": "none"}, True),
    ):
        g4.chat("Hi", **options)
        assert (asked["options"].logit_bias.get(opens) == float("-inf")) is banned
        declares = g4._engine.tokenizer.find("<|tool>") in asked["ids"]
        assert declares is not banned


def test_limits_and_options_reach_the_engine(g4, monkeypatch):
    asked = say(g4, monkeypatch, "x")
    g4.chat("Hi", temperature=0.5, stop="y", seed=3)
    assert (asked["options"].max_tokens, asked["options"].temperature, asked["options"].seed) == (2048, 0.5, 3)
    assert asked["options"].stop == ()  # looked for in the text of the answer instead
    g4.chat("Hi", max_tokens=7)
    assert asked["options"].max_tokens == 7


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"temprature": 1}, TypeError, "chat: no option 'temprature'; did you mean 'temperature'?"),
        ({"tool": []}, TypeError, "did you mean 'tools'?"),
        ({"images": ["a.png"]}, gemlet.MediaError, r"^images\[0\]: the model 'gemma4_chat' has no part for images"),
        ({"audio": "a.wav"}, gemlet.MediaError, "^audio: the model 'gemma4_chat' has no part for sound"),
        ({"video": b""}, gemlet.MediaError, "^video: the model 'gemma4_chat' has no part for videos"),
        ({"images": "a.png"}, TypeError, r"images must be a list of images, not str; pass \[image\]"),
        ({"n": 2}, ValueError, "chat: the option 'n' is not available"),
        ({"temperature": -1}, ValueError, "temperature must be"),
        ({"logit_bias": {10**6: 1}}, ValueError, "logit_bias has token id 1000000"),
    ],
)
def test_a_wrong_option_is_an_error(options, kind, message, g4):
    with pytest.raises(kind, match=message):
        g4.chat("Hi", **options)
    with pytest.raises(kind, match=message):
        asyncio.run(_awaited(g4, options))


async def _awaited(model: gemlet.Model, options: dict[str, Any]) -> None:
    await model.achat("Hi", **options)


@pytest.mark.parametrize(
    ("choice", "begins", "goes_on"),
    [
        ("required", "call:", 'get_weather{city:<|"|>Oslo<|"|>}'),
        ("get_weather", "call:get_weather{", 'city:<|"|>Oslo<|"|>}'),
    ],
)
def test_a_call_can_be_forced(choice, begins, goes_on, g4, monkeypatch):
    asked = say(g4, monkeypatch, goes_on + "<tool_call|>")
    answer = g4.chat("Hi", tools=[WEATHER], tool_choice=choice)
    assert [(call.name, call.args) for call in answer.tool_calls] == [("get_weather", {"city": "Oslo"})]
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    shown = g4.detokenize(asked["ids"], special=True)
    assert shown.endswith(f"<|turn>model\n<|channel>thought\n<channel|><|tool_call>{begins}")


def test_too_long_a_conversation(g4):
    turns = [{"role": "system", "content": "Be brief."}]
    for i in range(12):
        turns += [user(f"Question {i}. " + "word " * 20), {"role": "assistant", "content": f"Answer {i}."}]
    turns.append(user("And now?"))
    with pytest.raises(gemlet.ContextOverflow, match="overflow='truncate'"):
        g4.chat(turns, max_tokens=8)
    answer = g4.chat(turns, max_tokens=8, overflow="truncate")
    found = [warning for warning in answer.warnings if "left out" in warning]
    dropped = int(found[0].split(" to ")[1].split()[0])
    assert turns[dropped + 1]["role"] == "user"
    kept = g4.count_tokens([turns[0], *turns[dropped + 1 :]])
    assert answer.usage.prompt_tokens == kept <= 504 < g4.count_tokens([turns[0], *turns[dropped - 1 :]])
    assert g4.chat(turns[:5], max_tokens=8, overflow="truncate").usage.prompt_tokens == g4.count_tokens(turns[:5])
    for long in ([user("word " * 700)], [*turns, user("word " * 700)], [{"role": "system", "content": "x " * 700}]):
        with pytest.raises(gemlet.ContextOverflow, match="the last turn alone has"):
            g4.chat(long, max_tokens=8, overflow="truncate")


def test_where_the_answer_proper_begins_is_told_to_the_engine(g4, monkeypatch):
    asked = say(g4, monkeypatch, "x")
    g4.chat("Hi", think=True)
    assert asked["after"] is None
    g4.chat(CASES["answered"], think=True)
    assert asked["after"] == g4._engine.tokenizer.find("<channel|>")
    g4.chat(CASES["answered"])
    assert asked["after"] is None


# ---- answers


@pytest.mark.parametrize("at_once", [1, 2, 5, 1000])
def test_text_thinking_and_calls_come_apart(at_once, g4, monkeypatch):
    asked = say(g4, monkeypatch, TALK, at_once=at_once, tops=True)
    stream = g4.chat("Hi", tools=[WEATHER], stream=True, logprobs=0)
    chunks = list(stream)
    answer = stream.result
    assert answer.text == "Let me see. One  moment"
    assert answer.thinking == "A tool, é."
    assert [(call.name, call.args) for call in answer.tool_calls] == [
        ("get_weather", {"city": "Oslo"}),
        ("get_weather", {"city": "Rom", "days": 2}),
    ]
    assert answer.finish_reason == "tool_calls"
    assert answer.token_ids.tolist() == asked["script"].ids
    assert 0 < answer.thinking_tokens < len(answer.token_ids)
    for kind, whole in (("text", answer.text), ("thinking", answer.thinking)):
        assert "".join(chunk.text for chunk in chunks if chunk.kind == kind) == whole
    assert [chunk.tool_call for chunk in chunks if chunk.kind == "tool_call"] == answer.tool_calls
    order = [chunk.kind for chunk in chunks]
    assert [kind for i, kind in enumerate(order) if i == 0 or order[i - 1] != kind] == [
        *("text", "thinking", "text", "tool_call", "text")
    ]
    given = [token for chunk in chunks for token in chunk.token_ids]
    assert given == asked["script"].ids[: len(given)]
    assert len(answer.logprobs) == len(answer.token_ids)
    calls = answer.message["tool_calls"]
    assert calls[0]["function"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert len({call["id"] for call in calls}) == 2


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.sampled_from(["", "see", "One", " moment", "ent", "tool", "t m"]))
def test_chunks_make_no_difference_and_stop_strings_end_the_text(g4, at_once, stop):
    with pytest.MonkeyPatch.context() as patch:
        asked = say(g4, patch, TALK, at_once=at_once)
        answer = g4.chat("Hi", tools=[WEATHER], stop=[stop] if stop else [])
    whole = "Let me see. One  moment"
    assert answer.text == (whole.split(stop)[0] if stop else whole)
    if stop in whole and stop:
        assert asked["script"].cancelled
        assert len(answer.token_ids) == answer.usage.completion_tokens <= len(asked["script"].ids)
        assert answer.finish_reason == ("tool_calls" if "One" in answer.text else "stop")
    else:
        assert len(answer.tool_calls) == 2


def test_the_answer_goes_back_as_a_message(g4, monkeypatch):
    say(g4, monkeypatch, '<|channel>thought\nHm<channel|><|tool_call>call:get_weather{city:<|"|>a<|"|>}<tool_call|>')
    talk: list[Any] = [user("Hi")]
    answer = g4.chat(talk, tools=[WEATHER], think=True)
    talk += [answer, {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "sun"}]
    shown = g4.apply_chat_template(talk, tokenize=False, think=True)
    assert shown.endswith(
        '<|turn>model\n<|channel>thought\nHm\n<channel|><|tool_call>call:get_weather{city:<|"|>a<|"|>}<tool_call|>'
        '<|tool_response>response:get_weather{value:<|"|>sun<|"|>}<tool_response|><|channel>thought\n'
    )
    say(g4, monkeypatch, "still thinking<channel|>Sun.")
    answer = g4.chat(talk, think=True)
    assert (answer.thinking, answer.text) == ("still thinking", "Sun.")


def test_a_call_that_cannot_be_read_is_raised_where_it_ends(g4, monkeypatch):
    asked = say(g4, monkeypatch, "So <|tool_call>call:get_weather{city:Oslo}<tool_call|> and more", at_once=1)
    with g4.chat("Hi", tools=[WEATHER], stream=True) as chunks:
        assert next(chunks).text.startswith("S")
        with pytest.raises(gemlet.ToolCallError, match="'Oslo' is neither quoted"):
            list(chunks)
        assert asked["script"].cancelled
        assert list(chunks) == []
        with pytest.raises(RuntimeError, match="failed before it had a result"):
            chunks.result  # noqa: B018
    say(g4, monkeypatch, "<|tool_call>call:now{}<tool_call|>")
    with pytest.raises(gemlet.ToolCallError, match=r"'now', which is no tool .*: 'get_weather'"):
        g4.chat("Hi", tools=[WEATHER])


def test_a_call_cut_off_by_a_limit_is_a_warning(g4, monkeypatch):
    say(g4, monkeypatch, 'So <|tool_call>call:get_weather{city:<|"|>Os', reason="length")
    answer = g4.chat("Hi", tools=[WEATHER])
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("So ", [], "length")
    assert "ended inside a tool call" in answer.warnings[-1]


def test_ignoring_the_end(g4, monkeypatch):
    say(g4, monkeypatch, "a<turn|>b<|tool_response>c")
    assert g4.chat("Hi").text == "a"
    assert g4.chat("Hi", ignore_eos=True).text == "abc"
