"""What a model sees: pictures and films as soft tokens. Sources are read by `media`, the work is done in C++."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .. import _core
from ..errors import MediaError
from ..prompt import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from ..media.video import Frame

_TOGETHER = 8  # frames that share what is done once a layer; they wait at the size at which they are seen


class SeenFrame(NamedTuple):
    """Seconds from the start, the same as mm:ss, and soft tokens (n, D)."""

    seconds: float
    stamp: str
    tokens: NDArray[np.float32]


def check_budget(call: str, value: object) -> int:
    """A budget of tokens; 0 stands for "auto"."""
    if isinstance(value, str) and value == "auto":
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and value in BUDGETS:
        return value
    raise ValueError(f"{call}: image_tokens must be 70, 140, 280, 560, 1120 or 'auto', not {value!r}")


class SeenImage(NamedTuple):
    """Soft tokens (n, D), the (rows, columns) in which they lie, and what was done to the picture."""

    tokens: NDArray[np.float32]
    grid: tuple[int, int]
    notes: list[str]


def see_image(engine: _core.Model, name: str, source: Any, image_tokens: int | str, where: str = "image") -> SeenImage:
    """Soft tokens of one picture."""
    from ..media.images import load_image

    budget = check_budget(where, image_tokens)
    expect_sight(engine, name, where)
    picture = load_image(source, where=where)
    height, width = picture.pixels.shape[:2]
    ((tokens, size, used),) = _core.see(engine, [picture.pixels], budget)
    notes = [*picture.notes, *_resized((height, width), size, used, len(tokens), where)]
    return SeenImage(tokens, _core.seen_grid(engine, height, width, budget), notes)


def image_grid(engine: _core.Model, source: Any, image_tokens: int | str, where: str = "image") -> tuple[int, int]:
    """(rows, columns) of the soft tokens that a picture would have; of a file only its head is read."""
    from ..media.images import image_size

    height, width = image_size(source, where=where)
    rows, columns = _core.seen_grid(engine, height, width, check_budget(where, image_tokens))
    return rows, columns


def see_frames(engine: _core.Model, name: str, frames: Iterable[Frame], image_tokens: int | str) -> Iterator[SeenFrame]:
    """Soft tokens of frames, a few at a time: neither frames nor tokens pile up."""
    budget = check_budget("video", image_tokens)
    expect_sight(engine, name, "video")
    waiting: list[Frame] = []
    for frame in frames:
        waiting.append(frame._replace(pixels=_core.fit(engine, frame.pixels, budget)))
        if len(waiting) == _TOGETHER:
            yield from _see_together(engine, waiting, budget)
            waiting.clear()
    if waiting:
        yield from _see_together(engine, waiting, budget)


def _see_together(engine: _core.Model, frames: list[Frame], budget: int) -> list[SeenFrame]:
    seen = _core.see(engine, [frame.pixels for frame in frames], budget, fitted=True)
    return [SeenFrame(frame.seconds, frame.stamp, made[0]) for frame, made in zip(frames, seen, strict=True)]


def expect_sight(engine: _core.Model, name: str, where: str) -> None:
    """MediaError for a model that does not see."""
    if _core.vision(engine) is None:
        raise MediaError(
            f"{where}: the model {name!r} has no part that sees; load one that has (of a GGUF model that part is a "
            "file of its own beside it, mmproj)"
        )


def _resized(before: tuple[int, ...], after: tuple[int, int], budget: int, tokens: int, where: str) -> list[str]:
    if tuple(before) == tuple(after):
        return []
    note = (
        f"{where}: resized from {before[1]} x {before[0]} to {after[1]} x {after[0]} pixels, {tokens} tokens of a "
        f"budget of {budget}"
    )
    if budget < BUDGETS[-1] and after[0] * after[1] * 2 < before[0] * before[1]:
        note += "; small print may be lost, a larger image_tokens shows more"
    return [note]
