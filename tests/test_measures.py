"""Windows, scores and pooling over a model that can be computed by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemlet import ContextOverflow
from gemlet.model.measures import embed, normalized, perplexity, score, windows


class CountingModel:
    """Log-probability of a token = -(its number of predecessors); state of a token = (id, 1)."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[int], int]] = []

    def score(self, ids, first):
        self.calls.append((ids.tolist(), first))
        return -np.arange(first, len(ids), dtype=np.float32)

    def hidden(self, ids, layers):
        return np.stack([np.stack([ids, np.ones_like(ids)], axis=1).astype(np.float32) for _ in layers])


def row(*ids: int):
    return np.array(ids, np.int32)


@given(st.integers(0, 200), st.integers(1, 50), st.data())
def test_every_token_is_new_exactly_once(count, room, data):
    stride = data.draw(st.integers(1, room))
    seen: list[int] = []
    for begin, end, first in windows(count, room, stride):
        assert end - begin <= room
        assert begin <= first < end
        assert first == 0 or first - begin >= room - stride  # that much context is left
        seen.extend(range(first, end))
    assert seen == list(range(count))


def test_scores_follow_the_prompt():
    model = CountingModel()
    values = score(model, row(9, 9), [row(1), row(2, 3)], context=4)
    assert [value.tolist() for value in values] == [[-2.0], [-2.0, -3.0]]
    assert model.calls == [([9, 9, 1], 2), ([9, 9, 2, 3], 2)]
    with pytest.raises(ContextOverflow, match=r"continuations\[1\]: 5 tokens, but the context holds 4"):
        score(model, row(9, 9), [row(1), row(2, 3, 4)], context=4)


def test_perplexity_is_exp_of_the_mean():
    model, seen = CountingModel(), []
    result = perplexity(model, [row(5, 6, 7, 8, 9)], 2, window=4, stride=2, progress=lambda *at: seen.append(at))
    assert model.calls == [([2, 5, 6, 7], 1), ([2, 7, 8, 9], 2)]
    nlls = [1, 2, 3, 2, 3]
    assert result.tokens == 5
    assert math.isclose(result.nll, np.mean(nlls))
    assert math.isclose(result.perplexity, math.exp(np.mean(nlls)))
    assert math.isclose(result.nll_std_error, np.std(nlls, ddof=1) / math.sqrt(5))
    assert math.isclose(result.std_error, result.perplexity * result.nll_std_error)
    assert seen == [(3, 5), (5, 5)]


def test_pooling():
    model, texts = CountingModel(), [row(2, 10, 20), row(2, 5)]
    assert embed(model, texts, 7, "mean", 10).tolist() == [[15.0, 1.0], [5.0, 1.0]]
    assert embed(model, texts, 7, "last", 10).tolist() == [[20.0, 1.0], [5.0, 1.0]]
    with pytest.raises(ContextOverflow, match=r"texts\[0\]"):
        embed(model, texts, 7, "mean", 2)


def test_normalized():
    out = normalized(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert out.dtype == np.float32
    assert np.allclose(out, [[0.6, 0.8], [0.0, 0.0]])


def test_choose_gives_exact_probabilities(m):
    options = [" France", " Germany", " the United Kingdom"]
    decision = m.choose("Paris is the capital of", options)
    scores = m.score("Paris is the capital of", options).astype(np.float64)
    assert decision.label == str(decision) == " France"
    assert list(decision.probabilities) == list(decision.logprobs) == options
    np.testing.assert_allclose(list(decision.logprobs.values()), scores, rtol=1e-6)
    np.testing.assert_allclose(list(decision.probabilities.values()), np.exp(scores) / np.exp(scores).sum(), rtol=1e-5)
    assert decision.probability == max(decision.probabilities.values())
    assert abs(sum(decision.probabilities.values()) - 1) < 1e-9
    assert decision.warnings == []
    assert json.loads(json.dumps(decision.as_dict()))["label"] == " France"


def test_choose_tells_options_that_overlap(m):
    decision = m.choose("1", ["2", "23"])
    assert decision.warnings == ["choose: '2' is how '23' begins, so their probabilities overlap"]
    with pytest.raises(ValueError, match="options is empty"):
        m.choose("1", [])
    with pytest.raises(TypeError, match="options must be a list of strings"):
        m.choose("1", "yes")
