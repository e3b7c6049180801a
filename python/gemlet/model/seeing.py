"""What a model sees: pictures and films as soft tokens. Sources are read by `media`, the work is done in C++."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .. import _core
from ..errors import MediaError
from ..prompt import BUDGETS
from ..types import check_int

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..media.video import Frame
    from .explaining import ImageExplanation

_TOGETHER = 8  # frames that share what is done once a layer


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
        waiting.append(frame)
        if len(waiting) == _TOGETHER:
            yield from _see_together(engine, waiting, budget)
            waiting.clear()
    if waiting:
        yield from _see_together(engine, waiting, budget)


def _see_together(engine: _core.Model, frames: list[Frame], budget: int) -> list[SeenFrame]:
    seen = _core.see(engine, [frame.pixels for frame in frames], budget)
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


class Sight:
    """The methods of a model that see; the model has `_engine`, `_info` and `name`."""

    if TYPE_CHECKING:
        _info: dict[str, Any]

        @property
        def _engine(self) -> _core.Model: ...
        @property
        def name(self) -> str: ...

    @property
    def sees(self) -> bool:
        """Whether pictures and films can be encoded.

        >>> m.sees
        False
        """
        return _core.vision(self._engine) is not None

    def encode_image(self, source: Any, *, image_tokens: int | str = 280) -> NDArray[np.float32]:
        """Soft tokens (n, D) float32 of one picture, as the decoder receives them; n is at most `image_tokens`.

        source: a path, bytes, a PIL image, or a uint8 array (H, W, 3), (H, W, 4) or (H, W). All but arrays need the
        extra `media`. image_tokens: 70, 140, 280, 560, 1120, or "auto", the least at which nothing is shrunk.

        >>> import numpy as np
        >>> m.encode_image(np.zeros((48, 48, 3), np.uint8))
        Traceback (most recent call last):
        gemlet.errors.MediaError: image: the model ... has no part that sees; ...
        """
        return see_image(self._engine, self.name, source, image_tokens).tokens

    def encode_video(
        self,
        source: Any,
        *,
        fps: float | None = None,
        frames: int | None = None,
        scenes: bool = False,
        image_tokens: int | str = 70,
        progress: Callable[[int, float], object] | None = None,
    ) -> Iterator[SeenFrame]:
        """Soft tokens of a film's frames, one after the other: (seconds, "mm:ss", tokens (n, D) float32).

        source: a path, bytes, a uint8 array (T, H, W, 3), or pictures. frames: so many, evenly spread (32 if `fps` is
        not given). fps: so many a second. scenes: spread over what changes, not over time. image_tokens: of each frame.
        progress: called with (frames done, seconds of the film). Memory does not grow with the film's length.

        >>> m.encode_video("clip.mp4", fps=1)
        Traceback (most recent call last):
        gemlet.errors.MediaError: video: the model ... has no part that sees; ...
        """
        from ..media.video import sample

        check_budget("encode_video", image_tokens)
        expect_sight(self._engine, self.name, "video")
        chosen = sample(source, fps=fps, frames=frames, scenes=scenes)
        return _counted(see_frames(self._engine, self.name, chosen, image_tokens), progress)

    def explain_image(
        self,
        messages: str | Sequence[Any],
        *,
        images: Any = (),
        which: int = 0,
        answer: str | None = None,
        image_tokens: int | str | None = None,
        layers: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        **options: Any,
    ) -> ImageExplanation:
        """Answer as `chat` does, and say where in an image the model looked while it wrote each word.

        The result has `.words`, `.map` (n_words, rows, columns) float32, the share of attention that went to each soft
        token of the image, as the mean over layers and heads, and `.overlay()`, the image with the heat laid over it.
        which: of several images, the one to look at. answer: a text to explain instead of generating one.
        layers: None for those that see the whole prompt, so no sliding ones. heads: None for all.
        options: those of `generate`. What a model looks at is a hint about its answer, not the reason for it.

        >>> m.explain_image("Read the total", images=["bill.png"])
        Traceback (most recent call last):
        gemlet.errors.MediaError: explain_image: the model ... has no part that sees; ...
        """
        from .explaining import explain_image

        call = "explain_image"
        expect_sight(self._engine, self.name, call)
        count, every = int(self._info["layers"]), int(self._info["heads"])
        asked_layers = self._info["global_layers"] if layers is None else layers
        asked_heads = range(every) if heads is None else heads
        chosen = [check_int(call, "a layer", layer, -count, count - 1) % count for layer in asked_layers]
        looked = [check_int(call, "a head", head, 0, every - 1) for head in asked_heads]
        if not chosen or not looked:
            raise ValueError(f"{call}: layers and heads must name at least one each")
        return explain_image(self, messages, images, which, answer, image_tokens, chosen, looked, options)


def _counted(frames: Iterator[SeenFrame], progress: Callable[[int, float], object] | None) -> Iterator[SeenFrame]:
    for done, frame in enumerate(frames, 1):
        if progress is not None:
            progress(done, frame.seconds)
        yield frame
