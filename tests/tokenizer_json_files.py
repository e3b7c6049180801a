"""Folders with a tokenizer.json in the manner of Gemma's, for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bpe_vocabulary import BYTE, CONTROL, MARK, NORMAL, USER_DEFINED

Document = dict[str, Any]
Tokens = Sequence[tuple[str, int]]
SPLIT = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}


def added_token(id: int, content: str, **flags: bool) -> dict[str, Any]:
    off = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": id, "content": content, **off, **flags}


def document(
    tokens: Tokens, merges: Iterable[Sequence[str]], *, added: Iterable[int] = (), pairs: bool = True
) -> Document:
    """`added`: ids of further pieces that are added tokens, besides the control and the user-defined ones."""
    as_added = {id for id, (_, kind) in enumerate(tokens) if kind in (CONTROL, USER_DEFINED)} | set(added)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(id, tokens[id][0], special=tokens[id][1] == CONTROL) for id in sorted(as_added)],
        "normalizer": REPLACE,
        "pre_tokenizer": SPLIT,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": MARK}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: id for id, (piece, _) in enumerate(tokens)},
            "merges": [list(m) if pairs else " ".join(m) for m in merges],
        },
    }


def newline_ids(tokens: Tokens) -> list[int]:
    return [id for id, (piece, _) in enumerate(tokens) if set(piece) == {"\n"}]


def write(folder: Path, made: Document, settings: Mapping[str, Any] | None = None, **options: Any) -> str:
    """tokenizer.json, and tokenizer_config.json if there are settings; options are json.dumps'."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(made, **({"ensure_ascii": False} | options)), encoding="utf-8")
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return str(folder)


def tiny(*words: str) -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
    """Specials, bytes, letters, and `words` whose merges go letter by letter."""
    letters = sorted(set("".join(words)) | {MARK})
    tokens = [("<pad>", CONTROL), ("<eos>", CONTROL), ("<bos>", CONTROL), ("<unk>", CONTROL)]
    tokens += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)] + [(c, NORMAL) for c in letters]
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            if (word[:end], NORMAL) not in tokens:
                tokens.append((word[:end], NORMAL))
                merges.append((word[: end - 1], word[end - 1]))
    return tokens, merges
