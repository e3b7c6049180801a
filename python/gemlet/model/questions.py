"""The side of `Model` that asks other things than "what comes next": logits, states, scores, routing, attention.

Docstrings, checks of arguments and limits; the arithmetic is in `measures` and in the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import as_ids, as_positions, check_room, several
from ..results import Routing
from ..types import check_choice, check_int, check_labels
from . import measures
from .opened import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from ..results import Decision, Perplexity
    from .opened import Tokens

LOGITS_LIMIT = 1 << 30  # bytes of one result; past it a call is more likely a mistake than a wish


class Questions(Opened):
    """The methods of `Model` that answer them."""

    def logits(
        self, x: Tokens, *, positions: Any = None, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Logits (n, V) float32 of the token after each of the wanted positions, as the sampler sees them.

        positions: ints, a slice, or None for all; negatives count from the end. Results above 1 GiB are refused.
        out: a C-contiguous float32 array (n, V) to write them to, which is then what comes back. In a loop it saves new
        memory for each result, which the system has to clear; what `logits` returned before is best.

        >>> last = m.logits("Paris is the capital of", positions=-1)
        >>> last.shape, m.detokenize([last[0].argmax()])
        ((1, 262144), ' France')
        >>> m.logits("Rome is the capital of", positions=-1, out=last) is last, m.detokenize([last[0].argmax()])
        (True, ' Italy')
        """
        ids = self._ids(x)
        measures.fits("logits", len(ids), self.context)
        wanted = as_positions(positions, len(ids))
        size = len(wanted) * self.vocab_size * 4
        if size > LOGITS_LIMIT:
            raise ValueError(
                f"logits: {len(wanted)} positions x {self.vocab_size} logits: {size / 2**30:.2f} GiB, past the limit "
                f"of {LOGITS_LIMIT / 2**30:g} GiB; ask for at most {LOGITS_LIMIT // (4 * self.vocab_size)} at a time"
            )
        if out is not None:
            check_room("logits", out, (len(wanted), self.vocab_size))
        if len(wanted) == 0:
            return np.empty((0, self.vocab_size), np.float32) if out is None else out
        return self._engine.logits(ids, None if positions is None else wanted, out)

    def hidden(self, x: Tokens, *, layers: Sequence[int | str] = ("final",)) -> NDArray[np.float32]:
        """States (len(layers), T, D) float32: i is after layer i (negatives from the end), "final" after the last norm.

        >>> m.hidden("Hello world", layers=[0, -1, "final"]).shape
        (3, 3, 640)
        """
        ids = self._ids(x)
        measures.fits("hidden", len(ids), self.context)
        count = int(self._info["layers"])
        wanted = []
        for layer in [layers] if isinstance(layers, (int, str)) else layers:
            if layer == "final":
                wanted.append(count)
                continue
            if isinstance(layer, str):
                raise ValueError(f"hidden: layers may hold ints and 'final', not {layer!r}")
            index = check_int("hidden", "a layer", layer, -count, count - 1)
            wanted.append(index + count if index < 0 else index)
        if not wanted:
            raise ValueError("hidden: layers is empty; name at least one, for example layers=['final']")
        return self._engine.hidden(ids, wanted)

    def score(
        self, prompt: Tokens, continuations: Iterable[Tokens], *, per_token: bool = False
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Log-probability (n,) float32, in nats, of each continuation after the prompt.

        A continuation is tokenised by itself and follows the prompt's tokens. per_token: arrays, one value a token.

        >>> right, wrong = m.score("Paris is the capital of", [" France", " Germany"])
        >>> bool(right > wrong)
        True
        """
        if isinstance(continuations, (str, bytes)):
            raise TypeError("score: continuations must be a list, not one string; pass [continuation]")
        rows = []
        for i, continuation in enumerate(continuations):
            if isinstance(continuation, str):
                row = self.tokenize(continuation, add_bos=False)
                if not len(row):
                    raise ValueError(f"score: continuations[{i}] is empty; there is no token to score")
            else:
                row = as_ids(continuation, self.vocab_size, f"continuations[{i}]")
            rows.append(row)
        tokens = measures.score(self._engine, self._ids(prompt, "prompt"), rows, self.context)
        return tokens if per_token else np.array([row.sum(dtype=np.float64) for row in tokens], dtype=np.float32)

    def choose(self, prompt: Tokens, options: Iterable[str]) -> Decision:
        """Which of several texts the model expects after the prompt, and how likely each of them is among them.

        Probabilities are those of the whole texts, by `score`, made to sum to 1; longer texts are less likely.

        >>> decision = m.choose("Paris is the capital of", [" France", " Germany", " Spain"])
        >>> decision.label, decision.probability > 0.9
        (' France', True)
        """
        labels = check_labels("choose", "options", options)
        rows = [self.tokenize(label, add_bos=False) for label in labels]
        tokens = measures.score(self._engine, self._ids(prompt, "prompt"), rows, self.context)
        return measures.decide(labels, rows, tokens)

    def perplexity(
        self,
        texts: Tokens | Iterable[Tokens],
        *,
        window: int | None = None,
        stride: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Perplexity:
        """How well the model expects a text, or several together (strings, or id rows without BOS).

        Texts are read in windows of `window` tokens (default: 2048, or the context if that is less), each behind a BOS,
        that move by `stride` (default: half a window). Every token is scored once, in the first window that has it.

        >>> m.perplexity("The quick brown fox jumps over the lazy dog.").tokens
        10
        """
        if window is None:
            window = min(self.context, 2048)
        window = check_int("perplexity", "window", window, 2, self.context)
        stride = check_int("perplexity", "stride", max(window // 2, 1) if stride is None else stride, 1, window - 1)
        rows = []
        for i, text in enumerate(several(texts)):
            if isinstance(text, str):
                row = self.tokenize(text, add_bos=False)
            else:
                row = as_ids(text, self.vocab_size, f"texts[{i}]")
            if not len(row):
                raise ValueError(f"perplexity: texts[{i}] is empty; there is no token to score")
            rows.append(row)
        if not rows:
            raise ValueError("perplexity: no texts")
        return measures.perplexity(self._engine, rows, self._engine.tokenizer.bos, window, stride, progress)

    def embed(
        self,
        texts: str | Iterable[str],
        *,
        pooling: str = "mean",
        dimensions: int | None = None,
        normalize: bool = True,
    ) -> NDArray[np.float32]:
        """Vectors (n, D) float32 of texts: the states after the final norm, pooled over the tokens after BOS.

        pooling: "mean" or "last". dimensions: keep the first ones only. normalize: to length 1, so `a @ b.T` is cosine.

        >>> m.embed(["a cat", "a dog"]).shape
        (2, 640)
        """
        check_choice("embed", "pooling", pooling, measures.POOLING)
        rows = []
        for i, text in enumerate([texts] if isinstance(texts, str) else texts):
            if not isinstance(text, str):
                raise TypeError(f"embed: texts[{i}] must be a string, not {type(text).__name__}")
            if not text:
                raise ValueError(f"embed: texts[{i}] is empty; there is no token to pool")
            rows.append(self.tokenize(text))
        if dimensions is not None:
            check_int("embed", "dimensions", dimensions, 1, int(self._info["width"]))
        if not rows:
            return np.empty((0, dimensions or int(self._info["width"])), np.float32)
        vectors = measures.embed(self._engine, rows, int(self._info["layers"]), pooling, self.context)
        vectors = np.ascontiguousarray(vectors[:, :dimensions])
        return measures.normalized(vectors) if normalize else vectors

    def routing(self, x: Tokens) -> Routing:
        """Which experts a mixture chose for each token: `.experts` (L, T, k) int32, best first, `.weights` float32.

        The weights are the router's, renormalised over the chosen experts, before the experts' own scales.

        >>> m.routing("Hello")
        Traceback (most recent call last):
        ValueError: routing: 'Gemma 3 270m' has no experts, so nothing is routed
        """
        ids = self._ids(x)
        measures.fits("routing", len(ids), self.context)
        return Routing(*self._engine.routing(ids))

    def attention(
        self, x: Tokens, *, layers: Sequence[int], heads: Sequence[int] | None = None, positions: Any = None
    ) -> NDArray[np.float32]:
        """How much each position looked at each token: (len(layers), len(heads), n, T) float32, rows sum to 1.

        heads: None for all of the layer. positions: ints, a slice, or None for all. Results above 1 GiB are refused.

        >>> weights = m.attention("The cat sat on the mat", layers=[5], heads=[0, 1], positions=-1)
        >>> weights.shape, bool(abs(weights.sum(-1) - 1).max() < 1e-5)
        ((1, 2, 1, 7), True)
        """
        ids = self._ids(x)
        measures.fits("attention", len(ids), self.context)
        count = int(self._info["layers"])
        chosen = [check_int("attention", "a layer", layer, -count, count - 1) % count for layer in layers]
        which = list(range(int(self._info["heads"]))) if heads is None else [int(head) for head in heads]
        wanted = as_positions(positions, len(ids))
        size = len(chosen) * len(which) * len(wanted) * len(ids) * 4
        if size > LOGITS_LIMIT:
            raise ValueError(
                f"attention: {size / 2**30:.2f} GiB, past the limit of {LOGITS_LIMIT / 2**30:g} GiB; "
                "ask for fewer layers, heads or positions at a time"
            )
        return self._engine.attention(ids, chosen, which, [int(position) for position in wanted])
