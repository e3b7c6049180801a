"""The side of `Model` that hears: docstrings and checks of arguments. Encoding is in `senses`, words in `speech`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .opened import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal, overload

    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from ..speech.options import SpeechArgs
    from ..speech.reading import TranscriptStream
    from ..speech.results import Transcript


class Hearing(Opened):
    """The methods of a model that hear."""

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
        from ..senses import hearing

        rows, notes = hearing.hear_audio(self._engine, self.name, source)
        hearing.tell(notes)
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
        from ..senses import hearing

        if isinstance(every, bool) or not isinstance(every, (int, float)) or not 0 < every <= 60:
            raise ValueError(f"listen: every must be a number of seconds above 0 and at most 60, not {every!r}")
        hearing.expect_hearing(self._engine, self.name, "audio")
        return hearing.heard(self._engine, Sound(source), max(1, round(every * 25)), float("inf"), True)

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
        from ..senses import hearing
        from ..speech.reading import started

        hearing.expect_hearing(self._engine, self.name, "audio")
        return started(self, src, options, stream)
