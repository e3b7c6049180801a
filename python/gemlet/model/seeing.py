"""The side of `Model` that sees: docstrings, checks of arguments. Encoding is in `senses`, looking in `explaining`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _core
from ..types import check_int
from .opened import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..senses.vision import SeenFrame
    from .explaining import ImageExplanation


class Sight(Opened):
    """The methods of a model that see."""

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
        from ..senses import vision

        return vision.see_image(self._engine, self.name, source, image_tokens).tokens

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
        from ..senses import vision

        vision.check_budget("encode_video", image_tokens)
        vision.expect_sight(self._engine, self.name, "video")
        chosen = sample(source, fps=fps, frames=frames, scenes=scenes)
        return _counted(vision.see_frames(self._engine, self.name, chosen, image_tokens), progress)

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
        from ..senses import vision
        from .explaining import explain_image

        call = "explain_image"
        vision.expect_sight(self._engine, self.name, call)
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
