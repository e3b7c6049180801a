"""Prompts of text, ids, images, sound and video: the parts as users write them, joined to what the engine takes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _core
from .arrays import as_ids
from .errors import MediaError
from .soft import MARKS, SoftTokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .soft import Frame, Senses

BUDGETS = (70, 140, 280, 560, 1120)


class Span(NamedTuple):
    """Positions [begin, end) of a prompt that hold soft tokens, and of which kind."""

    begin: int
    end: int
    kind: str


def check_budget(call: str, value: object) -> int | str:
    """A number of soft tokens that images can have, or "auto"."""
    if value in (*BUDGETS, "auto") and not isinstance(value, (bool, float)):
        return value
    raise ValueError(f"{call}: image_tokens must be one of {', '.join(map(str, BUDGETS))} or 'auto', not {value!r}")


class _Part:
    """A source and what a tower is to do with it."""

    kind: str

    def __init__(self, source: Any, **options: Any) -> None:
        self.source = source
        self.options = options

    def key(self) -> bytes | None:
        """Tells this part from all others by its content; None if that cannot be read twice."""
        content = _content(self.source)
        if content is None:
            return None
        return hashlib.blake2b(repr((self.kind, self.options, content)).encode(), digest_size=16).digest()

    def __repr__(self) -> str:
        source = repr(self.source) if isinstance(self.source, (str, SoftTokens)) else type(self.source).__name__
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({source}{options})"


class Image(_Part):
    """An image in a prompt: a path, bytes, a PIL image, a uint8 array (H, W, 3), a data URL, or `SoftTokens`.

    image_tokens: how many tokens it may take, 70, 140, 280, 560, 1120 or "auto"; more show smaller print.

    >>> Image("bill.png", image_tokens=1120)
    Image('bill.png', image_tokens=1120)
    """

    kind = "image"

    def __init__(self, source: Any, *, image_tokens: int | str = 280) -> None:
        super().__init__(local(source, "Image"), image_tokens=check_budget("Image", image_tokens))


class Video(_Part):
    """A video in a prompt: a path, bytes, frames, or `SoftTokens`. Every frame stands behind its time, as 00:07.

    image_tokens: of each frame. frames: so many, evenly spread (32 if `fps` is not given). fps: so many a second.
    scenes: spread over what changes in the picture, not over time.
    """

    kind = "video"

    def __init__(
        self,
        source: Any,
        *,
        image_tokens: int | str = 70,
        fps: float | None = None,
        frames: int | None = None,
        scenes: bool = False,
    ) -> None:
        given = {"fps": fps, "frames": frames, "scenes": scenes or None}
        options = {name: value for name, value in given.items() if value is not None}
        super().__init__(local(source, "Video"), image_tokens=check_budget("Video", image_tokens), **options)


class Audio(_Part):
    """A sound in a prompt: a path, bytes, (samples, rate), or `SoftTokens`. options: those of `Model.encode_audio`."""

    kind = "audio"

    def __init__(self, source: Any, **options: Any) -> None:
        super().__init__(local(source, "Audio"), **options)


PARTS: dict[str, type[Image | Video | Audio]] = {"image": Image, "video": Video, "audio": Audio}


def local(source: Any, where: str) -> Any:
    """The source; a data URL as its bytes, and any other address refused: nothing is ever fetched."""
    if not isinstance(source, str):
        return source
    if source[:5].lower() == "data:":
        return _data(source, where)
    scheme = source.split("://", 1)[0] if "://" in source else ""
    if scheme.replace("+", "").isalnum():
        raise MediaError(
            f"{where}: an address ({_short(source)}), and nothing is fetched; pass a path, bytes or a data: URL"
        )
    return source


def _data(url: str, where: str) -> bytes:
    import base64
    import binascii
    import re

    head, comma, body = url.partition(",")
    if not comma:
        raise MediaError(f"{where}: a data URL without a comma, behind which its bytes would be: {_short(url)}")
    if not head.lower().endswith(";base64"):
        plain = body.encode("utf-8", "replace")
        return re.sub(rb"%([0-9A-Fa-f]{2})", lambda code: bytes([int(code[1], 16)]), plain)
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MediaError(f"{where}: a data URL whose base64 is broken: {error}") from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _content(source: Any) -> Any:
    """What tells a source's content: a digest, or a tuple of some; None if it cannot be told."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return hashlib.blake2b(source, digest_size=16).digest()
    if isinstance(source, (str, os.PathLike)):
        return _file(os.fspath(source))
    if isinstance(source, np.ndarray):
        if source.dtype.hasobject:
            return None
        flat = np.ascontiguousarray(source).reshape(-1).view(np.uint8)  # a copy of a large one only where it must be
        return source.dtype.str, source.shape, _content(flat.data)
    if hasattr(source, "tobytes") and hasattr(source, "mode") and hasattr(source, "size"):  # a PIL image
        turned = source.getexif().get(0x0112) if hasattr(source, "getexif") else None
        palette = source.getpalette() if source.mode == "P" else None
        return (
            source.mode,
            source.size,
            turned,
            palette,
            repr(source.info.get("transparency")),
            _content(source.tobytes()),
        )
    if isinstance(source, (tuple, list)):
        items = [_content(item) for item in source]
        return None if None in items else tuple(items)
    return source if isinstance(source, (int, float)) else None


def _file(path: str | bytes) -> bytes | None:
    """None where there is nothing to read: the tower's own error says why."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.digest()


class Prompt:
    """Text, token ids, images, sound and video in any order, for `generate`, `logits`, `hidden` and `score`.

    parts: strings, arrays of ids (T,), `Image`, `Audio`, `Video`, `SoftTokens`, or float rows (n, D) (soft tokens of an
    image). A media part stands for its begin token, its soft tokens and its end token. A BOS comes first unless ids do.

    >>> prompt = Prompt(["One, two,", [1806]])
    >>> m.generate(prompt, max_tokens=1, temperature=0).usage.prompt_tokens
    6
    >>> prompt.ids, prompt.spans
    (array([     2,   4906, 236764,   1156, 236764,   1806], dtype=int32), [])
    """

    def __init__(self, parts: Iterable[Any]) -> None:
        if isinstance(parts, (str, bytes)) or not isinstance(parts, Iterable):
            raise TypeError(f"Prompt: parts must be a list of parts, not {type(parts).__name__}")
        self.parts = tuple(_part(part, f"Prompt: parts[{i}]") for i, part in enumerate(parts))
        if not self.parts:
            raise ValueError("Prompt: no parts; there must be at least one")
        self._joined: _core.Prompt | None = None

    def _read(self) -> _core.Prompt:
        if self._joined is None:
            raise ValueError(
                "Prompt: it has ids once a model has read it, m.logits(prompt) say: they are the model's own"
            )
        return self._joined

    @property
    def ids(self) -> NDArray[np.int32]:
        """Token ids (T,) int32 as the model that read it last has them, a placeholder for each soft token."""
        return self._read().ids

    @property
    def spans(self) -> list[Span]:
        """Where the soft tokens are, as the model that read it last has them."""
        return [Span(*span) for span in self._read().spans]

    def __repr__(self) -> str:
        return f"Prompt([{', '.join(map(repr, self.parts))}])"

    def joined(
        self, tokenizer: _core.Tokenizer, vocab_size: int, senses: Senses, name: str
    ) -> tuple[_core.Prompt, list[str]]:
        """What the engine takes, and what the towers have to say about it."""
        line = Line(tokenizer)
        notes: list[str] = []
        if not isinstance(self.parts[0], np.ndarray) and tokenizer.bos >= 0:
            line.add_ids(np.array([tokenizer.bos], np.int32))
        for i, part in enumerate(self.parts):
            where = f"{name}: parts[{i}]"
            if isinstance(part, np.ndarray):
                line.add_ids(as_ids(part, vocab_size, where))
            elif isinstance(part, str):
                line.add_text(part)
            else:
                soft = senses.tokens(part, where)
                notes += [f"{where}: {note}" for note in soft.notes]
                for frame in soft.frames:
                    line.add_text(frame.text)
                    line.add_ids(np.array([mark_id(tokenizer, MARKS[soft.kind][0], soft.kind, where)], np.int32))
                    line.add_frame(frame, soft.kind)
                    line.add_ids(np.array([mark_id(tokenizer, MARKS[soft.kind][2], soft.kind, where)], np.int32))
        self._joined = line.prompt()
        return self._joined, notes


class Line:
    """A prompt in the making, from left to right. Texts side by side are tokenised as one."""

    def __init__(self, tokenizer: _core.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts: list[str] = []
        self._rows: list[NDArray[np.int32]] = []
        self._spans: list[tuple[int, str, NDArray[np.float32], bytes]] = []

    def add_text(self, text: str) -> None:
        """Text, in which nothing is a control token."""
        self._texts.append(text)

    def add_ids(self, ids: NDArray[np.int32]) -> None:
        """Ids as they are."""
        if any(self._texts):
            self._rows.append(self._tokenizer.encode("".join(self._texts), False, False))
        self._texts = []
        self._rows.append(ids)

    def add_frame(self, frame: Frame, kind: str) -> None:
        """Placeholders of soft tokens, without what stands around them."""
        self.add_ids(np.full(len(frame.rows), placeholder_id(self._tokenizer, kind), np.int32))
        begin = sum(map(len, self._rows)) - len(frame.rows)
        self._spans.append((begin, kind, frame.rows, frame.digest))

    def prompt(self) -> _core.Prompt:
        """All of it."""
        self.add_ids(np.empty(0, np.int32))
        return _core.Prompt(np.concatenate(self._rows), self._spans)


def mark_id(tokenizer: _core.Tokenizer, mark: str, kind: str, where: str) -> int:
    """The id of a begin or end token."""
    found = tokenizer.find(mark)
    if found < 0:
        raise MediaError(f"{where}: the model's vocabulary has no {mark!r}, so it takes no part of kind {kind!r}")
    return found


def placeholder_id(tokenizer: _core.Tokenizer, kind: str) -> int:
    """The id that stands where a soft token is; which one it is means nothing to the model."""
    found = (tokenizer.find(MARKS[name][1]) for name in (kind, "image"))
    return next((i for i in found if i >= 0), 0)


def _part(part: Any, where: str) -> Any:
    if isinstance(part, (str, _Part)):
        return part
    if isinstance(part, SoftTokens):
        return PARTS[part.kind](part)
    if isinstance(part, (bytes, bytearray)):
        raise TypeError(f"{where}: bytes; say what they are: gemlet.Image(...), gemlet.Audio(...) or gemlet.Video(...)")
    if hasattr(part, "mode") and hasattr(part, "tobytes"):
        return Image(part)
    array = np.asarray(part)
    if array.ndim == 2 and array.dtype.kind == "f":
        return Image(SoftTokens(array))
    if array.dtype.kind in "iu" and array.ndim == 1:
        return array
    raise TypeError(
        f"{where} must be a string, ids (T,), gemlet.Image, Audio, Video or SoftTokens, or rows (n, D), "
        f"not {type(part).__name__}" + (f" of shape {array.shape}" if array.ndim else "")
    )
