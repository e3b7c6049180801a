"""A chat under way: a generation's ids through the parser, stop strings, and the result.

Starts no generation itself; it is handed one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..results import Chunk
from .result import ChatResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..generation.stream import GenerationStream
    from ..results import Generation, TokenLogprob, ToolCall
    from .parser import AnswerParser, Delta


class StopText:
    """Finds the first of several strings in text that comes in pieces; holds back what may be the start of one."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = strings
        self._held = ""
        self.met = False

    def push(self, text: str) -> str:
        """The text that is safe to show."""
        if not self._strings:
            return text
        text = self._held + text
        found = [(at + len(string), at) for string in self._strings if (at := text.find(string)) >= 0]
        if found:  # the one that is complete first, so that how the text was cut makes no difference
            self.met, self._held = True, ""
            return text[: min(found)[1]]
        keep = max(self._overlap(text, string) for string in self._strings)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    @staticmethod
    def _overlap(text: str, string: str) -> int:
        longest = min(len(text), len(string) - 1)
        return next((size for size in range(longest, 0, -1) if text.endswith(string[:size])), 0)

    def finish(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return held


class ChatStream:
    """Iterator over the `Chunk`s of one chat; also a context manager. Leaving the block, or dropping it, cancels.

    `.result` is the whole `ChatResult`: it waits for the end if the chunks were not all read.
    """

    def __init__(
        self, generation: GenerationStream, parser: AnswerParser, stop: Sequence[str], warnings: Sequence[str] = ()
    ) -> None:
        self._generation = generation
        self._parser = parser
        self._stop = StopText(stop)
        self._warnings = list(warnings)
        self._ready: list[Chunk] = []
        self._texts: dict[str, list[str]] = {"text": [], "thinking": []}
        self._calls: list[ToolCall] = []
        self._ids: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._given = (0, 0)  # how many ids and log-probabilities the chunks so far had
        self._over = False
        self._result: ChatResult | None = None

    def __iter__(self) -> ChatStream:
        return self

    def __next__(self) -> Chunk:
        while not self._ready:
            if self._over:
                raise StopIteration
            try:
                self._step()
            except BaseException:  # a call that cannot be read, Ctrl-C, an engine error: nothing may go on
                self._over = True
                self._generation.cancel()
                raise
        return self._ready.pop(0)

    def _step(self) -> None:
        chunk = next(self._generation, None)
        if chunk is None:
            self._finish(self._generation.result)
            return
        entries = chunk.logprobs or (None,) * len(chunk.token_ids)
        for token, entry in zip(chunk.token_ids, entries, strict=True):
            self._ids.append(token)
            if entry is not None:
                self._logprobs.append(entry)
            self._take(self._parser.feed(token))
            if self._stop.met or self._parser.ended:
                self._generation.cancel()
                self._finish(self._generation.result, reason="stop")
                return

    def _take(self, deltas: Sequence[Delta]) -> None:
        """Deltas to chunks; stop strings are looked for in text only, so a thought or a call cannot end the answer."""
        for delta in deltas:
            if delta.tool_call is not None:
                self._show("text", self._stop.finish())
                self._calls.append(delta.tool_call)
                self._append("tool_call", "", delta.tool_call)
            elif delta.kind == "thinking":
                self._show("thinking", delta.text)
            else:
                self._show("text", self._stop.push(delta.text))
                if self._stop.met:
                    return

    def _show(self, kind: str, text: str) -> None:
        if text:
            self._texts[kind].append(text)
            self._append(kind, text)

    def _append(self, kind: str, text: str, call: ToolCall | None = None) -> None:
        first, first_entry = self._given
        self._given = (len(self._ids), len(self._logprobs))
        entries = tuple(self._logprobs[first_entry:]) if self._logprobs else None
        self._ready.append(Chunk(text, tuple(self._ids[first:]), kind, entries, call))

    def _finish(self, whole: Generation, reason: str | None = None) -> None:
        reason = reason or whole.finish_reason
        self._over = True
        if not self._stop.met:
            self._take(self._parser.finish(complete=reason == "stop"))
        if not self._stop.met:
            self._show("text", self._stop.finish())
        if self._parser.unread:
            self._warnings.append(f"the answer ended inside a tool call, which is left out: {self._parser.unread!r}")
        parsed = whole.parsed
        if self._stop.met and parsed is not None:
            parsed = None
            self._warnings.append("a stop string cut the answer, so it has no .parsed")
        ids = np.array(self._ids, dtype=np.int32)
        if reason == "stop" and self._calls:
            reason = "tool_calls"
        self._result = ChatResult(
            text="".join(self._texts["text"]),
            thinking="".join(self._texts["thinking"]),
            tool_calls=list(self._calls),
            finish_reason=reason,
            token_ids=ids,
            usage=whole.usage._replace(completion_tokens=len(ids)),
            timings=whole.timings,
            seed=whole.seed,
            thinking_tokens=self._parser.thinking_tokens,
            warnings=[*self._warnings, *whole.warnings],
            logprobs=None if whole.logprobs is None else self._logprobs,
            parsed=parsed,
        )

    @property
    def finished(self) -> ChatResult | None:
        """The whole answer if the stream has ended well, else None; waits for nothing."""
        return self._result

    def cancel(self) -> None:
        """Ask the engine to stop, from any thread; takes effect within one block of the prompt or one token."""
        self._generation.cancel()

    @property
    def result(self) -> ChatResult:
        """The whole answer, after the end of the stream (waits for it)."""
        while self._result is None:
            held = self._ready
            self._ready = []
            try:
                held += list(self)
            finally:
                self._ready = held
            if self._result is None:
                raise RuntimeError("this chat failed before it had a result; see the error that it raised")
        return self._result

    def close(self) -> None:
        """Cancel if still running, and wait for the engine to let go."""
        self._generation.close()

    def __enter__(self) -> ChatStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._result is not None:
            return f"<ChatStream, ended: {self._result!r}>"
        return f"<ChatStream, {len(self._ids)} tokens so far>"
