"""Prompt look-up against a search that looks everywhere, and the choice of how many drafts a step verifies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlet import _core

LEAST, LONGEST, TRIES = 2, 16, 32
DRAFTER, SHORT, LONG = 0, 1, 2


def lookup_of(ids) -> _core.testing.PromptLookup:
    lookup = _core.testing.PromptLookup()
    for i in ids:
        lookup.add(i)
    return lookup


def slow_search(ids: list[int], most: int) -> tuple[list[int], int]:
    """The longest match that ends before the last token, of the latest TRIES places where its last two tokens stood."""
    end = len(ids) - 1
    pairs = [at for at in range(end - 1, 0, -1) if ids[at - 1 : at + 1] == ids[end - 1 : end + 1]][:TRIES]
    best, found = 0, -1
    for at in pairs:
        length = 0
        while length < LONGEST and length <= at and ids[at - length] == ids[end - length]:
            length += 1
        if length > best:
            best, found = length, at
        if best == LONGEST:
            break
    if best < LEAST:
        return [], 0
    drafts: list[int] = []
    while len(drafts) < most:
        at = found + 1 + len(drafts)
        drafts.append(ids[at] if at <= end else drafts[at - end - 1])
    return drafts, best


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 3), max_size=80), most=st.integers(1, 8))
def test_look_up_finds_what_a_full_search_finds(ids, most):
    assert lookup_of(ids).find(most) == (slow_search(ids, most) if len(ids) > 1 else ([], 0))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), kinds=st.sampled_from([5, 40, 3000]))
def test_look_up_at_every_length_past_several_growths(seed, kinds):
    ids = np.random.default_rng(seed).integers(0, kinds, 700).tolist()
    ids += ids[100:160] + ids[300:340]
    lookup = lookup_of([])
    for n, i in enumerate(ids):
        lookup.add(i)
        if n > 600:
            assert lookup.find(4) == slow_search(ids[: n + 1], 4)


def test_nothing_is_found_where_nothing_repeats():
    assert lookup_of(range(1000)).find(8) == ([], 0)
    assert lookup_of([7]).find(8) == ([], 0)
    assert lookup_of([]).find(8) == ([], 0)
    assert lookup_of([1, 2, 1, 2]).find(0) == ([], 0)


def test_a_loop_is_continued_past_its_end():
    assert lookup_of([1, 2, 3, 1, 2, 3, 1, 2]).find(7) == ([3, 1, 2, 3, 1, 2, 3], 5)
    assert lookup_of([4, 4, 4]).find(5) == ([4, 4, 4, 4, 4], 2)


def test_the_latest_of_equal_matches_wins():
    assert lookup_of([1, 2, 8, 0, 1, 2, 9, 5, 1, 2]).find(1) == ([9], 2)


def run(pace, steps: int, offered: int, kind: int, seconds, right) -> list[int]:
    """Steps that take seconds(drafts) and of whose drafts `right` are right; how many were chosen each time."""
    chosen = []
    for _ in range(steps):
        n = pace.choose(offered, kind)
        pace.took(n, seconds(n))
        if n:
            pace.judged(kind, n, min(n, right))
        chosen.append(n)
    return chosen


@pytest.mark.parametrize("fixed", [0, 1, 5, 8])
def test_a_fixed_number(fixed):
    pace = _core.testing.DraftPace(fixed)
    assert run(pace, 20, 8, SHORT, lambda n: 1.0 + n, 0) == [fixed] * 20
    assert pace.choose(2, LONG) == min(2, fixed)


def test_the_first_step_is_plain_and_right_drafts_are_used():
    chosen = run(_core.testing.DraftPace(), 60, 8, LONG, lambda n: 1 + 0.1 * n, 8)
    assert chosen[0] == 0
    assert chosen[20:] == [8] * 40


def test_wrong_drafts_are_given_up_and_tried_again_now_and_then():
    chosen = run(_core.testing.DraftPace(), 600, 8, DRAFTER, lambda n: 1 + 0.4 * n, 0)
    tries = [i for i, n in enumerate(chosen) if n and i > 40]
    assert 1 <= len(tries) <= 8
    assert max(np.diff(tries)) > 2 * min(np.diff(tries))  # more and more seldom


def test_drafts_that_cost_more_than_they_save_are_given_up():
    chosen = run(_core.testing.DraftPace(), 200, 8, LONG, lambda n: 1 + 1.2 * n, 8)
    assert sum(n > 0 for n in chosen[50:]) <= 6


def test_as_many_drafts_as_are_usually_right():
    chosen = run(_core.testing.DraftPace(), 200, 8, LONG, lambda n: 1 + 0.25 * n, 3)
    assert np.median([n for n in chosen[50:] if n]) == 3


def test_a_kind_that_fails_leaves_the_other_alone():
    pace = _core.testing.DraftPace()
    run(pace, 100, 8, SHORT, lambda n: 1 + 0.5 * n, 0)
    assert pace.choose(8, LONG) > 0


def test_a_plain_step_now_and_then_keeps_the_measure():
    chosen = run(_core.testing.DraftPace(), 200, 8, LONG, lambda n: 1 + 0.1 * n, 8)
    assert 2 <= chosen[1:].count(0) <= 4
