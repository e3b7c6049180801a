"""Tools as users have them (OpenAI's dicts, Python functions, pydantic classes) to declarations. Runs no tool."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .plain import plain
from .signatures import function_schema, model_schema, one_type

NAME = re.compile(r"[\w\-.:/]+")  # what the call syntax can name


def check_tools(tools: Any) -> list[dict[str, Any]]:
    """Declarations in OpenAI's shape, checked, one for each tool.

    >>> def weather(city: str, days: int = 1) -> str:
    ...     '''The weather of a city.
    ...
    ...     Args:
    ...         city: where
    ...     '''
    >>> tool = check_tools([weather])[0]["function"]
    >>> tool["name"], tool["description"], tool["parameters"]["required"]
    ('weather', 'The weather of a city.', ['city'])
    """
    if tools is None:
        return []
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable):
        raise TypeError(f"tools must be a list of dicts, functions or pydantic classes, not {type(tools).__name__}")
    checked = [_declaration(tool, f"tools[{i}]") for i, tool in enumerate(tools)]
    names = [tool["function"]["name"] for tool in checked]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(f"tools[{i}]: there is another tool of the name {name!r}")
    return checked


def check_tool_choice(choice: Any, tools: list[dict[str, Any]], *, think: bool = False) -> tuple[bool, str]:
    """Whether the model may call, and how the call begins that it must make ("" if it need not).

    A forced call is begun in the prompt, so the model can only go on with it.

    >>> check_tool_choice("now", check_tools([{"name": "now"}]))
    (True, 'call:now{')
    """
    if isinstance(choice, Mapping):  # OpenAI's {"type": "function", "function": {"name": ...}}
        choice = (choice.get("function") or {}).get("name")
    names = [tool["function"]["name"] for tool in tools]
    if choice in ("auto", None):
        return bool(tools), ""
    if choice == "none":
        return False, ""
    if choice not in ("required", *names):
        raise ValueError(
            "chat: tool_choice must be 'auto', 'none', 'required' or the name of a tool "
            f"({', '.join(map(repr, names)) or 'there are none'}), not {choice!r}"
        )
    if not tools:
        raise ValueError("chat: tool_choice='required' without tools; pass tools=")
    if think:
        raise ValueError(f"chat: tool_choice={choice!r} leaves no room for a thought; leave out think=True")
    return True, "call:" if choice == "required" else f"call:{choice}{{"


def _declaration(tool: Any, where: str) -> dict[str, Any]:
    if isinstance(tool, Mapping):
        function = dict(_from_dict(tool, where))
    elif isinstance(tool, type) and hasattr(tool, "model_json_schema"):
        function = model_schema(tool)
    elif callable(tool):
        function = function_schema(tool, where)
    else:
        raise TypeError(f"{where} must be a dict, a function or a pydantic class, not {type(tool).__name__}")
    name = function.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{where}.function.name must be made of letters, digits and _ - . : /, not {name!r}")
    description = function.get("description")
    if description is not None and not isinstance(description, str):
        raise TypeError(f"{where}.function.description must be a string, not {type(description).__name__}")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise TypeError(f"{where}.function.parameters must be a JSON schema, not {type(parameters).__name__}")
    made = plain({**function, "description": description or ""}, f"{where}.function")
    if made.get("parameters"):
        made["parameters"] = _checked_schema(made["parameters"], f"{where}.function.parameters")
    else:
        made.pop("parameters", None)
    return {"type": "function", "function": made}


def _from_dict(tool: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    if tool.get("type", "function") != "function":
        raise ValueError(f"{where}.type must be 'function', not {tool['type']!r}")
    function = tool.get("function", tool if "name" in tool else None)  # bare functions are in use as well
    if not isinstance(function, Mapping):
        raise ValueError(f"{where} must be like {{'type': 'function', 'function': {{'name': ..., 'parameters': ...}}}}")
    return {key: value for key, value in function.items() if key != "type" or function is not tool}


def _checked_schema(schema: dict[str, Any], where: str) -> dict[str, Any]:
    made: dict[str, Any] = one_type({"type": "object", **schema}, where)
    if made["type"] != "object":
        raise ValueError(f"{where}.type must be 'object', not {made['type']!r}")
    properties = made.get("properties", {})
    if not isinstance(properties, dict):
        raise TypeError(f"{where}.properties must be a dict, not {type(properties).__name__}")
    required = made.get("required", [])
    if not isinstance(required, list) or not all(isinstance(key, str) for key in required):
        raise TypeError(f"{where}.required must be a list of strings, not {required!r}")
    return made
