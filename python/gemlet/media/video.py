"""Frames of a film, one at a time: which ones, when, and their pixels. Decoded by PyAV, in constant memory."""

from __future__ import annotations

import io
import math
import mmap
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import MediaError, MissingExtra
from .files import local_path, open_container
from .images import check_size, load_image, pixel_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from numpy.typing import NDArray

FRAMES = 32  # as many as the reference takes
_MOST = 100_000
_FPS = 24.0  # where a film does not say
_SEEK_SECONDS = 4.0  # a gap that is worth a jump to the next key frame
_CANDIDATES = 16  # frames looked at for each one taken, where change decides
_THUMB = (32, 18)


class Frame(NamedTuple):
    """Seconds from the start, the same as mm:ss, and pixels (H, W, 3) uint8."""

    seconds: float
    stamp: str
    pixels: NDArray[np.uint8]


def stamp(seconds: float) -> str:
    """Minutes and seconds, both rounded down.

    >>> stamp(61.9), stamp(6000)
    ('01:01', '100:00')
    """
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"


def _av() -> ModuleType:
    try:
        import av
    except ImportError:
        raise MissingExtra("films need PyAV: pip install 'gemlet[media]'") from None
    module: ModuleType = av
    return module


def sample(
    source: Any,
    *,
    fps: float | None = None,
    frames: int | None = None,
    scenes: bool = False,
    where: str = "video",
) -> Iterator[Frame]:
    """Frames of a film in order, decoded as they are asked for.

    source: a path, bytes, a uint8 array (T, H, W, 3), or an iterable of pictures.
    frames: so many, evenly spread, frame k being number floor(k * total / frames); 32 if `fps` is not given either. A
    film with fewer gives all. fps: so many a second instead, at most `frames` of them if that is given too.
    scenes: the same number, but spread evenly over what changes in the picture instead of over time.
    """
    if fps is not None and not (isinstance(fps, (int, float)) and 0 < fps <= 1000):
        raise ValueError(f"{where}: fps must be a number above 0 and at most 1000, not {fps!r}")
    if frames is not None and (isinstance(frames, bool) or not isinstance(frames, int) or not 1 <= frames <= _MOST):
        raise ValueError(f"{where}: frames must be a number from 1 to {_MOST}, not {frames!r}")
    if isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
        return _of_file(source, fps, frames, scenes, where)
    if isinstance(source, Iterable):
        if scenes:
            raise ValueError(f"{where}: scenes=True needs a film, not pictures; choose them before")
        return _of_pictures(source, frames, where)
    raise MediaError(f"{where}: expected a path, bytes or pictures, got {type(source).__name__}")


def _of_pictures(source: Any, frames: int | None, where: str) -> Iterator[Frame]:
    """Pictures are frames already: at 24 a second, and all of them unless a number is given."""
    if frames is not None and hasattr(source, "__len__"):
        total = len(source)
        chosen = [k * total // frames for k in range(frames)] if frames < total else list(range(total))
        pairs: Iterable[tuple[int, Any]] = ((i, source[i]) for i in chosen)
    else:
        pairs = enumerate(source)
    empty = True
    for i, picture in pairs:
        if frames is not None and i >= frames and not hasattr(source, "__len__"):
            break
        empty = False
        yield Frame(i / _FPS, stamp(i / _FPS), load_image(picture, where=f"{where}[{i}]").pixels)
    if empty:
        raise MediaError(f"{where}: no frames")


class _Film:
    """An open film: its length, and the frames at given times."""

    def __init__(self, source: Any, where: str) -> None:
        self._av = _av()
        self.where = where
        file = io.BytesIO(source) if isinstance(source, (bytes, bytearray, memoryview)) else local_path(source, where)
        self._container = open_container(self._av, file, where, "film that can be read")
        if not self._container.streams.video:
            self._container.close()
            raise MediaError(f"{where}: it has no pictures; pass it as audio")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        check_size(self._stream.width, self._stream.height, where, pixel_limit())
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = float(rate) if rate else _FPS
        start = self._stream.start_time
        self._start = float(start * self._stream.time_base) if start is not None else 0.0
        self.total = self._count()

    def __enter__(self) -> _Film:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def _count(self) -> int:
        """How many frames there are, as the file says; if it does not, from how long it is, or by counting packets."""
        if self._stream.frames > 0:
            return int(self._stream.frames)
        seconds = None
        if self._stream.duration is not None:
            seconds = float(self._stream.duration * self._stream.time_base)
        elif self._container.duration is not None:
            seconds = self._container.duration / self._av.time_base
        if seconds is not None and seconds > 0:
            return max(1, round(seconds * self.rate))
        try:
            count = sum(1 for packet in self._container.demux(self._stream) if packet.size > 0)
            self._container.seek(0)
        except self._av.error.FFmpegError as error:
            raise MediaError(f"{self.where}: the film is damaged: {error}") from None
        return max(1, count)

    def at(self, times: Sequence[float]) -> Iterator[tuple[float, Any]]:
        """(wanted time, decoded frame) for ascending times; fewer where the film ends early."""
        early = 0.5 / self.rate
        wanted, i = list(times), 0
        decoded = self._container.decode(self._stream)
        last = -math.inf
        try:
            while i < len(wanted):
                if wanted[i] - last > _SEEK_SECONDS and wanted[i] > _SEEK_SECONDS:
                    place = int((wanted[i] - early + self._start) / self._stream.time_base)
                    self._container.seek(max(0, place), stream=self._stream, backward=True)
                    decoded = self._container.decode(self._stream)
                    last = wanted[i]
                frame = next(decoded, None)
                if frame is None:
                    return
                now = last + 1 / self.rate if frame.time is None else frame.time - self._start
                last = max(last, now)
                while i < len(wanted) and now >= wanted[i] - early:
                    yield wanted[i], frame
                    i += 1
        except self._av.error.FFmpegError as error:
            if isinstance(error, self._av.error.EOFError):
                return
            raise MediaError(f"{self.where}: the film is damaged near {stamp(max(0.0, last))}: {error}") from None

    def pixels(self, frame: Any) -> NDArray[np.uint8]:
        check_size(frame.width, frame.height, self.where, pixel_limit())  # it may change on the way
        pixels = frame.to_ndarray(format="rgb24")
        turns = round(getattr(frame, "rotation", 0) / 90) % 4  # films from telephones say which way is up
        return _apart(np.rot90(pixels, turns) if turns else pixels)

    def thumb(self, frame: Any) -> NDArray[np.float32]:
        grey = frame.reformat(width=_THUMB[0], height=_THUMB[1], format="gray8")
        return np.asarray(grey.to_ndarray(), np.float32)


def _apart(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy in pages of its own. The decoder's aligned block goes back to the heap before anything is put behind it.

    If it stayed until the next frames are there, what is kept of a frame would come to lie between such blocks, and a
    freed one has no room for the next with its alignment: the heap would grow by a frame every frame or two.
    """
    own = mmap.mmap(-1, pixels.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    copy: NDArray[np.uint8] = np.ndarray(pixels.shape, np.uint8, buffer=own)
    copy[...] = pixels
    return copy


def _times(film: _Film, fps: float | None, frames: int | None) -> list[float]:
    if fps is not None:
        count = max(1, math.ceil(film.total / film.rate * fps - 1e-9))
        count = count if frames is None else min(count, frames)
        if count > _MOST:
            raise MediaError(
                f"{film.where}: {count} frames at fps={fps:g}, and {_MOST} are the most; lower it, or say frames="
            )
        times = [k / fps for k in range(count)]
    else:
        count = FRAMES if frames is None else frames
        times = [k * film.total // count / film.rate for k in range(count)]
    return sorted(set(times))


def _by_change(film: _Film, count: int) -> list[float]:
    """Times such that between two neighbours about as much changes as between any others."""
    looked = min(film.total, count * _CANDIDATES)
    times: list[float] = []
    changes: list[float] = []
    before: NDArray[np.float32] | None = None
    for seconds, frame in film.at([k * film.total // looked / film.rate for k in range(looked)]):
        thumb = film.thumb(frame)
        changes.append(0.0 if before is None else float(np.abs(thumb - before).mean()))
        times.append(seconds)
        before = thumb
    if not times:
        return []
    # A share for time itself: a still film is sampled evenly, and the start is always seen.
    share = np.array(changes) + (0.05 * sum(changes) / len(changes) + 1e-6)
    before_each = np.concatenate([[0.0], np.cumsum(share[1:])])
    wanted = (np.arange(count) + 0.5) / count * float(before_each[-1] + share[0])
    return sorted({times[min(int(i), len(times) - 1)] for i in np.searchsorted(before_each, wanted)})


def count(source: Any, *, fps: float | None = None, frames: int | None = None, scenes: bool = False) -> int | None:
    """How many frames `sample` would give at most; None where only reading them tells. Nothing is decoded.

    >>> count(np.zeros((40, 9, 9, 3), np.uint8), frames=12)
    12
    """
    if isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
        with _Film(source, "video") as film:
            return len(_times(film, fps, frames))
    if not hasattr(source, "__len__"):
        return frames
    return len(source) if frames is None else min(frames, len(source))


def _of_file(source: Any, fps: float | None, frames: int | None, scenes: bool, where: str) -> Iterator[Frame]:
    with _Film(source, where) as film:
        times = _times(film, fps, frames)
    if scenes:
        with _Film(source, where) as film:
            times = _by_change(film, len(times))
    empty = True
    with _Film(source, where) as film:
        for seconds, frame in film.at(times):
            empty = False
            yield Frame(seconds, stamp(seconds), film.pixels(frame))
    if empty:
        raise MediaError(f"{where}: not one frame could be decoded; the film is damaged or cut off")
