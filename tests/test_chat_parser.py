"""Answers' ids to text, thinking and calls: the states, what is tolerated, what is refused, and any chunking."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gemlet
from chat_cases import names, texts, tokenizer
from gemlet import _core
from gemlet.chat import gemma4
from gemlet.chat.calls import parse_call
from gemlet.chat.parser import AnswerParser, AnswerTokens, Delta
from gemlet.chat.pieces import MARKERS, Marker, split, to_ids
from gemlet.chat.stream import StopText

Q = None


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> _core.Tokenizer:
    return tokenizer(tmp_path_factory.mktemp("vocabulary"))


def parser(bpe: _core.Tokenizer, **options: Any) -> AnswerParser:
    count = itertools.count()
    return AnswerParser(AnswerTokens.of(bpe, "gemma4"), bpe.piece, call_id=lambda: f"c{next(count)}", **options)


def ids_of(bpe: _core.Tokenizer, answer: str) -> list[int]:
    """Every marker in `answer` as its control id."""
    return [int(i) for i in to_ids(bpe, split(answer, "gemma4"), "gemma4")[1:]]


def parsed(bpe: _core.Tokenizer, answer: str, *, complete: bool = True, **options: Any) -> dict[str, Any]:
    return collected(bpe, ids_of(bpe, answer), complete=complete, **options)


def collected(bpe: _core.Tokenizer, ids: list[int], *, complete: bool = True, **options: Any) -> dict[str, Any]:
    reader = parser(bpe, **options)
    deltas: list[Delta] = []
    for token in ids:
        deltas += reader.feed(token)
    deltas += reader.finish(complete=complete)
    made: dict[str, Any] = {}
    for kind in ("text", "thinking"):
        made[kind] = "".join(delta.text for delta in deltas if delta.kind == kind)
    made["calls"] = [(d.tool_call.name, d.tool_call.args) for d in deltas if d.tool_call is not None]
    return made


def answer(text: str = "", thinking: str = "", *calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"text": text, "thinking": thinking, "calls": list(calls)}


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("Hello there.<turn|>", answer("Hello there.")),
        ("Hello<turn|>and more", answer("Hello")),
        ("Hello<eos>", answer("Hello")),
        ("<|channel>thought\nHm.\n<channel|>Yes.<turn|>", answer("Yes.", "Hm.")),
        ("<|channel>thought\n<channel|>Yes.", answer("Yes.")),
        ("<|channel>thought<channel|>Yes.", answer("Yes.")),
        ("<|channel>thought\n\n\n a\n\nb \n\n<channel|>Yes.", answer("Yes.", "a\n\nb")),
        ("<|channel>thought\na<channel|>Yes<|channel>thought\nb<channel|>, no", answer("Yes, no", "a\n\nb")),
        ("<|channel>thought\na<|channel>thought\nb<channel|>Yes", answer("Yes", "a\n\nb")),
        ("<|channel>thought\nunfinished", answer("", "unfinished")),
        ("a<channel|>b", answer("ab")),
        ('a<tool_call|>b<tool|><|tool><|think|><|"|><tool_response|><|turn>c', answer("abc")),
        ("Look: <|tool_call>call:now{}<tool_call|><|tool_response>", answer("Look: ", "", ("now", {}))),
        ("<|tool_call>call:now{}<tool_call|><tool_call|>", answer("", "", ("now", {}))),
        (
            "<|tool_call>call:a{}<tool_call|><|tool_call>call:b{x:1}<tool_call|>",
            answer("", "", ("a", {}), ("b", {"x": 1})),
        ),
        ("<|tool_call>call:a{}<|tool_call>call:b{}<tool_call|>ok", answer("ok", "", ("a", {}), ("b", {}))),
        ("<|tool_call>call:now{}", answer("", "", ("now", {}))),
        ('<|tool_call>call:f{s:<|"|>cut off', answer("", "", ("f", {"s": "cut off"}))),
        ('<|tool_call>call:f{o:{l:[1,<|"|>cut', answer("", "", ("f", {"o": {"l": [1, "cut"]}}))),
        ("<|channel>thought\ncall it<|tool_call>call:f{}<tool_call|>", answer("", "call it", ("f", {}))),
        (
            '<|tool_call>call:f{s:<|"|>}, {<turn> "x" :<|"|>}<tool_call|>',
            answer("", "", ("f", {"s": '}, {<turn> "x" :'})),
        ),
    ],
)
def test_states(bpe, given_text, expected):
    assert parsed(bpe, given_text) == expected


def test_a_prompt_may_end_inside_a_thought(bpe):
    assert parsed(bpe, "Hm.\n<channel|>Yes.", thinking=True) == answer("Yes.", "Hm.")
    reader = parser(bpe, thinking=True)
    for token in ids_of(bpe, "one two<channel|>Yes"):
        reader.feed(token)
    assert reader.thinking_tokens == len(ids_of(bpe, "one two<channel|>"))


def test_a_call_that_a_limit_cut_off_is_told_and_not_given(bpe):
    reader = parser(bpe)
    deltas = [delta for token in ids_of(bpe, 'So:<|tool_call>call:rm{path:<|"|>/home') for delta in reader.feed(token)]
    assert "".join(delta.text for delta in deltas) == "So:"
    assert reader.finish(complete=False) == []
    assert reader.unread == 'call:rm{path:<|"|>/home'


def test_bytes_of_a_character_may_come_apart(bpe):
    ids = [bpe.find(f"<0x{byte:02X}>") for byte in "é中".encode()]
    reader = parser(bpe)
    assert [[d.text for d in reader.feed(token)] for token in ids] == [[], ["é"], [], [], ["中"]]
    assert collected(bpe, ids[:4])["text"] == "é\ufffd"
    spoken = collected(bpe, [bpe.find("<|channel>"), *ids_of(bpe, "t\n"), ids[0], bpe.find("<channel|>"), *ids[2:]])
    assert spoken == answer("中", "\ufffd")


def test_gemma_3_has_text_only(m):
    tokens = AnswerTokens.of(m._engine.tokenizer, "gemma3")
    reader = AnswerParser(tokens, m._engine.tokenizer.piece)
    ids = m.tokenize("a <|tool_call> b<start_of_image><unused3>", add_bos=False, parse_special=True)
    assert "".join(d.text for token in ids for d in reader.feed(int(token))) == "a <|tool_call> b"
    assert reader.feed(m._engine.tokenizer.find("<end_of_turn>")) == []
    assert reader.ended


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("now{}", "does not begin with 'call:'"),
        ("call:{}", "'' is not the name of a tool"),
        ("call:a b{}", "'a b' is not the name"),
        ("call:f", "no '{' after the name"),
        ("call:f{", "a key is missing"),
        ("call:f{a}", "no ':' after the key 'a'"),
        ("call:f{a:}", "a value is missing"),
        ("call:f{a:Oslo}", "'Oslo' is neither quoted nor a number"),
        ("call:f{a:1", "',' or '}' is missing"),
        ("call:f{a:[1", "',' or ']' is missing"),
        ("call:f{a:1,}", "a key is missing"),
        ("call:f{a:1}}", "more after the closing"),
        ('call:f{a:"x}', "a string is not closed"),
        ("call:f{a:NaN}", "'NaN' is no value"),
        ("call:f{a:1e999}", "'1e999' is no value"),
        ("call:f{a:" + "[" * 70 + "]" * 70 + "}", "nested more than 64"),
    ],
)
def test_a_call_that_cannot_be_read_is_an_error(bpe, body, why):
    with pytest.raises(gemlet.ToolCallError, match="the model's tool call cannot be read") as raised:
        parsed(bpe, f"Hi <|tool_call>{body}<tool_call|>")
    assert why in str(raised.value)
    assert body[:40] in str(raised.value)


def test_a_control_token_inside_a_call_is_an_error(bpe):
    with pytest.raises(gemlet.ToolCallError, match=r"<\|channel>' stands inside of it, after 'call:f{a:'"):
        parsed(bpe, "<|tool_call>call:f{a:<|channel>")


def test_an_unknown_tool_is_an_error(bpe):
    assert parsed(bpe, "<|tool_call>call:now{}<tool_call|>", tools=["now"]) == answer("", "", ("now", {}))
    with pytest.raises(gemlet.ToolCallError, match=r"called 'now', which is no tool .*: 'then', 'later'"):
        parsed(bpe, "<|tool_call>call:now{}<tool_call|>", tools=["then", "later"])


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["call:f{}"], {}),
        ([" call:f{ a : 1 , b : [ ] } "], {"a": 1, "b": []}),
        (["call:f{a:true,b:false,c:null,d:-1.5e3}"], {"a": True, "b": False, "c": None, "d": -1500.0}),
        (["call:f{", Q, "a:b", Q, ":1,", '"c" : 2}'], {"a:b": 1, "c": 2}),
        (['call:f{a:"x, \\"y\\"}",b:"two\nlines",c:"C:\\path"}'], {"a": 'x, "y"}', "b": "two\nlines", "c": "C:\\path"}),
        (["call:f{a:{b:{c:[{d:", Q, "é\n", Q, "}]}}}"], {"a": {"b": {"c": [{"d": "é\n"}]}}}),
        (["call:f{a:", Q, Q, ",b:", Q, '"', Q, "}"], {"a": "", "b": '"'}),
        (["call:f{a:1,a:2}"], {"a": 2}),
    ],
)
def test_values(parts, expected):
    assert parse_call(parts) == ("f", expected)


# ---- any chunking, any ids

_keys = st.from_regex(r"[A-Za-z_][\w\- ]{0,5}[A-Za-z]", fullmatch=True)
_strings = texts.filter(lambda text: '<|"|>' not in text)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _strings
)
_values = st.recursive(
    _scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(_keys, v, max_size=3), max_leaves=8
)
_arguments = st.dictionaries(_keys, _values, max_size=4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(names, _arguments), max_size=3), _strings, _strings.map(str.strip))
def test_what_the_renderer_writes_the_parser_reads(bpe, calls, said, thought):
    """Calls, with any text in their strings, come back as they were written into a prompt."""
    pieces: list[str] = [Marker("<|channel>"), "thought\n", thought, "\n", Marker("<channel|>"), said]
    for name, arguments in calls:
        pieces += [Marker("<|tool_call>"), "call:", name, *gemma4._object(arguments, False), Marker("<tool_call|>")]
    ids = [int(i) for i in to_ids(bpe, pieces, "gemma4")[1:]]
    found = collected(bpe, ids)
    assert found["text"] == said
    assert found["thinking"] == thought
    assert [name for name, _ in found["calls"]] == [name for name, _ in calls]
    for (_, got), (_, wanted) in zip(found["calls"], calls, strict=True):
        assert got == wanted
        assert json.dumps(got, sort_keys=True) == json.dumps(wanted, sort_keys=True)  # 1 is not True or 1.0


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_ids_give_text_without_control_tokens_or_one_clear_error(bpe, data):
    control = sorted({bpe.find(name) for name in MARKERS["gemma4"]} - {-1})
    start = [
        ids_of(bpe, text)
        for text in ("<|tool_call>call:f{", "<|channel>thought\n", ',a:<|"|>x<|"|>', "}", "<tool_call|>")
    ]
    token = st.sampled_from(control) | st.integers(0, bpe.vocab_size - 1)
    ids = list(itertools.chain(*data.draw(st.lists(token.map(lambda i: [i]) | st.sampled_from(start), max_size=30))))
    complete = data.draw(st.booleans())
    try:
        found = collected(bpe, ids, complete=complete, thinking=data.draw(st.booleans()))
    except gemlet.ToolCallError:
        return  # nothing else may be raised; its wording has tests of its own
    ends = {bpe.find(name) for name in ("<eos>", "<turn|>", "<|tool_response>")}
    read = list(itertools.takewhile(lambda i: i not in ends, ids))
    plain = bpe.decode_bytes([i for i in read if i not in control]).decode("utf-8", "replace") if read else ""
    assert len(found["text"]) <= len(plain) + len(read)  # broken characters at a region's end become U+FFFD
    for name in MARKERS["gemma4"]:
        assert name not in found["text"] + found["thinking"] or name in plain


@settings(max_examples=30, deadline=None)
@given(st.text("ab.\n", max_size=12), st.lists(st.text("ab.\n", min_size=1, max_size=3), max_size=3), st.data())
def test_stop_strings_are_found_however_the_text_is_cut(text, strings, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    parts = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    stop = StopText(strings)
    out = ""
    for part in parts:
        out += stop.push(part)
        if stop.met:
            break
    else:
        out += stop.finish()
    ends = [(text.find(string) + len(string), text.find(string)) for string in strings if string in text]
    assert stop.met == bool(ends)
    assert out == (text[: min(ends)[1]] if ends else text)
