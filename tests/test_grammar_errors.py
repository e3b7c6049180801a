"""Constraints that cannot be kept: one error each, which names the keyword or the option, before the first token."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gemlet
from gemlet import MissingExtra, SchemaError

pytest.importorskip("llguidance")


@pytest.fixture(scope="module")
def tiny() -> Iterator[gemlet.Model]:
    with gemlet.load(Path(__file__).parent / "golden" / "gemma3_tiny.gguf") as model:
        yield model


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (
            closed({"a": {"type": "array", "uniqueItems": True}}),
            r"'uniqueItems' at \$\.properties\.a cannot be enforced",
        ),
        ({"if": {}, "then": {"type": "string"}}, r"'if' at \$, 'then' at \$ cannot be enforced"),
        ({"not": {"type": "string"}}, r"'not' at \$ cannot"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, r"'oneOf' at \$ .* write 'anyOf'"),
        ({"enum": []}, "nothing can meet it"),
        ({"type": "string", "minLength": 3, "maxLength": 1}, "nothing can meet it: minLength"),
        ({"type": "integer", "minimum": 3, "maximum": 1}, "nothing can meet it: minimum"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "nothing can meet it"),
        ({"type": "strung"}, "strung"),
        ({"type": "string", "format": "phone"}, "'format': 'phone' is not known"),
        (
            {"items": {"type": "string", "pattern": "^(?=a)"}, "type": "array"},
            r"'pattern' at \$\.items: (.|\n)*look-around",
        ),
        ({"$ref": "#/$defs/none"}, r"'\$ref' at \$: .*put what it names into '\$defs'"),
        ({"$ref": "https://example.org/x"}, r"'\$ref' at \$: "),
        ("{", "no JSON"),
        ("[1]", r"expected a JSON object, got \[1\]"),
        ({"const": {1, 2}}, "cannot be written as JSON"),
    ],
)
def test_a_schema_that_cannot_be_kept_is_an_error(tiny: gemlet.Model, schema: Any, words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        tiny.generate([2, 5], schema=schema)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"regex": "a("}, "unclosed group"),
        ({"regex": "(?=a)b"}, "look-around"),
        ({"grammar": "start: missing"}, "missing"),
        ({"grammar": "nonsense"}, "grammar: "),
    ],
)
def test_a_grammar_that_cannot_be_read_is_an_error(tiny: gemlet.Model, options: dict, words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        tiny.generate([2, 5], **options)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"schema": {}, "regex": "a"}, ValueError, "schema and regex exclude each other"),
        ({"regex": "a", "grammar": "b", "choices": ["c"]}, ValueError, "regex and grammar and choices exclude"),
        ({"regex": "a", "ignore_eos": True}, ValueError, "ignore_eos=True contradicts regex="),
        ({"regex": 5}, TypeError, "regex must be a string"),
        ({"grammar": b"start: a"}, TypeError, "grammar must be a string"),
        ({"choices": "abc"}, TypeError, "choices must be a list of strings"),
        ({"choices": 5}, TypeError, "choices must be a list of strings"),
        ({"choices": []}, ValueError, "choices is empty"),
        ({"choices": ["a", ""]}, ValueError, r"choices\[1\] is empty"),
        ({"choices": ["a", "b", "a"]}, ValueError, r"choices\[2\] is 'a' again"),
        ({"choices": ["a", 1]}, TypeError, r"choices\[1\] must be a string"),
    ],
)
def test_wrong_constraints(tiny: gemlet.Model, options: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        tiny.generate([2, 5], **options)


ENDLESS = {"$ref": "#/$defs/N", "$defs": {"N": closed({"next": {"$ref": "#/$defs/N"}}) | {"required": ["next"]}}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (ENDLESS, "could not be kept to it .*make it simpler"),
        ({"$ref": "#"}, "nothing can meet it from here on"),
        ('{"items":' * 5000 + "{}" + "}" * 5000, "nested too deeply"),
    ],
)
def test_a_schema_without_an_end_is_an_error(tiny: gemlet.Model, schema: Any, words: str) -> None:
    with pytest.raises(SchemaError, match=words) as caught:
        tiny.generate([2, 5], schema=schema)
    assert "\n" not in str(caught.value)


def test_without_llguidance_the_error_says_what_to_install(tiny: gemlet.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    for options in ({"schema": {}}, {"regex": "a"}, {"grammar": "start: a"}, {"choices": ["a"]}):
        with pytest.raises(MissingExtra, match=r"pip install 'gemlet\[grammar\]'"):
            tiny.generate([2, 5], **options)
