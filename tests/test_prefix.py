"""Prompts that begin like earlier ones: read from where they part, answered with the same bits."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemlet import _core

GOLDEN = Path(__file__).parent / "golden"
NAMES = ["gemma4_tiny_e2b", "gemma4_tiny_31b", "gemma4_tiny_26b", "gemma3_tiny_q8_0"]


def open_model(name: str, **options: Any) -> _core.Model:
    return _core.Model(str(GOLDEN / f"{name}.gguf"), **options)


def start(model: _core.Model, ids: np.ndarray, count: int, **settings: Any) -> _core.Stream:
    options = _core.GenerateOptions()
    options.temperature = 0
    options.max_tokens = count
    options.ignore_eos = True
    options.logprobs = 2
    for name, value in settings.items():
        setattr(options, name, value)
    return model.generate(ids.astype(np.int32), options)


def finish(stream: _core.Stream) -> dict[str, Any]:
    ids: list[int] = []
    logprobs: list[Any] = []
    while True:
        event = stream.next(1000)
        if event is None:
            continue
        ids += event.get("ids", [])
        logprobs += event.get("logprobs", [])
        if event["kind"] == "end":
            return {**event, "ids": ids, "logprobs": logprobs}


def answer(model: _core.Model, ids: np.ndarray, count: int = 6, **settings: Any) -> dict[str, Any]:
    return finish(start(model, ids, count, **settings))


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a["ids"] == b["ids"] and a["logprobs"] == b["logprobs"]


@pytest.mark.parametrize("name", NAMES)
def test_a_known_prompt_is_not_read_again(name):
    ids = np.random.default_rng(3).integers(4, 270, 90)
    model, forgetful = open_model(name), open_model(name, prefix_bytes=0)
    first = answer(model, ids)
    again = answer(model, ids)
    assert (first["cached_tokens"], again["cached_tokens"]) == (0, 89)
    longer = np.concatenate([ids, first["ids"], [7, 9, 11]])
    following = answer(model, longer)
    assert following["cached_tokens"] == 90 + len(first["ids"]) - 1  # the last one generated was never run
    assert same(first, again)
    assert same(following, answer(forgetful, longer))
    assert answer(forgetful, longer)["cached_tokens"] == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shared", [1, 5, 40, 63, 64, 65, 85, 100])
def test_prompts_that_part_early_or_late(name, shared):
    """Far back, sliding layers have given up what the next token would see, and the prompt is read from the start."""
    rng = np.random.default_rng(shared)
    ids = rng.integers(4, 270, 100)
    other = np.concatenate([ids[:shared], rng.integers(4, 270, 30)])
    model = open_model(name)
    answer(model, ids)
    got = answer(model, other)
    if shared >= 85:  # within the 16 tokens that can always be taken back
        assert got["cached_tokens"] >= shared
    assert same(got, answer(open_model(name, prefix_bytes=0), other))
    assert same(answer(model, ids), answer(open_model(name, prefix_bytes=0), ids))  # and the shared pages are unharmed


def test_marks_keep_a_beginning_that_others_share():
    rng = np.random.default_rng(4)
    system = rng.integers(4, 270, 150)
    model, plain = open_model(NAMES[0]), open_model(NAMES[0], prefix_bytes=0)
    for i in range(4):
        ids = np.concatenate([system, rng.integers(4, 270, 80)])
        got = answer(model, ids, marks=[150])
        assert got["cached_tokens"] == (150 if i else 0)
        assert same(got, answer(plain, ids))


def test_a_small_budget_keeps_the_newest():
    model = open_model(NAMES[1], prefix_bytes=1)
    rng = np.random.default_rng(5)
    a, b = rng.integers(4, 270, 70), rng.integers(4, 270, 70)
    answer(model, a)
    answer(model, b)
    assert answer(model, b)["cached_tokens"] == 69
    assert answer(model, a)["cached_tokens"] == 0


def test_forget_gives_the_memory_back():
    model = open_model(NAMES[0])
    answer(model, np.arange(4, 100))
    assert model.memory()["kv_cache"] > 0
    model.forget()
    assert model.memory()["kv_cache"] == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix_bytes", [0, 1 << 20])
def test_sequences_that_share_steps_get_the_same_answers(name, prefix_bytes):
    """Twenty at once, more than a step holds, of all lengths: each as if it were alone."""
    rng = np.random.default_rng(6)
    prompts = [rng.integers(4, 270, rng.integers(1, 120)) for _ in range(20)]
    settings = [{"temperature": 0.8, "seed": i} if i % 3 == 0 else {} for i in range(20)]
    alone = open_model(name, prefix_bytes=0)
    expected = [answer(alone, ids, 9, **s) for ids, s in zip(prompts, settings, strict=True)]
    model = open_model(name, prefix_bytes=prefix_bytes)
    streams = [start(model, ids, 9, **s) for ids, s in zip(prompts, settings, strict=True)]
    for stream, wanted in zip(streams, expected, strict=True):
        assert same(finish(stream), wanted)


def test_one_that_is_cancelled_or_fails_leaves_the_others_alone():
    rng = np.random.default_rng(7)
    prompts = [rng.integers(4, 270, 50) for _ in range(5)]
    model, alone = open_model(NAMES[0]), open_model(NAMES[0], prefix_bytes=0)
    streams = [start(model, ids, 60) for ids in prompts]
    streams[2].cancel()

    class Broken:
        """A constraint that raises at its third token."""

        calls = 0

        def mask(self):
            self.calls += 1
            if self.calls == 3:
                raise RuntimeError("broken on purpose")

        def accept(self, token):
            pass

        def finished(self):
            return False

    options = _core.GenerateOptions()
    options.temperature = 0
    options.max_tokens = 50
    broken = model.generate(prompts[0].astype(np.int32), options, Broken())
    with pytest.raises(RuntimeError, match="on purpose"):
        finish(broken)
    for i, stream in enumerate(streams):
        got = finish(stream)
        if i == 2:
            assert got["finish_reason"] == "cancelled"
        else:
            assert same(got, answer(alone, prompts[i], 60))


def test_many_threads_may_call():
    rng = np.random.default_rng(8)
    prompts = [rng.integers(4, 270, 40) for _ in range(12)]
    alone = open_model(NAMES[2], prefix_bytes=0)
    expected = [answer(alone, ids, 12) for ids in prompts]
    model = open_model(NAMES[2])
    got: list[Any] = [None] * len(prompts)

    def call(i: int) -> None:
        got[i] = answer(model, prompts[i], 12)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(a, b) for a, b in zip(got, expected, strict=True))
