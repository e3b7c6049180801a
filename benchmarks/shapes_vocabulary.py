"""A whole Gemma 4 vocabulary for files with random weights: pieces, kinds and merges.

The first 494 ids and the media marks are the family's own; ordinary pieces are the demo's, which the two generations
share, and merges are every way to make a piece of two others. A small size takes letters and a few words instead.
"""

from __future__ import annotations

from functools import cache

from gemlet import _core
from gemlet.local import demo
from gemlet.planning.sizes import VOCABULARY

NORMAL, CONTROL, USER_DEFINED, BYTE = 1, 3, 4, 6
MARK = "\u2581"  # stands for a space
FIRST_ORDINARY = 494

_MARKS = {
    **dict(enumerate(("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"))),
    **{46: "<|tool>", 47: "<tool|>", 48: "<|tool_call>", 49: "<tool_call|>"},
    **{50: "<|tool_response>", 51: "<tool_response|>", 52: '<|"|>'},
    **{98: "<|think|>", 100: "<|channel>", 101: "<channel|>", 105: "<|turn>", 106: "<turn|>"},
}
_MEDIA = {
    **{255_999: "<|image>", 256_000: "<|audio>"},
    **{258_880: "<|image|>", 258_881: "<|audio|>", 258_882: "<image|>", 258_883: "<audio|>", 258_884: "<|video|>"},
}
# Shown in output, so that a parser sees them.
_VISIBLE = {48, 49, 50, 51, 52, 100, 101}
_WORDS = "the and of to in is was for that with it on as at by he she his her they we you are not be this from".split()


def _demo_pieces() -> tuple[list[str], list[int]]:
    """The demo's pieces, and their kinds as Gemma 4's converters write them: only marks stay controls."""
    metadata = _core.Gguf(str(demo.path())).metadata(VOCABULARY)
    pieces, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    kinds = [NORMAL if kind == USER_DEFINED else kind for kind in kinds]
    # Runs of spaces are written as they are there, and by their mark here.
    return [MARK * len(p) if p.isspace() and set(p) == {" "} else p for p in pieces], kinds


def _few_pieces(size: int) -> tuple[list[str], list[int]]:
    """The same first 494 ids, then words' beginnings, letters, and unused ids up to `size`."""
    pieces = [f"<unused{i}>" for i in range(size)]
    kinds = [CONTROL] * size
    runs = {**{106 + k: "\n" * k for k in range(1, 32)}, **{136 + k: MARK * k for k in range(2, 32)}}
    for i, run in runs.items():
        pieces[i], kinds[i] = run, NORMAL
    for byte in range(256):
        pieces[238 + byte], kinds[238 + byte] = f"<0x{byte:02X}>", BYTE
    starts = {(MARK + word)[:end]: None for word in _WORDS for end in range(2, len(word) + 2)}
    ordinary = [*starts, MARK, *(chr(code) for code in range(33, 127))]
    for i, piece in enumerate(ordinary, FIRST_ORDINARY):
        pieces[i], kinds[i] = piece, NORMAL
    return pieces, kinds


@cache
def vocabulary(size: int) -> tuple[list[str], list[int], list[str]]:
    """Pieces, kinds and merges of a vocabulary of `size` ids: 262,144, or 700 to 255,999 for a small one."""
    if size == VOCABULARY:
        pieces, kinds = _demo_pieces()
    elif 700 <= size < min(_MEDIA):
        pieces, kinds = _few_pieces(size)
    else:
        raise ValueError(f"vocabulary: {size} ids; it can be {VOCABULARY}, or 700 to {min(_MEDIA) - 1}")
    for i, mark in {**_MARKS, **_MEDIA}.items():
        if i < size:
            pieces[i], kinds[i] = mark, USER_DEFINED if i in _VISIBLE else CONTROL
    if len(set(pieces)) != size:
        raise ValueError(f"vocabulary: {size - len(set(pieces))} pieces occur twice")
    return pieces, kinds, merges(pieces, kinds)


def merges(pieces: list[str], kinds: list[int]) -> list[str]:
    """Every pair of pieces that makes a piece, in the order of what they make: earlier ids merge first.

    >>> merges(["a", "b", "ab", "abb"], [1, 1, 1, 1])
    ['a b', 'ab b']
    """
    normal = {piece for piece, kind in zip(pieces, kinds, strict=True) if kind == NORMAL}
    return [
        f"{piece[:i]} {piece[i:]}"
        for piece, kind in zip(pieces, kinds, strict=True)
        if kind == NORMAL
        for i in range(1, len(piece))
        if piece[:i] in normal and piece[i:] in normal
    ]
