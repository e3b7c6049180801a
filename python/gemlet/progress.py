"""A line on a terminal that counts bytes, for work long enough to make people wonder. Knows nothing else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def line(what: str) -> Callable[[int, int], object]:
    """A function of (done, total) bytes that rewrites one line on standard error; of no effect if that is no terminal.

    >>> line("copying")(1, 2)
    """
    if not sys.stderr.isatty():
        return lambda done, total: None

    def show(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        sys.stderr.write(f"\rgemlet: {what}: {done / 1e6:.0f} of {total / 1e6:.0f} MB{end}")
        sys.stderr.flush()

    return show
