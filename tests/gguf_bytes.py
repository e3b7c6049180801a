"""GGUF files byte by byte, for damage that no writer would write."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
TYPE_F32, TYPE_Q8_0 = 0, 8


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str | bytes, kind: int, payload: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + payload


def tensor_entry(name: str | bytes, dims: Sequence[int], kind: int, offset: int) -> bytes:
    """dims innermost first, as in the file"""
    return string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def raw_file(
    entries: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    alignment: int = 32,
    counts: tuple[int, int] | None = None,
) -> bytes:
    n_tensors, n_entries = counts or (len(tensors), len(entries))
    head = magic + struct.pack("<IQQ", version, n_tensors, n_entries) + b"".join(entries) + b"".join(tensors)
    if data:
        head += bytes(-len(head) % alignment)
    return head + data


def uint32(key: str, value: int) -> bytes:
    return entry(key, U32, struct.pack("<I", value))


def small_file() -> bytes:
    """Some of everything, and no padding at the end, so that every byte is needed."""
    entries = [
        entry("general.architecture", STRING, string("gemma3")),
        uint32("gemma3.block_count", 2),
        entry("flag", BOOL, b"\x01"),
        entry("numbers", ARRAY, struct.pack("<IQ3h", I16, 3, -1, 0, 7)),
        entry("words", ARRAY, struct.pack("<IQ", STRING, 3) + string("a") + string("") + string("Käse")),
    ]
    tensors = [tensor_entry("a", [32, 3], TYPE_Q8_0, 0), tensor_entry("b.weight", [8], TYPE_F32, 128)]
    return raw_file(entries, tensors, bytes(range(102)) + bytes(26) + np.arange(8, dtype=np.float32).tobytes())
