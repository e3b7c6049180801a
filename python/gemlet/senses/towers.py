"""A model's own towers behind the protocol of `soft`: what `vision` and `hearing` make of sources, with their notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _core
from ..errors import MediaError
from ..soft import Pile, Sized, SoftTokens, sized, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..media.video import Frame


class Eyes:
    """Of a model that sees."""

    def __init__(self, engine: _core.Model, name: str) -> None:
        self._engine, self._name = engine, name

    def encode_image(self, source: Any, *, image_tokens: int | str) -> SoftTokens:
        """Soft tokens of one picture."""
        from .vision import see_image

        seen = see_image(self._engine, self._name, source, image_tokens)
        return SoftTokens(_final(seen.tokens), grid=seen.grid, notes=_bare(seen.notes, "image"))

    def size_image(self, source: Any, *, image_tokens: int | str) -> Sized:
        """How many that would be."""
        from .vision import image_grid

        rows, columns = image_grid(self._engine, source, image_tokens)
        return sized("image", [rows * columns])

    def encode_video(self, source: Any, *, image_tokens: int | str, **options: Any) -> SoftTokens:
        """Soft tokens of a film's frames, with their times."""
        from .vision import see_frames

        frames = self._fitting(source, image_tokens, options)
        pile, times = Pile(), []
        for frame in see_frames(self._engine, self._name, frames, image_tokens):
            pile.add(frame.tokens)
            times.append(frame.seconds)
        runs = pile.runs()
        note = (
            f"{len(runs)} frames from {stamp(times[0])} to {stamp(times[-1])}, {sum(map(len, runs))} tokens, at most "
            f"{image_tokens} each"
        )
        return SoftTokens(runs, "video", times=times, notes=[note])

    def size_video(self, source: Any, *, image_tokens: int | str, **options: Any) -> Sized:
        """How many that would be; the film is decoded, which tells how many frames it really has."""
        from ..media.video import sample
        from .vision import image_grid

        counts, times = [], []
        for frame in sample(source, **options):
            rows, columns = image_grid(self._engine, frame.pixels, image_tokens, "video")
            counts.append(rows * columns)
            times.append(frame.seconds)
        return sized("video", counts, times)

    def _fitting(self, source: Any, image_tokens: int | str, options: dict[str, Any]) -> Iterator[Frame]:
        """Frames of a film; MediaError once it is clear that no prompt could hold them, before any is encoded."""
        from ..media.video import count, sample
        from .vision import expect_sight, image_grid

        expect_sight(self._engine, self._name, "video")
        context, expected, tokens = int(self._engine.info()["context"]), count(source, **options) or 1, 0
        for i, frame in enumerate(sample(source, **options)):
            rows, columns = image_grid(self._engine, frame.pixels, image_tokens, "video")
            tokens += rows * columns
            if max(tokens, rows * columns * expected) > context:
                raise MediaError(
                    f"video: {max(expected, i + 1)} frames of {rows * columns} tokens, and the context has {context}; "
                    "take fewer (frames=, fps=), or go through them with encode_video()"
                )
            yield frame


class Ears:
    """Of a model that hears."""

    def __init__(self, engine: _core.Model, name: str) -> None:
        self._engine, self._name = engine, name

    def encode_audio(self, source: Any, *, start: float = 0.0, end: float | None = None) -> SoftTokens:
        """Soft tokens of one sound, from `start` to `end` seconds."""
        from .hearing import hear_audio

        rows, notes = hear_audio(self._engine, self._name, source, start=start, end=end)
        return SoftTokens(_final(rows), "audio", notes=_bare(notes, "audio"))

    def size_audio(self, source: Any, *, start: float = 0.0, end: float | None = None) -> Sized:
        """How many that would be; the sound is decoded, which tells how long it really is."""
        from .hearing import audio_size

        return sized("audio", [audio_size(self._engine, source, start=start, end=end)])


class EyesAndEars(Eyes, Ears):
    """Of a model that does both."""


def _final(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows that nobody else has and that will not change, so that they need not be copied."""
    rows.flags.writeable = False
    return rows


def _bare(notes: Sequence[str], where: str) -> list[str]:
    """Notes without what they are about, which is told by who shows them."""
    return [note.removeprefix(f"{where}: ") for note in notes]


def towers_of(engine: _core.Model, name: str) -> object | None:
    """What a model sees and hears with; None: nothing."""
    sees, hears = _core.vision(engine) is not None, _core.hearing(engine) is not None
    if sees and hears:
        return EyesAndEars(engine, name)
    return Eyes(engine, name) if sees else Ears(engine, name) if hears else None
