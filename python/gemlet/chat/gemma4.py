"""Gemma 4's turns, thoughts, tool declarations, calls and results, for files without a template of their own.

Written after the template published in July 2026; a test holds it against a Jinja template of the same format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .pieces import Marker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_QUOTE = Marker('<|"|>')
_MEDIA = {"image": Marker("<|image|>"), "audio": Marker("<|audio|>"), "video": Marker("<|video|>")}
_NOT_PROPERTIES = ("description", "type", "properties", "required", "nullable")


def render(
    messages: Sequence[dict[str, Any]],
    *,
    tools: Sequence[dict[str, Any]] = (),
    think: bool = False,
    preserve_thinking: bool = False,
    add_generation_prompt: bool = True,
    empty_thought: bool = False,
) -> list[str]:
    """The conversation as pieces. empty_thought: without thinking, open with an empty thought, as large models need.

    >>> "".join(render([{"role": "user", "content": "Hello"}]))
    '<bos><|turn>user\\nHello<turn|>\\n<|turn>model\\n'
    """
    out: list[str] = [Marker("<bos>")]
    has_system = messages[0]["role"] in ("system", "developer")
    if has_system or think or tools:
        out += _system(messages[0]["content"] if has_system else "", tools, think)
    rest = messages[1:] if has_system else messages
    last_user = max((i for i, message in enumerate(rest) if message["role"] == "user"), default=-1)
    state, before = "", ""  # what the last message ended with; the role of the one before, tools not counted
    for i, message in enumerate(rest):
        if message["role"] == "tool":
            continue
        following = list(rest[i + 1 :])
        answers = following[: next((k for k, m in enumerate(following) if m["role"] != "tool"), len(following))]
        after = following[len(answers)]["role"] if len(answers) < len(following) else ""
        thought = i > last_user or (preserve_thinking and "tool_calls" in message)
        state, pieces = _turn(message, answers, before, after, thought)
        out += pieces
        before = message["role"]
    if add_generation_prompt:
        out += _generation_prompt(state, think, empty_thought)
    return out


def _generation_prompt(state: str, think: bool, empty_thought: bool) -> Iterator[str]:
    if state == "":
        yield from (Marker("<|turn>"), "model\n")
        if empty_thought and not think:
            yield from (Marker("<|channel>"), "thought\n", Marker("<channel|>"))
    elif state == "answered" and think:
        yield from (Marker("<|channel>"), "thought\n")


def _system(content: Any, tools: Sequence[dict[str, Any]], think: bool) -> Iterator[str]:
    yield from (Marker("<|turn>"), "system\n")
    if think:
        yield from (Marker("<|think|>"), "\n")
    if isinstance(content, str):
        yield content.strip()
    else:
        for part in content:
            yield part.get("text", "").strip() + " "
    for tool in tools:
        yield Marker("<|tool>")
        yield from _declaration(tool["function"])
        yield Marker("<tool|>")
    yield from (Marker("<turn|>"), "\n")


def _turn(
    message: Mapping[str, Any], answers: Sequence[Mapping[str, Any]], before: str, after: str, thought: bool
) -> tuple[str, list[str]]:
    """One message with the results that follow it; what it ended with: "", "called" or "answered"."""
    is_model = message["role"] == "assistant"
    out: list[str] = []
    if not (is_model and before == "assistant"):  # messages of the model in a row are one turn
        out += [Marker("<|turn>"), "model" if is_model else message["role"], "\n"]
    if thought and message.get("reasoning"):
        out += [Marker("<|channel>"), "thought\n", message["reasoning"], "\n", Marker("<channel|>")]
    calls = message.get("tool_calls", ())
    for call in calls:
        function = call["function"]
        out += [Marker("<|tool_call>"), "call:", function["name"], *_object(function["arguments"], False)]
        out.append(Marker("<tool_call|>"))
    if calls:
        for answer in answers:
            out += _response(answer, calls)
    state = ("answered" if answers else "called") if calls else ""
    content = list(_content(message["content"], is_model))
    out += content
    if state == "called":
        out.append(Marker("<|tool_response>"))
    elif is_model and after == "assistant":
        pass
    elif state != "answered" or after or "".join(content).strip():
        out += [Marker("<turn|>"), "\n"]
    return state, out


def _content(content: Any, is_model: bool) -> Iterator[str]:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for part in parts:
        if part["type"] in _MEDIA:
            yield _MEDIA[part["type"]]
        else:
            yield (without_thoughts(part["text"]) if is_model else part["text"]).strip()


def without_thoughts(text: str) -> str:
    """An answer kept as raw text, without its thought blocks.

    >>> without_thoughts("<|channel>thought\\nHm.<channel|>Yes.")
    'Yes.'
    """
    return "".join(part.split("<|channel>")[0] for part in text.split("<channel|>"))


def _response(answer: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    asked = answer.get("tool_call_id")
    name = answer.get("name") or "unknown"
    for call in calls:
        if call.get("id") == asked:
            name = call["function"]["name"]
    body = answer["content"]
    media: list[str] = []
    if isinstance(body, list) and all(isinstance(part, dict) and "type" in part for part in body):
        media = [_MEDIA[part["type"]] for part in body if part["type"] in _MEDIA]
        body = "".join(part.get("text", "") for part in body)
    yield from (Marker("<|tool_response>"), "response:", name)
    yield from _object(body if isinstance(body, dict) else {"value": body}, False)
    yield Marker("<tool_response|>")
    yield from media


# ---- values: not JSON; strings stand between quote tokens, with nothing escaped


def _by_key(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(mapping.items(), key=lambda item: item[0].lower())


def _string(text: object) -> list[str]:
    return [_QUOTE, str(text), _QUOTE]


def _object(mapping: Mapping[str, Any], quote_keys: bool) -> Iterator[str]:
    yield "{"
    for i, (key, value) in enumerate(_by_key(mapping)):
        yield from ("," if i else "", *(_string(key) if quote_keys else [key]), ":")
        yield from _value(value, quote_keys)
    yield "}"


def _value(value: Any, quote_keys: bool) -> Iterator[str]:
    if value is None:
        yield "null"
    elif isinstance(value, str):
        yield from _string(value)
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, dict):
        yield from _object(value, quote_keys)
    elif isinstance(value, list):
        yield "["
        for i, item in enumerate(value):
            yield "," if i else ""
            yield from _value(item, quote_keys)
        yield "]"
    else:
        yield str(value)


# ---- declarations


def _declaration(function: Mapping[str, Any]) -> Iterator[str]:
    yield from ("declaration:", function["name"], "{description:", *_string(function.get("description", "")))
    parameters = function.get("parameters")
    if parameters:
        yield ",parameters:{"
        if parameters.get("properties"):
            yield "properties:{"
            yield from _properties(parameters["properties"])
            yield "},"
        if parameters.get("required"):
            yield from ("required:", *_strings(parameters["required"]), ",")
        yield from ("type:", *_string(_upper(parameters.get("type", "object"))), "}")
    response = function.get("response")
    if response is not None:
        yield ",response:{"
        if response.get("description"):
            yield from ("description:", *_string(response["description"]), ",")
        yield from ("type:", *_string(_upper(response.get("type", "object"))), "}")
    yield "}"


def _upper(kind: object) -> str:
    return str(kind).upper()


def _strings(items: Sequence[Any]) -> Iterator[str]:
    yield "["
    for i, item in enumerate(items):
        yield from ("," if i else "", *_string(item))
    yield "]"


def _properties(properties: Mapping[str, Any], leave_out: Sequence[str] = ()) -> Iterator[str]:
    some = False
    for key, schema in _by_key(properties):
        if key in leave_out:
            continue
        yield from ("," if some else "", key, ":{")
        some = True
        for j, field in enumerate(_fields(schema if isinstance(schema, dict) else {})):
            yield "," if j else ""
            yield from field
        yield "}"


def _fields(schema: Mapping[str, Any]) -> Iterator[list[str]]:
    kind = _upper(schema.get("type", ""))
    if schema.get("description"):
        yield ["description:", *_string(schema["description"])]
    if kind == "STRING" and schema.get("enum"):
        yield ["enum:", *_value(schema["enum"], True)]
    if kind == "ARRAY" and isinstance(schema.get("items"), dict) and schema["items"]:
        yield ["items:{", *_items(schema["items"]), "}"]
    if schema.get("nullable"):
        yield ["nullable:true"]
    if kind == "OBJECT":
        inner = schema.get("properties")
        if isinstance(inner, dict):
            yield ["properties:{", *_properties(inner), "}"]
        else:  # a short form: the properties stand beside the description
            yield ["properties:{", *_properties(schema, _NOT_PROPERTIES), "}"]
        if schema.get("required"):
            yield ["required:", *_strings(schema["required"])]
    yield ["type:", *_string(kind)]


def _items(items: Mapping[str, Any]) -> Iterator[str]:
    some = False
    for key, value in _by_key(items):
        if value is None:
            continue
        yield from ("," if some else "", key, ":")
        some = True
        if key == "properties":
            yield from ("{", *_properties(value if isinstance(value, dict) else {}), "}")
        elif key == "required":
            yield from _strings(value)
        elif key == "type":
            yield from _value([_upper(v) for v in value] if isinstance(value, list) else _upper(value), True)
        else:
            yield from _value(value, True)
