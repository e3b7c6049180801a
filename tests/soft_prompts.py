"""Prompts of tokens and soft rows, drawn at random, as the engine, the oracle and transformers take them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gemlet import _core

Soft = list[tuple[int, str, np.ndarray]]
TYPES = {"image": 1, "video": 2, "audio": 3}


class Mixed(NamedTuple):
    """ids (T,), 0 where a soft row stands; soft: where each span begins, its kind and its rows (n, D)."""

    ids: np.ndarray
    soft: Soft

    @property
    def prompt(self) -> _core.Prompt:
        return soft_prompt(self.ids, self.soft)

    @property
    def types(self) -> np.ndarray:
        """(T,) 0 text, 1 image, 2 video, 3 audio."""
        types = np.zeros(len(self.ids), np.int64)
        for begin, kind, rows in self.soft:
            types[begin : begin + len(rows)] = TYPES[kind]
        return types

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """Runs of pictures, [begin, end)."""
        found: list[tuple[int, int]] = []
        for begin, kind, rows in self.soft:
            if kind == "audio":
                continue
            if found and found[-1][1] == begin:
                found[-1] = (found[-1][0], begin + len(rows))
            else:
                found.append((begin, begin + len(rows)))
        return found

    def then(self, ids: Sequence[int]) -> Mixed:
        return Mixed(np.concatenate([self.ids, np.asarray(ids, np.int32)]).astype(np.int32), self.soft)


def soft_prompt(ids: np.ndarray, soft: Soft) -> _core.Prompt:
    spans = [(begin, kind, rows, digest(rows)) for begin, kind, rows in soft]
    return _core.Prompt(np.asarray(ids, np.int32), spans)


def digest(rows: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(rows, np.float32).tobytes(), digest_size=16).digest()


def mixed(parts: Sequence[int | tuple[str, int]], vocabulary: int, width: int, seed: int = 1) -> Mixed:
    """parts: a number of tokens, or a kind and a number of soft rows."""
    rng = np.random.default_rng(seed)
    ids: list[int] = []
    soft: Soft = []
    for part in parts:
        if isinstance(part, int):
            ids += rng.integers(4, vocabulary, part).tolist()
        else:
            kind, count = part
            soft.append((len(ids), kind, rng.normal(0, 1.5, (count, width)).astype(np.float32)))
            ids += [0] * count
    return Mixed(np.array(ids, np.int32), soft)


# What a prompt can be made of: pictures shorter and longer than the window (5 to 11 keys), at its begin and its end,
# side by side, beside sounds, across a page of 64 keys.
SHAPES: dict[str, list[Any]] = {
    "one of each": [5, ("image", 9), 4, ("audio", 8), 3, ("video", 6), 2, ("video", 6), 7],
    "begins and ends": [("image", 12), 3, ("audio", 5), 9, ("image", 7)],
    "side by side": [4, ("image", 5), ("image", 6), ("audio", 9), ("video", 4), ("image", 3), 6],
    "longer than the window": [7, ("image", 40), 8, ("audio", 30), 5],
    "across a page": [50, ("image", 30), 6, ("video", 13), 1, ("video", 13), 20],
}
