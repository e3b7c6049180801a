"""Sound that waits to be heard: runs put together without what lay between them, and where each moment came from.

Times on the tape are those of the joined runs; `original` gives the time in the whole sound.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import numpy as np

from ..media.audio import RATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..media.voice import Run


_ROOM = 40 * RATE  # samples: a window, and the run that is read beyond it


class Tape:
    """Reads runs as they are needed, and forgets what was dropped; what is left moves to the front of the memory."""

    def __init__(self, runs: Iterator[Run]) -> None:
        self._runs = runs
        self._held = np.empty(0, np.float32)
        self._first = 0  # sample of the tape that _held begins with
        self.end = 0  # samples of the tape so far
        self.ended = False
        # Pieces of the tape that were one in the whole sound: where they end, and the samples left out before them.
        self._ends: list[int] = []
        self._skipped: list[int] = []

    def reach(self, sample: int) -> bool:
        """Read until the tape has so many samples; False: it ends before."""
        while self.end < sample and not self.ended:
            run = next(self._runs, None)
            if run is None:
                self.ended = True
                break
            skipped = run.at - self.end
            if self._skipped and self._skipped[-1] == skipped:
                self._ends[-1] += len(run.samples)
            else:
                self._skipped.append(skipped)
                self._ends.append(self.end + len(run.samples))
            self._append(run.samples)
        return self.end >= sample

    def _append(self, samples: NDArray[np.float32]) -> None:
        held = self.end - self._first
        if held + len(samples) > len(self._held):
            grown = np.empty(max(_ROOM, 2 * held, held + len(samples)), np.float32)
            grown[:held] = self._held[:held]
            self._held = grown
        self._held[held : held + len(samples)] = samples
        self.end += len(samples)

    def samples(self, first: int, last: int) -> NDArray[np.float32]:
        """Samples [first, last) of the tape, as far as it was read; a view, good until the tape is read on."""
        return self._held[first - self._first : min(last, self.end) - self._first]

    def drop(self, before: int) -> None:
        """Forget samples that nobody will ask for."""
        first = min(max(before, self._first), self.end)
        kept = self.samples(first, self.end)
        self._held[: len(kept)] = kept
        self._first = first
        while len(self._ends) > 1 and self._ends[0] < self._first - RATE:  # times just before may still be asked for
            del self._ends[0], self._skipped[0]

    def original(self, seconds: float, *, is_end: bool = False) -> float:
        """The time in the whole sound of a time of the tape; an end belongs to what it ends."""
        if not self._ends:
            return seconds
        sample = int(seconds * RATE)
        at = (bisect_left if is_end else bisect_right)(self._ends, sample)
        return round(seconds + self._skipped[min(at, len(self._ends) - 1)] / RATE, 3)
