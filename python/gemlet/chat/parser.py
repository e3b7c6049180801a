"""The answer's token ids to thinking, text and tool calls, one id at a time. Works on ids, so text cannot pretend.

Owns no stream and no model; how the ids were cut into chunks makes no difference to what comes out.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ToolCallError
from ..results import ToolCall
from .calls import parse_call
from .pieces import MARKERS

if TYPE_CHECKING:
    from .. import _core


class AnswerTokens(NamedTuple):
    """The ids that structure an answer; -1 where the model's family has none."""

    opens_channel: int
    closes_channel: int
    opens_call: int
    closes_call: int
    quote: int
    ends: frozenset[int]
    hidden: frozenset[int]

    @classmethod
    def of(cls, tokenizer: _core.Tokenizer, family: str) -> AnswerTokens:
        """The ids in this vocabulary."""

        def find(name: str) -> int:
            return tokenizer.find(name) if name in MARKERS[family] else -1

        ends = {"gemma3": ("<end_of_turn>",), "gemma4": ("<turn|>", "<|tool_response>")}[family]
        return cls(
            opens_channel=find("<|channel>"),
            closes_channel=find("<channel|>"),
            opens_call=find("<|tool_call>"),
            closes_call=find("<tool_call|>"),
            quote=find('<|"|>'),
            ends=frozenset(map(find, (*ends, "<eos>"))) - {-1},
            hidden=frozenset(map(find, MARKERS[family])) - {-1},
        )


class Delta(NamedTuple):
    """What one or more ids added: text of one kind ("text", "thinking"), or a whole call ("tool_call")."""

    kind: str
    text: str
    tool_call: ToolCall | None = None


def new_call_id() -> str:
    """An id that no other call has."""
    return f"call_{os.urandom(12).hex()}"


_TEXT, _HEADER, _THINKING, _CALL = "text", "header", "thinking", "call"


class AnswerParser:
    """Feed ids, get deltas; `finish` once at the end. Raises ToolCallError at the id that ends a broken call.

    thinking: the prompt ended inside an open thought. call: the prompt ended inside a call, of which this is the start.
    tools: names that a call may have; None allows any.
    """

    def __init__(
        self,
        tokens: AnswerTokens,
        piece: Callable[[int], bytes],
        *,
        thinking: bool = False,
        call: str = "",
        tools: Collection[str] | None = None,
        call_id: Callable[[], str] = new_call_id,
    ) -> None:
        self._tokens, self._piece, self._tools, self._call_id = tokens, piece, tools, call_id
        self._state = _THINKING if thinking else _CALL if call else _TEXT
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._space = ""  # white space of a thought, held back until it is known not to be its end
        self._thought = False  # whether any thought was given out, and whether the present one was
        self._thought_here = False
        self._call: list[str | None] = [call] if call else []
        self.thinking_tokens = 0
        self.ended = False
        self.unread = ""  # the start of a call that a limit cut off

    def feed(self, token: int) -> list[Delta]:
        """What this id adds; nothing after the first end token."""
        if self.ended:
            return []
        if self._state in (_THINKING, _HEADER):
            self.thinking_tokens += 1
        tokens = self._tokens
        if token in tokens.ends:
            self.ended = True
            return self._close()
        if self._state == _CALL and token not in (tokens.closes_call, tokens.opens_call):
            return self._feed_call(token)
        if token == tokens.opens_channel:
            return self._enter(_HEADER)
        if token == tokens.closes_channel:
            return self._enter(_TEXT)
        if token == tokens.opens_call:
            return self._enter(_CALL)
        if token == tokens.closes_call:
            return self._enter(_TEXT) if self._state == _CALL else []
        if token in tokens.hidden:
            return []
        return self._text(self._utf8.decode(self._piece(token)))

    def finish(self, *, complete: bool) -> list[Delta]:
        """What was held back. complete: the model ended by itself, so that an unclosed call counts as closed."""
        if self.ended:
            return []
        self.ended = True
        if self._state == _CALL and not complete:
            self.unread = "".join('<|"|>' if part is None else part for part in self._call)
            self._utf8.reset()
            return []
        return self._close()

    def _enter(self, state: str) -> list[Delta]:
        out = self._close()
        self._state = state
        if state == _HEADER:
            self._thought_here = False
            self.thinking_tokens += 1
        return out

    def _close(self) -> list[Delta]:
        """Ends the present region."""
        rest = self._utf8.decode(b"", True)
        self._utf8.reset()
        if self._state == _CALL:
            self._call.append(rest)
            parts, self._call = self._call, []
            return [self._finished_call(parts)]
        out = self._text(rest)
        self._space = ""
        return out

    def _text(self, text: str) -> list[Delta]:
        if not text:
            return []
        if self._state == _HEADER:
            _, newline, text = text.partition("\n")  # the channel's name; every channel is read as thinking
            if not newline:
                return []
            self._state = _THINKING
        return self._thinking(text) if self._state == _THINKING else [Delta("text", text)]

    def _thinking(self, text: str) -> list[Delta]:
        text = self._space + text
        if not self._thought_here:
            text = text.lstrip()
        kept = text.rstrip()
        self._space = text[len(kept) :]
        if not kept:
            return []
        if self._thought and not self._thought_here:
            kept = "\n\n" + kept  # between two thoughts
        self._thought = self._thought_here = True
        return [Delta("thinking", kept)]

    def _feed_call(self, token: int) -> list[Delta]:
        if token == self._tokens.quote:
            self._call += [self._utf8.decode(b"", True), None]
            self._utf8.reset()
        elif token in self._tokens.hidden:
            name = self._piece_name(token)
            text = "".join('<|"|>' if part is None else part for part in self._call)
            raise ToolCallError(f"the model's tool call cannot be read: {name} stands inside of it, after {text!r}")
        else:
            self._call.append(self._utf8.decode(self._piece(token)))
        return []

    def _piece_name(self, token: int) -> str:
        return repr(self._piece(token).decode("utf-8", "replace") or f"control token {token}")

    def _finished_call(self, parts: list[str | None]) -> Delta:
        name, arguments = parse_call(parts)
        if self._tools is not None and name not in self._tools:
            known = ", ".join(map(repr, self._tools)) or "none"
            raise ToolCallError(f"the model called {name!r}, which is no tool of this conversation; there are: {known}")
        text = json.dumps(arguments, ensure_ascii=False)
        return Delta("tool_call", "", ToolCall(self._call_id(), name, text, arguments))
