"""Messages as users write them (a string, or OpenAI's dicts) to plain checked dicts. Knows no model and no template.

A checked message has `role` and `content` (a string or parts; a tool's may be any JSON; a media part has its `source`),
and where they apply
`tool_calls` with arguments as objects, `tool_call_id`, `name`, `reasoning` and `reasoning_content`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ..errors import ToolCallError
from ..results import ToolCall
from .attachments import KINDS, Slot, part_of
from .plain import check_plain_text, plain
from .result import ChatResult

ROLES = ("system", "developer", "user", "assistant", "tool")
_TEXTS = ("text", "input_text", "output_text")
_KNOWN = {"role", "content", "name", "tool_calls", "tool_call_id", "reasoning", "reasoning_content", "thinking"}


def check_messages(messages: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Checked copies of the messages, and what was not used, in words.

    >>> check_messages("Hello")
    ([{'role': 'user', 'content': 'Hello'}], [])
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if isinstance(messages, (bytes, Mapping)) or not isinstance(messages, Iterable):
        raise TypeError(
            "messages must be a string or a list of dicts like {'role': 'user', 'content': 'Hello'}, "
            f"not {type(messages).__name__}"
        )
    warnings: list[str] = []
    checked = [_message(item, f"messages[{i}]", warnings) for i, item in enumerate(messages)]
    if not checked:
        raise ValueError("messages is empty; there must be at least one, {'role': 'user', 'content': ...}")
    _check_tool_order(checked, warnings)
    return checked, warnings


def check_message(item: Any, where: str = "message") -> dict[str, Any]:
    """A checked copy of one message by itself."""
    return _message(item, where, [])


def _message(item: Any, where: str, warnings: list[str]) -> dict[str, Any]:
    if isinstance(item, ChatResult):
        item = item.message
    elif not isinstance(item, Mapping) and hasattr(item, "model_dump"):  # the openai package's objects
        item = item.model_dump(exclude_none=True)
    if not isinstance(item, Mapping):
        raise TypeError(f"{where} must be a dict with 'role' and 'content', not {type(item).__name__}")
    role = item.get("role")
    if role not in ROLES:
        _wrong_role(role, where)
    made: dict[str, Any] = {"role": role}
    content = item.get("content")
    if content is None and role == "assistant":
        content = ""
    elif "content" not in item:
        raise ValueError(f"{where} has no 'content'")
    made["content"] = _content(content, role, f"{where}.content")
    if item.get("tool_calls"):
        if role != "assistant":
            raise ValueError(f"{where}: only an assistant message can have tool_calls, not one of role {role!r}")
        made["tool_calls"] = _calls(item["tool_calls"], f"{where}.tool_calls")
    for key in ("tool_call_id", "name"):
        if item.get(key) is not None:
            made[key] = _string(item[key], f"{where}.{key}")
    thought = next((item[key] for key in ("reasoning", "reasoning_content", "thinking") if item.get(key)), None)
    if thought is not None:
        made["reasoning"] = made["reasoning_content"] = _string(thought, f"{where}.reasoning")
    unused = [str(key) for key in item if key not in _KNOWN and item[key] not in (None, [], {})]
    if unused:
        warnings.append(f"{where}: {', '.join(map(repr, unused))} not used")
    return made


def _wrong_role(role: Any, where: str) -> NoReturn:
    import difflib

    near = difflib.get_close_matches(role, ROLES, n=1) if isinstance(role, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{where}.role must be one of {', '.join(map(repr, ROLES))}, not {role!r}{hint}")


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{where} must be a string, not {type(value).__name__}")
    return str(check_plain_text(value, where))


def _content(content: Any, role: str, where: str) -> Any:
    if isinstance(content, str):
        return _string(content, where)
    if role == "tool" and not (isinstance(content, (list, tuple)) and all(_is_part(part) for part in content)):
        made = plain(content, where)
        return {"value": made} if isinstance(made, list) else made  # a list would be read as parts
    if isinstance(content, Mapping) or not isinstance(content, Iterable):
        raise TypeError(f"{where} must be a string or a list of parts, not {type(content).__name__}")
    return [_part(part, f"{where}[{i}]") for i, part in enumerate(content)]


def _is_part(part: Any) -> bool:
    return isinstance(part, Mapping) and (part.get("type") in _TEXTS or part.get("type") in KINDS)


def _part(part: Any, where: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": _string(part, where)}
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in _TEXTS and isinstance(part, Mapping):
        return {"type": "text", "text": _string(part.get("text"), f"{where}.text")}
    if kind in KINDS and isinstance(part, Mapping):
        if isinstance(part.get("source"), Slot):  # checked before
            return {"type": kind, "source": part["source"]}
        source = part_of(part, where)
        return {"type": KINDS[kind]} if source is None else {"type": KINDS[kind], "source": Slot(where, source)}
    raise ValueError(
        f"{where} must be a part like {{'type': 'text', 'text': ...}}, not "
        + (f"one of type {kind!r}" if isinstance(part, Mapping) else type(part).__name__)
    )


def _calls(calls: Any, where: str) -> list[dict[str, Any]]:
    if isinstance(calls, (str, bytes, Mapping)) or not isinstance(calls, Iterable):
        raise TypeError(f"{where} must be a list of calls, not {type(calls).__name__}")
    return [_call(call, f"{where}[{i}]") for i, call in enumerate(calls)]


def _call(call: Any, where: str) -> dict[str, Any]:
    if isinstance(call, ToolCall):
        call = call.as_dict()
    elif not isinstance(call, Mapping) and hasattr(call, "model_dump"):
        call = call.model_dump()
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise TypeError(f"{where} must be like {{'id': ..., 'function': {{'name': ..., 'arguments': ...}}}}")
    if call.get("type", "function") != "function":
        raise ValueError(f"{where}.type must be 'function', not {call['type']!r}")
    name = _string(function.get("name"), f"{where}.function.name")
    if not name:
        raise ValueError(f"{where}.function.name is empty")
    arguments = _arguments(function.get("arguments"), f"{where}.function.arguments")
    made: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": arguments}}
    if call.get("id") is not None:
        made = {"id": _string(call["id"], f"{where}.id"), **made}
    return made


def _arguments(arguments: Any, where: str) -> dict[str, Any]:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError) as error:
            raise ToolCallError(f"{where} is not JSON: {error}; it was {_short(arguments)}") from None
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        raise ToolCallError(f"{where} must be an object, not {_short(json.dumps(plain(arguments, where)))}")
    made: dict[str, Any] = plain(arguments, where)
    return made


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _check_tool_order(messages: list[dict[str, Any]], warnings: list[str]) -> None:
    """Results must follow the calls that they answer: a template would leave others out without a word.

    Results and calls without ids are matched by name, else by order, so that templates find one by the other.
    """
    open_calls: list[dict[str, Any]] = []
    may_answer = False
    for i, message in enumerate(messages):
        if message["role"] != "tool":
            open_calls = list(message.get("tool_calls", ()))
            may_answer = bool(open_calls)
            for j, call in enumerate(open_calls):
                call.setdefault("id", f"call_{i}_{j}")
            continue
        if not may_answer:
            raise ValueError(
                f"messages[{i}] is the result of a tool, but no assistant message with tool_calls stands before it"
            )
        wanted, name = message.get("tool_call_id"), message.get("name")
        for call in open_calls:
            if call["id"] == wanted if wanted is not None else name in (None, call["function"]["name"]):
                open_calls.remove(call)
                message["tool_call_id"] = call["id"]
                break
        else:
            if name is None:
                warnings.append(
                    f"messages[{i}] answers no open call (tool_call_id {wanted!r}) and has no 'name'; "
                    "the model sees a result of 'unknown'"
                )
