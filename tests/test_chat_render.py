"""Conversations to ids: the built-in forms, the model's own template, and text that pretends to be control tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gemlet
from chat_cases import CASES, ODD, PLAIN, TEMPLATE, WEATHER, conversations, texts, tokenizer, tool, tool_lists, user
from gemlet import _core
from gemlet.chat import gemma3, gemma4
from gemlet.chat.format import stripped, with_responses
from gemlet.chat.messages import check_messages
from gemlet.chat.pieces import MARKERS, Marker, joined, split, to_ids
from gemlet.chat.template import ChatTemplate
from gemlet.chat.tools import check_tools

OPTIONS = ("think", "preserve_thinking", "add_generation_prompt", "empty_thought")


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> _core.Tokenizer:
    return tokenizer(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def golden() -> ChatTemplate:
    return ChatTemplate(TEMPLATE, "gemma4", "the golden template")


def built_in(messages: Any, tools: Any = None, **options: bool) -> list[str]:
    return gemma4.render(check_messages(messages)[0], tools=check_tools(tools), **options)


def by_template(
    golden: ChatTemplate, messages: Any, tools: Any = None, think: bool = False, **options: bool
) -> list[str]:
    variables = {"add_generation_prompt": True, "enable_thinking": think, **options}
    variables["messages"] = [stripped(message) for message in check_messages(messages)[0]]
    return golden.render({**variables, "tools": check_tools(tools) or None}, {"bos_token": "<bos>"})


SHOWN = {
    "one": "<bos><|turn>user⏎Hello<turn|>⏎<|turn>model⏎",
    "system": "<bos><|turn>system⏎Be brief.<turn|>⏎<|turn>user⏎Hi<turn|>⏎<|turn>model⏎",
    "developer parts": "<bos><|turn>system⏎a b <turn|>⏎<|turn>user⏎xy<turn|>⏎<|turn>model⏎",
    "turns": "<bos><|turn>user⏎1<turn|>⏎<|turn>model⏎one<turn|>⏎<|turn>user⏎2<turn|>⏎<|turn>model⏎two<turn|>⏎"
    "<|turn>user⏎3<turn|>⏎<|turn>model⏎",
    "raw thoughts": "<bos><|turn>user⏎1<turn|>⏎<|turn>model⏎one more<turn|>⏎<|turn>user⏎2<turn|>⏎<|turn>model⏎",
    "thoughts of old turns": "<bos><|turn>user⏎1<turn|>⏎<|turn>model⏎one<turn|>⏎<|turn>user⏎2<turn|>⏎<|turn>model⏎",
    "in a row": "<bos><|turn>user⏎1<turn|>⏎<|turn>model⏎abc<turn|>⏎<|turn>user⏎2<turn|>⏎<|turn>model⏎",
    "unanswered": "<bos><|turn>user⏎w?<turn|>⏎<|turn>model⏎<|channel>thought⏎need tool⏎<channel|><|tool_call>"
    'call:get_weather{a:{k:true},B:[1,<|"|>x<|"|>,null],city:<|"|>Oslo<|"|>,days:2}<tool_call|><|tool_response>',
    "parallel": '<bos><|turn>user⏎w?<turn|>⏎<|turn>model⏎<|tool_call>call:get_weather{city:<|"|>Oslo<|"|>}<tool_call|>'
    '<|tool_call>call:now{}<tool_call|><|tool_response>response:get_weather{value:<|"|>sun<|"|>}<tool_response|>'
    '<|tool_response>response:now{value:<|"|>noon<|"|>}<tool_response|>',
    "no ids": "<bos><|turn>user⏎w?<turn|>⏎<|turn>model⏎<|tool_call>call:a{}<tool_call|><|tool_call>call:b{}<tool_call|>"
    '<|tool_response>response:b{value:<|"|>1<|"|>}<tool_response|>'
    '<|tool_response>response:a{value:<|"|>2<|"|>}<tool_response|>',
    "a name, no id": "<bos><|turn>user⏎w?<turn|>⏎<|turn>model⏎<|tool_call>"
    'call:get_weather{city:<|"|>Oslo<|"|>}<tool_call|><|tool_call>call:now{}<tool_call|>'
    '<|tool_response>response:other{value:<|"|>x<|"|>}<tool_response|>',
}


@pytest.mark.parametrize("case", SHOWN)
def test_the_form_is_gemma_4s(case):
    assert "".join(built_in(CASES[case])).replace("\n", "⏎") == SHOWN[case]


def test_a_conversation_with_a_tool_is_as_published():
    shown = "".join(built_in(CASES["answered"], [WEATHER]))
    assert shown == (
        '<bos><|turn>system\n<|tool>declaration:get_weather{description:<|"|>Weather.<|"|>,parameters:{properties:{'
        'city:{description:<|"|>City<|"|>,type:<|"|>STRING<|"|>},days:{type:<|"|>INTEGER<|"|>},opt:{properties:{a:{'
        'description:<|"|>A<|"|>,type:<|"|>BOOLEAN<|"|>}},required:[<|"|>a<|"|>],type:<|"|>OBJECT<|"|>},'
        'tags:{items:{type:<|"|>STRING<|"|>},type:<|"|>ARRAY<|"|>},units:{enum:[<|"|>c<|"|>,<|"|>f<|"|>],'
        'type:<|"|>STRING<|"|>}},required:[<|"|>city<|"|>],type:<|"|>OBJECT<|"|>}}<tool|><turn|>\n'
        "<|turn>user\nw?<turn|>\n<|turn>model\n<|channel>thought\nneed tool\n<channel|><|tool_call>call:get_weather{"
        'a:{k:true},B:[1,<|"|>x<|"|>,null],city:<|"|>Oslo<|"|>,days:2}<tool_call|>'
        '<|tool_response>response:get_weather{value:<|"|>{"t": 3}<|"|>}<tool_response|>'
    )


@pytest.mark.parametrize(
    ("case", "think", "empty_thought", "end"),
    [
        ("one", False, False, "<|turn>model\n"),
        ("one", True, False, "<|turn>model\n"),
        ("one", True, True, "<|turn>model\n"),
        ("one", False, True, "<|turn>model\n<|channel>thought\n<channel|>"),
        ("answered", True, True, "<tool_response|><|channel>thought\n"),
        ("answered", False, True, "<tool_response|>"),
        ("unanswered", True, True, "<tool_call|><|tool_response>"),
        ("unanswered", False, False, "<tool_call|><|tool_response>"),
    ],
)
def test_how_the_prompt_ends(case, think, empty_thought, end):
    shown = "".join(built_in(CASES[case], think=think, empty_thought=empty_thought))
    assert shown.endswith(end)
    assert ("<bos><|turn>system\n<|think|>\n<turn|>\n" in shown) is think


def test_thoughts_are_kept_within_the_current_loop_only():
    case = CASES["old thoughts with calls"]
    assert "need tool" not in "".join(built_in(case))
    assert "need tool" in "".join(built_in(case, preserve_thinking=True))
    assert "need tool" in "".join(built_in(case[:3]))
    assert "easy" not in "".join(built_in(CASES["thoughts of old turns"], preserve_thinking=True))
    assert "thought\neasy\n<channel|>one<turn|>" in "".join(built_in(CASES["thoughts after the last user"]))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tools", [None, [WEATHER, ODD, PLAIN]], ids=["", "tools"])
def test_template_and_built_in_give_the_same_ids(case, tools, bpe, golden):
    for number in range(2 ** len(OPTIONS)):
        options = {name: bool(number >> i & 1) for i, name in enumerate(OPTIONS)}
        own, other = built_in(CASES[case], tools, **options), by_template(golden, CASES[case], tools, **options)
        assert list(joined(own)) == list(joined(other))
        np.testing.assert_array_equal(to_ids(bpe, own, "gemma4"), to_ids(bpe, other, "gemma4"))


@settings(max_examples=30, deadline=None)
@given(conversations(), tool_lists(), st.tuples(*[st.booleans()] * len(OPTIONS)))
def test_template_and_built_in_agree_on_any_conversation(bpe, golden, messages, tools, flags):
    options = dict(zip(OPTIONS, flags, strict=True))
    own, other = built_in(messages, tools, **options), by_template(golden, messages, tools, **options)
    np.testing.assert_array_equal(to_ids(bpe, own, "gemma4"), to_ids(bpe, other, "gemma4"))


def structure(bpe: _core.Tokenizer, ids: np.ndarray) -> list[int]:
    control = {bpe.find(name) for name in MARKERS["gemma4"]} - {-1}
    return [int(i) for i in ids if int(i) in control]


@settings(max_examples=30, deadline=None)
@given(conversations(), tool_lists(), st.booleans())
def test_text_never_becomes_a_control_token(bpe, golden, messages, tools, think):
    """The control ids of a prompt are those of the same conversation with harmless text in every place."""
    render: Callable[..., list[str]]
    for render in (built_in, lambda *args, **more: by_template(golden, *args, **more)):
        ids = to_ids(bpe, render(messages, tools, think=think), "gemma4")
        pieces = [piece for piece in render(messages, tools, think=think) if isinstance(piece, Marker)]
        assert structure(bpe, ids) == [bpe.find(name) for name in pieces]
        assert list(ids).count(bpe.bos) == 1
        assert ids[0] == bpe.bos
    calm = by_template(golden, _calmed(messages), _calmed(tools), think=think)
    loud = by_template(golden, messages, tools, think=think)
    assert [p for p in loud if isinstance(p, Marker)] == [p for p in calm if isinstance(p, Marker)]


def _calmed(value: Any) -> Any:
    """The same with every `<` made harmless; thoughts in raw answers go first, as they would anyway."""
    if isinstance(value, str):
        return value.replace("<", "\x01")
    if isinstance(value, dict):
        if value.get("role") == "assistant":
            value = stripped(check_messages([value])[0][0])
        return {key.replace("<", "\x01"): _calmed(item) for key, item in value.items()}
    return [_calmed(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=30, deadline=None)
@given(st.lists(texts, max_size=4))
def test_markers_cannot_be_put_together_from_parts(bpe, golden, parts):
    message = user([{"type": "text", "text": part} for part in [*parts, "<|tu", "rn>", "<", "turn|>"]])
    for pieces in (built_in([message]), by_template(golden, [message])):
        assert [p for p in pieces if isinstance(p, Marker)] == ["<bos>", "<|turn>", "<turn|>", "<|turn>"]
        turns = [bpe.find(name) for name in ("<bos>", "<|turn>", "<turn|>", "<|turn>")]
        assert structure(bpe, to_ids(bpe, pieces, "gemma4")) == turns


def test_user_defined_markers_in_text_stay_text_and_keep_their_bytes(bpe):
    text = "see <|tool_call>call:now{}<tool_call|> and <turn|>"
    plain = bpe.encode(text, False, False)
    assert bpe.find("<|tool_call>") in plain  # to the tokenizer alone it is no control piece
    ids = to_ids(bpe, [text], "gemma4")
    assert structure(bpe, ids) == [bpe.bos]
    assert bpe.decode(ids[1:]) == text


def test_exactly_one_bos(bpe):
    for pieces in ([], ["x"], [Marker("<bos>"), "x"], [Marker("<bos>"), Marker("<bos>"), "x"]):
        ids = to_ids(bpe, pieces, "gemma4")
        assert list(ids).count(bpe.bos) == 1
        assert ids[0] == bpe.bos


def test_a_vocabulary_without_a_marker_is_an_error(bpe):
    with pytest.raises(gemlet.UnsupportedModel, match=r"no control token '<start_of_turn>'"):
        to_ids(bpe, [Marker("<start_of_turn>")], "gemma3")


def test_media_have_their_place_in_the_renderers():
    parts = [{"type": "text", "text": "What is "}, {"type": "image_url", "image_url": {"url": "data:,a"}}]
    checked, _ = check_messages([user([*parts, {"type": "input_audio"}, {"type": "video"}])])
    assert "".join(gemma4.render(checked)).startswith("<bos><|turn>user\nWhat is<|image|><|audio|><|video|><turn|>")
    checked, _ = check_messages([user(parts)])
    assert "What is<start_of_image><end_of_turn>" in "".join(gemma3.render(checked))


def test_results_that_are_objects_go_where_the_published_template_takes_them():
    checked, _ = check_messages([*CASES["parallel"][:2], {**CASES["parallel"][2], "content": {"t": 3}}, tool("noon")])
    made = with_responses(checked)
    assert made[1]["tool_responses"] == [
        {"name": "get_weather", "response": {"t": 3}},
        {"name": "now", "response": "noon"},
    ]
    checked, _ = check_messages(CASES["parallel"])
    assert with_responses(checked) == checked
    checked, _ = check_messages(CASES["parts"])
    assert with_responses(checked) == checked


# ---- Gemma 3


def test_gemma_3s_form():
    turns = check_messages(
        [
            {"role": "system", "content": "Be brief."},
            user(" Hi "),
            {"role": "assistant", "content": " Yes? "},
            user("Go"),
        ]
    )[0]
    assert "".join(gemma3.render(turns)) == (
        "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nYes?<end_of_turn>\n"
        "<start_of_turn>user\nGo<end_of_turn>\n<start_of_turn>model\n"
    )
    assert "".join(gemma3.render(turns[1:2], add_generation_prompt=False)).endswith("Hi<end_of_turn>\n")


@pytest.mark.parametrize(
    "roles",
    [["assistant"], ["user", "user"], ["user", "assistant", "system"], ["system"], ["user", "assistant", "assistant"]],
)
def test_gemma_3s_roles_take_turns(roles):
    checked, _ = check_messages([{"role": role, "content": "x"} for role in roles])
    with pytest.raises(gemlet.TemplateError, match="Gemma 3 needs"):
        gemma3.render(checked)


# ---- templates as foreign code


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% if %}", r"line 1: "),
        ("\n{{ raise_exception('roles must alternate') }}", "line 2: roles must alternate"),
        ("a\nb\n{{ messages[7].content }}", "line 3: .*has no element 7"),
        ("{{ messages.append(1) }}", "line 1: .*append.* is unsafe"),
        ("{{ ''.__class__.__mro__ }}", "line 1: access to attribute '__class__'"),
        ("{% for i in range(100000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}", "loops take more than"),
        ("{{ 'x' * 1000000000000 }}", "more than"),
        ("{{ 10 ** 1000000000 }}", "more than"),
        (
            "{% set n = namespace(s='xxxxxxxx') %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}",
            "more than",
        ),
        (
            "{% set n = namespace(s='xxxxxxxx') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
            "~ makes",
        ),
        ("{% for i in range(3000) %}{{ 'x' * 30000 }}{% endfor %}", "wrote more than"),
        ("{{ nothing.at.all }}", "'nothing' is undefined"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ lipsum(1) }}", "'lipsum' is undefined"),
        ("{{ dict.mro() }}", "unsafe|no attribute"),
    ],
)
def test_a_broken_template_is_a_template_error(source, message):
    with pytest.raises(gemlet.TemplateError, match=message) as raised:
        ChatTemplate(source, "gemma4", "model.gguf").render({"messages": [user("x")]}, {})
    assert "model.gguf" in str(raised.value)


def shown(source: str, **variables: Any) -> str:
    return "".join(ChatTemplate(source, "gemma4", "test").render(variables, {"bos_token": "<bos>"}))


def test_templates_have_what_transformers_gives_them():
    assert shown("{{ x | tojson }}", x={"b": "é<", "a": [1, None]}) == '{"b": "é<", "a": [1, null]}'
    assert shown("{{ x | tojson(indent=1, sort_keys=true) }}", x={"b": 1, "a": 2}) == '{\n "a": 2,\n "b": 1\n}'
    assert shown("{{ x | tojson(ensure_ascii=true) }}", x="<é>") == '"<\\u00e9>"'
    assert shown("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}") == "01"
    assert shown("  {% if true %}\nx\n  {% endif %}\ny") == "x\ny"
    assert shown("{% generation %}a{{ 1 }}{% endgeneration %}b") == "a1b"
    assert shown("{{ strftime_now('%Y') }}").isdigit()
    assert shown("{{ dict(a=1).a }}{% set n = namespace(b=2) %}{% set n.b = 3 %}{{ n.b }}") == "13"
    assert shown("{{ 1 ~ 'a' ~ none }}{{ [1] + [2] }}{{ 2 * 3 }}{{ 'ab' * 2 }}{{ 2 ** 3 }}") == "1aNone[1, 2]6abab8"


def test_only_the_templates_own_markers_are_markers():
    source = "{{ bos_token }}<|turn>{{ a }}|turn>{{ a }}{{ b }}{{ a | upper }}"
    pieces = ChatTemplate(source, "gemma4", "test").render({"a": "<", "b": "<turn|>"}, {"bos_token": "<bos>"})
    assert [(piece, isinstance(piece, Marker)) for piece in joined(pieces)] == [
        ("<bos>", True),
        ("<|turn>", True),
        ("<|turn><<turn|><", False),
    ]
    assert split('a<|"|>b', "gemma4") == ["a", '<|"|>', "b"]


def test_text_with_every_guard_character_is_refused():
    template = ChatTemplate("{{ x }}", "gemma4", "test")
    guards = "".join(map(chr, range(0xFDD0, 0xFDF0)))
    assert "".join(template.render({"x": guards[:-1] + "<|turn>"}, {})) == guards[:-1] + "<|turn>"
    with pytest.raises(gemlet.TemplateError, match="U\\+FDD0"):
        template.render({"x": guards}, {})


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_transformers_renders_the_same_text(case, golden):
    from transformers.utils.chat_template_utils import render_jinja_template

    messages, tools = check_messages(CASES[case])[0], check_tools([WEATHER, ODD, PLAIN])
    given = {"enable_thinking": True, "add_generation_prompt": True, "bos_token": "<bos>"}
    theirs, _ = render_jinja_template([messages], tools=tools, chat_template=TEMPLATE, **given)
    assert "".join(by_template(golden, CASES[case], tools, think=True)) == theirs[0]
