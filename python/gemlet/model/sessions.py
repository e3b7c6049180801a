"""Conversations that keep what the model read of them: turns, forks, files. Writes no prompt; `chat` does."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import BadFile
from ..soft import SoftTokens
from ..types import check_int
from .chatting import Chatting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal, overload

    from typing_extensions import Unpack

    from ..chat.result import ChatResult
    from ..chat.stream import ChatStream
    from ..types import ChatArgs

_BUDGET = 1 << 28  # bytes of keys and values a session keeps; its newest turn always stays
_FORMAT = 2  # since 2, soft tokens follow the JSON
_MEDIA = ("images", "audio", "video", "image_tokens", "fps")


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

    if TYPE_CHECKING:

        @overload
        def chat(
            self, message: str | dict[str, Any], *, stream: Literal[False] = ..., **options: Unpack[ChatArgs]
        ) -> ChatResult: ...
        @overload
        def chat(
            self, message: str | dict[str, Any], *, stream: Literal[True], **options: Unpack[ChatArgs]
        ) -> ChatStream: ...

    def chat(self, message: str | dict[str, Any], *, stream: bool = False, **options: Any) -> ChatResult | ChatStream:
        """The next turn: a string, or one message (a tool's answer, say); options are those of `Model.chat`.

        Images, sound and video are part of the conversation from then on, as `SoftTokens`: no later turn encodes them
        again, nor does one of a session that was saved and loaded.

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
            new = self._model._turn(new, {name: options.pop(name) for name in _MEDIA if name in options})
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
        self._messages = [*asked[:-1], _quiet(asked[-1]), result.message]

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
        """Bytes of keys and values kept, and of soft tokens."""
        return int(self._read.size) + sum(soft.nbytes for message in self._messages for soft in _soft_of(message))

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
            messages = [self._model._turn(message, {}) for message in self._messages]
            self._read.save(os.fspath(path), _notes_of(messages, self._model.name))

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


def _parts_of(message: dict[str, Any]) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _soft_of(message: dict[str, Any]) -> list[SoftTokens]:
    parts = [part for part in _parts_of(message) if isinstance(part, dict)]
    return [value for part in parts for value in part.values() if isinstance(value, SoftTokens)]


def _with_soft(message: dict[str, Any], change: Callable[[SoftTokens], Any]) -> dict[str, Any]:
    """The message with something else in place of each of its soft tokens."""
    if not _soft_of(message):
        return message
    content = [
        {k: change(v) if isinstance(v, SoftTokens) else v for k, v in part.items()} if isinstance(part, dict) else part
        for part in _parts_of(message)
    ]
    return {**message, "content": content}


def _quiet(message: dict[str, Any]) -> dict[str, Any]:
    """What the towers had to say was told with the turn that brought it."""
    return _with_soft(message, SoftTokens.quiet)


def _notes_of(messages: list[dict[str, Any]], name: str) -> bytes:
    """JSON, and behind a zero byte the rows of the soft tokens that stand in it as {"soft": [sizes, times]}."""
    rows: list[bytes] = []

    def put(soft: SoftTokens) -> dict[str, Any]:
        rows.extend(frame.rows.tobytes() for frame in soft.frames)
        return {"soft": [[frame.rows.shape for frame in soft.frames], soft.times]}

    written = [_with_soft(message, put) for message in messages]
    head = json.dumps({"format": _FORMAT, "model": name, "messages": written}, ensure_ascii=False)
    return b"\0".join([head.encode(), b"".join(rows)])


def _take_soft(messages: list[dict[str, Any]], rows: bytes) -> None:
    """Puts the soft tokens back in their places."""
    at = 0
    for message in messages:
        for part in _parts_of(message):
            kind = part.get("type")
            stored = part.get(kind)
            if not (isinstance(stored, dict) and "soft" in stored):
                continue
            sizes, times = stored["soft"]
            runs = []
            for count, width in sizes:
                size = int(count) * int(width) * 4
                if size <= 0 or at + size > len(rows):
                    raise ValueError("soft tokens are missing")
                runs.append(np.frombuffer(rows, np.float32, size // 4, at).reshape(count, width))
                at += size
            part[kind] = SoftTokens(runs, kind, times=times) if kind == "video" else SoftTokens(runs[0], kind)
    if at != len(rows):
        raise ValueError("soft tokens that belong to no message")


def _messages_of(notes: bytes, path: str) -> list[dict[str, Any]]:
    try:
        head, _, rows = notes.partition(b"\0")
        read = json.loads(head)
        messages = read["messages"]
        if read["format"] not in (1, _FORMAT) or not all(
            isinstance(m, dict) and isinstance(m["role"], str) for m in messages
        ):
            raise ValueError("not the messages of a conversation")
        _take_soft(messages, rows)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadFile(
            f"session: '{path}': its notes are no conversation ({error}); it was not saved by `save`"
        ) from None
    return list(messages)


class Sessions(Chatting):
    """The methods of `Model` that make sessions."""

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
