"""One sound, whatever it comes as -> float32 at 16 kHz in one channel, block after block. Addresses are never opened.

Files are decoded by soundfile, or by PyAV where that cannot; rates are changed by soxr. Memory does not grow with
length.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MediaError, MissingExtra
from .files import local_path, open_container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RATE = 16000
_BLOCK = 1 << 14  # samples of each channel decoded together; lost together where a file is damaged
_RATES = (1000, 768_000)
_CHANNELS = 256
_COUNTABLE = 1 << 40  # samples; a file that does not say how many it has says more
_MISSING = (0.5, 0.02)  # seconds, and of the whole, that are no estimate's error
_LOUD = 1.001  # floats above it are told: full scale is 1


class Sound:
    """A sound on its way: iterate over it once. `notes` say what was done to it that was not asked for.

    start, end: seconds; only what lies between is given, and nothing behind `end` is read.
    """

    def __init__(self, source: Any, *, where: str = "audio", start: float = 0.0, end: float | None = None) -> None:
        self.where = where
        self._first, self._last = _bounds(start, end, where)
        self.notes: list[str] = []
        self.seconds = 0.0  # heard so far
        self.length: float | None = None  # seconds of the whole, where the source says so
        self._read_so_far = 0.0  # seconds of the source
        self._peak = 0.0
        self._blocks = self._open(source)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Blocks (n,) float32 at 16 kHz."""
        at = 0
        for block in self._blocks:
            wanted = block[max(0, self._first - at) : max(0, self._last - at)]
            at += len(block)
            if len(wanted):
                self.seconds += len(wanted) / RATE
                yield wanted
            if at >= self._last:
                break
        if self._first > 0 and self.seconds == 0:
            raise MediaError(f"{self.where}: start={self._first / RATE:g} s, and it ends after {at / RATE:g} s")
        if self._peak > _LOUD:
            self.notes.append(f"{self.where}: samples reach {self._peak:.3g}, and full scale is 1; was it scaled?")

    def _open(self, source: Any) -> Iterator[NDArray[np.float32]]:
        if isinstance(source, (str, os.PathLike)):
            return self._file(local_path(source, self.where))
        if isinstance(source, (bytes, bytearray, memoryview)):
            if len(source) == 0:
                raise MediaError(f"{self.where}: no bytes")
            return self._file(io.BytesIO(source))
        if isinstance(source, (tuple, list)) and len(source) == 2 and not isinstance(source[1], (tuple, list)):
            samples, rate = source
            rate = self._rate(rate)
            if hasattr(samples, "__array__") or isinstance(samples, (tuple, list)):
                array = np.asarray(samples)
                self.length = max(array.shape[:2], default=0) / rate
                return self._even(self._slices(array), rate)
            if isinstance(samples, Iterable):
                return self._even((self._scaled(np.asarray(block)) for block in samples), rate)
        raise MediaError(
            f"{self.where}: expected a path, bytes, (samples, rate) or (blocks of samples, rate), got "
            f"{type(source).__name__}"
        )

    def _rate(self, rate: Any) -> float:
        if isinstance(rate, bool) or not isinstance(rate, (int, float, np.integer, np.floating)):
            raise MediaError(f"{self.where}: expected (samples, rate) with a number of samples a second, got {rate!r}")
        if not _RATES[0] <= rate <= _RATES[1]:
            raise MediaError(f"{self.where}: a rate of {rate} samples a second; expected {_RATES[0]} to {_RATES[1]}")
        return float(rate)

    # --- arrays ---

    def _slices(self, samples: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Blocks (n, channels) of an array, so that only one at a time is converted."""
        if samples.ndim == 2 and samples.shape[0] <= 32 < samples.shape[1]:
            samples = samples.T  # (channels, n), as torch has it
        if samples.ndim not in (1, 2) or samples.size == 0:
            raise MediaError(f"{self.where}: expected samples (n,) or (n, channels), got shape {samples.shape}")
        for first in range(0, len(samples), _BLOCK):
            yield self._scaled(samples[first : first + _BLOCK])

    def _scaled(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """(n, channels) float32 with full scale 1."""
        if samples.ndim == 1:
            samples = samples[:, None]
        if samples.ndim != 2 or not 1 <= samples.shape[1] <= _CHANNELS:
            raise MediaError(f"{self.where}: expected samples (n,) or (n, channels), got shape {samples.shape}")
        if samples.dtype.kind == "f":
            return samples.astype(np.float32)
        if samples.dtype == np.uint8:
            return ((samples.astype(np.float32) - 128) / 128).astype(np.float32)
        if samples.dtype in (np.int16, np.int32):
            return (samples / (np.iinfo(samples.dtype).max + 1.0)).astype(np.float32)
        raise MediaError(f"{self.where}: expected samples as floats, int16, int32 or uint8, got {samples.dtype}")

    # --- files ---

    def _file(self, file: Any) -> Iterator[NDArray[np.float32]]:
        try:
            import soundfile
        except (ImportError, OSError):  # without its library it does not import
            soundfile = None
        if soundfile is not None:
            try:
                opened = soundfile.SoundFile(file)
            except (soundfile.LibsndfileError, ValueError, TypeError):
                if hasattr(file, "seek"):
                    file.seek(0)
            else:
                rate = self._rate(opened.samplerate)
                self.length = opened.frames / rate if 0 < opened.frames < _COUNTABLE else None
                return self._even(self._read(soundfile, opened), rate)
        return self._packets(file, soundfile is None)

    def _read(self, soundfile: Any, opened: Any) -> Iterator[NDArray[np.float32]]:
        with opened:
            if "should be" in opened.extra_info and opened.format == "WAV":
                self.notes.append(f"{self.where}: the file is cut off; what there is of it was taken")
            # Else it seeks behind each block to where it is, in an MP3 not quite there: the sound would tear.
            opened.seekable = lambda: False
            while True:
                try:
                    block = opened.read(_BLOCK, dtype="float32", always_2d=True)
                except soundfile.LibsndfileError as error:
                    self._broken(error)
                    return
                if len(block) == 0:
                    break
                yield block
            self._check_end()

    def _packets(self, file: Any, alone: bool) -> Iterator[NDArray[np.float32]]:
        try:
            import av
        except ImportError:
            needs = "soundfile or PyAV" if alone else "PyAV"
            raise MissingExtra(f"sound in files of this kind needs {needs}: pip install 'gemlet[media]'") from None
        what = "sound that can be read (wav, flac, mp3, ogg, opus, m4a and others can)"
        container = open_container(av, file, self.where, what)
        if not container.streams.audio:
            container.close()
            raise MediaError(f"{self.where}: the file has no sound")
        rate = self._rate(container.streams.audio[0].rate or 0)
        self.length = container.duration / av.time_base if container.duration else None
        return self._even(self._decoded(av, container, rate), rate)

    def _decoded(self, av: Any, container: Any, rate: float) -> Iterator[NDArray[np.float32]]:
        with container:
            try:
                resampler: Any = None
                for frame in container.decode(audio=0):
                    if resampler is None:  # to planes of floats; its rate stays
                        resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=int(rate))
                    for part in resampler.resample(frame):
                        yield np.ascontiguousarray(part.to_ndarray().T, np.float32)
                for part in resampler.resample(None) if resampler is not None else ():
                    yield np.ascontiguousarray(part.to_ndarray().T, np.float32)
                self._check_end()
            except (av.error.FFmpegError, OSError, ValueError) as error:
                self._broken(error)

    def _check_end(self) -> None:
        """A note where the source says that it is longer than it was; lengths of compressed sound are estimates."""
        missing = (self.length or 0.0) - self._read_so_far
        cut = f"{self.where}: the file is cut off; what there is of it was taken"
        if missing > max(_MISSING[0], _MISSING[1] * (self.length or 0.0)) and cut not in self.notes:
            self.notes.append(cut)

    def _broken(self, error: Exception) -> None:
        """A file that cannot be read on: an error if nothing was read, else a note, for what there is was taken."""
        if self._read_so_far == 0:
            raise MediaError(f"{self.where}: the file is damaged: {error}") from None
        at = self._read_so_far
        self.notes.append(f"{self.where}: the file is damaged behind {at:.1f} s; what there is before was taken")

    # --- to one channel and one rate ---

    def _even(self, blocks: Iterator[NDArray[np.float32]], rate: float) -> Iterator[NDArray[np.float32]]:
        stream = None
        if rate != RATE:
            try:
                import soxr
            except ImportError:
                raise MissingExtra(
                    f"{self.where}: sound at {rate:g} samples a second needs soxr: pip install 'gemlet[media]'"
                ) from None
            stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        return self._mixed(blocks, stream, rate)

    def _mixed(self, blocks: Iterator[NDArray[np.float32]], stream: Any, rate: float) -> Iterator[NDArray[np.float32]]:
        channels = 0
        at = 0
        for block in blocks:
            if channels == 0 and block.shape[1] > 1:
                self.notes.append(f"{self.where}: {block.shape[1]} channels were mixed to one")
            channels = channels or block.shape[1]
            if block.shape[1] != channels:
                raise MediaError(
                    f"{self.where}: blocks of {channels} and of {block.shape[1]} channels; expected one kind"
                )
            bad = ~np.isfinite(block).all(axis=1)
            if bad.any():
                raise MediaError(f"{self.where}: sample {at + int(np.argmax(bad))} is no finite number")
            at += len(block)
            self._read_so_far = at / rate
            if len(block):
                self._peak = max(self._peak, float(np.abs(block).max()))
            mono = block[:, 0] if channels == 1 else block.mean(axis=1, dtype=np.float64)
            mono = np.ascontiguousarray(mono, np.float32)
            yield mono if stream is None else stream.resample_chunk(mono)
        if at == 0:
            raise MediaError(f"{self.where}: it has no samples")
        if stream is not None:
            yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _bounds(start: Any, end: Any, where: str) -> tuple[int, int]:
    """Samples [first, last) of seconds."""
    for name, value in (("start", start), ("end", end)):
        number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not (number and 0 <= value < float("inf")) and not (name == "end" and value is None):
            raise MediaError(f"{where}: {name} must be a number of seconds, not {value!r}")
    first, last = round(start * RATE), sys.maxsize if end is None else round(end * RATE)
    if first >= last:
        raise MediaError(f"{where}: start={start:g} s does not lie before end={end:g} s")
    return first, last


def load_audio(source: Any, *, where: str = "audio") -> NDArray[np.float32]:
    """A whole sound (n,) float32 at 16 kHz in one channel.

    source: a path, bytes, (samples, rate) with samples (n,) or (n, channels), or (blocks of samples, rate).

    >>> import numpy as np
    >>> load_audio((np.zeros((8000, 2), np.int16), 16000)).shape
    (8000,)
    """
    return np.concatenate(list(Sound(source, where=where)))
