"""A model's own towers behind the protocol of `soft`: what `vision` and `hearing` make of sources, with their notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _core
from .soft import SoftTokens

if TYPE_CHECKING:
    from collections.abc import Sequence


class Eyes:
    """Of a model that sees."""

    def __init__(self, engine: _core.Model, name: str) -> None:
        self._engine, self._name = engine, name

    def encode_image(self, source: Any, *, image_tokens: int | str) -> SoftTokens:
        """Soft tokens of one picture."""
        from .vision import see_image

        rows, notes = see_image(self._engine, self._name, source, image_tokens)
        return SoftTokens(rows, notes=_bare(notes, "image"))

    def encode_video(self, source: Any, *, image_tokens: int | str, **options: Any) -> SoftTokens:
        """Soft tokens of a film's frames, with their times."""
        from .media.video import sample
        from .vision import see_frames

        seen = list(see_frames(self._engine, self._name, sample(source, **options), image_tokens))
        count = sum(len(frame.tokens) for frame in seen)
        note = (
            f"{len(seen)} frames from {seen[0].stamp} to {seen[-1].stamp}, {count} tokens, at most {image_tokens} each"
        )
        times = [frame.seconds for frame in seen]
        return SoftTokens([frame.tokens for frame in seen], "video", times=times, notes=[note])


class Ears:
    """Of a model that hears."""

    def __init__(self, engine: _core.Model, name: str) -> None:
        self._engine, self._name = engine, name

    def encode_audio(self, source: Any, *, start: float = 0.0, end: float | None = None) -> SoftTokens:
        """Soft tokens of one sound, from `start` to `end` seconds."""
        from .hearing import hear_audio

        rows, notes = hear_audio(self._engine, self._name, source, start=start, end=end)
        return SoftTokens(rows, "audio", notes=_bare(notes, "audio"))


class EyesAndEars(Eyes, Ears):
    """Of a model that does both."""


def _bare(notes: Sequence[str], where: str) -> list[str]:
    """Notes without what they are about, which is told by who shows them."""
    return [note.removeprefix(f"{where}: ") for note in notes]


def towers_of(engine: _core.Model, name: str) -> object | None:
    """What a model sees and hears with; None: nothing."""
    sees, hears = _core.vision(engine) is not None, _core.hearing(engine) is not None
    if sees and hears:
        return EyesAndEars(engine, name)
    return Eyes(engine, name) if sees else Ears(engine, name) if hears else None
