"""Soft tokens: what a tower makes of an image, a sound or a video, and the cache that makes each of them once.

Knows no tower and decodes no file; a model's towers are behind the protocol `Towers`.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from . import _core
from .errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# What stands around the soft tokens of each kind, and what stands for one of them: begin, placeholder, end.
MARKS = {
    "image": ("<|image>", "<|image|>", "<image|>"),
    "video": ("<|image>", "<|video|>", "<image|>"),  # of each frame
    "audio": ("<|audio>", "<|audio|>", "<audio|>"),
}
NAMES = {"image": "images", "video": "videos", "audio": "sound"}
CACHE_BYTES = 1 << 28
_TOGETHER = 128  # frames whose rows share a piece of a pile; pages that are not written to take no memory
_FPS = 24  # where nobody knows better


class Frame(NamedTuple):
    """One run of soft tokens: rows (n, D) float32, their hash, and the text in front of it, a frame's time."""

    rows: NDArray[np.float32]
    digest: bytes
    text: str = ""


class Sized(NamedTuple):
    """How much room a part takes: frames as those of `SoftTokens`, whose rows nobody has made."""

    kind: str
    frames: tuple[Frame, ...]
    notes: tuple[str, ...] = ()


def sized(kind: str, counts: Sequence[int], times: Sequence[float] = ()) -> Sized:
    """Of so many soft tokens each, at so many seconds for a video."""
    rows = np.broadcast_to(np.float32(0), (1 << 24, 1))  # of one value in memory
    texts = _stamps(times) if kind == "video" else [""]
    return Sized(kind, tuple(Frame(rows[:n], b"", text) for n, text in zip(counts, texts, strict=True)))


def _stamps(times: Sequence[float]) -> list[str]:
    return [f"{' ' if i else ''}{stamp(second)} " for i, second in enumerate(times)]


class SoftTokens:
    """The soft tokens of one image, sound or video, to use in place of it; nothing is encoded again.

    rows: (n, D) as `Model.encode_image` and `encode_audio` give them; for a video one such array a frame.
    kind: "image", "audio" or "video". times: seconds of a video's frames, in order; without them, 24 frames a second.
    grid: (rows, columns) in which an image's tokens lie; only `Model.explain_image` asks for it.

    >>> import numpy as np
    >>> SoftTokens(np.zeros((2, 640)))
    <gemlet.SoftTokens, image, 2 tokens>
    """

    def __init__(
        self,
        rows: Any,
        kind: str = "image",
        *,
        times: Sequence[float] | None = None,
        grid: tuple[int, int] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if kind not in MARKS:
            raise ValueError(f"SoftTokens: kind must be one of {', '.join(map(repr, MARKS))}, not {kind!r}")
        if times is not None and kind != "video":
            raise ValueError(f"SoftTokens: times= is for a video's frames, not for kind {kind!r}")
        runs = list(rows) if kind == "video" and not (isinstance(rows, np.ndarray) and rows.ndim == 2) else [rows]
        if not runs:
            raise ValueError("SoftTokens: no frames; a video has at least one")
        at = [i / _FPS for i in range(len(runs))] if times is None else [float(second) for second in times]
        if len(at) != len(runs):
            raise ValueError(f"SoftTokens: {len(runs)} frames, but {len(at)} times")
        made = [_checked(run) for run in runs]
        if len({run.shape[1] for run in made}) != 1:
            raise ValueError("SoftTokens: the frames' rows differ in width")
        stamps = _stamps(at) if kind == "video" else [""]
        if grid is not None and (kind != "image" or grid[0] * grid[1] != len(made[0])):
            raise ValueError(f"SoftTokens: {len(made[0])} tokens of kind {kind!r} do not lie in a grid of {grid}")
        self.kind = kind
        self.grid = grid
        self.frames = tuple(Frame(run, _digest(run), text) for run, text in zip(made, stamps, strict=True))
        self.times = tuple(at) if kind == "video" else ()
        self.notes = tuple(notes)

    @property
    def rows(self) -> NDArray[np.float32]:
        """All rows (n, D) float32, frame after frame."""
        return self.frames[0].rows if len(self.frames) == 1 else np.concatenate([frame.rows for frame in self.frames])

    @property
    def width(self) -> int:
        """D."""
        return int(self.frames[0].rows.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        return sum(frame.rows.nbytes for frame in self.frames)

    def __len__(self) -> int:
        return sum(len(frame.rows) for frame in self.frames)

    def quiet(self) -> SoftTokens:
        """The same without notes: they were told."""
        made = object.__new__(SoftTokens)
        made.__dict__.update(self.__dict__, notes=())
        return made

    def __repr__(self) -> str:
        frames = f"{len(self.frames)} frames, " if self.kind == "video" else ""
        return f"<gemlet.SoftTokens, {self.kind}, {frames}{len(self)} tokens>"


def stamp(seconds: float) -> str:
    """Minutes and seconds, as frames are told apart by.

    >>> stamp(61.9), stamp(6000)
    ('01:01', '100:00')
    """
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"


def _checked(rows: Any) -> NDArray[np.float32]:
    array = rows if isinstance(rows, np.ndarray) else np.array(rows, dtype=np.float32)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"SoftTokens: expected rows (n, D), got shape {array.shape}")
    array = kept(array)
    if not np.isfinite(array).all():
        raise ValueError("SoftTokens: a row has a value that is no finite number")
    return array


def kept(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows (n, D) that nobody can change, in pages of their own; those that are such rows already, themselves.

    They stay while frames and pictures come and go. Among those on the heap each would spoil the room of a whole frame.
    """
    if _core.is_kept(rows):
        return rows
    own = _core.kept_rows(*rows.shape)
    own[...] = rows
    own.flags.writeable = False
    return own


class Pile:
    """Kept rows of frames, one run after the other, in few large pieces: of a single frame nothing is on the heap."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.float32]] = []
        self._places: list[tuple[int, int, int]] = []  # piece, begin, end
        self._used = 0

    def add(self, rows: NDArray[np.float32]) -> None:
        """A copy of one frame's rows (n, D)."""
        if not self._pieces or self._used + len(rows) > len(self._pieces[-1]):
            self._pieces.append(_core.kept_rows(_TOGETHER * len(rows), rows.shape[1]))
            self._used = 0
        end = self._used + len(rows)
        self._pieces[-1][self._used : end] = rows
        self._places.append((len(self._pieces) - 1, self._used, end))
        self._used = end

    def runs(self) -> list[NDArray[np.float32]]:
        """What was added, which nobody can change any more."""
        for piece in self._pieces:
            piece.flags.writeable = False
        return [self._pieces[i][begin:end] for i, begin, end in self._places]


def _digest(rows: NDArray[np.float32]) -> bytes:
    return hashlib.blake2b(rows.data.cast("B"), digest_size=16).digest()


class Towers(Protocol):
    """What a model sees and hears with. A method that is missing: it cannot; `MediaError`: not this source."""

    def encode_image(self, source: Any, *, image_tokens: int | str) -> SoftTokens:
        """Of one picture."""

    def encode_video(self, source: Any, *, image_tokens: int | str, **options: Any) -> SoftTokens:
        """Of frames of a film, with their times."""

    def encode_audio(self, source: Any, **options: Any) -> SoftTokens:
        """Of one sound."""

    # And `size_image`, `size_video` and `size_audio`, with the same arguments: `Sized`, without encoding. One that is
    # missing: its part is encoded to know its size.


def _bare(text: str, openings: Sequence[str]) -> str:
    """A message without the name of what it is about, which the caller knows better."""
    for opening in openings:
        text = text.removeprefix(f"{opening}: ")
    return text


class SoftCache:
    """Soft tokens by what they were made of; the least recently used go first. May be used from several threads."""

    def __init__(self, budget: int = CACHE_BYTES) -> None:
        self._budget = budget
        self._kept: OrderedDict[bytes, SoftTokens] = OrderedDict()
        self._lock = threading.RLock()
        self.nbytes = 0

    def get(self, key: bytes | None, make: Callable[[], SoftTokens]) -> SoftTokens:
        """What is kept under `key`, or what `make` makes, which is kept unless it is more than the whole budget."""
        if key is None:
            return make()
        with self._lock:  # while it is made, too: another thread may be about to ask for the same
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            made = make()
            if made.nbytes <= self._budget:
                self._kept[key] = made
                self.nbytes += made.nbytes
            while self.nbytes > self._budget:
                _, old = self._kept.popitem(last=False)
                self.nbytes -= old.nbytes
            return made

    def find(self, key: bytes | None) -> SoftTokens | None:
        """What is kept under `key`."""
        with self._lock:
            return None if key is None else self._kept.get(key)

    def clear(self) -> None:
        """Give all back."""
        with self._lock:
            self._kept.clear()
            self.nbytes = 0


class Senses:
    """How one model gets the soft tokens of parts of a prompt."""

    def __init__(self, name: str, width: int, towers: object, cache: SoftCache | None = None) -> None:
        self.name, self.width = name, width
        self.towers = towers
        self.cache = SoftCache() if cache is None else cache

    def sizes(self, part: Any, where: str) -> SoftTokens | Sized:
        """How much room a part takes. Nothing is encoded, unless the towers can tell no sizes."""
        measure = getattr(self.towers, f"size_{part.kind}", None)
        if measure is None or isinstance(part.source, SoftTokens):
            return self.tokens(part, where)
        try:
            return self.cache.find(part.key()) or measure(part.source, **part.options)
        except MediaError as error:
            raise MediaError(f"{where}: {_bare(str(error), (where, part.kind))}") from None

    def tokens(self, part: Any, where: str) -> SoftTokens:
        """Of an `Image`, `Audio` or `Video`; `where` opens every message of an error."""
        source = part.source
        if isinstance(source, SoftTokens):
            if source.kind != part.kind:
                raise MediaError(f"{where}: soft tokens of kind {source.kind!r} where {part.kind!r} is expected")
            return self._fitting(source, where)
        encode = getattr(self.towers, f"encode_{part.kind}", None)
        if encode is None:
            raise MediaError(
                f"{where}: the model {self.name!r} has no part for {NAMES[part.kind]}; load one that has (of a GGUF "
                "model the part lies in a file of its own, mmproj, beside it), or leave it out"
            )
        try:
            return self.cache.get(part.key(), lambda: self._fitting(encode(source, **part.options), where))
        except MediaError as error:
            raise MediaError(f"{where}: {_bare(str(error), (where, part.kind))}") from None

    def _fitting(self, made: SoftTokens, where: str) -> SoftTokens:
        if made.width != self.width:
            raise MediaError(
                f"{where}: soft tokens of width {made.width}, and {self.name!r} has width {self.width}; "
                "they were made by another model"
            )
        return made
