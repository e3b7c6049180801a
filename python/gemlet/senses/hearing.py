"""What a model hears: sound as soft tokens. Sources are read by `media`, the work is done in C++."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..media.audio import Sound

MAX_SECONDS = 3 * 3600  # of one prompt: more tokens than any context holds
_TOGETHER = 800  # tokens that go through the tower together where nobody waits for the first


def hear_audio(
    engine: _core.Model, name: str, source: Any, where: str = "audio", *, start: float = 0.0, end: float | None = None
) -> tuple[NDArray[np.float32], list[str]]:
    """Soft tokens (n, D) of one sound, or of what lies between two times in seconds; and notes: what was done to it."""
    from ..media.audio import Sound

    expect_hearing(engine, name, where)
    sound = Sound(source, where=where, start=start, end=end)
    return _in_one(list(heard(engine, sound, _TOGETHER, MAX_SECONDS))), sound.notes


def _in_one(rows: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Rows behind one another; each piece is given back once it is copied, so that not all are there twice."""
    whole, at = _core.kept_rows(sum(map(len, rows)), rows[0].shape[1]), 0
    rows.reverse()
    while rows:
        piece = rows.pop()
        whole[at : at + len(piece)] = piece
        at += len(piece)
    return whole


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


def heard(
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
        tell(sound.notes)


def tell(notes: list[str]) -> None:
    """What was done to a sound, to the logger "gemlet", where there is no result that could hold it."""
    if notes:
        import logging

        for note in notes:
            logging.getLogger("gemlet").warning("%s", note)
