"""Drafts change no token, no log-probability and no cache, whatever they guess; and they are really used."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlet import _core

pytest.importorskip("gguf")

from test_constraint import Script, drain, options_of, run
from test_drafter import make_assistant

GOLDEN = Path(__file__).parent / "golden"
GEMMA3, E2B, DENSE, MOE = (
    str(GOLDEN / f"{name}.gguf") for name in ("gemma3_tiny", "gemma4_tiny_e2b", "gemma4_tiny_31b", "gemma4_tiny_26b")
)
SETTINGS = [
    {"temperature": 0},
    {"temperature": 1.0, "seed": 3, "top_k": 8},
    {"temperature": 1.3, "seed": 4, "top_p": 0.9, "repeat_penalty": 1.2, "penalty_window": 5},
    {"temperature": 0.8, "seed": 5, "min_p": 0.02, "presence_penalty": 0.3, "frequency_penalty": 0.2},
]


def loaded(path: str, draft: str = "lookup", **options: Any) -> _core.Model:
    return _core.Model(path, threads=1, draft=draft, prefix_bytes=0, **options)


def few(count: int) -> list[tuple[int, float]]:
    """Logit biases under which only `count` ids ever come: the text repeats itself all the time."""
    return [(i, 60.0) for i in range(20, 20 + count)]


def same(model: _core.Model, ids: Any, drafts: int, **given: Any) -> dict[str, Any]:
    """Runs without drafts and with so many a step: the same events but for times and drafts. Gives the second."""
    plain = run(model, None, ids, drafts=0, **given)
    other = run(model, None, ids, drafts=drafts, **given)
    assert plain["draft"] == ("off", 0, 0)
    for key in ("ids", "choices", "finish_reason", "stop", "completion_tokens"):
        assert other[key] == plain[key], key
    _, drafted, accepted = other["draft"]
    assert 0 <= accepted <= drafted
    return other


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A target whose layers do little, and a drafter that is right as often as they do."""
    script = make_assistant()
    gemma4, folder = script.gemma4, tmp_path_factory.mktemp("echo")
    made = gemma4.weights(script.TARGETS["gemma4_tiny_e2b"])
    for name in made:
        if "post_attention_norm" in name or "post_ffw_norm" in name or ".post_norm" in name:
            made[name] *= 0.5
    usual, gemma4.weights = gemma4.weights, lambda v: made
    try:
        gemma4.write_gguf(script.TARGETS["gemma4_tiny_e2b"], folder / "target.gguf")
    finally:
        gemma4.weights = usual
    assistant = dataclasses.replace(script.ASSISTANTS[0], own=dataclasses.replace(script.ASSISTANTS[0].own, D=16))
    script.write_gguf(assistant, folder / "drafter.gguf", script.echo(assistant, made))
    return str(folder / "target.gguf"), str(folder / "drafter.gguf")


# --- the same text ---


@pytest.mark.parametrize("path", [GEMMA3, E2B, DENSE, MOE])
@pytest.mark.parametrize("options", SETTINGS)
def test_look_up_changes_nothing(path, options):
    model = loaded(path)
    ids = [2, *range(20, 26)] * 3
    drafted = accepted = 0
    for drafts in (1, 3, 8, -1):
        for bias in (few(3), []):
            end = same(model, ids, drafts, **options, logit_bias=bias, max_tokens=60, ignore_eos=True, logprobs=2)
            assert end["draft"][0] == "lookup"
            drafted, accepted = drafted + end["draft"][1], accepted + end["draft"][2]
    assert drafted > accepted > 20


@pytest.mark.parametrize(("path", "draft"), [(E2B, "assistant_tiny_e2b"), (DENSE, "assistant_tiny_31b")])
@pytest.mark.parametrize("options", SETTINGS)
def test_a_drafter_that_guesses_at_random_changes_nothing(path, draft, options):
    model = loaded(path, str(GOLDEN / f"{draft}.gguf"))
    for drafts in (2, 8, -1):
        end = same(model, [2, 9, 30, 40], drafts, **options, max_tokens=90, ignore_eos=True, logprobs=0)
        assert end["draft"][0] == "assistant"
        assert end["draft"][1] > 0


@pytest.mark.parametrize("options", SETTINGS)
def test_a_drafter_that_is_often_right(echo, options):
    model = loaded(echo[0], echo[1])
    right = same(model, [2, 9, 30, 40], 4, **options, max_tokens=120, ignore_eos=True, logprobs=1)
    _, drafted, accepted = right["draft"]
    assert drafted > accepted > 0
    if options == {"temperature": 0}:
        assert accepted > 40


@pytest.mark.parametrize("kv", ["f32", "f16"])
def test_threads_and_instruction_sets(echo, kv, monkeypatch):
    expected = run(loaded(echo[0], echo[1], kv_dtype=kv), None, [2, 9], drafts=0, max_tokens=40, ignore_eos=True)["ids"]
    for isa in _core.isas():
        monkeypatch.setenv("GEMLET_ISA", isa)
        model = _core.Model(echo[0], threads=3, draft=echo[1], kv_dtype=kv)
        assert run(model, None, [2, 9], drafts=5, max_tokens=40, ignore_eos=True)["ids"] == expected


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 140), drafts=st.integers(1, 8), kinds=st.integers(1, 4), seed=st.integers(0, 99))
def test_rewinds_across_pages_and_windows(length, drafts, kinds, seed):
    """Windows of 8 and 11, pages of 64: guesses are taken back on every side of their borders."""
    path = (E2B, DENSE)[seed % 2]
    ids = [2, *np.random.default_rng(seed).integers(20, 20 + kinds, length - 1).tolist()]
    same(
        loaded(path), ids, drafts, temperature=1.0, seed=seed, logit_bias=few(kinds), max_tokens=80, ignore_eos=True,
        logprobs=0,
    )  # fmt: skip


def test_two_at_once(echo):
    """Who shares a step drafts nothing; whoever is left alone goes on drafting."""
    model = loaded(echo[0], echo[1])
    given = [{"max_tokens": count, "ignore_eos": True, "logprobs": 0} for count in (150, 20, 60)]
    plain = [run(model, None, [2, 9 + i], drafts=0, **options) for i, options in enumerate(given)]
    streams = [
        model.generate(np.array([2, 9 + i], np.int32), options_of(drafts=4, **options))
        for i, options in enumerate(given)
    ]
    for stream, expected in zip(streams, plain, strict=True):
        end = drain(stream)
        assert (end["ids"], end["choices"]) == (expected["ids"], expected["choices"])


# --- ends inside a draft ---


@pytest.mark.parametrize("count", range(1, 14))
def test_max_tokens_inside_a_draft(echo, count):
    end = same(loaded(echo[0], echo[1]), [2, 9], 8, max_tokens=count, ignore_eos=True)
    assert (end["finish_reason"], len(end["ids"])) == ("length", count)


@pytest.mark.parametrize("context", range(70, 84))
def test_the_contexts_end_inside_a_draft(echo, context):
    ids = [2, *[9] * 63]
    end = same(loaded(echo[0], echo[1], context=context), ids, 8, max_tokens=100, ignore_eos=True)
    assert end["finish_reason"] == "length"
    assert len(ids) + len(end["ids"]) == context + 1


def test_a_stop_string_inside_a_draft():
    model = loaded(E2B)
    tokenizer = model.tokenizer
    letters = [int(tokenizer.encode(letter, False, False)[0]) for letter in "adn"]
    bias = [(i, 1000.0) for i in letters]
    ids = letters * 12
    text = "".join(tokenizer.piece(i, False).decode() for i in ids)
    ended = 0
    for seed in range(12):
        stop = [text[seed : seed + 3]]
        end = same(model, ids, 6, temperature=15.0, seed=seed, logit_bias=bias, max_tokens=60, stop=stop)
        ended += end["finish_reason"] == "stop" and end["draft"][2] > 0
    assert ended > 3


def test_the_models_own_end_inside_a_draft():
    model = loaded(GEMMA3)
    last = model.info()["end_ids"][0]
    ids = [20, 21, 22, last] * 6
    bias = [*few(3), (last, 60.0)]
    ended = 0
    for seed in range(10):
        options = {"temperature": 1.0, "seed": seed, "logit_bias": bias, "max_tokens": 40}
        end = same(model, ids, 6, **options)
        ended += end["finish_reason"] == "stop"
        assert same(model, ids, 6, **options, ignore_eos=True)["finish_reason"] == "length"
    assert ended > 5


def test_cancelling_inside_a_draft(echo):
    model = loaded(echo[0], echo[1])
    whole = run(model, None, [2, 9], drafts=0, max_tokens=1500, ignore_eos=True)["ids"]
    stream = model.generate(np.array([2, 9], np.int32), options_of(drafts=8, max_tokens=1500, ignore_eos=True))
    time.sleep(0.02)
    stream.cancel()
    end = drain(stream)
    assert end["finish_reason"] in ("cancelled", "length")
    assert end["ids"] == whole[: len(end["ids"])]


@pytest.mark.parametrize("count", [7, 8, 9, 10, 70])
def test_what_is_kept_of_a_draft_is_the_text_alone(echo, count):
    """The cache that an answer leaves behind serves the next prompt: guesses must be gone from it."""
    model = _core.Model(echo[0], threads=1, draft=echo[1])
    first = run(model, None, [2, 9], drafts=8, max_tokens=count, ignore_eos=True, temperature=1.0, seed=1)["ids"]
    ids = [2, 9, *first, 31, 32]
    again = run(model, None, ids, drafts=3, max_tokens=20, ignore_eos=True, logprobs=2)
    fresh = run(loaded(echo[0]), None, ids, drafts=0, max_tokens=20, ignore_eos=True, logprobs=2)
    assert again["cached_tokens"] >= count
    assert (again["ids"], again["choices"]) == (fresh["ids"], fresh["choices"])


# --- with a mask ---


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize("logprobs", [-1, 1])
def test_a_constraint_has_a_mask_for_every_place_of_a_draft(echo, options, logprobs):
    for path, draft in ((echo[0], echo[1]), (E2B, "lookup")):
        model = loaded(path, draft)
        v = model.info()["vocab_size"]
        every, accepted = list(range(4, 260)), 0
        sets = [every, None, [30, 31], [40], [41], None, every, list(range(20, 60)), [9], None, None] * 4
        sets = [list(range(4, 270)) if s is None else s for s in sets]
        for after in ([20, 21, 22] * 6, [2, 9]):
            scripts = [Script(sets, v) for _ in range(3)]
            ends = [
                run(model, script, after, drafts=drafts, max_tokens=60, logprobs=logprobs, **options)
                for script, drafts in zip(scripts, (0, 3, 8), strict=True)
            ]
            for script, end in zip(scripts[1:], ends[1:], strict=True):
                assert (end["ids"], end["choices"]) == (ends[0]["ids"], ends[0]["choices"])
                assert script.seen == scripts[0].seen
                accepted += end["draft"][2]
        if path == echo[0] and options["temperature"] == 0:
            assert accepted > 0


# --- the choice ---


def test_kinds_are_told():
    ids = np.array([2, 9], np.int32)
    for draft, kind in (("auto", "lookup"), ("lookup", "lookup"), ("off", "off")):
        model = loaded(E2B, draft)
        assert (model.info()["draft"], model.info()["draft_path"]) == (kind, None)
        assert drain(model.generate(ids, options_of()))["draft"][0] == kind
    model = loaded(E2B, str(GOLDEN / "assistant_tiny_e2b.gguf"))
    assert model.info()["draft"] == "assistant"
    assert model.info()["draft_path"].endswith("assistant_tiny_e2b.gguf")


def test_the_first_drafter_that_fits_is_taken_and_a_misfit_is_told():
    other, fits = str(GOLDEN / "assistant_tiny_31b.gguf"), str(GOLDEN / "assistant_tiny_e2b.gguf")
    model = loaded(E2B, "auto", drafters=[other, fits])
    assert (model.info()["draft_path"], model.info()["warnings"]) == (fits, [])
    model = loaded(E2B, "auto", drafters=[other])
    assert model.info()["draft"] == "lookup"
    assert "a drafter lies beside the model, but cannot be used" in model.info()["warnings"][-1]
    assert "made for a width of 20" in model.info()["warnings"][-1]


def test_a_number_of_drafts_out_of_range_is_refused():
    with pytest.raises(ValueError, match="drafts: expected 0 to 8, or -1 for as many as pay, got 9"):
        run(loaded(E2B), None, drafts=9)
