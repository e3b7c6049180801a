"""GGUF files that hold a vocabulary and nothing else, for tests that need a small or a damaged one."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from gguf_bytes import ARRAY, BOOL, F32, I32, STRING, entry, raw_file, string, uint32

Token = tuple[bytes, float, int]  # piece, score, kind

BYTES: list[Token] = [(b"<0x%02X>" % byte, 0.0, 6) for byte in range(256)]


def array(key: str, kind: int, count: int, payload: bytes) -> bytes:
    return entry(key, ARRAY, struct.pack("<IQ", kind, count) + payload)


def vocabulary_entries(tokens: Sequence[Token], *, add_space_prefix: bool = False) -> dict[str, bytes]:
    n = len(tokens)
    prefix = "tokenizer.ggml."
    return {
        "architecture": entry("general.architecture", STRING, string("gemma3")),
        "model": entry(prefix + "model", STRING, string("llama")),
        "tokens": array(prefix + "tokens", STRING, n, b"".join(string(piece) for piece, _, _ in tokens)),
        "scores": array(prefix + "scores", F32, n, struct.pack(f"<{n}f", *(score for _, score, _ in tokens))),
        "token_type": array(prefix + "token_type", I32, n, struct.pack(f"<{n}i", *(kind for _, _, kind in tokens))),
        "bos_token_id": uint32(prefix + "bos_token_id", 0),
        "eos_token_id": uint32(prefix + "eos_token_id", 0),
        "unknown_token_id": uint32(prefix + "unknown_token_id", 0),
        "padding_token_id": uint32(prefix + "padding_token_id", 0),
        "add_bos_token": entry(prefix + "add_bos_token", BOOL, b"\x01"),
        "add_space_prefix": entry(prefix + "add_space_prefix", BOOL, bytes([add_space_prefix])),
    }


def vocabulary_file(
    tokens: Sequence[Token], *, add_space_prefix: bool = False, instead: Mapping[str, bytes | None] | None = None
) -> bytes:
    """`instead`: entries by their short name, with other bytes, or None to leave one out."""
    entries = {**vocabulary_entries(tokens, add_space_prefix=add_space_prefix), **(instead or {})}
    return raw_file([e for e in entries.values() if e is not None])
