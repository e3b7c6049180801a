"""Questions about a text other than "what comes next": score, perplexity, embeddings. Works on ids, in pieces that fit.

Never holds (T, V): the engine gives log-probabilities of the wanted tokens only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ContextOverflow
from ..results import Decision, Perplexity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from .. import _core

POOLING = ("mean", "last")


def fits(call: str, count: int, context: int) -> None:
    """Raise ContextOverflow if `count` tokens are more than the context."""
    if count > context:
        raise ContextOverflow(
            f"{call}: {count} tokens, but the context holds {context}; shorten the text or load with a larger context="
        )


def score(
    model: _core.Model,
    prompt: NDArray[np.int32] | _core.Prompt,
    continuations: Sequence[NDArray[np.int32]],
    context: int,
) -> list[NDArray[np.float32]]:
    """Log-probability of every continuation token after the prompt, one (n,) float32 array a continuation."""
    tokens = []
    for i, continuation in enumerate(continuations):
        fits(f"score: prompt and continuations[{i}]", len(prompt) + len(continuation), context)
        whole = np.concatenate([prompt, continuation]) if isinstance(prompt, np.ndarray) else prompt.then(continuation)
        tokens.append(model.score(whole, len(prompt)))
    return tokens


def decide(labels: Sequence[str], rows: Sequence[NDArray[np.int32]], scores: Sequence[NDArray[np.float32]]) -> Decision:
    """The likeliest label, by the log-probabilities (n,) of each label's tokens; ties go to the first."""
    logprobs = np.array([row.sum(dtype=np.float64) for row in scores])
    weights = np.exp(logprobs - logprobs.max())
    probabilities = weights / weights.sum()
    best = int(probabilities.argmax())
    warnings = [
        f"choose: {labels[a]!r} is how {labels[b]!r} begins, so their probabilities overlap"
        for a in range(len(labels))
        for b in range(len(labels))
        if a != b and np.array_equal(rows[a], rows[b][: len(rows[a])])
    ]
    return Decision(
        labels[best],
        float(probabilities[best]),
        dict(zip(labels, probabilities.tolist(), strict=True)),
        dict(zip(labels, logprobs.tolist(), strict=True)),
        warnings,
    )


def windows(count: int, room: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """(begin, end, first) for `count` tokens: ids[begin:end] is one window, of which ids[first:end] are new.

    >>> list(windows(10, room=6, stride=3))
    [(0, 6, 0), (3, 9, 6), (6, 10, 9)]
    """
    begin = done = 0
    while done < count:
        end = min(begin + room, count)
        yield begin, end, done
        done = end
        begin += stride


def perplexity(
    model: _core.Model,
    texts: Sequence[NDArray[np.int32]],
    bos: int,
    window: int,
    stride: int,
    progress: Callable[[int, int], object] | None,
) -> Perplexity:
    """Perplexity of id rows without BOS; every token is scored once, in the window where it is new."""
    total = sum(len(ids) for ids in texts)
    scores: list[NDArray[np.float32]] = []
    done = 0
    for ids in texts:
        for begin, end, first in windows(len(ids), window - 1, stride):
            block = np.concatenate([np.array([bos], np.int32), ids[begin:end]])
            scores.append(model.score(block, 1 + first - begin))
            done += end - first
            if progress is not None:
                progress(done, total)
    nlls = -np.concatenate(scores).astype(np.float64)
    nll = float(nlls.mean())
    error = float(nlls.std(ddof=1) / math.sqrt(len(nlls))) if len(nlls) > 1 else math.inf
    value = math.exp(nll) if nll < 709 else math.inf
    return Perplexity(value, nll, len(nlls), value * error, error, window, stride)


def embed(
    model: _core.Model, texts: Sequence[NDArray[np.int32]], layer: int, pooling: str, context: int
) -> NDArray[np.float32]:
    """One vector (D,) a row: the states after the final norm, pooled over the tokens after BOS."""
    rows = []
    for i, ids in enumerate(texts):
        fits(f"embed: texts[{i}]", len(ids), context)
        states = model.hidden(ids, [layer])[0]
        rows.append(states[-1] if pooling == "last" else states[1:].mean(axis=0, dtype=np.float32))
    return np.stack(rows)


def normalized(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)
