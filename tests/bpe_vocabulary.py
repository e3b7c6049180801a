"""Small vocabularies in the manner of Gemma 4, as GGUF files and in the `tokenizers` package, and strings for them."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from gguf_bytes import STRING, entry, string
from tokenizer_files import Token, array, vocabulary_file
from tokenizer_strings import strings

NORMAL, CONTROL, USER_DEFINED, BYTE = 1, 3, 4, 6
MARK = "\u2581"
FIRST = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
CONTROLS = ["<|tool>", "<tool|>", "<|think|>", "<|turn>", "<turn|>", "<unused0>", "<unused17>"]
VISIBLE = ["<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>', "<|channel>", "<channel|>"]
LAST = ["<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>"]
RUN = 31
# `tokenizers` takes text, and llama.cpp's BPE replaces what is none, so the kinds that are UTF-8.
TEXT_KINDS = ("blocks", "emoji", "spaces", "look_alikes", "html", "code", "long_words", "prose")


def document_order(learnt: Sequence[str], letters: Sequence[str]) -> list[tuple[str, int]]:
    """Pieces and kinds: special ones, runs, tags, bytes, learnt pieces as they were learnt, letters, tabs, media."""
    out = [(p, CONTROL) for p in FIRST]
    out += [(p, CONTROL) for p in CONTROLS[:2]] + [(p, USER_DEFINED) for p in VISIBLE]
    out += [(p, CONTROL) for p in CONTROLS[2:]]
    out += [("\n" * k, NORMAL) for k in range(1, RUN + 1)] + [(MARK * k, NORMAL) for k in range(2, RUN + 1)]
    out += [(p, NORMAL) for p in ("<table>", "</s>", "<h1>", "</h1>")]
    out += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    out += [(p, NORMAL) for p in [*learnt, *letters]]
    out += [("\t" * k, NORMAL) for k in range(1, RUN + 1)]
    out += [(p, CONTROL) for p in LAST]
    return list({p: (p, kind) for p, kind in reversed(out)}.values())[::-1]


def all_merges(tokens: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    """Every way to make a piece of two others, piece after piece: what converters from scored pieces write."""
    normal = {piece for piece, kind in tokens if kind == NORMAL}
    return [
        (piece[:i], piece[i:])
        for piece, kind in tokens
        if kind == NORMAL
        for i in range(1, len(piece))
        if piece[:i] in normal and piece[i:] in normal
    ]


def merge_entry(merges: Sequence[str | bytes]) -> bytes:
    return array("tokenizer.ggml.merges", STRING, len(merges), b"".join(map(string, merges)))


def written(merges: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{a.replace(' ', chr(0x120))} {b.replace(' ', chr(0x120))}" for a, b in merges]


def bpe_file(
    tokens: Sequence[tuple[str, int]], merges: Sequence[tuple[str, str]], instead: Mapping[str, bytes | None] = {}
) -> bytes:
    scored: list[Token] = [(piece.encode(), -1000.0, kind) for piece, kind in tokens]
    names = [piece for piece, _ in tokens]
    ids = {"padding": "<pad>", "eos": "<eos>", "bos": "<bos>", "unknown": "<unk>"}
    entries: dict[str, bytes | None] = {
        "architecture": entry("general.architecture", STRING, string("gemma4")),
        "model": entry("tokenizer.ggml.model", STRING, string("gemma4")),
        "merges": merge_entry(written(merges)),
    }
    for name, piece in ids.items():
        key = f"{name}_token_id"
        entries[key] = (
            entry(f"tokenizer.ggml.{key}", 4, struct.pack("<I", names.index(piece))) if piece in names else None
        )
    return vocabulary_file(scored, instead={**entries, **instead})


def with_markers(n: int) -> list[bytes]:
    """Special pieces, whole and spoilt, between words and runs."""
    rng = random.Random("tokenizer markers")
    marks = [*FIRST, *CONTROLS, *VISIBLE, *LAST, "</s>", "<table>"]
    parts = [*marks, *marks, *marks, " ", "  ", "\n", "\n\n", "user", "model", "<", "|", ">", "<|", "|>", "<0x0A>"]
    out = []
    for _ in range(n):
        text = "".join(rng.choices(parts, k=rng.randint(1, 9)))
        if rng.random() < 0.3:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(["", " ", "|", "\n"]) + text[at + 1 :]
        out.append(text.encode())
    return out


def with_runs(n: int) -> list[bytes]:
    """Runs of newlines, spaces and tabs of every length up to 70, between and at the ends of text."""
    rng = random.Random("tokenizer runs")
    out = [a + c * k + b for k in range(1, 71) for c in (b"\n", b" ", b"\t") for a, b in ((b"", b""), (b"x", b"y"))]
    while len(out) < n:
        runs = [rng.choice("\n\n \t") * rng.randint(1, 40) + rng.choice(["", "a", "the", "="]) for _ in range(4)]
        out.append("".join(runs).encode())
    return out[:n] if n < len(out) else out


def bpe_strings(scale: int) -> dict[str, list[bytes]]:
    """All are UTF-8; `scale` of each kind."""
    return {**strings(dict.fromkeys(TEXT_KINDS, scale)), "markers": with_markers(scale), "runs": with_runs(scale)}


def open_tokenizers(tokens: Sequence[tuple[str, int]], merges: Sequence[tuple[str, str]], *, special: bool) -> Any:
    """A Gemma 4 tokenizer.json's pipeline; newline runs are added tokens, so the longest wins."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

    vocab = {piece: id for id, (piece, _) in enumerate(tokens)}
    model = models.BPE(vocab=vocab, merges=list(merges), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    made = Tokenizer(model)
    made.normalizer = normalizers.Replace(" ", MARK)
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    kinds = {USER_DEFINED, CONTROL} if special else {USER_DEFINED}
    added = [p for p, kind in tokens if kind in kinds or set(p) == {"\n"}]
    made.add_tokens([AddedToken(p, normalized=False, special=False) for p in added])
    assert made.get_vocab_size() == len(tokens)
    return made
