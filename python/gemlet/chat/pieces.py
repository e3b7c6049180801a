"""A prompt in pieces: markers, which become control ids, and text, which never does. Pieces to token ids.

Owns the names of the control tokens that chat needs; ids are always looked up in the model's own tokenizer.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from .. import _core


class Marker(str):
    """A control token written out and meant as one; a plain `str` beside it is text, whatever it looks like."""

    __slots__ = ()


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
    rows: list[NDArray[np.int32]] = []
    for piece in joined(pieces):
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
        return ids
    start = 0
    while start < len(ids) and ids[start] == bos:
        start += 1
    return np.concatenate([np.array([bos], np.int32), ids[start:]])
