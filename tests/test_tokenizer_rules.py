"""Tiny vocabularies against the rules written out plainly in Python, and files whose vocabulary cannot be used."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlet._core import Tokenizer, testing
from gemlet.errors import BadFile, ModelNotFound, UnsupportedModel
from gguf_bytes import BOOL, F32, F64, I32, STRING, U32, entry, string
from tokenizer_files import BYTES, Token, array, vocabulary_file

MARK = "\u2581".encode()
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5


def symbols_of(text: bytes) -> list[bytes]:
    out, at = [], 0
    while at < len(text):
        size = 1 if text[at] < 0xC0 else 2 if text[at] < 0xE0 else 3 if text[at] < 0xF0 else 4
        out.append(text[at : at + size])
        at += size
    return out


def plain_spm(tokens: list[Token], text: bytes, parse_special: bool, space_prefix: bool) -> list[int]:
    """The algorithm without any cleverness: no words, no cache, no heap."""
    ids = {piece: id for id, (piece, _, _) in enumerate(tokens)}
    kinds = {USER_DEFINED, CONTROL, UNKNOWN} if parse_special else {USER_DEFINED}
    specials = sorted((p for p, _, kind in tokens if kind in kinds), key=len, reverse=True)
    out: list[int] = []

    def merge(fragment: bytes) -> None:
        symbols = symbols_of(((b" " if space_prefix else b"") + fragment).replace(b" ", MARK)) if fragment else []
        while True:
            both = [a + b for a, b in pairwise(symbols)]
            pairs = [(-tokens[ids[b]][1], i) for i, b in enumerate(both) if b in ids]
            if not pairs:
                break
            _, i = min(pairs)
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
        for symbol in symbols:
            out.extend([ids[symbol]] if symbol in ids else [ids[b"<0x%02X>" % byte] for byte in symbol])

    begin = at = 0
    while at < len(text):
        match = next((s for s in specials if text.startswith(s, at)), None)
        if match is None:
            at += 1
            continue
        merge(text[begin:at])
        out.append(ids[match])
        begin = at = at + len(match)
    merge(text[begin:])
    return out


LETTERS = [b"a", b"a", b"b", b">", b"</", b"\xc3\xa9", b"\xe2\x80\x99", MARK, MARK]
letters = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=4).map(b"".join)
token = st.tuples(letters, st.integers(-4, 2).map(float), st.sampled_from([NORMAL] * 8 + [UNUSED, CONTROL]))
literal = st.lists(st.sampled_from([b"a", b"b", b" ", b"<"]), min_size=1, max_size=4).map(b"".join)
special = st.tuples(literal, st.just(-9.0), st.sampled_from([USER_DEFINED, CONTROL, UNKNOWN]))
vocabularies = st.tuples(
    st.lists(token, max_size=40), st.lists(special, max_size=4).filter(lambda s: all(MARK not in p for p, _, _ in s))
).map(lambda both: BYTES + list({piece: (piece, score, kind) for piece, score, kind in both[0] + both[1]}.values()))
texts = st.lists(
    st.sampled_from([*LETTERS, b" ", b" ", b"  ", b"z", b"\n", b"\xc3", b"\xe4", b"\xf0", b"\x96", b"\x81", b"\xff"]),
    max_size=60,
).map(b"".join)


def from_tokens(tokens: list[Token], **options: bool) -> Tokenizer:
    pieces, scores, kinds = (list(column) for column in zip(*tokens, strict=True))
    made = testing.tokenizer_from_arrays(pieces, scores, kinds, **options)
    assert isinstance(made, Tokenizer)
    return made


@settings(max_examples=400, deadline=None)
@given(vocabularies, st.lists(texts, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_ids_follow_the_plain_rules(tokens: list[Token], some: list[bytes], special: bool, prefix: bool) -> None:
    tokenizer = from_tokens(tokens, add_space_prefix=prefix)
    for text in [*some, b"".join(some) * 12]:  # the last one is long enough for the caches
        ids = tokenizer.encode(text, False, special).tolist()
        assert ids == plain_spm(tokens, text, special, prefix)
        if not prefix:
            assert tokenizer.decode_bytes(ids, special=True).replace(MARK, b" ") == text.replace(MARK, b" ")


@settings(max_examples=100, deadline=None)
@given(vocabularies)
def test_every_piece_is_found(tokens: list[Token]) -> None:
    tokenizer = from_tokens(tokens)
    for id, (piece, _, kind) in enumerate(tokens):
        assert tokenizer.find(piece) == id
        shown = {6: bytes([id & 255]), USER_DEFINED: piece, CONTROL: b"", UNKNOWN: b""}
        assert tokenizer.piece(id) == shown.get(kind, piece.replace(MARK, b" "))
    assert tokenizer.find(b"q" * 9) == -1


def test_kinds_may_be_absent() -> None:
    tokenizer = testing.tokenizer_from_arrays([p for p, _, _ in BYTES] + [b"ab"], [0.0] * 257, [])
    assert tokenizer.encode(b"ab\xff", False).tolist() == [256, 255]
    assert tokenizer.decode_bytes([256, 255]) == b"ab\xff"


def test_no_bos_to_add() -> None:
    assert from_tokens(BYTES).encode("", add_bos=True).tolist() == []


def test_scores_may_be_infinite() -> None:
    tokens = [*BYTES, (b"a", 0.0, 1), (b"b", 0.0, 1), (b"ab", float("-inf"), 1), (b"ba", float("inf"), 1)]
    assert from_tokens(tokens).encode(b"aba", False).tolist() == [256, 259]
    assert from_tokens(tokens).encode(b"ab", False).tolist() == [258]


GOOD: list[Token] = [*BYTES, (b"a", -1.0, 1)]
N = len(GOOD)
KEY = "tokenizer.ggml."


def whole(name: str, kind: int, payload: bytes) -> dict[str, bytes | None]:
    return {name: entry(KEY + name, kind, payload)}


def listed(name: str, kind: int, count: int, payload: bytes) -> dict[str, bytes | None]:
    return {name: array(KEY + name, kind, count, payload)}


NAN = struct.pack("<f", float("nan"))
CASES: list[tuple[dict[str, bytes | None], str]] = [
    ({"model": None}, "tokenizer.ggml.model"),
    ({"tokens": None}, "'tokenizer.ggml.tokens': expected an array, but the file has no such key"),
    (listed("tokens", I32, 1, bytes(4)), "tokens': expected an array of string, got an array of int32"),
    (whole("tokens", STRING, string("a")), "tokens': expected an array of string, got string"),
    ({"scores": None}, "'tokenizer.ggml.scores': expected an array, but the file has no such key"),
    (listed("scores", F64, N, bytes(8 * N)), "scores': expected an array of float32, got an array of float64"),
    (listed("scores", F32, 3, bytes(12)), f"scores': expected {N} elements, one a token, got 3"),
    (listed("scores", F32, N, NAN * N), "piece 0: expected a number as score, got NaN"),
    ({"token_type": None}, "'tokenizer.ggml.token_type': expected an array, but the file has no such key"),
    (
        listed("token_type", I32, N + 1, bytes(4 * N + 4)),
        f"token_type': expected {N} elements, one a token, got {N + 1}",
    ),
    (listed("token_type", I32, N, bytes(4 * N)), "piece 0: expected a kind from 1 to 6, got 0"),
    (
        listed("token_type", I32, N, struct.pack("<257i", *[6] * 256, 77)),
        "piece 256: expected a kind from 1 to 6, got 77",
    ),
    (whole("bos_token_id", U32, struct.pack("<I", N)), f"bos_token_id': expected 0 to {N - 1}, got {N}"),
    (whole("bos_token_id", STRING, string("<s>")), "bos_token_id': expected a token id, got string"),
    (whole("eos_token_id", BOOL, b"\1"), "eos_token_id': expected a token id, got bool"),
    (whole("add_bos_token", U32, bytes(4)), "add_bos_token': expected bool, got uint32"),
]


def refusal(path: Path, file: bytes, error: type[Exception]) -> str:
    path.write_bytes(file)
    with pytest.raises(error) as caught:
        Tokenizer(str(path))
    return str(caught.value)


@pytest.mark.parametrize(("instead", "message"), CASES, ids=[message for _, message in CASES])
def test_a_file_whose_vocabulary_cannot_be_used(tmp_path: Path, instead: dict[str, bytes | None], message: str) -> None:
    assert message in refusal(tmp_path / "bad.gguf", vocabulary_file(GOOD, instead=instead), BadFile)


def test_another_kind_of_vocabulary(tmp_path: Path) -> None:
    file = vocabulary_file(GOOD, instead=whole("model", STRING, string("gpt2")))
    message = refusal(tmp_path / "gpt2.gguf", file, UnsupportedModel)
    assert "'tokenizer.ggml.model': expected 'gemma4' (Gemma 4's vocabulary) or 'llama'" in message
    assert "got 'gpt2'" in message


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([*GOOD, (b"\xff\n", 0.0, 1), (b"\xff\n", 0.0, 1)], "pieces 257 and 258 are both '\\xff\\x0a'"),
        (GOOD[1:], "this vocabulary has no byte fallback"),
        ([*GOOD, (b"<0xZZ>", 0.0, 6)], "piece 257 is of kind byte: expected a name like '<0x0A>', got '<0xZZ>'"),
        ([], "expected 0 to"),
    ],
)
def test_pieces_that_cannot_be_used(tmp_path: Path, tokens: list[Token], message: str) -> None:
    assert message in refusal(tmp_path / "bad.gguf", vocabulary_file(tokens), BadFile)


def test_a_sound_file_and_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "good.gguf"
    optional = [f"{name}_token_id" for name in ("bos", "eos", "unknown", "padding")]
    instead = dict.fromkeys([*optional, "add_bos_token", "add_space_prefix"])
    path.write_bytes(vocabulary_file([*GOOD, (b"", 0.0, 1), (b"", 0.0, 4)], instead=instead))
    tokenizer = Tokenizer(str(path))
    path.unlink()  # the mapping stays
    assert (tokenizer.bos, tokenizer.eos, tokenizer.add_bos) == (-1, -1, True)
    # A space before the text, as the format has it; here it is no piece.
    assert tokenizer.encode("a", True).tolist() == [0xE2, 0x96, 0x81, 256]
    with pytest.raises(ModelNotFound):
        Tokenizer(str(path))
