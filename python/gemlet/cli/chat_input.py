"""Turns as people type or pipe them: line editing with history, and messages of several lines. Knows no model."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

QUOTES = '"""'
_KEPT_LINES = 1000


def history_file() -> Path:
    """Where typed lines are kept: XDG_STATE_HOME/gemlet/chat_history, else under ~/.local/state."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "gemlet" / "chat_history"


class Input:
    """Reads turns from standard input. On a terminal: prompts, editing, completion of commands, and history."""

    def __init__(self, commands: Sequence[str], prompts: tuple[str, str], *, history: bool) -> None:
        self.is_terminal = sys.stdin.isatty()
        self._prompts = prompts
        self._file: Path | None = None
        if self.is_terminal:
            self._prepare(commands, history)

    def _prepare(self, commands: Sequence[str], history: bool) -> None:
        try:
            import readline
        except ImportError:  # a Python built without it still reads lines
            return

        def complete(text: str, state: int) -> str | None:
            found = [command for command in commands if command.startswith(text)]
            return found[state] if text.startswith("/") and state < len(found) else None

        readline.set_completer(complete)
        readline.set_completer_delims(" \n")
        readline.parse_and_bind("tab: complete")
        readline.set_history_length(_KEPT_LINES)
        if not history:
            return
        self._file = history_file()
        try:
            readline.read_history_file(self._file)
        except OSError:  # none yet, or not ours to read: the chat goes on without
            readline.clear_history()

    def close(self) -> None:
        """Keep what was typed, readable by its owner alone."""
        if self._file is None:
            return
        import readline

        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600))
            readline.write_history_file(self._file)
        except OSError as error:
            print(f"gemlet: the history was not kept in {self._file}: {error.strerror}", file=sys.stderr)

    def turn(self) -> str:
        """The next turn; EOFError at the end, KeyboardInterrupt on Ctrl-C.

        A line that begins with three double quotes goes on to the line that ends with them, and a line that ends with a
        backslash goes on with the next.
        """
        line = self._line(self._prompts[0])
        if line.lstrip().startswith(QUOTES):
            return self._quoted(line.lstrip().removeprefix(QUOTES))
        while line.endswith("\\"):
            line = line[:-1] + "\n" + self._more(lambda: self._line(self._prompts[1]))
        return line

    def _quoted(self, line: str) -> str:
        lines = []
        while not line.rstrip().endswith(QUOTES):
            lines.append(line)
            line = self._more(lambda: self._line(self._prompts[1]), QUOTES)
        return "\n".join([*lines, line.rstrip().removesuffix(QUOTES)]).strip("\n")

    def _more(self, read: Callable[[], str], end: str = "") -> str:
        try:
            return read()
        except EOFError:  # the end of a pipe ends the message as well
            return end

    def _line(self, prompt: str) -> str:
        if self.is_terminal:
            return input(prompt)
        raw = sys.stdin.buffer.readline()
        if not raw:
            raise EOFError
        try:
            return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"chat: standard input is not UTF-8 text: {error.reason} at byte {error.start} of a line"
            ) from None
