"""Chats whose answer must fit something: after the thought, never in a call, and without control tokens inside."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import pytest

import gemlet
from chat_cases import CASES, WEATHER
from chat_model import write_model

pytest.importorskip("llguidance")


@dataclasses.dataclass
class City:
    name: str
    big: bool


SHORT = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 6}, "big": {"type": "boolean"}},
    "required": ["name", "big"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def g4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gemlet.Model]:
    with gemlet.load(write_model(tmp_path_factory.mktemp("chat") / "large.gguf"), context=512) as model:
        yield model


@pytest.mark.parametrize("seed", range(4))
def test_an_answer_meets_its_schema(g4, seed):
    answer = g4.chat("A city?", schema=SHORT, seed=seed, max_tokens=200)
    assert answer.finish_reason == "stop"
    assert answer.parsed == json.loads(answer.text)
    assert set(answer.parsed) == {"name", "big"}
    assert answer.thinking == ""
    assert answer.tool_calls == []


def test_classes_come_back_as_objects(g4):
    answer = g4.chat("A city?", schema=City, seed=1, max_tokens=400, logit_bias=_quotes(g4))
    assert answer.parsed == City(**json.loads(answer.text))


def _quotes(model: gemlet.Model) -> dict[int, float]:
    """Makes a random model end its strings soon."""
    return {model._engine.tokenizer.find('"'): 8.0}


def test_the_constraint_begins_after_the_thought(g4):
    closes = g4._engine.tokenizer.find("<channel|>")
    for messages in ("Yes or no?", CASES["answered"]):
        answer = g4.chat(messages, think=True, choices=["yes", "no"], logit_bias={closes: 20.0}, seed=2, max_tokens=300)
        assert answer.finish_reason == "stop"
        assert answer.parsed == answer.text
        assert answer.text in ("yes", "no")
        assert answer.thinking_tokens > 0
    with g4.chat("?", think=True, regex="a+b", logit_bias={closes: 1e4}, max_tokens=50, stream=True) as chunks:
        assert {chunk.kind for chunk in chunks} == {"text"}  # the thought was closed at once


def test_a_thought_without_an_end_is_told(g4):
    answer = g4.chat("?", think=True, choices=["yes"], logit_bias={g4._engine.tokenizer.find("a"): 1e4}, max_tokens=5)
    assert (answer.parsed, answer.text, answer.finish_reason) == (None, "", "length")
    assert any("before it began" in warning for warning in answer.warnings)


def test_a_constraint_excludes_calls(g4):
    with pytest.raises(ValueError, match="cannot be a call as well; pass tool_choice='none'"):
        g4.chat("?", tools=[WEATHER], schema=SHORT)
    answer = g4.chat("?", tools=[WEATHER], tool_choice="none", choices=["yes", "no"])
    assert answer.parsed in ("yes", "no")


def test_a_stop_string_ends_a_constrained_answer(g4):
    answer = g4.chat("?", regex="abc", stop="b")
    assert (answer.text, answer.parsed, answer.finish_reason) == ("a", None, "stop")
    assert any("cut" in warning for warning in answer.warnings)


def test_the_demo_answers_in_a_schema(m):
    assert m.chat("Is the sky blue?", choices=["yes", "no"], temperature=0).parsed in ("yes", "no")


def test_errors_come_before_the_first_token(g4):
    with pytest.raises(gemlet.SchemaError):
        g4.chat("?", schema={"type": "object", "required": ["a"], "properties": {"a": False}})
    with pytest.raises(ValueError, match="exclude each other"):
        g4.chat("?", regex="a", choices=["a"])
