"""Where a model looked in an image while it wrote: attention over soft tokens, as maps that can be laid over the image.

Which positions and keys are looked at is chosen here; the attention itself is computed in C++.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MediaError, MissingExtra
from ..results import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SHOWN = 7  # words beside the whole, in a notebook
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_LONGEST = 768  # pixels of the longer side, in a plot


@dataclass(frozen=True, eq=False)
class ImageExplanation:
    """How much each word of an answer looked at each part of an image, and ways to show it.

    words: the answer's, in order. map: (n_words, rows, columns) float32; an entry is the share of a word's attention
    that went to that soft token, so `share`, its sum over the image, is below 1: the rest went to the text.
    image: the pixels (H, W, 3) uint8, or None where soft tokens were given in place of an image.
    """

    text: str
    words: list[str]
    map: NDArray[np.float32]
    image: NDArray[np.uint8] | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the image's soft tokens."""
        return self.map.shape[1], self.map.shape[2]

    @property
    def share(self) -> NDArray[np.float32]:
        """(n_words,) float32: how much of each word's attention went to the image."""
        shares: NDArray[np.float32] = self.map.sum(axis=(1, 2))
        return shares

    def heat(self, word: int | str | None = None) -> NDArray[np.float32]:
        """(rows, columns) float32 from 0 to 1: of one word, by number or as written, or of all together.

        1 is the most that any word looked at any place, so that words can be compared; of all together, their own most.
        """
        if isinstance(word, str) and word not in self.words:
            raise ValueError(f"heat: the answer has no word {word!r}; it has {', '.join(map(repr, self.words))}")
        whole = self.map.sum(axis=0)
        chosen = whole if word is None else self.map[self.words.index(word) if isinstance(word, str) else word]
        most = float((whole if word is None else self.map).max(initial=0))
        heat: NDArray[np.float32] = chosen / np.float32(most or 1)
        return heat

    def overlay(self, image: Any = None, *, word: int | str | None = None, strength: float = 0.8) -> NDArray[np.uint8]:
        """The image in grey, (H, W, 3) uint8, with the heat of one word, or of all, in colour over it.

        image: another one to lay it over, a path, bytes, PIL image or array; None is the image that was asked about.
        word: its number, or as written. strength: 0 to 1, how much of the hottest place's colour is heat.
        """
        if not 0 <= strength <= 1:
            raise ValueError(f"overlay: strength must lie between 0 and 1, not {strength!r}")
        pixels = self._pixels(image)
        heat = enlarged(self.heat(word), pixels.shape[0], pixels.shape[1])
        out = np.empty_like(pixels)
        for first in range(0, len(pixels), 256):  # in bands: floats take four times the room of the pixels
            warm = heat[first : first + 256, :, None]
            grey = pixels[first : first + 256] @ _GREY
            out[first : first + 256] = np.rint(
                grey[:, :, None] * (1 - strength * warm) + coloured(warm) * strength * warm
            )
        return out

    def plot(self, words: Sequence[int | str] | None = None) -> Any:
        """A matplotlib figure (extra `plot`): the heat of the whole answer, then of some words."""
        figure = _figure()
        chosen = [None, *(self._telling() if words is None else words)]
        columns = min(len(chosen), 4)
        rows = -(-len(chosen) // columns)
        high, wide = self.grid if self.image is None else self.image.shape[:2]
        figure.set_size_inches(3.2 * columns, min(12.0, 0.4 + 3.2 * high / wide) * rows)
        for i, word in enumerate(chosen):
            axes = figure.add_subplot(rows, columns, i + 1)
            if self.image is None:
                axes.imshow(self.heat(word), cmap="inferno", vmin=0, vmax=1)
            else:
                axes.imshow(self.overlay(_smaller(self.image), word=word))
            axes.set_title("all words" if word is None else word if isinstance(word, str) else self.words[word])
            axes.set_axis_off()
        figure.tight_layout()
        return figure

    def _telling(self) -> list[int]:
        """The words that looked at the image most, in order."""
        return sorted(np.argsort(-self.share, kind="stable")[:_SHOWN].tolist())

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        if image is None and self.image is None:
            raise ValueError("overlay: soft tokens were given in place of an image; pass the image to lay it over")
        if image is None:
            assert self.image is not None
            return self.image
        from ..media.images import load_image

        return load_image(image).pixels

    def __repr__(self) -> str:
        share = f"{float(self.share.mean()):.0%}" if self.words else "nothing"
        return f"<ImageExplanation, {len(self.words)} words, {self.grid[0]} x {self.grid[1]}, {share} on the image>"

    def _repr_html_(self) -> str:
        told = "".join(f'<div style="color:#b45309">{escape(text)}</div>' for text in self.warnings)
        words = f'<div style="white-space:pre-wrap">{escape(self.text)}</div><div>{escape(repr(self))}</div>{told}'
        try:
            figure = self.plot()
        except MissingExtra:
            return f"<div>{words}</div>"
        import base64
        import io

        into = io.BytesIO()
        figure.savefig(into, format="png", dpi=80)
        picture = base64.b64encode(into.getvalue()).decode()
        return f'<div>{words}<img alt="attention" src="data:image/png;base64,{picture}"></div>'


def enlarged(heat: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(height, width): every cell's value at its middle, and straight lines between; the same beyond the outermost.

    >>> enlarged(np.array([[0, 1]], np.float32), 1, 4)
    array([[0.  , 0.25, 0.75, 1.  ]], dtype=float32)
    """
    made = heat
    for axis, size in ((0, height), (1, width)):
        cells = made.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
        low = at.astype(np.int64)
        high = np.minimum(low + 1, cells - 1)
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        made = made.take(low, axis) * (1 - part) + made.take(high, axis) * part
    return made


def coloured(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 1) of 0 to 1 as colours (..., 3) of 0 to 255: violet, red, yellow."""
    stops, colours = (0.0, 0.5, 1.0), ((90, 20, 160), (225, 60, 50), (255, 220, 60))
    channels = [np.interp(heat[..., 0], stops, [colour[i] for colour in colours]) for i in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _smaller(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = -(-max(pixels.shape[:2]) // _LONGEST)
    return np.ascontiguousarray(pixels[::step, ::step])


def _figure() -> Any:
    """One of its own, which no other plot knows of and nobody has to close."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("plot needs matplotlib: pip install 'gemlet[plot]'") from None
    return Figure()


def explain_image(
    model: Any,
    messages: Any,
    images: Any,
    which: int,
    answer: str | None,
    image_tokens: int | str | None,
    layers: Sequence[int],
    heads: Sequence[int],
    options: dict[str, Any],
) -> ImageExplanation:
    """What `Model.explain_image` gives; arguments as there, layers and heads chosen.

    A token's attention is that of the step which chose it, at the position in front of it. A word's is the mean of its
    tokens'.
    """
    from ..chat.attachments import Given

    if options.get("overflow", "error") != "error":
        raise ValueError("explain_image: overflow must be 'error': the prompt is looked at as it stands")
    given = Given(images, image_tokens=image_tokens)
    messages = messages if isinstance(messages, str) else list(messages)
    source, soft = _picture(model, messages, given, which)
    prompt = model._prompt_of(messages, given, None, False, False, True)
    tokenizer = model._engine.tokenizer
    if answer is None:
        made = model.chat(messages, images=images, image_tokens=image_tokens, **options)
        text, ids, warnings = made.text, made.token_ids, made.warnings
    else:
        if options:
            raise TypeError(f"explain_image: {', '.join(options)}: nothing is generated where an answer is given")
        text, ids, warnings = answer, tokenizer.encode(answer, False, False), prompt.warnings
    words = words_of([tokenizer.piece(int(i)) if i < tokenizer.vocab_size else b"" for i in ids])
    begin = [place for place, kind, *_ in prompt.spans if kind == "image"][which]
    steps = list(range(len(prompt.ids) - 1, len(prompt.ids) - 1 + len(ids)))
    rows = model._engine.attention_map(prompt.core.then(ids), layers, heads, steps, begin, begin + len(soft))
    means = [rows[tokens].mean(axis=0, dtype=np.float64) for _, tokens in words]
    maps = np.array(means, np.float32).reshape(len(words), *soft.grid)
    return ImageExplanation(text, [word for word, _ in words], maps, _decoded(source), warnings)


def _picture(model: Any, messages: Any, given: Any, which: int) -> tuple[Any, Any]:
    """The n-th picture of a conversation: its source and its soft tokens."""
    from ..chat.attachments import placed, slots
    from ..chat.messages import check_messages

    found = [slot for kind, slot in slots(placed(check_messages(messages)[0], given)) if kind == "image"]
    if not found:
        raise MediaError("explain_image: the messages have no image; pass images=[...]")
    if isinstance(which, bool) or not isinstance(which, int) or not -len(found) <= which < len(found):
        raise ValueError(f"explain_image: which={which!r}, and the conversation has {len(found)} images")
    soft = model._senses.tokens(found[which].part, found[which].where)
    if soft.grid is None:
        raise ValueError(
            f"explain_image: {found[which].where}: nobody knows in which grid these soft tokens lie; pass the image, "
            "or SoftTokens(rows, grid=(rows, columns))"
        )
    return found[which].part.source, soft


def _decoded(source: Any) -> NDArray[np.uint8] | None:
    from ..media.images import load_image
    from ..soft import SoftTokens

    return None if isinstance(source, SoftTokens) else load_image(source).pixels


def words_of(pieces: Sequence[bytes]) -> list[tuple[str, list[int]]]:
    """Words, and the tokens of each; tokens without text are nobody's.

    >>> words_of([b" To", b"tal", b":", b"\\n", b"8", b"<turn|>"[:0]])
    [('Total:', [0, 1, 2]), ('8', [4])]
    """
    found: list[tuple[bytes, list[int]]] = []
    apart = True
    for i, piece in enumerate(pieces):
        if not piece.strip():
            apart = apart or bool(piece)
            continue
        if apart or piece[:1].isspace():
            found.append((b"", []))
        found[-1] = (found[-1][0] + piece, [*found[-1][1], i])
        apart = piece[-1:].isspace()
    return [(text.decode("utf-8", "replace").strip(), tokens) for text, tokens in found]
