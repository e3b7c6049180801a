"""One generation under way: fits the prompt into the context, waits for the engine, and puts the answer together.

Owns no model; the engine's own loop (prefill, sampling, stop strings) is C++.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import ContextOverflow
from ..results import Chunk, Draft, Generation, Timings, TokenLogprob, TopToken, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..types import GenerateOptions
    from .grammar import Answer

    Tokens = NDArray[np.int32] | _core.Prompt

# What the authors of Gemma give as its sampling defaults, for files that say nothing of their own.
DEFAULTS = {"temperature": 1.0, "top_k": 64, "top_p": 0.95, "min_p": 0.0}

_WAIT_MS = 50  # between two looks at Ctrl-C, the time-out and cancel()


def fit(ids: Tokens, max_tokens: int | None, context: int, overflow: str, bos: int) -> tuple[Tokens, int, list[str]]:
    """Prompt and number of new tokens that fit `context`, and what had to be done to the prompt, in words.

    overflow="truncate" cuts the front (a first BOS stays) to make room for max_tokens, at most half the context. A
    prompt with soft tokens is never cut: half an image is none.
    """
    count = len(ids)
    warnings: list[str] = []
    if overflow == "truncate":
        room = context - min(max_tokens or context // 2, context // 2)
        if count > room and not isinstance(ids, np.ndarray):
            raise ContextOverflow(
                f"generate: the prompt has {count} tokens, and there is room for {room}; overflow='truncate' cuts text "
                "only, and this one has other parts: leave some out, give images fewer tokens, or load with a larger "
                "context="
            )
        if count > room:
            assert isinstance(ids, np.ndarray)
            keep_bos = int(ids[0]) == bos
            tail = ids[count - room + keep_bos :]
            ids = np.concatenate([ids[:1], tail]) if keep_bos else tail
            warnings.append(
                f"the prompt had {count} tokens; the first {count - len(ids)} were cut"
                f"{' after BOS' if keep_bos else ''} to fit the context of {context} (overflow='truncate')"
            )
    elif count >= context:
        raise ContextOverflow(
            f"generate: the prompt has {count} tokens and the context holds {context}, at least one of them for the "
            "answer; shorten the prompt, load with a larger context=, or pass overflow='truncate' to cut its front"
        )
    room = context - len(ids)
    return ids, room if max_tokens is None else min(max_tokens, room), warnings


def core_options(options: GenerateOptions, max_new: int, seed: int, own: Mapping[str, float]) -> _core.GenerateOptions:
    """The engine's struct: every None replaced by the model's own default, or else Gemma's."""
    made = _core.GenerateOptions()
    made.max_tokens = max_new
    made.seed = seed
    for name, default in DEFAULTS.items():
        value = getattr(options, name)
        setattr(made, name, own.get(name, default) if value is None else value)
    for name in ("repeat_penalty", "presence_penalty", "frequency_penalty", "penalty_window", "ignore_eos"):
        setattr(made, name, getattr(options, name))
    made.logit_bias = list((options.logit_bias or {}).items())
    made.stop = list(options.stop)
    made.logprobs = -1 if options.logprobs is None else options.logprobs
    return made


class GenerationStream:
    """Iterator over `Chunk`s of one generation; also a context manager. Leaving the block, or dropping it, cancels.

    `.result` is the whole `Generation`: it waits for the end if the chunks were not all read.
    """

    def __init__(
        self,
        model: _core.Model,
        ids: Tokens,
        options: GenerateOptions,
        context: int,
        warnings: list[str],
        defaults: Mapping[str, float],
        answer: Answer | None = None,
        session: _core.Session | None = None,
    ) -> None:
        self._tokenizer = model.tokenizer
        ids, max_new, notes = fit(ids, options.max_tokens, context, options.overflow, self._tokenizer.bos)
        self._soft = [] if isinstance(ids, np.ndarray) else ids.spans
        self._cut = options.max_tokens is None or max_new < options.max_tokens
        self._context = context
        self._answer = answer
        self._warnings = [*warnings, *notes, *(answer.warnings if answer is not None else ())]
        self._seed = int.from_bytes(os.urandom(8), "little") if options.seed is None else options.seed
        self._progress = options.progress
        self._timeout = options.timeout
        self._began = time.perf_counter()
        self._texts: list[str] = []
        self._ids: list[int] = []
        self._logprobs: list[TokenLogprob] | None = None if options.logprobs is None else []
        self._result: Generation | None = None
        self._stream: _core.Stream | None = None
        made = core_options(options, max_new, self._seed, defaults)
        if answer is not None:
            made.constraint_after = -1 if answer.after is None else answer.after
        self._stream = model.generate(ids, made, None if answer is None else answer.matcher, session)

    def __iter__(self) -> GenerationStream:
        return self

    def __next__(self) -> Chunk:
        while self._stream is not None:
            try:
                chunk = self._take(self._stream.next(_WAIT_MS))
            except BaseException:  # Ctrl-C, an engine error, a progress function that raised: the engine must not go on
                self.cancel()
                self._stream = None
                raise
            if chunk is not None:
                return chunk
        raise StopIteration

    def _take(self, step: dict[str, Any] | None) -> Chunk | None:
        if self._timeout is not None and time.perf_counter() - self._began > self._timeout:
            self.cancel()
            self._warnings.append(f"stopped after timeout={self._timeout:g} s")
            self._timeout = None
        if step is None:
            return None
        kind = step["kind"]
        if kind == "prefill":
            if self._progress is not None:
                self._progress(step["done"], step["total"])
            return None
        ids = tuple(step.get("ids", ()))
        text: str = step["text"]
        entries = self._entries(step.get("logprobs"))
        self._texts.append(text)
        self._ids.extend(ids)
        if kind == "end":
            self._finish(step)
        return Chunk(text=text, token_ids=ids, logprobs=entries) if text or ids else None

    def _entries(self, raw: list[dict[str, Any]] | None) -> tuple[TokenLogprob, ...] | None:
        if self._logprobs is None:
            return None
        entries = tuple(
            TokenLogprob(
                id=entry["id"],
                text=self._piece(entry["id"]),
                logprob=entry["logprob"],
                top=tuple(TopToken(id=i, text=self._piece(i), logprob=value) for i, value in entry["top"]),
            )
            for entry in raw or ()
        )
        self._logprobs.extend(entries)
        return entries

    def _piece(self, token: int) -> str:
        return self._tokenizer.piece(token, True).decode("utf-8", "replace")

    def _finish(self, step: dict[str, Any]) -> None:
        usage = Usage(
            step["prompt_tokens"],
            step["completion_tokens"],
            step.get("cached_tokens", 0),
            Draft(*step.get("draft", ())),
            sum(end - begin for begin, end, kind in self._soft if kind != "audio"),
            sum(end - begin for begin, end, kind in self._soft if kind == "audio"),
        )
        reason: str = step["finish_reason"]
        if reason == "length" and self._cut:
            self._warnings.append(
                f"the context of {self._context} tokens was full after {usage.completion_tokens} new ones; "
                "load with a larger context= for a longer answer"
            )
        parsed = None
        if self._answer is not None:
            why = reason if step["stop"] is None else f"stop={step['stop']!r}"
            parsed, notes = self._answer.parsed(why == "stop", why)
            self._warnings.extend(notes)
        total_s = time.perf_counter() - self._began
        self._stream = None  # gives the engine's cache for this call back
        self._result = Generation(
            text="".join(self._texts),
            token_ids=np.array(self._ids, dtype=np.int32),
            finish_reason=reason,
            usage=usage,
            timings=Timings.of(usage, step["prefill_s"], step["decode_s"], step["queue_s"], total_s),
            seed=self._seed,
            warnings=self._warnings,
            logprobs=self._logprobs,
            parsed=parsed,
        )

    def cancel(self) -> None:
        """Ask the engine to stop, from any thread; takes effect within one block of the prompt or one token."""
        stream = self._stream
        if stream is not None:
            stream.cancel()

    @property
    def result(self) -> Generation:
        """The whole answer, after the end of the stream (waits for it)."""
        for _ in self:
            pass
        if self._result is None:
            raise RuntimeError("this generation failed before it had a result; see the error that it raised")
        return self._result

    def close(self) -> None:
        """Cancel if still running, and wait for the engine to let go."""
        self.cancel()
        for _ in self:
            pass

    def __enter__(self) -> GenerationStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_stream", None) is not None:
            self.cancel()

    def __repr__(self) -> str:
        if self._result is not None:
            return f"<GenerationStream, ended: {self._result!r}>"
        return f"<GenerationStream, {len(self._ids)} tokens so far>"
