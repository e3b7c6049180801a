"""Python types as JSON schemas and JSON as typed objects: every type there and back, or clear words."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from pathlib import Path
from typing import Any, Literal, Optional, TypedDict, Union

import pytest

import gemlet
from gemlet import SchemaError
from gemlet.generation.schemas import shape_of

TINY = Path(__file__).parent / "golden" / "gemma3_tiny.gguf"


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


class Tag(TypedDict, total=False):
    name: str
    level: Level


@dataclasses.dataclass
class Shape:
    color: Color
    points: list[Point]
    tag: Tag
    parent: Optional[Shape] = None  # noqa: UP045 - the older spelling must work as well
    extra: dict[str, int | str] = dataclasses.field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    state: Literal["open", "shut", 3] = "open"
    made: int = dataclasses.field(default=7, init=False)


SHAPE = {
    "color": "blue",
    "points": [{"x": 1, "y": 2.5}, {"x": -3.0}],
    "tag": {"level": 2},
    "parent": {"color": "red", "points": [], "tag": {}},
    "extra": {"a": 1, "b": "two"},
    "size": [3, 4],
    "state": 3,
}

HINTS: list[tuple[Any, Any, Any]] = [
    (str, "é", "é"),
    (int, 5, 5),
    (float, 5, 5.0),
    (bool, True, True),
    (None, None, None),
    (Any, {"a": [1]}, {"a": [1]}),
    (dict, {"a": 1}, {"a": 1}),
    (list, [1, "a"], [1, "a"]),
    (list[int], [1, 2], [1, 2]),
    (list[Color], ["red"], [Color.RED]),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[float, ...], [1, 2.5], (1.0, 2.5)),
    (dict[str, Point], {"a": {"x": 1}}, {"a": Point(1.0)}),
    (Level, 2, Level.HIGH),
    (Literal["a", 2, None], 2, 2),
    (Union[int, float], 1, 1),  # noqa: UP007 - as above
    (float | int, 1, 1),
    (Point | Color | None, "red", Color.RED),
    (Point | Color | None, {"x": 1}, Point(1.0)),
    (Tag, {"name": "n", "level": 1}, {"name": "n", "level": Level.LOW}),
    (
        Shape,
        SHAPE,
        Shape(
            Color.BLUE,
            [Point(1.0, 2.5), Point(-3.0)],
            {"level": Level.HIGH},
            Shape(Color.RED, [], {}),
            {"a": 1, "b": "two"},
            (3, 4),
            3,
        ),
    ),
]


@pytest.mark.parametrize(("hint", "value", "wanted"), HINTS)
def test_a_type_there_and_back(hint: Any, value: Any, wanted: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    shape = shape_of(hint)
    jsonschema.Draft202012Validator.check_schema(shape.schema)
    jsonschema.validate(value, shape.schema)
    got = shape.read(json.dumps(value))
    assert got == wanted
    assert type(got) is type(wanted)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Point, {"y": 1}),
        (Point, {"x": 1, "z": 2}),
        (Point, [1]),
        (Shape, {**SHAPE, "color": "green"}),
        (tuple[int, str], [1]),
        (list[int], [True]),
        (Literal[1], True),
        (Point | Color, 3),
        (int, "3"),
        (dict[str, int], [1]),
    ],
)
def test_what_the_type_is_not_meets_neither_schema_nor_type(hint: Any, value: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    shape = shape_of(hint)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, shape.schema)
    with pytest.raises(ValueError):  # noqa: PT011 - the words are enum's, zip's or ours
        shape.read(json.dumps(value))


def test_two_classes_of_one_name_stay_two() -> None:
    first = dataclasses.make_dataclass("Same", [("a", int)])
    second = dataclasses.make_dataclass("Same", [("b", str)])
    shape = shape_of(tuple[first, second])
    assert shape.read('[{"a":1},{"b":"x"}]') == (first(1), second("x"))


def test_a_class_defined_out_of_sight_is_named() -> None:
    @dataclasses.dataclass
    class Outer:
        inner: Hidden  # noqa: F821

    with pytest.raises(SchemaError, match="Outer: name 'Hidden' is not defined"):
        shape_of(Outer)


@pytest.mark.parametrize("hint", [bytes, set[int], Point(1.0), 3])
def test_what_json_has_not_is_an_error_without_pydantic(hint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(SchemaError, match=r"no type that JSON has; .* or install pydantic"):
        shape_of(hint)


def test_pydantic_classes_bring_their_own() -> None:
    pydantic = pytest.importorskip("pydantic")
    pytest.importorskip("llguidance")
    import datetime

    class Cat(pydantic.BaseModel):
        kind: Literal["cat"]
        lives: int = pydantic.Field(ge=1, le=9)

    class Dog(pydantic.BaseModel):
        kind: Literal["dog"]
        name: str = pydantic.Field(max_length=5, alias="called")

    class Home(pydantic.BaseModel):
        pet: Cat | Dog = pydantic.Field(discriminator="kind")
        since: datetime.date
        colors: list[Color] = pydantic.Field(max_length=2)

    globals().update(Cat=Cat, Dog=Dog, Home=Home)
    schema = shape_of(Home).schema
    assert schema["additionalProperties"] is schema["$defs"]["Dog"]["additionalProperties"] is False
    with gemlet.load(TINY) as model:
        for seed in range(3):
            r = model.generate([2, 5], schema=Home, temperature=2, seed=seed, max_tokens=500)
            if r.warnings:  # the pattern of a date allows the 31st of February; pydantic does not
                assert "could not be made into an object" in r.warnings[0]
                continue
            assert isinstance(r.parsed, Home)
        dog = shape_of(Home).read('{"pet":{"kind":"dog","called":"Rex"},"since":"2024-02-29","colors":["red"]}')
        assert dog.pet == Dog(kind="dog", called="Rex")
        bounded = model.generate([2, 5], schema=list[pydantic.conint(ge=3, le=4)], seed=1, max_tokens=1000).parsed
        assert bounded is None or set(bounded) <= {3, 4}
        when = shape_of(dict[str, datetime.date]).read('{"a":"2024-02-29"}')
        assert when == {"a": datetime.date(2024, 2, 29)}


def test_a_pydantic_class_without_a_schema_is_an_error() -> None:
    pydantic = pytest.importorskip("pydantic")
    from collections.abc import Callable

    class Odd(pydantic.BaseModel):
        work: Callable[[], None]

    with pytest.raises(SchemaError, match="Odd cannot be made into a JSON schema"):
        shape_of(Odd)


def test_a_dataclass_comes_out_of_a_model() -> None:
    pytest.importorskip("llguidance")
    with gemlet.load(TINY) as model:
        r = model.generate([2, 5], schema=tuple[Point, Color], temperature=0.5, seed=2, max_tokens=600)
        assert isinstance(r.parsed[0], Point)
        assert isinstance(r.parsed[1], Color)
