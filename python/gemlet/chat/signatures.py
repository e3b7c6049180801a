"""Declarations of Python functions and pydantic classes, and schemas reduced to what a declaration can say.

What a type is in JSON is `generation.schemas`' knowledge; here it becomes one type a value, without references.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import SchemaError
from ..generation.schemas import shape_of
from .plain import DEEPEST

_WORDS = {str: "string", int: "integer", float: "number", bool: "boolean"}
_UNSAID = ("title", "$defs", "additionalProperties", "default")


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
    made = reduced(model.model_json_schema(), model.__name__)
    text = made.pop("description", "")
    return {"name": model.__name__, "description": text, "parameters": made}


def type_schema(hint: Any, where: str) -> dict[str, Any]:
    """The schema of a type annotation, as a declaration can say it; Annotated[type, "text"] brings its description.

    >>> type_schema(list[int] | None, "x")
    {'type': 'array', 'items': {'type': 'integer'}, 'nullable': True}
    """
    if typing.get_origin(hint) is typing.Annotated:
        inner, *extras = typing.get_args(hint)
        text = next((extra for extra in extras if isinstance(extra, str)), None)
        if text is not None:
            return {"description": text, **type_schema(inner, where)}
    try:
        schema = shape_of(hint).schema
    except SchemaError as error:
        raise SchemaError(f"{where}: {str(error).removeprefix('schema: ')}") from None
    return reduced(schema, where)


def reduced(schema: dict[str, Any], where: str) -> dict[str, Any]:
    """A JSON schema without references, titles and unions, which a declaration cannot show.

    >>> reduced({"anyOf": [{"enum": ["a"], "title": "A"}, {"type": "null"}]}, "x")
    {'enum': ['a'], 'type': 'string', 'nullable': True}
    """
    made: dict[str, Any] = one_type(_inlined(schema, schema.get("$defs", {}), where, 0), where)
    return made


def _inlined(schema: Any, definitions: Mapping[str, Any], where: str, depth: int) -> Any:
    if depth > DEEPEST:
        raise SchemaError(f"{where}: the class contains itself; a declaration cannot say that")
    if isinstance(schema, list):
        return [_inlined(item, definitions, where, depth + 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found = definitions[schema["$ref"].rpartition("/")[2]]
        schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
        return _inlined(schema, definitions, where, depth + 1)
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: _inlined(item, definitions, where, depth + 1) for name, item in value.items()}
        elif key not in _UNSAID:
            made[key] = _inlined(value, definitions, where, depth + 1)
    if "enum" in made and "type" not in made:
        kinds = {type(value) for value in made["enum"]}
        if len(kinds) != 1 or not kinds <= set(_WORDS):
            raise SchemaError(f"{where}: the choices must be all strings or all numbers, not {made['enum']!r}")
        made["type"] = _WORDS[kinds.pop()]
    if isinstance(made.get("anyOf"), list):
        return _without_union(made, where)
    return made


def _without_union(schema: dict[str, Any], where: str) -> dict[str, Any]:
    options = [option for option in schema["anyOf"] if option != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if options and all(option in ({"type": "integer"}, {"type": "number"}) for option in options):
        options = [{"type": "number"} if {"type": "number"} in options else {"type": "integer"}]
    if len(options) != 1:
        raise SchemaError(f"{where}: a declaration has one type a value, not one of {len(options)}; choose one")
    made = {**options[0], **rest}
    return {**made, "nullable": True} if {"type": "null"} in schema["anyOf"] else made


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
