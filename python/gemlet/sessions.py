"""Conversations that keep what the model read of them: turns, forks, files. Writes no prompt; `chat` does."""

from __future__ import annotations

import json
import os
import threading
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from . import _core
from .errors import BadFile
from .types import check_int

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .chat.result import ChatResult
    from .chat.stream import ChatStream

_BUDGET = 1 << 28  # bytes of keys and values a session keeps; its newest turn always stays
_FORMAT = 1


class Session:
    """A conversation; made by `Model.session`. What the model has read of it is not read again.

    `messages` is the conversation so far, as OpenAI has it. Only one thread at a time should add turns.
    """

    def __init__(self, model: Sessions, read: _core.Session, messages: Sequence[dict[str, Any]]) -> None:
        self._model = model
        self._read = read
        self._messages = [dict(message) for message in messages]
        self._running: tuple[list[dict[str, Any]], ChatStream] | None = None
        self._lock = threading.RLock()

    def chat(self, message: str | dict[str, Any], *, stream: bool = False, **options: Any) -> ChatResult | ChatStream:
        """The next turn: a string, or one message (a tool's answer, say); options are those of `Model.chat`.

        With stream=True the answer joins the conversation when its stream has ended, or with the next turn.

        >>> with m.session() as s:
        ...     a = s.chat("Hello", max_tokens=4, temperature=0)
        ...     b = s.chat("And more", max_tokens=4, temperature=0)
        ...     len(s.messages), b.usage.cached_tokens >= a.usage.prompt_tokens
        (4, True)
        """
        with self._lock:
            self._settle()
            new = {"role": "user", "content": message} if isinstance(message, str) else dict(message)
            asked = [*self._messages, new]
            running = self._model._talk(asked, options, self._read)
            self._running = (asked, running)
            if stream:
                return running
            result = running.result
            self._settle()
            return result

    def _settle(self) -> None:
        """A stream that has ended, or ends now, becomes part of the conversation; one that failed does not."""
        if self._running is None:
            return
        (asked, running), self._running = self._running, None
        running.close()
        try:
            result = running.result
        except Exception:  # its reader was told
            return
        self._messages = [*asked, result.message]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far, as a new list."""
        with self._lock:
            if self._running is not None and self._running[1].finished is not None:
                self._settle()
            return [dict(message) for message in self._messages]

    @property
    def tokens(self) -> int:
        """How many tokens of the conversation are kept as keys and values."""
        return max(self._read.lengths, default=0)

    def memory(self) -> int:
        """Bytes of keys and values kept."""
        return int(self._read.size)

    def rewind(self, turns: int = 1) -> None:
        """Forget the last `turns` things the user said, and what followed them.

        >>> s = m.session(system="Be brief.")
        >>> answer = s.chat("Hello", max_tokens=2)
        >>> s.rewind()
        >>> [message["role"] for message in s.messages]
        ['system']
        """
        with self._lock:
            self._settle()
            starts = [i for i, message in enumerate(self._messages) if message["role"] == "user"]
            turns = check_int("session.rewind", "turns", turns, 1)
            if turns > len(starts):
                raise ValueError(f"session.rewind: {turns} turns back, but the conversation has {len(starts)}")
            del self._messages[starts[-turns] :]

    def fork(self) -> Session:
        """A second conversation with the same past; memory is shared until they differ."""
        with self._lock:
            self._settle()
            return Session(self._model, self._read.fork(), self._messages)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the conversation with its keys and values to a file; whole, or not at all.

        >>> import os, tempfile
        >>> s = m.session()
        >>> answer = s.chat("Hello", max_tokens=2, temperature=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     s.save(os.path.join(folder, "talk.gls"))
        ...     again = m.load_session(os.path.join(folder, "talk.gls"))
        >>> again.messages == s.messages, again.tokens == s.tokens
        (True, True)
        """
        with self._lock:
            self._settle()
            notes = {"format": _FORMAT, "model": self._model.name, "messages": self._messages}
            self._read.save(os.fspath(path), json.dumps(notes, ensure_ascii=False).encode())

    def close(self) -> None:
        """Stop what runs and give the memory back; the messages stay."""
        with self._lock:
            self._settle()
            self._read.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        size = self.memory() / 2**20
        return f"<gemlet.Session, {len(self._messages)} messages, {self.tokens} tokens kept in {size:.1f} MiB>"


def _messages_of(notes: bytes, path: str) -> list[dict[str, Any]]:
    try:
        read = json.loads(notes)
        messages = read["messages"]
        if read["format"] != _FORMAT or not all(isinstance(m, dict) and isinstance(m["role"], str) for m in messages):
            raise ValueError("not the messages of a conversation")
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(
            f"session: '{path}': its notes are no conversation ({error}); it was not saved by `save`"
        ) from None
    return list(messages)


class Sessions:
    """The methods of `Model` that make sessions."""

    @property
    @abstractmethod
    def _engine(self) -> _core.Model: ...

    @property
    @abstractmethod
    def name(self) -> str:
        """What the file calls the model."""

    @abstractmethod
    def _talk(self, messages: list[dict[str, Any]], options: dict[str, Any], session: _core.Session) -> ChatStream: ...

    def session(self, *, system: str | None = None, messages: Sequence[dict[str, Any]] = ()) -> Session:
        """A conversation that keeps what the model read of it: each turn is read from where the last one ended.

        system: what the model is told first. messages: turns that have been, as OpenAI has them.

        >>> with m.session(system="You are a pirate.") as s:
        ...     s
        <gemlet.Session, 1 messages, 0 tokens kept in 0.0 MiB>
        """
        first = [] if system is None else [{"role": "system", "content": system}]
        return Session(self, _core.Session(self._engine, _BUDGET), [*first, *messages])

    def load_session(self, path: str | os.PathLike[str]) -> Session:
        """A conversation that `Session.save` wrote with this model, loaded the same way: it goes on bit for bit."""
        read = _core.Session(self._engine, _BUDGET)
        notes = read.load(os.fspath(path))
        return Session(self, read, _messages_of(notes, os.fspath(path)))
