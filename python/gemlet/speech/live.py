"""Whisper on sound that is just coming: each utterance as soon as it is over, and what is understood of it before.

What is final depends on the sound alone. What is provisional is shown as often as the machine can.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from ..media.audio import RATE
from ..media.voice import FRAME, detector
from .results import Segment
from .stitching import agreed
from .tape import Tape
from .utterances import Utterances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..media.voice import Run
    from .options import SpeechOptions
    from .windows import Walk

_LONGEST = 15.0  # seconds of an utterance without a pause
# A short window takes less time than one of 30 s; Whisper goes in circles where too little of it is left blank.
_SHORTEST, _BLANK = 16.0, 10.0
_TOKENS = 8  # a second; people say four or five
_WAITED = 0.05, 0.002  # of a block's length, and seconds: who waited longer for it has caught up with the source


class Live:
    """Segments of a live sound; of those with `final` False the next one with the same `id` takes the place."""

    def __init__(self, walk: Walk, options: SpeechOptions) -> None:
        self._walk = walk
        self._every = round(options.every * RATE)
        detect = detector() if options.vad else None
        self._utterances = Utterances(detect, pause=options.pause, longest=_LONGEST)
        self._looked = 0  # samples there were when the last provisional text was made
        self._shown = ""
        self._start = -1  # of the utterance that _shown belongs to
        self._waited = False
        self.speech = 0.0

    def segments(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[Segment]:
        """What is said, as it comes."""
        left = np.zeros(0, np.float32)
        began = time.perf_counter()
        for block in blocks:
            caught_up = time.perf_counter() - began > max(_WAITED[0] * len(block) / RATE, _WAITED[1])
            left = np.concatenate([left, block])
            while len(left) >= FRAME:
                frame, left = left[:FRAME], left[FRAME:]
                yield from self._final(self._utterances.feed(frame))
            left = left.copy()  # or it would hold all of the block
            if caught_up:
                yield from self._provisional()
            began = time.perf_counter()
        if len(left):
            yield from self._final(self._utterances.feed(left))
        yield from self._final(self._utterances.finish())

    def _final(self, run: Run | None) -> Iterator[Segment]:
        if run is None:
            return
        self._shown, self._start = "", -1
        self.speech += len(run.samples) / RATE
        yield from self._walk.segments(Tape(iter([run])))

    def _provisional(self) -> Iterator[Segment]:
        """Of what is under way, if there is enough news."""
        made = self._utterances
        if not made.worth_hearing or made.end - self._looked < self._every:
            return
        self._looked = made.end
        run = made.under_way()
        seconds = len(run.samples) / RATE
        encoded = self._walk.encode(run.samples, min(30.0, max(_SHORTEST, seconds + _BLANK)))
        language, _ = self._walk.language_of(encoded)  # not settled: what is final must not depend on it
        most = round(_TOKENS * (seconds + 1))
        heard = self._walk.decoded(encoded, 0.0, beam_size=1, max_tokens=most, language=language)
        if self._walk.is_silence(heard) or self._walk.in_circles(heard):
            return
        text = self._walk.text(heard)
        before = self._shown if self._start == run.at else ""
        self._start = run.at
        less = len(text) < len(before) and agreed(before, text) == text
        if less and not self._waited:  # a reading that only stopped early takes nothing back, unless the next does too
            self._waited = True
            return
        self._shown, self._waited = text, False
        if text.strip() and text != before:
            yield Segment(
                self._walk.count,
                run.at / RATE,
                made.end / RATE,
                text,
                tuple(heard.tokens),
                0.0,
                heard.avg_logprob,
                heard.compression_ratio,
                heard.no_speech_prob,
                final=False,
                agreed=agreed(before, text),
            )
