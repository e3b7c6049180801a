"""A prompt in pieces: markers, which become control ids, and text, which never does. Pieces to token ids.

Owns the names of the control tokens that chat needs; ids are always looked up in the model's own tokenizer.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UnsupportedModel
from ..prompt import placeholder_id
from ..soft import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from .. import _core
    from ..soft import Frame

    SoftSpan = tuple[int, str, NDArray[np.float32], bytes]  # where it begins, its kind, its rows (n, D), their hash


class Marker(str):
    """A control token written out and meant as one; a plain `str` beside it is text, whatever it looks like."""

    __slots__ = ()


class SoftPiece(Marker):
    """Placeholders, one for each soft token of a frame; the soft tokens themselves are in `.frame`."""

    frame: Frame
    kind: str

    @classmethod
    def of(cls, frame: Frame, kind: str) -> SoftPiece:
        """The placeholders of a frame, written out."""
        made = cls(MARKS[kind][1] * len(frame.rows))
        made.frame, made.kind = frame, kind
        return made


_EVERY = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
MARKERS = {
    "gemma3": (
        *_EVERY,
        *("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"),
        "[multimodal]",
    ),
    "gemma4": (
        *_EVERY,
        *("<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>", "<|tool>", "<tool|>", "<|tool_call>"),
        *("<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>'),
        *(
            "<|image>",
            "<|image|>",
            "<image|>",
            "<|audio>",
            "<|audio|>",
            "<audio|>",
            "<|video>",
            "<|video|>",
            "<video|>",
        ),
    ),
}


@cache
def marker_pattern(family: str) -> re.Pattern[str]:
    """Matches any marker of the family, the longest first."""
    return re.compile("|".join(re.escape(name) for name in sorted(MARKERS[family], key=len, reverse=True)))


def split(text: str, family: str) -> list[str]:
    """Text whose markers are all meant, as pieces.

    >>> split("<bos>Hi<turn|>", "gemma4")
    ['<bos>', 'Hi', '<turn|>']
    """
    pieces: list[str] = []
    end = 0
    for match in marker_pattern(family).finditer(text):
        pieces += [text[end : match.start()], Marker(match.group())]
        end = match.end()
    return [piece for piece in [*pieces, text[end:]] if piece]


def joined(pieces: Iterable[str]) -> Iterator[str]:
    """The same pieces with neighbouring texts as one: words must not be cut where a template was."""
    texts: list[str] = []
    for piece in pieces:
        if isinstance(piece, Marker):
            if any(texts):
                yield "".join(texts)
            texts = []
            yield piece
        else:
            texts.append(piece)
    if any(texts):
        yield "".join(texts)


def marker_id(tokenizer: _core.Tokenizer, name: str) -> int:
    """The id of a marker, or UnsupportedModel."""
    found = tokenizer.find(name)
    if found < 0:
        raise UnsupportedModel(
            f"chat: the tokenizer has no control token {name!r}, which the conversation needs; "
            "the file was made from another model, or its vocabulary was cut"
        )
    return found


def to_ids(tokenizer: _core.Tokenizer, pieces: Iterable[str], family: str) -> NDArray[np.int32]:
    """Ids (T,) of a prompt, with exactly one BOS at its start if the vocabulary has one."""
    return to_prompt(tokenizer, pieces, family)[0]


def to_prompt(
    tokenizer: _core.Tokenizer, pieces: Iterable[str], family: str
) -> tuple[NDArray[np.int32], list[SoftSpan]]:
    """The same, and where soft tokens stand in it."""
    rows: list[NDArray[np.int32]] = []
    spans: list[SoftSpan] = []
    for piece in joined(pieces):
        if isinstance(piece, SoftPiece):
            spans.append((sum(map(len, rows)), piece.kind, piece.frame.rows, piece.frame.digest))
            rows.append(np.full(len(piece.frame.rows), placeholder_id(tokenizer, piece.kind), np.int32))
            continue
        if isinstance(piece, Marker):
            rows.append(np.array([marker_id(tokenizer, piece)], np.int32))
            continue
        # Some markers are ordinary to the tokenizer ("user-defined") and would be found in any text: it is cut there.
        cuts = [match.start() + 1 for match in marker_pattern(family).finditer(piece)]
        for begin, end in zip([0, *cuts], [*cuts, len(piece)], strict=True):
            rows.append(tokenizer.encode(piece[begin:end], False, False))
    ids = np.concatenate(rows) if rows else np.empty(0, np.int32)
    bos = tokenizer.bos
    if bos < 0:
        return ids, spans
    start = 0
    while start < len(ids) and ids[start] == bos:
        start += 1
    moved = [(begin + 1 - start, *rest) for begin, *rest in spans]
    return np.concatenate([np.array([bos], np.int32), ids[start:]]), moved  # type: ignore[return-value]
