"""Constraints in the engine: the same tokens as with all logits and a mask, fewer rows, no way to hang or to lie."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemlet import Cancelled, GemletError, SchemaError, _core
from gemlet._core import testing
from test_kernels import FAST, GENERIC, PLAIN, assert_same_bits, columns, weights

GOLDEN = Path(__file__).parent / "golden"
TINY = str(GOLDEN / "gemma3_tiny.gguf")


@pytest.fixture(scope="module")
def tiny() -> _core.Model:
    return _core.Model(TINY)


def bits(ids: Any, vocabulary: int) -> np.ndarray:
    """int32 words with the bits of `ids` set."""
    allowed = np.zeros((vocabulary + 31) // 32 * 32, np.uint8)
    allowed[np.asarray(ids, dtype=np.int64)] = 1
    return np.packbits(allowed, bitorder="little").view(np.int32)


class Script:
    """Allows `steps[i]` (ids, or None for all) as the i-th token, then is finished; remembers what it was told."""

    def __init__(self, steps: list, vocabulary: int) -> None:
        self.steps, self.vocabulary, self.seen = steps, vocabulary, []

    def mask(self) -> np.ndarray | None:
        step = self.steps[len(self.seen)]
        return None if step is None else bits(step, self.vocabulary)

    def accept(self, token: int) -> None:
        self.seen.append(token)

    def finished(self) -> bool:
        return len(self.seen) == len(self.steps)


def options_of(**given: Any) -> _core.GenerateOptions:
    options = _core.GenerateOptions()
    for name, value in {"max_tokens": 32, "temperature": 0, **given}.items():
        setattr(options, name, value)
    return options


def drain(stream: _core.Stream) -> dict[str, Any]:
    """New ids, their log-probabilities, and the last event."""
    new: list[int] = []
    logprobs: list[dict] = []
    while True:
        event = stream.next(1000)
        if event is None:
            continue
        if event["kind"] == "tokens":
            new += event["ids"]
            logprobs += event.get("logprobs", [])
        if event["kind"] == "end":
            return {"ids": new, "choices": logprobs, **event}


def run(model: _core.Model, constraint: Any, ids: Any = (2, 5, 7), **given: Any) -> dict[str, Any]:
    return drain(model.generate(np.array(ids, np.int32), options_of(**given), constraint))


def random_steps(vocabulary: int, ends: list[int], rng: np.random.Generator) -> list:
    """Masks of every size: one id, a few, most, all."""
    ids = np.setdiff1d(np.arange(vocabulary), ends)
    sizes = [1, 1, 5, vocabulary // 2, 1, 1, 1, 30, vocabulary // 9, 2, 1, len(ids)]
    return [np.sort(rng.choice(ids, size, replace=False)) for size in sizes]


SETTINGS = [
    {"temperature": 0},
    {"temperature": 1.0, "seed": 5},
    {"temperature": 2.0, "top_p": 0.9, "seed": 6},
    {"temperature": 1.5, "top_k": 10, "min_p": 0.01, "repeat_penalty": 1.3, "frequency_penalty": 0.2, "seed": 7},
]


@pytest.mark.parametrize(("name", "block"), [("gemma3_tiny", 0), ("gemma3_tiny", 1), ("gemma4_tiny_e2b", 2)])
@pytest.mark.parametrize("given", SETTINGS)
def test_tokens_are_those_of_all_logits_and_a_mask(given: dict, name: str, block: int) -> None:
    model = _core.Model(str(GOLDEN / f"{name}.gguf"), block=block)
    v, ends = model.info()["vocab_size"], model.info()["end_ids"]
    for seed in range(2):
        steps = random_steps(v, ends, np.random.default_rng(seed))
        prompt = [2, 5, 7, 11]
        sampler = testing.Sampler(v, **given)
        sampler.see_prompt(prompt)
        expected: list[int] = []
        for step in steps:
            logits = model.logits(np.array(prompt + expected, np.int32), np.array([-1 + len(prompt + expected)]))[0]
            expected.append(sampler.sample(logits, bits(step, v).view(np.uint32))[0])
        script = Script(steps, v)
        got = run(model, script, prompt, **given)
        assert got["ids"] == expected == script.seen
        assert got["finish_reason"] == "stop"


def test_log_probabilities_are_the_models_own(tiny: _core.Model) -> None:
    v = tiny.info()["vocab_size"]
    got = run(tiny, Script([[9], [3, 4, 8], None], v), logprobs=3)
    row = np.array([2, 5, 7, *got["ids"]], np.int32)
    scores = tiny.score(row, 3)
    assert [choice["id"] for choice in got["choices"]] == got["ids"]
    np.testing.assert_allclose([choice["logprob"] for choice in got["choices"]], scores, atol=1e-5)
    assert {len(choice["top"]) for choice in got["choices"]} == {3}


@pytest.mark.parametrize("float_compute", [False, True])
@pytest.mark.parametrize("kind", FAST + GENERIC + PLAIN)
def test_rows_alone_have_the_bits_of_the_whole_product(kind: str, float_compute: bool) -> None:
    rng = np.random.default_rng(3)
    for cols in columns(kind)[:3]:
        w = weights(kind, 200, cols, rng)
        x = rng.standard_normal((1, cols)).astype(np.float32)
        for isa in _core.isas():
            whole = testing.linear(isa, w, kind, x, 1, float_compute)[0]
            for count, threads in ((1, 1), (7, 2), (90, 2), (200, 1)):
                ids = np.sort(rng.choice(200, count, replace=False))
                assert_same_bits(testing.linear_rows(isa, w, kind, x, ids, threads, float_compute), whole[ids])


@pytest.mark.parametrize("ids", [[-1, 2], [3, 200]])
def test_rows_outside_are_refused(ids: list[int]) -> None:
    w = testing.encode("F32", np.ones((200, 32), np.float32))
    with pytest.raises(ValueError, match="not inside 0 to 199"):
        testing.linear_rows("scalar", w, "F32", np.ones((1, 32), np.float32), ids)


def test_an_end_id_ends_where_the_mask_has_it(tiny: _core.Model) -> None:
    v, end = tiny.info()["vocab_size"], tiny.info()["end_ids"][0]
    script = Script([[9], [end], [4]], v)
    got = run(tiny, script)
    assert (got["ids"], got["finish_reason"], script.seen) == ([9], "stop", [9])


def test_max_tokens_and_a_full_context_still_end(tiny: _core.Model) -> None:
    v = tiny.info()["vocab_size"]
    got = run(tiny, Script([[9]] * 10, v), max_tokens=4)
    assert (got["ids"], got["finish_reason"]) == ([9] * 4, "length")
    # Complete with the last token that was allowed: not cut.
    assert run(tiny, Script([[9]] * 4, v), max_tokens=4)["finish_reason"] == "stop"
    small = _core.Model(TINY, context=8)
    free = drain(small.generate(np.array([2, 5, 7], np.int32), options_of(ignore_eos=True)))
    forced = run(small, Script([[9]] * 30, v))
    assert len(forced["ids"]) == len(free["ids"]) == 6
    assert forced["finish_reason"] == "length"


def test_a_constraint_can_wait_for_a_token(tiny: _core.Model) -> None:
    v = tiny.info()["vocab_size"]
    prompt = np.array([2, 5, 7], np.int32)
    free = drain(tiny.generate(prompt, options_of(max_tokens=6, ignore_eos=True)))["ids"]
    at = next(i for i in range(1, 6) if free[i] not in free[:i])
    script = Script([[3], [4, 6]], v)
    got = run(tiny, script, constraint_after=free[at])
    assert got["ids"][: at + 1] == free[: at + 1]
    assert got["ids"][at + 1 :] == script.seen
    assert script.seen[0] == 3
    assert script.seen[1] in (4, 6)
    assert got["finish_reason"] == "stop"


def test_an_answer_that_ends_before_its_constraint_is_an_error(tiny: _core.Model) -> None:
    v, end = tiny.info()["vocab_size"], tiny.info()["end_ids"][0]
    with pytest.raises(SchemaError, match="ended its answer before token 4"):
        run(tiny, Script([[3]], v), constraint_after=4, logit_bias=[(end, 1e9)])
    with pytest.raises(ValueError, match=r"constraint_after: .* outside the vocabulary"):
        run(tiny, Script([[3]], v), constraint_after=v)


def test_a_mask_that_allows_nothing_is_an_error(tiny: _core.Model) -> None:
    with pytest.raises(SchemaError, match="allows no token"):
        run(tiny, Script([[9], []], tiny.info()["vocab_size"]))


def test_bits_past_the_vocabulary_allow_nothing(tiny: _core.Model) -> None:
    v = tiny.info()["vocab_size"]

    class Past(Script):
        def mask(self) -> np.ndarray:
            words = np.zeros((v + 31) // 32, np.uint32)
            words[-1] = 0xFFFFFFFF & ~((1 << (v - 1) % 32 + 1) - 1)
            return words

    with pytest.raises(SchemaError, match="allows no token"):
        run(tiny, Past([[1]], v))


@pytest.mark.parametrize("allowed", [[9], [9, 10]])
def test_logit_bias_against_all_that_is_allowed_is_an_error(tiny: _core.Model, allowed: list[int]) -> None:
    banned = [(token, -np.inf) for token in allowed]
    for temperature in (0, 1):
        with pytest.raises(ValueError, match="look at logit_bias and the mask"):
            run(tiny, Script([allowed], tiny.info()["vocab_size"]), logit_bias=banned, temperature=temperature)


def test_ignore_eos_contradicts_a_constraint(tiny: _core.Model) -> None:
    with pytest.raises(ValueError, match="ignore_eos"):
        run(tiny, Script([[9]], tiny.info()["vocab_size"]), ignore_eos=True)


@pytest.mark.parametrize("method", ["mask", "accept", "finished"])
def test_what_a_constraint_raises_reaches_the_caller(tiny: _core.Model, method: str) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"{method} is broken")

    script = Script([[9], [10]], tiny.info()["vocab_size"])
    setattr(script, method, broken)
    with pytest.raises(RuntimeError, match=f"{method} is broken") as caught:
        run(tiny, script)
    assert caught.traceback[-1].name == "broken"
    assert run(tiny, Script([[9]], tiny.info()["vocab_size"]))["ids"] == [9]


@pytest.mark.parametrize(
    "mask",
    [
        lambda words: np.zeros(words + 1, np.int32),
        lambda words: np.zeros(words, np.int64),
        lambda words: np.zeros(2 * words, np.int32)[::2],
        lambda words: "everything",
    ],
)
def test_a_mask_of_another_form_is_refused(tiny: _core.Model, mask: Callable[[int], Any]) -> None:
    v = tiny.info()["vocab_size"]
    script = Script([[9]], v)
    script.mask = lambda: mask((v + 31) // 32)
    with pytest.raises(ValueError, match=r"mask\(\) must give None or a contiguous"):
        run(tiny, script)


def test_something_without_the_methods_is_refused(tiny: _core.Model) -> None:
    with pytest.raises(TypeError, match=r"expected an object with mask\(\), accept\(id\) and finished\(\), got int"):
        run(tiny, 3)


def test_a_constraint_is_let_go(tiny: _core.Model) -> None:
    import weakref

    script = Script([[9]] * 3, tiny.info()["vocab_size"])
    gone = weakref.ref(script)
    run(tiny, script)
    del script
    for _ in range(100):
        if gone() is None:
            return
        time.sleep(0.01)
    raise AssertionError("the constraint is still held after its generation")


class Slow(Script):
    """Takes its time inside Python, with the GIL let go as a library may."""

    def mask(self) -> np.ndarray | None:
        time.sleep(0.005)
        return super().mask()


def test_cancel_and_close_do_not_wait_for_a_constraint_to_end() -> None:
    model = _core.Model(TINY)
    v = model.info()["vocab_size"]
    stream = model.generate(np.array([2, 5], np.int32), options_of(max_tokens=100000), Slow([[9, 10]] * 10**6, v))
    while stream.next(100)["kind"] != "tokens":
        pass
    stream.cancel()
    began = time.perf_counter()
    assert drain(stream)["finish_reason"] == "cancelled"
    left = model.generate(np.array([2, 5], np.int32), options_of(max_tokens=100000), Slow([[9, 10]] * 10**6, v))
    model.close()
    assert drain(left)["finish_reason"] == "cancelled"
    assert time.perf_counter() - began < 5


def test_dropping_a_model_while_its_constraint_runs_does_not_deadlock() -> None:
    for pause in (0.0, 0.01, 0.02):
        model = _core.Model(TINY)
        v = model.info()["vocab_size"]
        stream = model.generate(np.array([2, 5], np.int32), options_of(max_tokens=100000), Slow([[9, 10]] * 10**6, v))
        time.sleep(pause)
        del stream, model


def test_two_threads_with_constraints_and_one_without(tiny: _core.Model) -> None:
    v = tiny.info()["vocab_size"]
    steps = [random_steps(v, tiny.info()["end_ids"], np.random.default_rng(i)) for i in range(3)]
    alone = [run(tiny, Script(step, v))["ids"] for step in steps]
    free = drain(tiny.generate(np.array([2, 5, 7], np.int32), options_of(ignore_eos=True)))["ids"]
    together: dict[int, list[int]] = {}

    def work(i: int) -> None:
        if i == 3:
            together[i] = drain(tiny.generate(np.array([2, 5, 7], np.int32), options_of(ignore_eos=True)))["ids"]
        else:
            together[i] = run(tiny, Script(steps[i], v))["ids"]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert together == {0: alone[0], 1: alone[1], 2: alone[2], 3: free}


def test_python_may_end_while_a_constraint_runs() -> None:
    script = f"""
        import sys, threading
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        from gemlet import _core
        from test_constraint import TINY, Slow, options_of
        model = _core.Model(TINY)
        v = model.info()["vocab_size"]
        stream = model.generate(np.array([2, 5], np.int32), options_of(max_tokens=10**6), Slow([[9, 10]] * 10**6, v))
        while (stream.next(100) or {{"kind": ""}})["kind"] != "tokens":
            pass
        print("ends")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")


def test_errors_have_their_places() -> None:
    assert issubclass(SchemaError, GemletError)
    assert not issubclass(SchemaError, Cancelled)
