"""What may come into a chat: messages, calls and results, tools as dicts, functions and classes; and what may not."""

from __future__ import annotations

import dataclasses
import enum
import threading
from types import SimpleNamespace
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pydantic
import pytest

import gemlet
from chat_cases import WEATHER, call, model, tool, user
from gemlet.chat.messages import check_messages
from gemlet.chat.plain import plain
from gemlet.chat.tools import check_tool_choice, check_tools


def messages(*given: Any) -> list[dict[str, Any]]:
    return check_messages(given)[0]


CALLS = model(None, tool_calls=[call("f", "{}", "1")])


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (7, TypeError, "messages must be a string or a list of dicts"),
        ({"role": "user", "content": "x"}, TypeError, "messages must be a string or a list"),
        (b"Hello", TypeError, "not bytes"),
        ([], ValueError, "messages is empty"),
        (["Hello"], TypeError, r"messages\[0\] must be a dict with 'role' and 'content', not str"),
        ([{"content": "x"}], ValueError, r"messages\[0\].role must be one of 'system', .*, not None"),
        ([{"role": "sytem", "content": "x"}], ValueError, "not 'sytem'; did you mean 'system'?"),
        ([{"role": "user"}], ValueError, r"messages\[0\] has no 'content'"),
        ([user(3)], TypeError, r"messages\[0\].content must be a string or a list of parts, not int"),
        ([user(None)], TypeError, r"messages\[0\].content must be .*, not NoneType"),
        ([user({"type": "text"})], TypeError, "list of parts, not dict"),
        ([user([3])], ValueError, r"messages\[0\].content\[0\] must be a part like .*, not int"),
        ([user([{"type": "smell"}])], ValueError, "not one of type 'smell'"),
        ([user([{"type": "text"}])], TypeError, r"content\[0\].text must be a string, not NoneType"),
        ([user("a\ud800")], ValueError, r"messages\[0\].content has a lone surrogate at 1"),
        (
            [user("x"), user([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "x.png"}}])],
            gemlet.MediaError,
            r"messages\[1\].content\[1\].image_url.url must be a data: URL, for nothing is fetched; a local file is",
        ),
        ([{**user("x"), "tool_calls": [call("f", {})]}], ValueError, "only an assistant message can have tool_calls"),
        ([model("", tool_calls="f")], TypeError, r"messages\[0\].tool_calls must be a list of calls, not str"),
        ([model("", tool_calls=["f"])], TypeError, r"tool_calls\[0\] must be like"),
        ([model("", tool_calls=[{"type": "custom", "function": {}}])], ValueError, "type must be 'function'"),
        ([model("", tool_calls=[call("", {})])], ValueError, "function.name is empty"),
        (
            [model("", tool_calls=[call("f", "{a:1}")])],
            gemlet.ToolCallError,
            r"is not JSON: .*it was '{a:1}'",
        ),
        ([model("", tool_calls=[call("f", "[1]")])], gemlet.ToolCallError, r"arguments must be an object, not '\[1\]'"),
        (
            [model("", tool_calls=[call("f", {"a": {1, 2}})])],
            TypeError,
            "must be made of JSON's types",
        ),
        ([model("", tool_calls=[call("f", {"a": float("nan")})])], ValueError, "nan, a number that JSON does not have"),
        ([user("x"), tool("y")], ValueError, r"messages\[1\] is the result of a tool, but no assistant message"),
        ([CALLS, user("x"), tool("y")], ValueError, r"messages\[2\] is the result of a tool"),
        ([model("x", reasoning=3)], TypeError, r"messages\[0\].reasoning must be a string, not int"),
    ],
)
def test_a_wrong_message_is_an_error_that_says_where(given, kind, message):
    with pytest.raises(kind, match=message):
        check_messages(given)


def test_messages_are_copies_in_one_shape():
    given = [{"role": "user", "content": ("a", {"type": "input_text", "text": "b"}), "name": "Eve"}]
    made = messages(*given)
    assert made == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Eve"}
    ]
    made[0]["content"][0]["text"] = "changed"
    assert given[0]["content"][0] == "a"


def test_thoughts_come_under_several_names():
    for key in ("reasoning", "reasoning_content", "thinking"):
        (made,) = messages(model("x", **{key: "Hm."}))
        assert made["reasoning"] == made["reasoning_content"] == "Hm."


def test_arguments_come_as_json_or_as_an_object():
    for arguments in ('{"a": [1, null]}', {"a": [1, None]}, {"a": (np.int64(1), None)}):
        (made,) = messages(model(None, tool_calls=[call("f", arguments)]))
        assert made["tool_calls"][0]["function"]["arguments"] == {"a": [1, None]}
    for empty in (None, "", "{}", {}):
        (made,) = messages(model(None, tool_calls=[call("f", empty)]))
        assert made["tool_calls"][0]["function"]["arguments"] == {}


def test_results_find_their_calls():
    both = model(None, tool_calls=[call("a", {}), call("b", {}), call("b", {})])
    made = messages(both, tool("1", name="b"), tool("2"), tool("3"))
    assert [message["tool_call_id"] for message in made[1:]] == ["call_0_1", "call_0_0", "call_0_2"]
    checked, warnings = check_messages([CALLS, tool("x", tool_call_id="other")])
    assert "tool_call_id 'other'" in warnings[0]
    assert check_messages([CALLS, tool("x", tool_call_id="other", name="g")])[1] == []
    assert checked[1]["tool_call_id"] == "other"


def test_results_may_be_any_json():
    for content, wanted in [([1, 2], {"value": [1, 2]}), ({"a": 1}, {"a": 1}), (3, 3), (None, None), ("x", "x")]:
        assert messages(CALLS, tool(content))[1]["content"] == wanted


def test_what_is_not_used_is_told():
    _, warnings = check_messages([{**user("x"), "refusal": None, "colour": "red"}])
    assert warnings == ["messages[0]: 'colour' not used"]


def test_openai_objects_and_our_own_results_are_messages():
    class Said(pydantic.BaseModel):
        role: str = "assistant"
        content: str | None = "Hi"
        refusal: str | None = None

    assert messages(Said()) == [{"role": "assistant", "content": "Hi"}]
    tool_call = gemlet.ToolCall("c1", "f", '{"a": 1}', {"a": 1})
    result = gemlet.ChatResult(
        text="So.",
        thinking="Hm.",
        tool_calls=[tool_call],
        finish_reason="tool_calls",
        token_ids=np.array([1], np.int32),
        usage=gemlet.Usage(1, 1),
        timings=gemlet.Timings(0, 0, 0, 0, 0, 0),
        seed=1,
    )
    (made,) = messages(result)
    assert made["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]
    assert (made["content"], made["reasoning"]) == ("So.", "Hm.")
    assert messages(model("", tool_calls=[tool_call]))[0]["tool_calls"] == made["tool_calls"]
    assert tool_call.function.name == tool_call.name == "f"
    assert result.as_dict()["tool_calls"] == [tool_call.as_dict()]
    assert "calls f" in repr(result)
    assert "thinking, 0 tokens" in result._repr_html_()
    assert "&quot;a&quot;" in result._repr_html_()


def test_plain_values():
    assert plain({"a": (True, np.float32(0.5), np.arange(2))}, "x") == {"a": [True, 0.5, [0, 1]]}
    with pytest.raises(TypeError, match="x: keys must be strings, not 1"):
        plain({1: 2}, "x")
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ValueError, match="nested more than 64 levels"):
        plain(deep, "x")


# ---- tools


class Unit(enum.Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


@dataclasses.dataclass
class Place:
    name: str
    height: float = 0.0


class Point(TypedDict):
    x: int
    y: int


def schema(function: Any) -> dict[str, Any]:
    made: dict[str, Any] = check_tools([function])[0]["function"]
    return made


def test_a_function_is_a_tool():
    def forecast(
        city: str,
        days: int | None = None,
        unit: Unit = Unit.CELSIUS,
        detail: Literal["low", "high"] = "low",
        tags: Annotated[list[str], "what to look for"] = (),  # type: ignore[assignment]
        place: Place | None = None,
        at: Point | None = None,
        extra: dict[str, int] | None = None,
    ) -> str:
        """The weather of the coming days.

        From several stations.

        Args:
            city: where,
                in English
            days (int): how many
        Returns:
            city: not this one
        """
        return city

    assert schema(forecast) == {
        "name": "forecast",
        "description": "The weather of the coming days.\n\nFrom several stations.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"description": "where, in English", "type": "string"},
                "days": {"description": "how many", "type": "integer", "nullable": True},
                "unit": {"type": "string", "enum": ["c", "f"]},
                "detail": {"type": "string", "enum": ["low", "high"]},
                "tags": {"description": "what to look for", "type": "array", "items": {"type": "string"}},
                "place": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "height": {"type": "number"}},
                    "required": ["name"],
                    "nullable": True,
                },
                "at": {
                    "type": "object",
                    "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
                    "required": ["x", "y"],
                    "nullable": True,
                },
                "extra": {"type": "object", "nullable": True},
            },
            "required": ["city"],
        },
    }


def test_sphinx_docstrings_methods_and_functions_without_parameters():
    class Clock:
        def now(self) -> str:
            """The time."""
            return "noon"

        def at(self, zone: str) -> str:
            """The time there.

            :param zone: a zone,
                like CET
            :return: text
            """
            return zone

    assert schema(Clock().now) == {"name": "now", "description": "The time."}
    zone = schema(Clock().at)
    assert zone["description"] == "The time there."
    assert zone["parameters"]["properties"] == {"zone": {"description": "a zone, like CET", "type": "string"}}


def test_a_pydantic_class_is_a_tool():
    class Line(pydantic.BaseModel):
        text: str
        amount: float | None = None

    class Bill(pydantic.BaseModel):
        """A bill to file."""

        number: int = pydantic.Field(description="at the top")
        lines: list[Line] = []
        unit: Unit = Unit.CELSIUS

    made = schema(Bill)
    assert (made["name"], made["description"]) == ("Bill", "A bill to file.")
    assert made["parameters"]["required"] == ["number"]
    assert made["parameters"]["properties"] == {
        "number": {"description": "at the top", "type": "integer"},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "amount": {"type": "number", "nullable": True}},
                "required": ["text"],
            },
        },
        "unit": {"type": "string", "enum": ["c", "f"]},
    }


def test_a_type_with_null_becomes_nullable():
    properties = {
        "a": {"type": ["string", "null"], "description": "x"},
        "b": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "y"},
    }
    made = schema({"name": "f", "parameters": {"properties": properties}})["parameters"]
    assert made["type"] == "object"
    assert made["properties"]["a"] == {"type": "string", "description": "x", "nullable": True}
    assert made["properties"]["b"] == {"type": "integer", "description": "y", "nullable": True}


class Node(pydantic.BaseModel):
    children: list[Node] = []


def f_without_types(x): ...


def f_of_many(*args: int): ...


def f_of_either(x: int | str): ...


def f_of_lock(x: threading.Condition): ...


@pytest.mark.parametrize(
    ("tools", "kind", "message"),
    [
        ("f", TypeError, "tools must be a list of dicts, functions or pydantic classes, not str"),
        (WEATHER, TypeError, "tools must be a list"),
        ([3], TypeError, r"tools\[0\] must be a dict, a function or a pydantic class, not int"),
        ([{"type": "web"}], ValueError, r"tools\[0\].type must be 'function', not 'web'"),
        ([{"type": "function"}], ValueError, r"tools\[0\] must be like"),
        ([{"name": "a b"}], ValueError, "must be made of letters, digits and .*, not 'a b'"),
        ([{"name": "f", "description": 3}], TypeError, "function.description must be a string, not int"),
        ([{"name": "f", "parameters": [1]}], TypeError, "function.parameters must be a JSON schema, not list"),
        ([{"name": "f", "parameters": {"type": "string"}}], ValueError, "parameters.type must be 'object'"),
        ([{"name": "f", "parameters": {"required": "x"}}], TypeError, "required must be a list of strings"),
        ([{"name": "f", "parameters": {"properties": []}}], TypeError, "properties must be a dict"),
        ([WEATHER, WEATHER], ValueError, r"tools\[1\]: there is another tool of the name 'get_weather'"),
        (
            [{"name": "f", "parameters": {"properties": {"x": {"type": ["string", "integer"]}}}}],
            gemlet.SchemaError,
            "one type a value",
        ),
        ([f_without_types], gemlet.SchemaError, r"f_without_types\(x\) has no type; annotate it, for example x: str"),
        ([f_of_many], gemlet.SchemaError, "cannot be a parameter of a tool"),
        ([f_of_either], gemlet.SchemaError, "one type a value, not one of 2"),
        ([f_of_lock], gemlet.SchemaError, r"f_of_lock\(x\): Condition cannot be made into a JSON schema"),
        ([Node], gemlet.SchemaError, "Node: the class contains itself"),
    ],
)
def test_a_tool_that_cannot_be_declared_is_an_error(tools, kind, message):
    with pytest.raises(kind, match=message):
        check_tools(tools)


def test_the_tool_choice():
    tools = check_tools([WEATHER])
    assert check_tool_choice("auto", tools) == check_tool_choice(None, tools) == (True, "")
    assert check_tool_choice("none", tools) == check_tool_choice("auto", []) == (False, "")
    assert check_tool_choice("required", tools) == (True, "call:")
    for named in ("get_weather", {"type": "function", "function": {"name": "get_weather"}}):
        assert check_tool_choice(named, tools) == (True, "call:get_weather{")
    with pytest.raises(ValueError, match=r"the name of a tool \('get_weather'\), not 'get_wether'"):
        check_tool_choice("get_wether", tools)
    with pytest.raises(ValueError, match="without tools"):
        check_tool_choice("required", [])
    with pytest.raises(ValueError, match="leaves no room for a thought"):
        check_tool_choice("required", tools, think=True)


def test_objects_that_are_no_json_are_refused_and_not_called():
    with pytest.raises(TypeError, match="not SimpleNamespace"):
        plain(SimpleNamespace(a=1), "x")
