"""Reads a tool call, `call:NAME{key:value,...}`, from text in which string quotes are tokens of their own.

Strings between quote tokens are taken as they are, so braces, commas and quotes inside them mean nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import ToolCallError
from .plain import DEEPEST
from .tools import NAME

Symbol = str | None  # one character, or None for a quote token
_WORD_END = frozenset(",]}")
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def parse_call(parts: Sequence[str | None]) -> tuple[str, dict[str, Any]]:
    """Name and arguments of one call; parts are texts and, for each quote token, None.

    >>> parse_call(["call:weather{city:", None, "Oslo", None, ",days:2}"])
    ('weather', {'city': 'Oslo', 'days': 2})
    """
    return _Reader(parts).call()


class _Reader:
    def __init__(self, parts: Sequence[str | None]) -> None:
        self._symbols: list[Symbol] = []
        for part in parts:
            self._symbols += [None] if part is None else part
        self._at = 0
        self._cut = False  # a string ran to the end: what is open around it counts as closed

    def call(self) -> tuple[str, dict[str, Any]]:
        self._space()
        head = self._until(frozenset("{"))
        if not head.startswith("call:"):
            self._fail("it does not begin with 'call:'")
        name = head.removeprefix("call:").strip()
        if not NAME.fullmatch(name):
            self._fail(f"{name!r} is not the name of a tool")
        if self._peek() != "{":
            self._fail("there is no '{' after the name")
        arguments = self._object(0)
        self._space()
        if self._at < len(self._symbols):
            self._fail("there is more after the closing '}'")
        return name, arguments

    def _fail(self, why: str) -> NoReturn:
        text = "".join('<|"|>' if symbol is None else symbol for symbol in self._symbols)
        shown = text if len(text) <= 200 else text[:197] + "..."
        raise ToolCallError(f"the model's tool call cannot be read: {why}, at character {self._at} of {shown!r}")

    def _peek(self) -> Symbol | bool:
        """The next symbol; False at the end."""
        return self._symbols[self._at] if self._at < len(self._symbols) else False

    def _space(self) -> None:
        while isinstance(symbol := self._peek(), str) and symbol.isspace():
            self._at += 1

    def _until(self, ends: frozenset[str]) -> str:
        begin = self._at
        while isinstance(symbol := self._peek(), str) and symbol not in ends:
            self._at += 1
        return "".join(symbol for symbol in self._symbols[begin : self._at] if symbol is not None)

    def _object(self, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        self._at += 1
        self._space()
        while self._peek() != "}" or made:
            key = self._key()
            made[key] = self._value(depth + 1)
            if self._closes("}"):
                return made
        self._at += 1
        return made

    def _list(self, depth: int) -> list[Any]:
        made: list[Any] = []
        self._at += 1
        self._space()
        while self._peek() != "]" or made:
            made.append(self._value(depth + 1))
            if self._closes("]"):
                return made
        self._at += 1
        return made

    def _closes(self, end: str) -> bool:
        """After a value: past the closing bracket, or past a comma and so False."""
        self._space()
        symbol = self._peek()
        if symbol is False and self._cut:
            return True
        if symbol not in (end, ","):
            self._fail(f"',' or {end!r} is missing")
        self._at += 1
        self._space()
        return symbol == end

    def _key(self) -> str:
        symbol = self._peek()
        if symbol is None:
            key = self._quoted()
            self._space()
        elif symbol == '"':
            key = self._json_string()
            self._space()
        else:
            key = self._until(frozenset(":{}[],")).strip()
            if not key:
                self._fail("a key is missing")
        if self._peek() != ":":
            self._fail(f"there is no ':' after the key {key!r}")
        self._at += 1
        return key

    def _value(self, depth: int) -> Any:
        if depth > DEEPEST:
            self._fail(f"it is nested more than {DEEPEST} levels deep")
        self._space()
        symbol = self._peek()
        if symbol is None:
            return self._quoted()
        if symbol == '"':
            return self._json_string()
        if symbol == "{":
            return self._object(depth)
        if symbol == "[":
            return self._list(depth)
        return self._word()

    def _quoted(self) -> str:
        self._at += 1
        text = self._until(frozenset())
        if self._peek() is None:
            self._at += 1
        else:
            self._cut = True
        return text

    def _json_string(self) -> str:
        rest = "".join("\0" if symbol is None else symbol for symbol in self._symbols[self._at :])
        found = _JSON_STRING.match(rest)
        if found is None or None in self._symbols[self._at : self._at + found.end()]:
            self._fail("a string is not closed")
        self._at += found.end()
        try:
            text: str = json.loads(found.group(), strict=False)
        except ValueError:  # an escape that JSON does not have was meant as written
            text = found.group()[1:-1]
        return text.encode("utf-8", "replace").decode("utf-8")

    def _word(self) -> Any:
        word = self._until(_WORD_END).strip()
        if not word:
            self._fail("a value is missing")
        try:
            value = json.loads(word)
        except (ValueError, RecursionError):
            self._fail(f"{word!r} is neither quoted nor a number, true, false or null")
        if isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value)):
            self._fail(f"{word!r} is no value")
        return value
