"""The profile of a run: what it counts is what the weights' sizes say, and it is off unless asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

import gemlet
from gemlet.bench import profiled

GOLDEN = Path(__file__).parent / "golden"
PRODUCTS = ("qkv", "output", "gate/up", "down", "router", "experts", "per-layer", "head")


def run(model: gemlet.Model, prompt: int, new: int) -> dict[str, dict]:
    model.forget()
    model._engine.profile(True)
    model.generate(list(range(10, 10 + prompt)), max_tokens=new, temperature=0, ignore_eos=True)
    return model._engine.profile(False)


def totals(account: dict, names: tuple[str, ...] = PRODUCTS) -> tuple[int, int]:
    parts = [part for part in account["parts"] if part[0] in names]
    return sum(part[3] for part in parts), sum(part[4] for part in parts)


@pytest.mark.parametrize("name", ["gemma3_tiny", "gemma4_tiny_e2b", "gemma4_tiny_26b"])
def test_work_is_what_the_sizes_say(name):
    with gemlet.load(GOLDEN / f"{name}.gguf", threads=2, draft="off") as model:
        found = run(model, 20, 6)
        info = model.info
    prefill, decode = found["prefill"], found["decode"]
    assert (prefill["tokens"], prefill["steps"], decode["tokens"], decode["steps"]) == (20, 1, 5, 5)
    once = info["madds_per_token"] + info["madds_head"]
    assert totals(decode)[1] == 5 * 2 * once
    expected = 2 * (19 * info["madds_per_prompt_token"] + once)
    # A mixture's layers before the last run for every token, so the count needs no more than that.
    assert totals(prefill)[1] == expected
    rows_of_table = totals(decode)[0] - 5 * info["bytes_per_token"]
    assert 0 <= rows_of_table < 0.05 * totals(decode)[0]  # the per-layer table's rows are read besides


def test_every_operation_is_named_and_timed_once():
    with gemlet.load(GOLDEN / "gemma4_tiny_26b.gguf", threads=1, draft="off") as model:
        parts = {part[0]: part for part in run(model, 20, 6)["decode"]["parts"]}
        layers = model.info["layers"]
    assert {"embedding", "norms", "qkv", "attention", "output", "gate/up", "down", "rope", "cache store"} <= set(parts)
    assert {"router", "experts", "head", "sampling", "rest"} <= set(parts)
    assert parts["attention"][1] == 5 * layers
    assert parts["head"][1] == parts["sampling"][1] == parts["rest"][1] == 5
    assert all(part[2] > 0 for part in parts.values())


def test_attention_counts_the_keys_that_are_seen():
    with gemlet.load(GOLDEN / "gemma3_tiny.gguf", threads=1, draft="off") as model:
        info = model.info
        short, long = (run(model, n, 2)["decode"]["parts"] for n in (8, 24))
    operations = [next(part[4] for part in parts if part[0] == "attention") for parts in (short, long)]
    seen = info["heads"] * info["head_dim"] * 4
    assert operations[0] <= 9 * seen * info["layers"]
    assert operations[0] < operations[1] <= 25 * seen * info["layers"]


def test_it_is_off_unless_asked_for():
    with gemlet.load(GOLDEN / "gemma3_tiny.gguf", threads=1, draft="off") as model:
        before = run(model, 8, 3)
        model.generate([5, 6, 7], max_tokens=3, temperature=0, ignore_eos=True)
        after = model._engine.profile(False)
    assert before["decode"]["steps"] == 2
    assert [(after[phase]["steps"], after[phase]["parts"]) for phase in after] == [(0, []), (0, [])]


def test_the_report_adds_up(demo_path):
    with gemlet.load(demo_path, threads=1, context=128, draft="off") as model:
        # Twice the same, which is known the second time, all but its last token.
        found = profiled(model, "prefill", lambda: model.logits(list(range(100, 110))), 2)
    assert (found["tokens"], found["steps"]) == (10, 1)
    assert sum(part["share"] for part in found["operations"]) == pytest.approx(1)
    assert found["seconds"] == pytest.approx(sum(part["seconds"] for part in found["operations"]))
    for part in found["operations"]:
        counted = part["name"] in (*PRODUCTS, "attention", "embedding")
        assert (part["limit"] in ("read", "int8")) == counted
        assert not counted or 0 < part["limit_fraction"] < 1.5
