"""argparse with gemlet's manners: one line a mistake, and the nearest name for an option that does not exist."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence


class Parser(ArgumentParser):
    """Raises ValueError where argparse would print and exit, so that --json and the exit code stay in one place."""

    def __init__(self, verb: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=f"gemlet {verb}",
            description=description,
            epilog=epilog,
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise `message`, with where to read on."""
        raise ValueError(f"{self.prog.removeprefix('gemlet ')}: {message}; see {self.prog} --help")

    def parse(self, words: Sequence[str]) -> Namespace:
        """All of `words`, or an error with the nearest option."""
        args, rest = self.parse_known_args(words)
        if rest:
            import difflib

            known = [name for action in self._actions for name in action.option_strings]
            near = difflib.get_close_matches(rest[0].split("=")[0], known, n=1)
            self.error(f"no argument '{rest[0]}'" + (f"; did you mean {near[0]}?" if near else ""))
        return args
