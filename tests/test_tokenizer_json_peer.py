"""tokenizer.json live against `tokenizers`: files that it wrote itself, small and of the demo model's full size."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from bpe_vocabulary import CONTROL, MARK, NORMAL, USER_DEFINED, bpe_strings
from gemlet._core import Gguf, Tokenizer
from test_bpe_peer import vocabulary
from test_tokenizer import demo_file
from tokenizer_json_files import Document, added_token, document, newline_ids, tiny, write
from tokenizer_strings import strings

pytestmark = pytest.mark.peer
tokenizers = pytest.importorskip("tokenizers")

EACH = 500


def saved(folder: Path, made: Document) -> tuple[Tokenizer, Any]:
    """Opened here from what `tokenizers` saved after it had read the document; and its own."""
    theirs = tokenizers.Tokenizer.from_str(json.dumps(made))
    folder.mkdir(parents=True, exist_ok=True)
    theirs.save(str(folder / "tokenizer.json"))
    return Tokenizer(str(folder)), theirs


def compare(ours: Tokenizer, theirs: Any, texts: list[str]) -> None:
    """Special pieces read: `tokenizers` cuts them out even where it does not."""
    for text, want in zip(texts, theirs.encode_batch(texts, add_special_tokens=False), strict=True):
        assert ours.encode(text, False, True).tolist() == want.ids, text


@pytest.mark.parametrize("name", ["golden", "small 1", "small 2"])
@pytest.mark.parametrize("runs_added", [False, True])
def test_same_ids(tmp_path: Path, name: str, runs_added: bool) -> None:
    tokens, merges = vocabulary(name)
    made = document(tokens, merges, added=newline_ids(tokens) if runs_added else [])
    ours, theirs = saved(tmp_path, made)
    compare(ours, theirs, [text.decode() for texts in bpe_strings(EACH).values() for text in texts])


def test_same_ids_with_every_kind_of_added_token(tmp_path: Path) -> None:
    rng = random.Random(5)
    tokens, merges = tiny("abab", "ba", MARK * 3, MARK + "a", "\n\n")
    made = document(tokens, merges)
    contents = ["<x>", "[y]", "ab ", " <", "aba", "ba", "<xy>", MARK * 2, "\n"]
    known = [piece for piece, _ in tokens]
    for i, content in enumerate(contents):
        id = known.index(content) if content in known else len(tokens) + i
        flags = {name: rng.random() < 0.4 for name in ("lstrip", "rstrip", "special")}
        flags["normalized"] = content == "ba"
        made["added_tokens"].append(added_token(id, content, **flags))
    ours, theirs = saved(tmp_path, made)
    parts = [*contents, "a", "b", "<", " ", "  ", "\t", "\u2003", MARK, "<bos>", "c", "\n"]
    compare(ours, theirs, ["".join(rng.choices(parts, k=rng.randint(1, 9))) for _ in range(4000)])


def demo_document() -> Document:
    """The demo's vocabulary as Gemma 3's tokenizer.json has it: merges by the scores, runs and tags added."""
    gguf = Gguf(demo_file())
    found = gguf.metadata(max_array=1 << 20)
    pieces: list[str] = [p.replace(" ", MARK) for p in found["tokenizer.ggml.tokens"]]
    kinds = found["tokenizer.ggml.token_type"]
    normal = {piece: id for id, piece in enumerate(pieces)}
    merges = []
    for piece, kind in zip(pieces, kinds, strict=True):
        if kind == NORMAL or (kind == USER_DEFINED and set(piece) <= {MARK, "\t", "\n"}):
            merges += [
                (piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in normal and piece[i:] in normal
            ]
    return document([(p, k if k in (CONTROL, USER_DEFINED) else NORMAL) for p, k in zip(pieces, kinds, strict=True)],
                    merges)  # fmt: skip


@pytest.mark.slow
def test_full_size(tmp_path: Path) -> None:
    path = Path(write(tmp_path, demo_document(), indent=2)) / "tokenizer.json"
    assert path.stat().st_size > 25e6
    began = time.perf_counter()
    theirs = tokenizers.Tokenizer.from_file(str(path))
    their_s, began = time.perf_counter() - began, time.perf_counter()
    ours = Tokenizer(str(path))
    our_s = time.perf_counter() - began
    print(f"load: {our_s:.3f} s, tokenizers {their_s:.3f} s")
    assert our_s < their_s
    counts = dict.fromkeys(("blocks", "emoji", "spaces", "look_alikes", "html", "code", "long_words", "prose"), 400)
    compare(ours, theirs, [text.decode() for texts in strings(counts).values() for text in texts])
