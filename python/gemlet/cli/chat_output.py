"""An answer of `gemlet chat` as it comes: text and thoughts on the terminal, and Ctrl-C, which ends it."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..chat.stream import ChatStream

_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))


class Show:
    """Text as it comes, on standard output; thoughts dimmed there on a terminal, else on standard error."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._kind = ""
        self._terminal = sys.stdout.isatty()

    def add(self, kind: str, text: str) -> None:
        if self._json or not text:
            return
        out = sys.stdout if kind == "text" or self._terminal else sys.stderr
        if self._kind == "thinking" and kind == "text":
            out.write("\n\n" if self._terminal else "")
        self._kind = kind
        if self._terminal:  # whatever a model writes, it must not steer the terminal
            text = text.translate(_CONTROLS)
        out.write(output.colour(text, "2") if kind == "thinking" and self._terminal else text)
        out.flush()

    def end(self) -> None:
        if self._json:
            return
        if self._kind == "thinking" and not self._terminal:
            sys.stderr.write("\n")
        sys.stdout.write("\n")
        sys.stdout.flush()


@contextmanager
def stopping(stream: ChatStream) -> Iterator[None]:
    """Ctrl-C ends the answer and keeps what there is; a second one is an interrupt as everywhere else."""
    pressed = False

    def stop(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        stream.cancel()

    if not sys.stdin.isatty():  # in a pipe, Ctrl-C is meant for the whole program
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
