"""Constrained answers: whatever the model would say, what comes out fits, is typed, or is told not to be."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gemlet
from gemlet import SchemaError
from gemlet.generation.stream import GenerationStream
from gemlet.types import GenerateOptions

pytest.importorskip("llguidance")
TINY = Path(__file__).parent / "golden" / "gemma3_tiny.gguf"


@pytest.fixture(scope="module")
def tiny() -> Iterator[gemlet.Model]:
    """Random weights over a vocabulary of bytes: it would say anything, so what comes out is the constraint's doing."""
    with gemlet.load(TINY) as model:
        yield model


def closed(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


WORD = {"type": "string", "maxLength": 6}
ORDER = closed(
    {
        "id": {"type": "integer", "minimum": 1, "maximum": 9999},
        "customer": closed({"name": WORD, "kind": {"enum": ["new", "old", None, 3]}}),
        "lines": {
            "type": "array",
            "items": closed({"what": WORD, "price": {"type": "integer", "minimum": 0, "maximum": 99999}}),
            "maxItems": 3,
        },
        "paid": {"type": "boolean"},
        "note": {"anyOf": [WORD, {"type": "null"}]},
    },
    ["id", "customer", "lines"],
)
PRICE = r"-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?"


@pytest.mark.parametrize("temperature", [0, 2])
def test_the_demo_model_fills_a_nested_schema(m: gemlet.Model, temperature: float) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    options = {"temperature": temperature, "seed": 1, "top_k": 0, "top_p": 1.0, "max_tokens": 200}
    r = m.generate("An order as JSON: ", schema=ORDER, **options)
    assert (r.finish_reason, r.warnings) == ("stop", [])
    jsonschema.validate(r.parsed, ORDER)
    assert json.loads(r.text) == r.parsed
    assert not set(r.text) & set("\n\r\t")


def scalars() -> st.SearchStrategy[dict[str, Any]]:
    numbers = st.tuples(st.integers(-50, 50), st.integers(0, 60)).map(
        lambda pair: {"type": "integer", "minimum": pair[0], "maximum": pair[0] + pair[1]}
    )
    strings = st.tuples(st.integers(0, 2), st.integers(0, 4)).map(
        lambda pair: {"type": "string", "minLength": pair[0], "maxLength": pair[0] + pair[1]}
    )
    values = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3)
    return st.one_of(
        numbers,
        strings,
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "string", "format": "date"}]),
        st.lists(values, min_size=1, max_size=3, unique_by=json.dumps).map(lambda listed: {"enum": listed}),
        values.map(lambda value: {"const": value}),
        st.sampled_from(["^[a-c]{1,3}$", "^é+x$"]).map(lambda p: {"type": "string", "pattern": p, "maxLength": 4}),
    )


def composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)
    objects = st.dictionaries(names, st.tuples(inner, st.booleans()), max_size=3).map(
        lambda fields: closed(
            {name: schema for name, (schema, _) in fields.items()},
            [name for name, (_, required) in fields.items() if required],
        )
    )
    arrays = st.tuples(inner, st.integers(0, 2), st.integers(0, 2)).map(
        lambda parts: {"type": "array", "items": parts[0], "minItems": parts[1], "maxItems": parts[1] + parts[2]}
    )
    return st.one_of(objects, arrays, st.lists(inner, min_size=1, max_size=2).map(lambda listed: {"anyOf": listed}))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=st.recursive(scalars(), composed, max_leaves=6), seed=st.integers(0, 2**32))
def test_any_small_schema_is_met_at_temperature_2(tiny: gemlet.Model, schema: dict[str, Any], seed: int) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    r = tiny.generate([2, 5], schema=schema, temperature=2, top_k=0, top_p=1.0, seed=seed, max_tokens=1500)
    assert r.finish_reason == "stop"
    assert r.warnings == []
    jsonschema.validate(r.parsed, schema)
    assert r.parsed == json.loads(r.text)
    assert gemlet.Generation is type(r)


@pytest.mark.parametrize("seed", range(6))
def test_a_regular_expression_is_met(tiny: gemlet.Model, seed: int) -> None:
    import re

    r = tiny.generate([2, 5], regex=PRICE, temperature=2, seed=seed)
    assert re.fullmatch(PRICE, r.text)
    assert r.parsed == r.text


def test_a_lark_grammar_is_met(tiny: gemlet.Model) -> None:
    lark = 'start: sum\nsum: NUMBER ("+" NUMBER)~1..3 "=?"\nNUMBER: /[1-9][0-9]?/'
    for seed in range(4):
        r = tiny.generate([2, 5], grammar=lark, temperature=2, seed=seed)
        assert 2 <= len([int(part) for part in r.text.removesuffix("=?").split("+")]) <= 4
        assert r.parsed == r.text


CHOICES = ["a", "ab", "abc", 'say "é"\n\\', "日本語", "<eos>", "/x/ | y", "\u2028\x7f"]


def test_every_choice_can_come_and_nothing_else(tiny: gemlet.Model) -> None:
    seen = {tiny.generate([2, 5], choices=CHOICES, temperature=2, top_p=1.0, top_k=0, seed=i).parsed for i in range(80)}
    assert seen <= set(CHOICES)
    assert len(seen) > 4
    for choice in CHOICES:
        r = tiny.generate([2, 5], choices=[choice])
        assert (r.text, r.parsed, r.finish_reason) == (choice, choice, "stop")


def test_the_demo_model_answers_one_of_the_choices(m: gemlet.Model) -> None:
    r = m.generate("Q: Is Paris in France? A:", choices=[" yes", " no"], temperature=0)
    assert r.parsed == r.text
    assert r.parsed in (" yes", " no")
    assert str(r) == r.text


def test_a_cut_answer_is_never_half_parsed(tiny: gemlet.Model) -> None:
    r = tiny.generate([2, 5], schema=ORDER, max_tokens=12)
    assert r.finish_reason == "length"
    assert r.parsed is None
    assert len(r.warnings) == 1
    assert "the answer was cut after" in r.warnings[0]
    assert "give more max_tokens" in r.warnings[0]
    whole = tiny.generate([2, 5], schema=ORDER, temperature=0, max_tokens=300)
    stopped = tiny.generate([2, 5], schema=ORDER, temperature=0, max_tokens=300, stop='"customer"')
    assert whole.parsed is not None
    assert (stopped.finish_reason, stopped.parsed) == ("stop", None)
    assert "stop='\"customer\"'" in stopped.warnings[0]


def test_an_integer_cut_in_the_middle_is_not_an_integer(tiny: gemlet.Model) -> None:
    r = tiny.generate([2, 5], schema=int, max_tokens=1)
    assert (r.finish_reason, r.parsed) == ("length", None)
    assert "cut" in r.warnings[0]


def test_options_go_together_with_a_constraint(tiny: gemlet.Model) -> None:
    pieces = {i: tiny.detokenize([i]) for i in range(tiny.vocab_size)}
    vowels = {i: -np.inf for i, piece in pieces.items() if set(piece) & set("ae")}
    more = {"repeat_penalty": 1.4, "presence_penalty": 0.5, "frequency_penalty": 0.5, "logprobs": 2}
    r = tiny.generate([2, 5], regex="[a-f]{12}", logit_bias=vowels, temperature=1.3, **more)
    assert len(r.text) == 12
    assert set(r.text) <= set("bcdf")
    assert [entry.id for entry in r.logprobs or ()] == r.token_ids.tolist()
    assert all(entry.logprob < 0 for entry in r.logprobs or ())
    assert pickle.loads(pickle.dumps(r)).parsed == r.text


def test_the_whole_head_and_the_allowed_rows_give_the_same_answer(m: gemlet.Model) -> None:
    for options in ({"temperature": 0}, {"temperature": 1.2, "seed": 4}):
        few = m.generate("An order as JSON: ", schema=ORDER, max_tokens=20, **options)
        every = m.generate("An order as JSON: ", schema=ORDER, max_tokens=20, logprobs=0, **options)
        assert few.token_ids.tolist() == every.token_ids.tolist()


def test_streams_are_constrained_too(tiny: gemlet.Model) -> None:
    with tiny.generate([2, 5], schema=ORDER, max_tokens=300, seed=3, stream=True) as chunks:
        text = "".join(chunk.text for chunk in chunks)
    assert chunks.result.text == text
    assert chunks.result.parsed == json.loads(text)
    assert tiny.generate([2, 5], schema=ORDER, max_tokens=300, seed=3).text == text


def test_cancelled_and_timed_out_answers_have_no_object(m: gemlet.Model) -> None:
    many = {"type": "array", "items": {"type": "integer"}, "minItems": 2000}
    with m.generate("1, 2, 3", schema=many, max_tokens=900, stream=True) as chunks:
        next(chunks)
        chunks.cancel()
    assert (chunks.result.finish_reason, chunks.result.parsed) == ("cancelled", None)
    assert "(cancelled)" in chunks.result.warnings[0]
    began = time.perf_counter()
    r = m.generate("1, 2, 3", schema=many, max_tokens=900, timeout=0.2)
    assert time.perf_counter() - began < 5
    assert (r.finish_reason, r.parsed) == ("cancelled", None)


def test_two_threads_have_two_constraints(tiny: gemlet.Model) -> None:
    work = [
        {"choices": ["one hundred and one", "two hundred and two"]},
        {"schema": ORDER},
        {"regex": PRICE},
        {"schema": list[bool]},
    ]
    alone = [tiny.generate("Say: ", temperature=1, seed=5, max_tokens=90, **options).text for options in work]
    together: dict[int, str] = {}

    def run(i: int) -> None:
        together[i] = tiny.generate("Say: ", temperature=1, seed=5, max_tokens=90, **work[i]).text

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [together[i] for i in range(len(work))] == alone


def test_keywords_that_do_nothing_are_told(tiny: gemlet.Model) -> None:
    schema = closed({"a": {"type": "boolean", "nullable": True, "description": "yes or no"}})
    r = tiny.generate([2, 5], schema=schema)
    assert r.warnings == ["schema: 'nullable' at $.properties.a is no keyword that constrains anything"]
    assert set(r.parsed) == {"a"}


def test_an_object_that_its_class_refuses_is_told(tiny: gemlet.Model) -> None:
    import dataclasses

    @dataclasses.dataclass
    class Never:
        value: bool

        def __post_init__(self) -> None:
            raise ValueError("not today")

    r = tiny.generate([2, 5], schema=Never)
    assert r.parsed is None
    assert r.warnings == ["schema: the answer meets the schema, but could not be made into an object: not today"]
    assert json.loads(r.text).keys() == {"value"}


def constrained_after(model: gemlet.Model, token: int, **options: Any) -> gemlet.Generation:
    checked = GenerateOptions(temperature=0, **options)
    ids = np.array([2, 5], np.int32)
    return GenerationStream(model._engine, ids, checked, model.context, [], {}, model._answer(checked, token)).result


def test_a_constraint_that_waits_parses_only_what_is_under_it(tiny: gemlet.Model) -> None:
    free = tiny.generate([2, 5], temperature=0, max_tokens=4, ignore_eos=True).token_ids.tolist()
    at = next(i for i in range(1, 4) if free[i] not in free[:i])
    r = constrained_after(tiny, free[at], schema=closed({"a": {"type": "boolean"}}))
    assert r.token_ids[: at + 1].tolist() == free[: at + 1]
    assert set(r.parsed) == {"a"}
    assert r.text.endswith("}")
    assert not r.text.startswith("{")
    cut = constrained_after(tiny, 319 if 319 not in free else 318, regex="a", max_tokens=3)
    assert cut.parsed is None
    assert "before it began (length)" in cut.warnings[0]
    eos = tiny.info["end_ids"][0]
    with pytest.raises(SchemaError, match="ended its answer before token"):
        constrained_after(tiny, 319, regex="a", logit_bias={eos: 1e6})


def test_a_token_that_the_constraint_refuses_is_an_error(tiny: gemlet.Model) -> None:
    answer = tiny._answer(GenerateOptions(regex="abc"))
    assert answer is not None
    letter = int(tiny.tokenize("z", add_bos=False)[-1])
    with pytest.raises(SchemaError, match="regex: the answer could not be kept to it"):
        answer.matcher.accept(letter)


def test_ids_without_a_name_are_never_allowed(tiny: gemlet.Model) -> None:
    from gemlet.generation import grammar

    more = tiny.vocab_size + 70
    vocabulary = grammar.Vocabulary(tiny._engine.tokenizer, more, tiny.info["end_ids"])
    wanted = grammar.compiled(GenerateOptions(regex="(?s:.*)"))
    mask = grammar.Matcher(vocabulary, wanted).mask()
    allowed = np.unpackbits(mask.view(np.uint8), bitorder="little").nonzero()[0]
    assert len(mask) == (more + 31) // 32
    assert 200 < len(allowed) <= tiny.vocab_size
    assert allowed.max() < tiny.vocab_size
    assert set(tiny.info["end_ids"]) <= set(allowed.tolist())
    controls = [i for i in range(tiny.vocab_size) if not tiny._engine.tokenizer.piece(i)]
    assert set(controls) & set(allowed.tolist()) == set(tiny.info["end_ids"])


def test_a_model_without_an_end_token_is_refused(tiny: gemlet.Model) -> None:
    from gemlet.generation import grammar

    with pytest.raises(SchemaError, match="names no end token"):
        grammar.Vocabulary(tiny._engine.tokenizer, tiny.vocab_size, [])


def test_a_model_is_usable_after_a_failed_constraint(tiny: gemlet.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from gemlet.generation import grammar

    def fail(self: object, token: int) -> None:
        raise KeyError("no such token")

    monkeypatch.setattr(grammar.Matcher, "accept", fail)
    with pytest.raises(KeyError, match="no such token"):
        tiny.generate([2, 5], regex="abc")
    monkeypatch.undo()
    assert tiny.generate([2, 5], regex="abc").text == "abc"


def test_closing_a_model_ends_its_constrained_answers() -> None:
    model = gemlet.load(TINY)
    stream = model.generate([2, 5], regex="[ab]{100000}", max_tokens=2000, stream=True)
    next(stream)
    model.close()
    assert stream.result.finish_reason == "cancelled"
    assert stream.result.parsed is None


def test_ctrl_c_stops_a_constrained_answer() -> None:
    script = f"""
import os, signal, threading
import gemlet
model = gemlet.load({str(TINY)!r}, context=2048)
model.generate([2, 5], choices=["a"])
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    while True:
        model.generate([2, 5], regex="[ab]{{9000}}", max_tokens=2000)
except KeyboardInterrupt:
    print("stopped", model.generate([2, 5], choices=["a"]).parsed)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped a\n", "")
