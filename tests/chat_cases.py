"""Conversations of every kind for the chat tests, a tokenizer of Gemma 4's kind, and strategies that draw more."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from bpe_vocabulary import bpe_file
from gemlet import _core
from gemlet.chat.pieces import MARKERS

GOLDEN = Path(__file__).parent / "golden"
TEMPLATE = (GOLDEN / "gemma4_chat_template.jinja").read_text(encoding="utf-8")


def vocabulary() -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
    """Pieces with their kinds, and merges: every marker of Gemma 4, and enough words for prose."""
    golden = json.loads(gzip.decompress((GOLDEN / "tokenizer_gemma4.json.gz").read_bytes()))
    return [(piece, kind) for piece, kind in golden["tokens"]], [(a, b) for a, b in golden["merges"]]


def tokenizer(folder: Path) -> _core.Tokenizer:
    path = folder / "vocabulary.gguf"
    path.write_bytes(bpe_file(*vocabulary()))
    return _core.Tokenizer(str(path))


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City"},
                "units": {"type": "string", "enum": ["c", "f"]},
                "days": {"type": "integer"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "opt": {
                    "type": "object",
                    "properties": {"a": {"type": "boolean", "description": "A"}},
                    "required": ["a"],
                },
            },
            "required": ["city"],
        },
    },
}
ODD = {
    "type": "function",
    "function": {
        "name": "odd",
        "description": "All that a schema may hold.",
        "parameters": {
            "type": "object",
            "properties": {
                "maybe": {"type": "string", "nullable": True, "enum": ["x"]},
                "Rows": {
                    "type": "array",
                    "description": "rows",
                    "items": {
                        "type": "object",
                        "properties": {"n": {"type": "number"}},
                        "required": ["n"],
                        "description": "a row",
                        "extra": {"k": [1, "two", None, True]},
                    },
                },
                "free": {"type": "object", "extra": {"type": "string"}},
                "empty": {"type": "object", "properties": {}},
                "nothing": {},
                "list": {"type": "array"},
            },
        },
        "response": {"type": "object", "description": "What comes back."},
    },
}
PLAIN = {"type": "function", "function": {"name": "now", "description": "The time."}}


def call(name: str, arguments: Any, id: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return made if id is None else {"id": id, **made}


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def model(text: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def tool(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


ASKS = model(
    "",
    reasoning="need tool",
    tool_calls=[call("get_weather", {"city": "Oslo", "days": 2, "B": [1, "x", None], "a": {"k": True}}, "c1")],
)
BOTH = model(None, tool_calls=[call("get_weather", '{"city": "Oslo"}', "c1"), call("now", {}, "c2")])
CASES: dict[str, list[dict[str, Any]]] = {
    "one": [user("  Hello\n")],
    "system": [{"role": "system", "content": " Be brief. "}, user("Hi")],
    "developer parts": [
        {"role": "developer", "content": [{"type": "text", "text": " a "}, {"type": "text", "text": "b"}]},
        user([{"type": "text", "text": " x "}, {"type": "text", "text": " y "}]),
    ],
    "later system": [user("Hi"), model("Yes?"), {"role": "system", "content": "Now in French."}, user("Go on")],
    "turns": [user("1"), model("  one "), user("2"), model("two"), user("3")],
    "raw thoughts": [user("1"), model("<|channel>thought\nHm<channel|>one<|channel>x<channel|> more"), user("2")],
    "thoughts of old turns": [user("1"), model("one", reasoning="easy"), user("2")],
    "thoughts after the last user": [user("1"), model("one", reasoning_content="easy")],
    "old thoughts with calls": [user("w?"), ASKS, tool("sun", tool_call_id="c1"), model("Sun."), user("Sure?")],
    "unanswered": [user("w?"), ASKS],
    "unanswered, then user": [user("w?"), ASKS, user("never mind")],
    "answered": [user("w?"), ASKS, tool('{"t": 3}', tool_call_id="c1")],
    "answered with an object": [user("w?"), ASKS, tool({"t": 3.5, "Sky": ["blue"], "n": None}, tool_call_id="c1")],
    "parallel": [user("w?"), BOTH, tool("sun", tool_call_id="c1"), tool("noon", tool_call_id="c2")],
    "parallel, other order": [user("w?"), BOTH, tool("noon", tool_call_id="c2"), tool("sun", tool_call_id="c1")],
    "no ids": [user("w?"), model("", tool_calls=[call("a", {}), call("b", {})]), tool("1", name="b"), tool("2")],
    "a name, no id": [user("w?"), BOTH, tool("x", name="other")],
    "parts": [user("w?"), ASKS, tool([{"type": "text", "text": "a "}, {"type": "text", "text": "b"}])],
    "text with a call": [user("w?"), {**ASKS, "content": "Let me look."}, tool("sun", tool_call_id="c1")],
    "answered, and said": [user("w?"), ASKS, tool("sun", tool_call_id="c1"), model("Sunny.")],
    "two loops": [user("w?"), ASKS, tool("sun", tool_call_id="c1"), BOTH, tool("rain"), tool("one"), model("Well.")],
    "in a row": [user("1"), model("a"), model("b"), model("c", reasoning="last"), user("2")],
    "empty": [user(""), model(""), user("")],
}


# ---- drawn conversations; text is full of markers and of what nearly is one

_MARKS = [*MARKERS["gemma4"], *MARKERS["gemma3"]]
words = st.one_of(
    st.sampled_from([*_MARKS, *_MARKS, "<", "<|", "|>", ">", "turn|>", "[multi", "modal]", '"', "{", "}", ":", ","]),
    st.sampled_from(["model\n", "thought\n", "call:now{}", "\n", " ", "\ufdd0", "\\ufdd1", "é", "中", "user"]),
    st.text(st.characters(codec="utf-8"), max_size=4),
)
texts = st.lists(words, max_size=6).map("".join)
scalars = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | texts
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3), max_leaves=6)
names = st.sampled_from(["get_weather", "now", "a-b", "ns.x:y/z"])
_parts = st.lists(st.builds(lambda t: {"type": "text", "text": t}, texts), max_size=3)
_calls = st.lists(
    st.builds(call, names, st.dictionaries(texts, values, max_size=3), st.none() | st.sampled_from(["1", "2"])),
    min_size=1,
    max_size=3,
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": draw(st.sampled_from(["system", "developer"])), "content": draw(texts | _parts)})
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["user", "user", "assistant", "calls", "system"]))
        if kind in ("user", "system"):
            messages.append({"role": kind, "content": draw(texts | _parts)})
            continue
        message = model(draw(texts | _parts))
        if draw(st.booleans()):
            message["reasoning"] = draw(texts)
        messages.append(message)
        if kind == "calls":
            message["tool_calls"] = draw(_calls)
            for _ in range(draw(st.integers(0, 3))):
                id = draw(st.none() | st.sampled_from(["1", "2"]))
                messages.append(tool(draw(values | _parts), **({} if id is None else {"tool_call_id": id})))
    return messages


_fields = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "boolean", "array", "object"])},
        optional={
            "description": texts,
            "nullable": st.booleans(),
            "enum": st.lists(texts, max_size=2),
            "items": st.fixed_dictionaries({"type": st.just("string")}, optional={"extra": values}),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(texts, inner, max_size=3)},
        optional={"required": st.lists(texts, max_size=2)},
    ),
    max_leaves=4,
)


@st.composite
def tool_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for name in draw(st.lists(names, max_size=2, unique=True)):
        function: dict[str, Any] = {"name": name, "description": draw(texts)}
        if draw(st.booleans()):
            properties = draw(st.dictionaries(texts, _fields, max_size=3))
            function["parameters"] = {
                "type": "object",
                "properties": properties,
                "required": draw(st.lists(texts, max_size=2)),
            }
        made.append({"type": "function", "function": function})
    return made
