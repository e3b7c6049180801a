"""A live sound cut into utterances: from the first word to a pause, or to the quietest moment where no pause comes.

Where the cuts are depends on the sound alone, not on when it arrives or how fast it is worked on.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from ..media.audio import RATE
from ..media.voice import FRAME, Limits, Run, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..media.voice import Detector

_PAD = RATE * 3 // 10  # samples kept on both sides of speech
_LONG = 0.5  # of the longest: from there on half a pause ends an utterance
_LEAST = 3  # frames of speech, a tenth of a second; less is a click


class Utterances:
    """Takes frames one after the other; what is finished is given as runs."""

    def __init__(self, detect: Detector | None, *, pause: float, longest: float, limits: Limits = Limits()) -> None:  # noqa: B008
        self._detect = detect
        self._pause = round(pause * RATE)
        self._longest = round(longest * RATE)
        self._limits = limits
        self._frames: deque[NDArray[np.float32]] = deque()
        self._likely: deque[float] = deque()
        self._quiet = 0  # samples since speech ended
        self._spoken = 0  # frames
        self.end = 0  # samples taken so far
        self.active = False

    @property
    def held(self) -> int:
        """Samples of what is under way, and of the moment before."""
        return sum(map(len, self._frames))

    @property
    def worth_hearing(self) -> bool:
        """Whether there was more than a click."""
        return self.active and self._spoken >= _LEAST

    def under_way(self) -> Run:
        """What is not finished."""
        samples = np.concatenate(self._frames) if self._frames else np.zeros(0, np.float32)
        return Run(self.end - len(samples), samples)

    def feed(self, frame: NDArray[np.float32]) -> Run | None:
        """The next frame; the utterance that it finishes, if it does."""
        likely = 1.0 if self._detect is None else self._detect(whole(frame))
        self._frames.append(frame)
        self._likely.append(likely)
        self.end += len(frame)
        if likely >= self._limits.begin:
            self.active = True
            self._spoken += 1
            self._quiet = 0
        elif self.active and (self._quiet or likely < self._limits.end):
            self._quiet += len(frame)
        if not self.active:
            while self.held - len(self._frames[0]) >= _PAD:
                self._forget(1)
            return None
        if self._quiet >= (self._pause if self.held < _LONG * self._longest else self._pause // 2):
            return self._finished(self._trimmed())
        if len(self._frames) * FRAME >= self._longest:
            return self._finished(self._cut())
        return None

    def finish(self) -> Run | None:
        """The last utterance."""
        if not self.worth_hearing:
            return None
        return self._finished(len(self._frames))

    def _trimmed(self) -> int:
        """Frames up to a little behind the last speech."""
        self.active = False
        return max(1, len(self._frames) - max(0, self._quiet - _PAD) // FRAME)

    def _cut(self) -> int:
        """Frames up to the quietest moment of the second half."""
        half = len(self._frames) // 2
        likely = list(self._likely)[half:]
        if self._detect is not None and min(likely) < max(likely):
            return half + len(likely) - int(np.argmin(likely[::-1]))
        power = [float(np.dot(frame, frame)) for frame in self._frames]
        smooth = np.convolve(power, np.ones(5) / 5, "same")[half:-2]
        return half + int(np.argmin(smooth)) + 1

    def _finished(self, count: int) -> Run | None:
        run = Run(self.end - self.held, np.concatenate([self._frames[i] for i in range(count)]))
        worth = self._spoken >= _LEAST
        self._forget(count)
        self._quiet = 0
        self._spoken = sum(likely >= self._limits.begin for likely in self._likely) if self.active else 0
        if not self.active:
            while self._frames and self.held - len(self._frames[0]) >= _PAD:
                self._forget(1)
        return run if worth else None

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._frames.popleft()
            self._likely.popleft()
