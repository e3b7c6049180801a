"""Fitting the context, and the waiting loop over a scripted engine: cancelling, time-outs, errors, dropped streams."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemlet import Cancelled, ContextOverflow, GenerateOptions
from gemlet.generation.stream import DEFAULTS, GenerationStream, core_options, fit

BOS = 2
END = {"prompt_tokens": 3, "completion_tokens": 2, "prefill_s": 0.1, "decode_s": 0.1, "queue_s": 0.0, "stop": None}


class ScriptedTokenizer:
    bos = BOS

    def piece(self, token: int, special: bool = False) -> bytes:
        return bytes([token])


class ScriptedStream:
    """Gives its steps one by one; after cancel() it ends as the engine does."""

    def __init__(self, steps: list) -> None:
        self.steps, self.cancelled = list(steps), False

    def next(self, timeout_ms: int):
        assert 0 < timeout_ms <= 100  # longer waits would make Ctrl-C feel dead
        if self.cancelled:
            return {"kind": "end", "text": "", "finish_reason": "cancelled", **END}
        if not self.steps:
            time.sleep(0.001)
            return None
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step

    def cancel(self) -> None:
        self.cancelled = True


class ScriptedModel:
    tokenizer = ScriptedTokenizer()

    def __init__(self, steps: list) -> None:
        self.stream = ScriptedStream(steps)

    def generate(self, ids, options, constraint=None, session=None) -> ScriptedStream:
        self.ids, self.options = ids, options
        return self.stream


def tokens(text: str, **more):
    return {"kind": "tokens", "text": text, "ids": list(text.encode()), **more}


def end(reason: str = "stop", text: str = ""):
    return {"kind": "end", "text": text, "finish_reason": reason, **END}


def start(steps: list, context: int = 100, **options):
    model = ScriptedModel(steps)
    ids = np.array([BOS, 5, 6], np.int32)
    return GenerationStream(model, ids, GenerateOptions(**options), context, [], {}), model


def test_chunks_then_the_result():
    stream, model = start([None, tokens("a"), None, tokens("b"), end(text="!")], max_tokens=8, seed=4)
    assert [(chunk.text, chunk.token_ids) for chunk in stream] == [("a", (97,)), ("b", (98,)), ("!", ())]
    result = stream.result
    assert (result.text, result.token_ids.tolist(), result.finish_reason) == ("ab!", [97, 98], "stop")
    assert (result.seed, result.warnings, result.logprobs) == (4, [], None)
    assert result.token_ids.dtype == np.int32
    assert not model.stream.cancelled
    assert list(stream) == []


def test_the_result_waits_for_the_end():
    stream, _ = start([tokens("a"), None, tokens("b"), end()])
    assert stream.result.text == "ab"


def test_a_seed_is_drawn_and_told():
    (one, model), (two, _) = start([end()]), start([end()])
    assert one.result.seed != two.result.seed
    assert one.result.seed == model.options.seed


def test_none_becomes_gemmas_default_and_zero_stays():
    asked = GenerateOptions(temperature=0, top_k=None, logit_bias={3: 1.5}, stop=["x"])
    made = core_options(asked, 9, 1, {"top_p": 0.5, "temperature": 0.7})
    assert made.top_p == np.float32(0.5)
    assert (made.temperature, made.top_k, made.max_tokens, made.seed) == (0.0, DEFAULTS["top_k"], 9, 1)
    assert made.logprobs == -1
    assert list(made.stop) == ["x"]
    assert [tuple(pair) for pair in made.logit_bias] == [(3, 1.5)]


def test_logprobs_become_entries_with_text():
    raw = [{"id": 97, "logprob": -0.5, "top": [(97, -0.5), (98, -1.5)]}]
    stream, _ = start([tokens("a", logprobs=raw), end()], logprobs=2)
    result = stream.result
    assert [(e.id, e.text, e.logprob) for e in result.logprobs] == [(97, "a", -0.5)]
    assert [(t.id, t.text) for t in result.logprobs[0].top] == [(97, "a"), (98, "b")]


def test_cancel_ends_with_what_there_is():
    stream, _ = start([tokens("a"), tokens("b")])
    assert next(stream).text == "a"
    stream.cancel()
    assert (stream.result.text, stream.result.finish_reason) == ("a", "cancelled")


def test_leaving_the_block_cancels_and_waits():
    stream, model = start([tokens("a")])
    with stream:
        next(stream)
    assert model.stream.cancelled
    assert stream.result.finish_reason == "cancelled"


def test_dropping_the_stream_cancels():
    stream, model = start([tokens("a")])
    next(stream)
    assert not model.stream.cancelled
    del stream
    gc.collect()
    assert model.stream.cancelled


def test_a_finished_stream_is_not_cancelled_when_dropped():
    stream, model = start([end()])
    assert stream.result.text == ""
    del stream
    gc.collect()
    assert not model.stream.cancelled


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Cancelled("closed")])
def test_an_interruption_or_error_cancels_and_is_passed_on(error):
    stream, model = start([tokens("a"), error])
    next(stream)
    with pytest.raises(type(error)):
        next(stream)
    assert model.stream.cancelled
    with pytest.raises(RuntimeError, match="failed before"):
        stream.result  # noqa: B018


def test_a_timeout_gives_what_there_is_and_says_so():
    stream, _ = start([tokens("a")], timeout=0.02)
    result = stream.result
    assert (result.text, result.finish_reason) == ("a", "cancelled")
    assert result.warnings == ["stopped after timeout=0.02 s"]


def test_progress_is_told_and_its_error_stops_the_engine():
    seen = []
    steps = [{"kind": "prefill", "done": 1, "total": 3}, {"kind": "prefill", "done": 3, "total": 3}, end()]
    stream, _ = start(steps, progress=lambda done, total: seen.append((done, total)))
    assert stream.result.finish_reason == "stop"
    assert seen == [(1, 3), (3, 3)]
    stream, model = start(steps, progress=lambda done, total: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stream.result  # noqa: B018
    assert model.stream.cancelled


def test_a_full_context_is_a_warning_only_when_it_was_reached():
    stream, model = start([end("length")], context=8, max_tokens=100)
    assert "the context of 8 tokens was full" in stream.result.warnings[0]
    assert model.options.max_tokens == 5
    stream, _ = start([end("stop")], context=8, max_tokens=100)
    assert stream.result.warnings == []
    stream, model = start([end("length")], context=8, max_tokens=5)
    assert stream.result.warnings == []


def test_an_overlong_prompt_is_refused_with_both_counts():
    with pytest.raises(ContextOverflow, match=r"3 tokens and the context holds 3.*overflow='truncate'"):
        start([end()], context=3)


@given(
    count=st.integers(1, 300),
    context=st.integers(2, 200),
    max_tokens=st.none() | st.integers(1, 400),
    with_bos=st.booleans(),
)
def test_what_fits_always_fits(count, context, max_tokens, with_bos):
    ids = np.arange(100, 100 + count, dtype=np.int32)
    if with_bos:
        ids[0] = BOS
    kept, new, warnings = fit(ids, max_tokens, context, "truncate", BOS)
    assert 1 <= len(kept) <= count
    assert new >= 1
    assert len(kept) + new <= context
    assert new <= (max_tokens or context)
    assert bool(warnings) == (len(kept) < count)
    tail = kept[1:] if with_bos else kept
    assert tail.tolist() == ids[count - len(tail) :].tolist()
    assert not with_bos or kept[0] == BOS
    if count + (max_tokens or 1) <= context and max_tokens is not None:
        assert len(kept) == count
    if count < context:
        same, _, silent = fit(ids, max_tokens, context, "error", BOS)
        assert same.tolist() == ids.tolist()
        assert not silent
    else:
        with pytest.raises(ContextOverflow):
            fit(ids, max_tokens, context, "error", BOS)
