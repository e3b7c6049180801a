"""A tiny random Gemma 4 with every marker in its vocabulary, and a way to put given words into a model's mouth."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gemlet
from chat_cases import vocabulary
from gemlet.chat.pieces import split, to_ids
from gemlet.results import Chunk, Generation, Timings, TokenLogprob, Usage

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_gemma4 import Variant, write_gguf


def write_model(
    path: Path, *, template: str | list[dict[str, str]] | None = None, per_layer: int = 0, keep: Sequence[str] = ()
) -> Path:
    """per_layer: 0 is what the large models have. keep: if given, the only markers that stay as they are."""
    tokens, pairs = vocabulary()
    if keep:
        tokens = [(f"gone{i}", 1) if k in (3, 4) and p not in keep else (p, k) for i, (p, k) in enumerate(tokens)]
    merges = [f"{a} {b}" for a, b in pairs]
    words = ([piece for piece, _ in tokens], [-1000.0] * len(tokens), [kind for _, kind in tokens], merges)
    variant = Variant(
        "gemma4_chat",
        1,
        D=16,
        H=2,
        K=(1, 1),
        C=(8, 16),
        F=16,
        L=2,
        V=len(tokens),
        window=8,
        T=8,
        pattern=2,
        P=per_layer,
    )
    write_gguf(variant, path, words, template)
    return path


class Script:
    """Stands in for a GenerationStream: gives the ids of a text with markers, some at a time."""

    def __init__(
        self, model: gemlet.Model, text: str, *, at_once: int = 1, reason: str = "stop", tops: bool = False
    ) -> None:
        family = model._chat_format().family
        self.ids = [int(i) for i in to_ids(model._engine.tokenizer, split(text, family), family)[1:]]
        self._chunks = self._cut(at_once, tops)
        self._reason, self._given, self.cancelled, self._tops = reason, 0, False, tops

    def _cut(self, at_once: int, tops: bool) -> Iterator[Chunk]:
        for i in range(0, len(self.ids), at_once):
            ids = tuple(self.ids[i : i + at_once])
            self._given += len(ids)
            yield Chunk("", ids, logprobs=tuple(TokenLogprob(id, "", -1.0) for id in ids) if tops else None)
            if self.cancelled:
                return

    def __iter__(self) -> Script:
        return self

    def __next__(self) -> Chunk:
        return next(self._chunks)

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        self.cancel()

    @property
    def result(self) -> Generation:
        for _ in self:
            pass
        done = self._given == len(self.ids)
        return Generation(
            text="",
            token_ids=np.array(self.ids[: self._given], np.int32),
            finish_reason=self._reason if done else "cancelled",
            usage=Usage(7, self._given),
            timings=Timings(0.1, 0.1, 0.0, 0.2, 70.0, 10.0),
            seed=1,
            logprobs=[] if self._tops else None,
        )


def say(model: gemlet.Model, monkeypatch: Any, text: str, **options: Any) -> dict[str, Any]:
    """Makes the model answer `text`; what `chat` asked of the engine is in the dict given back."""
    asked: dict[str, Any] = {}

    def begin(
        ids: np.ndarray, options_: gemlet.GenerateOptions, warnings: list[str], after: int | None, session: object
    ) -> Script:
        asked.update(ids=ids, options=options_, after=after, script=Script(model, text, **options))
        return asked["script"]

    monkeypatch.setattr(model, "_begin", begin)
    return asked
