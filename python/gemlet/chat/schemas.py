"""JSON schemas of Python functions and pydantic classes, and schemas reduced to what a declaration can say."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..errors import SchemaError
from .plain import DEEPEST

_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}
_TYPE_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def function_schema(function: Callable[..., Any], where: str) -> dict[str, Any]:
    """Name, description and parameters of a function, from its signature and docstring."""
    name = getattr(function, "__name__", type(function).__name__)
    try:
        signature = inspect.signature(function)
        hints = typing.get_type_hints(function, include_extras=True)
    except (ValueError, TypeError, NameError) as error:
        raise SchemaError(f"{where}: the signature of {name!r} cannot be read: {error}") from None
    text, described = _docstring(inspect.getdoc(function) or "")
    properties: dict[str, Any] = {}
    required = []
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise SchemaError(
                f"{where}: {name}({parameter}) cannot be a parameter of a tool; give it a name of its own"
            )
        if parameter.name not in hints:
            raise SchemaError(
                f"{where}: {name}({parameter.name}) has no type; annotate it, for example {parameter.name}: str"
            )
        schema = type_schema(hints[parameter.name], f"{where}: {name}({parameter.name})")
        if parameter.name in described:
            schema = {"description": described[parameter.name], **schema}
        properties[parameter.name] = schema
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    made: dict[str, Any] = {"name": name, "description": text}
    if properties:
        made["parameters"] = {"type": "object", "properties": properties}
        if required:
            made["parameters"]["required"] = required
    return made


def model_schema(model: Any) -> dict[str, Any]:
    """The same of a pydantic class: its fields are the parameters."""
    schema = model.model_json_schema()
    made = _inlined(schema, schema.get("$defs", {}), model.__name__, 0)
    text = made.pop("description", "")
    return {"name": model.__name__, "description": text, "parameters": made}


def _inlined(schema: Any, definitions: Mapping[str, Any], where: str, depth: int) -> Any:
    """Without references, titles and definitions, which a declaration cannot show."""
    if depth > DEEPEST:
        raise SchemaError(f"{where}: the class contains itself; a declaration cannot say that")
    if isinstance(schema, list):
        return [_inlined(item, definitions, where, depth + 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found = definitions[schema["$ref"].rpartition("/")[2]]
        schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
    made = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: _inlined(item, definitions, where, depth + 1) for name, item in value.items()}
        elif key not in ("title", "$defs", "additionalProperties", "default") or not isinstance(key, str):
            made[key] = _inlined(value, definitions, where, depth + 1)
    return made


def type_schema(hint: Any, where: str) -> dict[str, Any]:
    """The JSON schema of a type annotation.

    >>> type_schema(list[int], "x")
    {'type': 'array', 'items': {'type': 'integer'}}
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return {}
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    if origin is typing.Annotated:
        text = next((extra for extra in arguments[1:] if isinstance(extra, str)), None)
        schema = type_schema(arguments[0], where)
        return {"description": text, **schema} if text else schema
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, where)
    if origin is typing.Literal:
        return _enumeration(list(arguments), where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enumeration([member.value for member in hint], where)
    if origin in (list, tuple, set, Sequence, Iterable) or hint in (tuple, set):
        inner = [argument for argument in arguments if argument is not Ellipsis]
        if len(set(inner)) > 1:
            raise SchemaError(f"{where}: a tuple of different types, {hint!r}; use a class or separate parameters")
        return {"type": "array", "items": type_schema(inner[0], where)} if inner else {"type": "array"}
    if origin in (dict, Mapping):
        return {"type": "object"}
    if hasattr(hint, "model_json_schema"):
        return dict(model_schema(hint)["parameters"])
    if dataclasses.is_dataclass(hint) or typing.is_typeddict(hint):
        return _fields(hint, where)
    raise SchemaError(
        f"{where}: no JSON schema for the type {hint!r}; use str, int, float, bool, list, dict, Literal, an Enum, "
        "a dataclass or a pydantic class, or pass the tool as a dict"
    )


def _union(arguments: Sequence[Any], where: str) -> dict[str, Any]:
    kinds = [argument for argument in arguments if argument is not type(None)]
    if len(kinds) == 1:
        schema = type_schema(kinds[0], where)
    elif set(kinds) == {int, float}:
        schema = {"type": "number"}
    else:
        raise SchemaError(f"{where}: a declaration has one type a value, not one of {len(kinds)}; choose one")
    return {**schema, "nullable": True} if len(kinds) < len(arguments) else schema


def _enumeration(values: list[Any], where: str) -> dict[str, Any]:
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= set(_TYPE_NAMES):
        raise SchemaError(f"{where}: the choices must be all strings or all numbers, not {values!r}")
    return {"type": _TYPE_NAMES[kinds.pop()], "enum": values}


def _fields(hint: Any, where: str) -> dict[str, Any]:
    hints = typing.get_type_hints(hint, include_extras=True)
    if typing.is_typeddict(hint):
        required = [name for name in hints if name in hint.__required_keys__]
    else:
        missing = dataclasses.MISSING
        required = [f.name for f in dataclasses.fields(hint) if f.default is missing and f.default_factory is missing]
    made: dict[str, Any] = {
        "type": "object",
        "properties": {name: type_schema(kind, f"{where}.{name}") for name, kind in hints.items()},
    }
    return {**made, "required": required} if required else made


_SECTION = re.compile(r"^(args|arguments|parameters|returns?|raises|yields|examples?|notes?):?\s*$", re.IGNORECASE)
_ENTRY = re.compile(r"^\s+\**(\w+)(?:\s*\([^)]*\))?\s*:\s*(.*)$")
_FIELD = re.compile(r"^\s*:param\s+(?:[^:]*\s)?(\w+)\s*:\s*(.*)$")


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description, and what "Args:" (or ":param x:") says of each parameter."""
    summary: list[str] = []
    described: dict[str, str] = {}
    section, current = "", ""
    for line in text.splitlines():
        found = _SECTION.match(line)
        if found:
            section, current = found.group(1).lower(), ""
            continue
        field = _FIELD.match(line)
        entry = field or (_ENTRY.match(line) if section.startswith(("arg", "param")) else None)
        if entry:
            current = entry.group(1)
            described[current] = entry.group(2).strip()
        elif current and line.strip() and line[:1].isspace():
            described[current] = f"{described[current]} {line.strip()}".strip()
        elif not section and not line.lstrip().startswith(":"):
            current = ""
            summary.append(line.strip())
    return "\n".join(summary).strip(), described


def one_type(schema: Any, where: str) -> Any:
    """The schema with one type everywhere: {"type": ["string", "null"]} and an `anyOf` with null become `nullable`."""
    if isinstance(schema, list):
        return [one_type(item, where) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: one_type(value, where) for key, value in schema.items()}
    for key in ("anyOf", "oneOf"):
        options = made.get(key)
        if isinstance(options, list) and {"type": "null"} in options and len(options) == 2 and "type" not in made:
            (other,) = [option for option in options if option != {"type": "null"}] or [{}]
            made.pop(key)
            made = {**other, **made, "nullable": True}
    kinds = made.get("type")
    if isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds):
        others = [kind for kind in kinds if kind != "null"]
        if len(others) != 1:
            raise SchemaError(f"{where}: a declaration has one type a value, not {kinds!r}; choose one")
        made["type"] = others[0]
        if len(others) < len(kinds):
            made["nullable"] = True
    return made
