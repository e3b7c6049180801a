"""Python types to JSON schema, and JSON values back to typed objects. Knows no model and no grammar.

Pydantic classes bring both themselves; what this module does not know (dates, constrained types) pydantic may, if it is
installed. Everything else is the standard library's.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import SchemaError

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    Any: {},
    object: {},
    dict: {"type": "object"},
    list: {"type": "array"},
}
_WORDS = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_LISTS = (list, Sequence)

# Where a schema holds schemas: directly, in a list, or under names.
_INSIDE = (
    "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems",
    "unevaluatedProperties",
)  # fmt: skip
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
# What constrains, and what only tells; anything else in a schema does nothing, which is worth a word.
_CONSTRAINS = {
    *_INSIDE, *_LISTED, *_NAMED, "type", "enum", "const", "$ref", "required", "format", "pattern", "minLength",
    "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
    "uniqueItems", "minContains", "maxContains", "minProperties", "maxProperties", "dependencies", "dependentRequired",
    "$dynamicRef", "$recursiveRef",
}  # fmt: skip
_TELLS = {
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment", "$id",
    "id", "$schema", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "contentEncoding",
    "contentMediaType", "contentSchema", "discriminator", "xml", "externalDocs", "x-guidance",
}  # fmt: skip


class Shape(NamedTuple):
    """A JSON schema, what makes an object of JSON text that meets it, and what the schema asks in vain."""

    schema: dict[str, Any]
    read: Callable[[str], Any]
    warnings: tuple[str, ...] = ()


class _Unknown(Exception):
    """A type that only pydantic may know."""


def shape_of(given: Any) -> Shape:
    """The shape of a JSON schema (dict or JSON text), a pydantic class, a dataclass, a TypedDict, an Enum or a hint.

    >>> shape_of(list[int]).schema
    {'type': 'array', 'items': {'type': 'integer'}}
    >>> shape_of('{"type": "boolean"}').read("true")
    True
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise SchemaError(f"schema: the text is no JSON ({error}); pass a JSON schema, or a Python type") from None
        if not isinstance(given, dict):
            raise SchemaError(f"schema: expected a JSON object, got {json.dumps(given)[:60]}")
    if isinstance(given, Mapping):
        return _written(dict(given))
    if callable(getattr(given, "model_json_schema", None)) and callable(getattr(given, "model_validate_json", None)):
        return _by_class(given)
    types_seen = _Types()
    try:
        schema = types_seen.schema(given)
    except _Unknown as unknown:
        return _by_pydantic(given, str(unknown))
    if types_seen.definitions:
        schema = {**schema, "$defs": types_seen.definitions}
    return Shape(schema, lambda text: types_seen.build(given, json.loads(text)))


def _written(schema: dict[str, Any]) -> Shape:
    try:
        json.dumps(schema)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"schema: the dict cannot be written as JSON ({error})") from None
    idle = [
        f"schema: {key!r} at {path} is no keyword that constrains anything"
        for path, inner in _walk(schema)
        for key in inner
        if key not in _CONSTRAINS and key not in _TELLS
    ]
    return Shape(schema, json.loads, tuple(idle))


def _by_class(given: Any) -> Shape:
    try:
        schema = given.model_json_schema()
    except Exception as error:  # pydantic has a dozen classes of them
        raise SchemaError(f"schema: {_name(given)} cannot be made into a JSON schema: {error}") from error
    return Shape(_closed(schema), given.model_validate_json)


def _by_pydantic(given: Any, why: str) -> Shape:
    try:
        from pydantic import TypeAdapter
    except ImportError:
        raise SchemaError(
            f"schema: {why} is no type that JSON has; write it as str, int, float, bool, None, list, dict, dataclass, "
            "TypedDict, Enum or Literal, or install pydantic, which knows more"
        ) from None
    try:
        adapter: Any = TypeAdapter(given)
        schema = adapter.json_schema()
    except Exception as error:  # as above
        raise SchemaError(f"schema: {why} cannot be made into a JSON schema: {error}") from error
    return Shape(_closed(schema), adapter.validate_json)


def _walk(schema: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, with its place."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for key in _INSIDE:
        yield from _walk(schema.get(key), f"{path}.{key}")
    for key in _LISTED:
        listed = schema.get(key)
        for i, inner in enumerate(listed if isinstance(listed, list) else ()):
            yield from _walk(inner, f"{path}.{key}[{i}]")
    for key in _NAMED:
        named = schema.get(key)
        for name, inner in named.items() if isinstance(named, dict) else ():
            yield from _walk(inner, f"{path}.{key}.{name}")


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A class has its fields and no others, unless it says so; tagged alternatives are told apart by their tags."""
    for _, inner in _walk(schema):
        if "properties" in inner:
            inner.setdefault("additionalProperties", False)
        if "oneOf" in inner and "anyOf" not in inner:
            inner["anyOf"] = inner.pop("oneOf")
    return schema


def places(schema: dict[str, Any], key: str) -> list[str]:
    """Where in a schema a keyword stands.

    >>> places({"items": {"uniqueItems": True}}, "uniqueItems")
    ['$.items']
    """
    return [path for path, inner in _walk(schema) if key in inner]


class _Types:
    """Type hints as schemas and back. Classes go into `definitions` once, so that they may hold themselves."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._names: dict[Any, str] = {}

    def schema(self, hint: Any) -> dict[str, Any]:
        if isinstance(hint, typing.Hashable) and hint in _PLAIN:
            return dict(_PLAIN[hint])
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            return {"anyOf": [self.schema(member) for member in arguments]}
        if origin is typing.Literal:
            if any(isinstance(value, (bytes, enum.Enum)) for value in arguments):
                raise _Unknown(_name(hint))
            return {"enum": list(arguments)}
        if origin in _LISTS:
            return {"type": "array", "items": self.schema(arguments[0])}
        if origin is tuple and arguments and arguments[-1] is Ellipsis:
            return {"type": "array", "items": self.schema(arguments[0])}
        if origin is tuple:
            count = len(arguments)
            items = {"prefixItems": [self.schema(inner) for inner in arguments]} if arguments else {}
            return {"type": "array", **items, "items": False, "minItems": count, "maxItems": count}
        if origin in (dict, Mapping) and arguments[0] is str:
            return {"type": "object", "additionalProperties": self.schema(arguments[1])}
        if isinstance(hint, type) and (
            dataclasses.is_dataclass(hint) or typing.is_typeddict(hint) or issubclass(hint, enum.Enum)
        ):
            return {"$ref": f"#/$defs/{self._define(hint)}"}
        raise _Unknown(_name(hint))

    def _define(self, hint: type) -> str:
        if hint in self._names:
            return self._names[hint]
        name = hint.__name__
        while name in self._names.values():
            name += "_"
        self._names[hint] = name
        self.definitions[name] = None  # keeps the order in which classes were met
        if issubclass(hint, enum.Enum):
            values = [member.value for member in hint]
            if not all(type(value) in _WORDS for value in values):
                raise _Unknown(_name(hint))
            self.definitions[name] = {"enum": values}
        else:
            fields = _fields(hint)
            self.definitions[name] = {
                "type": "object",
                "properties": {key: self.schema(inner) for key, (inner, _) in fields.items()},
                "required": [key for key, (_, required) in fields.items() if required],
                "additionalProperties": False,
            }
        return name

    def build(self, hint: Any, value: Any) -> Any:
        """`value`, as JSON gives it, as an object of the type; ValueError if it is not one."""
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if hint in (Any, object):
            return value
        if origin in (typing.Union, types.UnionType):
            return self._any_of(arguments, value, hint)
        if origin is typing.Literal:
            if not any(x == value and type(x) is type(value) for x in arguments):
                raise ValueError(f"{value!r} is no {_name(hint)}")
            return value
        if origin is not None or hint in (dict, list):
            return self._container(origin or hint, arguments, value)
        if hint is float and type(value) is int:
            return float(value)
        if hint in _WORDS or hint is None:
            if type(value) is not (type(None) if hint is None else hint):
                raise ValueError(f"{value!r} is no {_name(hint)}")
            return value
        if issubclass(hint, enum.Enum):
            return hint(value)
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is no {_name(hint)}")
        fields = _fields(hint)
        if not {key for key, (_, required) in fields.items() if required} <= value.keys() <= fields.keys():
            raise ValueError(f"{_name(hint)} does not have the fields {', '.join(value)}")
        made = {key: self.build(fields[key][0], inner) for key, inner in value.items()}
        return made if typing.is_typeddict(hint) else hint(**made)

    def _any_of(self, members: tuple[Any, ...], value: Any, hint: Any) -> Any:
        for member in sorted(members, key=lambda member: member is float):  # 1 is an int where both are allowed
            try:
                return self.build(member, value)
            except ValueError:
                continue
        raise ValueError(f"{value!r} is no {_name(hint)}")

    def _container(self, origin: Any, arguments: tuple[Any, ...], value: Any) -> Any:
        if origin in (dict, Mapping):
            if not isinstance(value, dict):
                raise ValueError(f"{value!r} is no object")
            return {key: self.build(arguments[1], inner) for key, inner in value.items()} if arguments else value
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is no array")
        if not arguments:
            return tuple(value) if origin is tuple else value
        if origin is not tuple:
            return [self.build(arguments[0], inner) for inner in value]
        if arguments[-1] is Ellipsis:
            return tuple(self.build(arguments[0], inner) for inner in value)
        return tuple(self.build(inner_hint, inner) for inner_hint, inner in zip(arguments, value, strict=True))


def _fields(hint: type) -> dict[str, tuple[Any, bool]]:
    """Name -> (type, required) of a dataclass or a TypedDict."""
    try:
        hints = typing.get_type_hints(hint, include_extras=True)
    except NameError as error:
        raise SchemaError(
            f"schema: {hint.__name__}: {error}; a class that others name must be defined where they can see it, "
            "at the top of its module"
        ) from None
    if typing.is_typeddict(hint):
        required: frozenset[str] = hint.__required_keys__  # type: ignore[attr-defined]
        return {name: (_bare(inner), name in required) for name, inner in hints.items()}
    return {
        field.name: (
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(hint)
        if field.init
    }


def _bare(hint: Any) -> Any:
    """Without TypedDict's Required[...] and NotRequired[...]."""
    if getattr(typing.get_origin(hint), "__name__", getattr(typing.get_origin(hint), "_name", "")) in (
        "Required",
        "NotRequired",
        "ReadOnly",
    ):
        return _bare(typing.get_args(hint)[0])
    return hint


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and typing.get_origin(hint) is None else repr(hint)
