"""One transcription under way: a source, what hears it, and the iterator over what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..media.audio import RATE, Sound
from ..media.voice import detector, everything, spoken
from .conversation import ConversationReading
from .live import Live
from .options import SpeechOptions
from .results import Segment, Transcript
from .tape import Tape
from .windows import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from .windows import Listener

_BEAMS = 5  # of what need not be ready at once


class Reading(Protocol):
    """Segments of a sound, and what became known on the way."""

    @property
    def model(self) -> str:
        """Its name."""
        ...

    @property
    def language(self) -> str | None:
        """As given or detected."""
        ...

    @property
    def language_probability(self) -> float | None:
        """1 if it was given."""
        ...

    @property
    def speech(self) -> float:
        """Seconds that were heard."""
        ...

    @property
    def warnings(self) -> list[str]:
        """What was done that was not asked for."""
        ...

    def segments(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[Segment]:
        """What is said."""
        ...


class WhisperReading:
    """By a Whisper: in windows, or live."""

    def __init__(self, listener: Listener, options: SpeechOptions, *, live: bool) -> None:
        self._walk = Walk(listener, options, beam_size=1 if live else _BEAMS)
        self._options = options
        self._live = Live(self._walk, options) if live else None
        self._tape: Tape | None = None
        self.model = listener.name

    @property
    def language(self) -> str | None:
        """As given or detected."""
        return self._walk.language

    @property
    def language_probability(self) -> float | None:
        """1 if it was given."""
        return self._walk.language_probability

    @property
    def speech(self) -> float:
        """Seconds that were heard."""
        if self._live is not None:
            return self._live.speech
        return self._tape.end / RATE if self._tape is not None else 0.0

    @property
    def warnings(self) -> list[str]:
        """Of the walk."""
        return self._walk.warnings

    def segments(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[Segment]:
        """What is said."""
        if self._live is not None:
            return self._live.segments(blocks)
        runs = spoken(blocks, detector()) if self._options.vad else everything(blocks)
        self._tape = Tape(runs)
        return self._walk.segments(self._tape)


class TranscriptStream:
    """Segments as they are ready; an iterator and a context manager. Of a live source some come before they are final.

    `result` is the `Transcript` of all that is final so far; `close()` ends the work.
    """

    def __init__(self, sound: Sound, reading: Reading, options: SpeechOptions) -> None:
        self._sound, self._reading, self._options = sound, reading, options
        self._final: list[Segment] = []
        self._done = False
        self._segments = reading.segments(_counted(sound, options.progress))

    def __iter__(self) -> TranscriptStream:
        return self

    def __next__(self) -> Segment:
        try:
            segment = next(self._segments)
        except StopIteration:
            self._done = True
            raise
        if segment.final:
            self._final.append(segment)
        return segment

    @property
    def result(self) -> Transcript:
        """All that is final so far."""
        reading, seconds = self._reading, self._sound.seconds
        warnings = [*self._sound.notes, *reading.warnings]
        if self._done and not self._final:
            hint = "; vad=False hears all of it" if self._options.vad and not reading.speech else ""
            warnings.append(f"{self._sound.where}: no speech was found{hint}")
        return Transcript(
            tuple(self._final),
            reading.language,
            seconds,
            speech=min(reading.speech, seconds),
            language_probability=reading.language_probability,
            task=self._options.task,
            model=reading.model,
            warnings=warnings,
        )

    @property
    def text(self) -> str:
        """Of all that is final so far."""
        return self.result.text

    @property
    def language(self) -> str | None:
        """The language, once it is known."""
        return self._reading.language

    @property
    def warnings(self) -> list[str]:
        """What was done so far that was not asked for."""
        return self.result.warnings

    def close(self) -> None:
        """Stop; what was said so far stays in `result`."""
        close = getattr(self._segments, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> TranscriptStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_live(source: Any) -> bool:
    """Whether a source is blocks that come one after the other: an iterable of arrays, alone or with their rate."""
    if isinstance(source, (tuple, list)):
        if len(source) != 2 or isinstance(source[1], (tuple, list)):
            return False
        source = source[0]
        return hasattr(source, "__iter__") and not (hasattr(source, "__array__") or isinstance(source, (tuple, list)))
    return hasattr(source, "__next__") and not hasattr(source, "read")


def started(model: Any, source: Any, given: Mapping[str, Any], stream: bool | None) -> Transcript | TranscriptStream:
    """What a Whisper, or a Gemma that hears, makes of a source: an iterator, or all of it."""
    if stream is not None and not isinstance(stream, bool):
        raise TypeError(f"transcribe: stream must be True, False or None, not {stream!r}")
    options = SpeechOptions.of(given)
    comes = is_live(source)
    live = comes and stream is not False
    if comes and not isinstance(source, (tuple, list)):
        source = (source, RATE)
    sound = Sound(source, start=options.start, end=options.end)
    reading: Reading
    if hasattr(model, "decode_text"):
        reading = WhisperReading(model, options, live=live)
    else:
        reading = ConversationReading(model, options, given, live=live)
    made = TranscriptStream(sound, reading, options)
    if live or stream:
        return made
    for _ in made:
        pass
    return made.result


def _counted(sound: Sound, progress: Callable[[float, float | None], object] | None) -> Iterator[NDArray[np.float32]]:
    told = 0
    for block in sound:
        yield block
        if progress is not None and int(sound.seconds) > told:
            told = int(sound.seconds)
            progress(sound.seconds, sound.length)
    if progress is not None:
        progress(sound.seconds, sound.seconds)
