"""What a model hears: sound as soft tokens. Sources are read by `media`, the work is done in C++."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal, overload

    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from ..media.audio import Sound
    from ..speech.options import SpeechArgs
    from ..speech.reading import TranscriptStream
    from ..speech.results import Transcript

MAX_SECONDS = 3 * 3600  # of one prompt: more tokens than any context holds
_TOGETHER = 800  # tokens that go through the tower together where nobody waits for the first


def hear_audio(
    engine: _core.Model, name: str, source: Any, where: str = "audio", *, start: float = 0.0, end: float | None = None
) -> tuple[NDArray[np.float32], list[str]]:
    """Soft tokens (n, D) of one sound, or of what lies between two times in seconds; and notes: what was done to it."""
    from ..media.audio import Sound

    expect_hearing(engine, name, where)
    sound = Sound(source, where=where, start=start, end=end)
    rows = list(_heard(engine, sound, _TOGETHER, MAX_SECONDS))
    return np.concatenate(rows), sound.notes


def audio_size(
    engine: _core.Model, source: Any, where: str = "audio", *, start: float = 0.0, end: float | None = None
) -> int:
    """How many soft tokens `hear_audio` would give."""
    from ..media.audio import Sound

    sound, samples = Sound(source, where=where, start=start, end=end), 0
    for block in sound:
        _check_length(sound, MAX_SECONDS)
        samples += len(block)
    count = int(_core.heard_tokens(engine, samples))
    if count == 0:
        raise _too_short(engine, sound)
    return count


def _check_length(sound: Sound, seconds: float) -> None:
    if sound.seconds > seconds:
        raise MediaError(
            f"{sound.where}: it is longer than {seconds / 3600:g} hours, more than a context holds; cut it, or "
            "take its tokens as they come with listen()"
        )


def _too_short(engine: _core.Model, sound: Sound) -> MediaError:
    return MediaError(
        f"{sound.where}: {sound.seconds * 1000:.1f} ms are too short; at least "
        f"{_core.hearing(engine)['least_samples']} samples at 16 kHz are needed"
    )


def expect_hearing(engine: _core.Model, name: str, where: str) -> None:
    """MediaError for a model that does not hear."""
    if _core.hearing(engine) is None:
        raise MediaError(
            f"{where}: the model {name!r} has no part that hears; load one that has (of a GGUF model that part is a "
            "file of its own beside it, mmproj)"
        )


def _heard(
    engine: _core.Model, sound: Sound, together: int, seconds: float, notes: bool = False
) -> Iterator[NDArray[np.float32]]:
    """Rows as they are made; MediaError for a sound without any, or longer than `seconds`. notes: tell the logger."""
    ear = _core.Ear(engine, together)
    made = 0
    for block in sound:
        _check_length(sound, seconds)
        rows = ear.feed(block)
        made += len(rows)
        if len(rows):
            yield rows
    rows = ear.feed(np.zeros(0, np.float32), True)
    if made + len(rows) == 0:
        raise _too_short(engine, sound)
    if len(rows):
        yield rows
    if notes:
        _tell(sound.notes)


def _tell(notes: list[str]) -> None:
    """What was done to a sound, to the logger "gemlet", where there is no result that could hold it."""
    if notes:
        import logging

        for note in notes:
            logging.getLogger("gemlet").warning("%s", note)


class Hearing:
    """The methods of a model that hear; the model has `_engine` and `name`."""

    if TYPE_CHECKING:

        @property
        def _engine(self) -> _core.Model: ...
        @property
        def name(self) -> str: ...

    @property
    def hears(self) -> bool:
        """Whether sound can be encoded.

        >>> m.hears
        False
        """
        return _core.hearing(self._engine) is not None

    def encode_audio(self, source: Any) -> NDArray[np.float32]:
        """Soft tokens (n, D) float32 of one sound, as the decoder receives them; 25 a second.

        source: a path, bytes, or (samples, rate) with samples (n,) or (n, channels) as floats, int16, int32 or uint8.
        Files, and rates other than 16000, need the extra `media`. A sound is encoded as a whole, not cut at 30 s. What
        was done to it that was not asked for, such as mixing channels, is told to the logger "gemlet".

        >>> m.encode_audio((np.zeros(16000, np.float32), 16000))
        Traceback (most recent call last):
        gemlet.errors.MediaError: audio: the model 'Gemma 3 270m' has no part that hears; ...
        """
        rows, notes = hear_audio(self._engine, self.name, source)
        _tell(notes)
        return rows

    def listen(self, source: Any, *, every: float = 1.0) -> Iterator[NDArray[np.float32]]:
        """Soft tokens of a sound as it comes: arrays (n, D) float32, together the same as `encode_audio` gives.

        source: as for `encode_audio`, or (blocks of samples, rate) with an iterable of arrays. every: seconds of sound
        that are worked on together at least; more take less time each. Memory does not grow with the sound's length.

        >>> list(m.listen(([np.zeros(1600, np.float32)], 16000)))
        Traceback (most recent call last):
        gemlet.errors.MediaError: audio: the model 'Gemma 3 270m' has no part that hears; ...
        """
        from ..media.audio import Sound

        if isinstance(every, bool) or not isinstance(every, (int, float)) or not 0 < every <= 60:
            raise ValueError(f"listen: every must be a number of seconds above 0 and at most 60, not {every!r}")
        expect_hearing(self._engine, self.name, "audio")
        return _heard(self._engine, Sound(source), max(1, round(every * 25)), float("inf"), True)

    if TYPE_CHECKING:

        @overload
        def transcribe(self, src: Any, *, stream: Literal[True], **options: Unpack[SpeechArgs]) -> TranscriptStream: ...
        @overload
        def transcribe(self, src: Any, *, stream: Literal[False], **options: Unpack[SpeechArgs]) -> Transcript: ...
        @overload
        def transcribe(self, src: Any, *, stream: None = ..., **options: Unpack[SpeechArgs]) -> Any: ...

    def transcribe(self, src: Any, *, stream: bool | None = None, **options: Any) -> Transcript | TranscriptStream:
        """What is said in a sound, as `gemlet.transcribe` gives it, by a Gemma that hears.

        The sound is cut into pieces at pauses, and the model is asked about each: segments have the times of their
        pieces. src, stream, language, task, temperature, seed, initial_prompt, vad, start, end, pause, progress: as
        there; the other options are Whisper's alone.

        >>> m.transcribe((np.zeros(16000, np.float32), 16000))
        Traceback (most recent call last):
        gemlet.errors.MediaError: audio: the model 'Gemma 3 270m' has no part that hears; ...
        """
        from ..speech.reading import started

        expect_hearing(self._engine, self.name, "audio")
        return started(self, src, options, stream)
