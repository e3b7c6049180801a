"""One prompt over many rows: calls that share steps of the model, answers in order, memory for a few rows only."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..chat.result import ChatResult

_OF_PROMPT = ("tools", "think", "images", "audio", "video", "image_tokens", "fps")
LEAST_SHARED = 16  # tokens: a common beginning shorter than this is not worth a step of its own


def rows_of(rows: Any) -> tuple[Iterator[Any], int | None]:
    """The rows one by one, and how many if that is known: a DataFrame's as dicts."""
    if hasattr(rows, "iterrows"):  # pandas
        return (dict(row) for _, row in rows.iterrows()), len(rows)
    if hasattr(rows, "iter_rows"):  # polars
        return iter(rows.iter_rows(named=True)), len(rows)
    return iter(rows), len(rows) if hasattr(rows, "__len__") else None


def writer_of(prompt: Any) -> Callable[[Any], Any]:
    """What makes a conversation of a row: a function, or a string with {name} for a dict's values or {row}."""
    if callable(prompt):
        made: Callable[[Any], Any] = prompt
        return made
    if not isinstance(prompt, str):
        raise TypeError(f"map: prompt must be a string with {{name}} in it or a function, not {type(prompt).__name__}")

    def write(row: Any) -> str:
        values = row if isinstance(row, dict) else {"row": row}
        try:
            return prompt.format(**values)
        except (KeyError, IndexError) as error:
            known = ", ".join(map(repr, values))
            raise ValueError(f"map: the prompt asks for {error}, and the row has {known}") from None

    return write


class Map:
    """Iterator over the answers, in the order of the rows; also a context manager. Leaving it cancels what runs."""

    def __init__(
        self, model: Any, rows: Any, prompt: Any, together: int, progress: Any, options: dict[str, Any]
    ) -> None:
        self._model, self._options, self._progress = model, options, progress
        self._rows, self._total = rows_of(rows)
        self._write = writer_of(prompt)
        self._together = together
        self._pool = ThreadPoolExecutor(together, thread_name_prefix="gemlet-map")
        self._running: deque[Any] = deque()
        self._done = 0
        self._opened = False

    def _open(self) -> None:
        """Reads once what the first prompts begin with, before any of them is run."""
        self._opened = True
        first = [self._write(row) for row in _take(self._rows, self._together)]
        if len(first) > 1:
            templates = {name: self._options[name] for name in _OF_PROMPT if name in self._options}
            prompts = [self._model.apply_chat_template(messages, **templates) for messages in first]
            shared = self._before_media(prompts[0][: common(prompts)])
            if shared >= LEAST_SHARED:
                self._model.generate(prompts[0][:shared], max_tokens=1)
        for messages in first:
            self._submit(messages)

    def _before_media(self, ids: Any) -> int:
        """How many first ids stand before any image or sound: its ids say nothing of what it is."""
        find = self._model._engine.tokenizer.find
        begins = [find(mark) for mark in ("<|image>", "<|audio>")]
        return int(np.append(np.flatnonzero(np.isin(ids, [i for i in begins if i >= 0])), len(ids))[0])

    def _submit(self, messages: Any) -> None:
        self._running.append(self._pool.submit(self._model.chat, messages, **self._options))

    def __iter__(self) -> Map:
        return self

    def __next__(self) -> ChatResult:
        if not self._opened:
            self._open()
        if not self._running:
            self.close()
            raise StopIteration
        try:
            answer: ChatResult = self._running.popleft().result()
        except BaseException:
            self.close()
            raise
        for row in _take(self._rows, 1):
            self._submit(self._write(row))
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)
        return answer

    def close(self) -> None:
        """Start nothing more, and wait for what runs."""
        for call in self._running:
            call.cancel()
        self._running.clear()
        self._rows = iter(())
        self._pool.shutdown(wait=True)

    def __enter__(self) -> Map:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        if self._total is None:
            raise TypeError("map: the rows are an iterator, which does not know its length")
        return self._total


def _take(rows: Iterable[Any], count: int) -> list[Any]:
    return [row for _, row in zip(range(count), rows, strict=False)]


def common(prompts: list[Any]) -> int:
    """How many first tokens all prompts share, their last ones left out."""
    least = min(len(prompt) for prompt in prompts) - 1
    same = np.all([prompt[:least] == prompts[0][:least] for prompt in prompts], axis=0)
    return int(least if same.all() else same.argmin())
