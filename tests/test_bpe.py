"""Gemma 4's tokenizer: the ids of `tokenizers`, the rules written out plainly, and merges that cannot be used."""

from __future__ import annotations

import gzip
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe_vocabulary import CONTROLS, MARK, VISIBLE, all_merges, bpe_file, bpe_strings, merge_entry
from gemlet._core import Tokenizer, testing
from gemlet.errors import BadFile
from gguf_bytes import BOOL, I32, STRING, entry, string
from test_tokenizer import demo_file
from test_tokenizer_rules import symbols_of
from tokenizer_files import BYTES, array
from tokenizer_strings import strings

GOLDEN = Path(__file__).with_name("golden") / "tokenizer_gemma4.json.gz"
Golden = dict[str, Any]


def read_golden() -> Golden:
    golden: Golden = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    return golden


@pytest.fixture(scope="module")
def golden() -> Golden:
    return read_golden()


@pytest.fixture(scope="module")
def tokenizer(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("bpe") / "vocabulary.gguf"
    path.write_bytes(bpe_file(golden["tokens"], golden["merges"]))
    return Tokenizer(str(path))


def test_ids_are_those_of_tokenizers(golden: Golden, tokenizer: Tokenizer) -> None:
    assert sum(map(len, golden["cases"].values())) == 2500
    wrong = [
        (kind, text, parse_special)
        for kind, items in golden["cases"].items()
        for text, parse_special, ids in items
        if tokenizer.encode(text, add_bos=False, parse_special=parse_special).tolist() != ids
    ]
    assert not wrong


@pytest.mark.parametrize("parse_special", [False, True])
def test_round_trip(tokenizer: Tokenizer, parse_special: bool) -> None:
    """A space mark in the text comes back as a space, and a space inside a cut character as a space mark."""
    mark = MARK.encode()
    for texts in {**bpe_strings(400), **strings({"invalid": 800, "random_bytes": 800})}.values():
        for text in texts:
            back = tokenizer.decode_bytes(tokenizer.encode(text, False, parse_special), special=True)
            assert back.replace(mark, b" ") == text.replace(mark, b" ")
            if mark not in text and text.decode("utf-8", "ignore").encode() == text:
                assert back == text


def test_a_run_of_newlines_is_one_token(tokenizer: Tokenizer) -> None:
    one = tokenizer.find("\n")
    for k in range(1, 32):
        assert tokenizer.find("\n" * k) == one + k - 1
        assert tokenizer.encode("\n" * k, False).tolist() == [one + k - 1]
        assert tokenizer.encode("=" + "\n" * k + "=", False).tolist()[1:-1] == [one + k - 1]
    for k in (32, 40, 62, 63, 100):
        rest = [one + k % 31 - 1] if k % 31 else []
        assert tokenizer.encode("\n" * k, False).tolist() == [one + 30] * (k // 31) + rest


def test_without_some_runs() -> None:
    """The longest that there is; bytes without any."""
    for runs, ids in (([b"\n\n", b"\n\n\n"], [257, 257, 256]), ([b"\n"], [256] * 8), ([], [10] * 8)):
        assert from_pieces([*runs, b"a", b"b", b"ab"], [b"a b"]).encode("\n" * 8, False).tolist() == ids
    # A piece of newlines and other things is never reached across the border of a run.
    assert from_pieces([b"\n", b"a", b"a\n"], [b"a \n"]).encode("a\n", False).tolist() == [257, 256]
    # A run that is a control piece is text like any other.
    made = from_pieces([b"\n", b"\n\n", b"a", b"b", b"ab"], [b"a b"], {b"\n\n": 3})
    assert made.encode("\n\n", False).tolist() == [256, 256]
    assert made.encode("\n\n", False, True).tolist() == [257]


def test_spaces(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("is", False).tolist() == [tokenizer.find("is")]  # no space before a text
    assert tokenizer.encode(" is", False).tolist() == [tokenizer.find(MARK + "is")]
    assert tokenizer.encode("  ", False).tolist() == [tokenizer.find(MARK * 2)]
    assert tokenizer.find(f">{MARK}</") in tokenizer.encode("x> </y", False).tolist()
    assert tokenizer.decode([tokenizer.find(MARK * 31)]) == " " * 31


def test_special_pieces(tokenizer: Tokenizer) -> None:
    for piece in [*CONTROLS, "<bos>", "<unk>", "<|image|>"]:
        id = tokenizer.find(piece)
        assert tokenizer.encode(piece, False, True).tolist() == [id]
        assert id not in tokenizer.encode(piece, False, False).tolist()
        assert (tokenizer.piece(id), tokenizer.piece(id, special=True)) == (b"", piece.encode())
    for piece in VISIBLE:
        id = tokenizer.find(piece)
        assert tokenizer.encode(piece, False, False).tolist() == [id] == tokenizer.encode(piece, False, True).tolist()
        assert tokenizer.piece(id) == piece.encode()


# Small vocabularies against the rules.


def from_pieces(pieces: list[bytes], merges: list[bytes], kinds: dict[bytes, int] | None = None) -> Tokenizer:
    all_pieces = [p for p, _, _ in BYTES] + pieces
    all_kinds = [6] * 256 + [(kinds or {}).get(p, 1) for p in pieces]
    made = testing.tokenizer_from_arrays(all_pieces, [], all_kinds, merges=merges)
    assert isinstance(made, Tokenizer)
    return made


def plain_bpe(pieces: list[bytes], merges: list[bytes], text: bytes) -> list[int]:
    """No words, no cache, no heap, no table; texts without newlines and special pieces."""
    ids = {piece: id for id, piece in enumerate(pieces, 256)}
    ranks: dict[tuple[bytes, bytes], int] = {}
    for rank, merge in enumerate(merges):
        space = merge.index(b" ", 1)
        ranks.setdefault((merge[:space], merge[space + 1 :]), rank)
    symbols = symbols_of(text.replace(b" ", MARK.encode()))
    while known := [(ranks[pair], i) for i, pair in enumerate(pairwise(symbols)) if pair in ranks]:
        _, i = min(known)
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    return [id for s in symbols for id in ([ids[s]] if s in ids else s)]


LETTERS = ["a", "b", "c", "é", MARK, ">"]
words = st.lists(st.sampled_from(LETTERS), min_size=2, max_size=5).map("".join)


@st.composite
def vocabularies(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Merges in any order and any part of those that there could be; some pieces can be reached by none."""
    tokens = [(p, 1) for p in dict.fromkeys([*LETTERS, *draw(st.lists(words, min_size=4, max_size=30))])]
    merges = [f"{a} {b}".encode() for a, b in all_merges([*tokens, *((a + b, 1) for a in LETTERS for b in LETTERS)])]
    whole = {p.encode() for p, _ in tokens}
    usable = [m for m in merges if m.replace(b" ", b"") in whole and set(m.split(b" ")) <= whole]
    order = draw(st.permutations(usable)) if usable else []
    return [p.encode() for p, _ in tokens], order[: draw(st.integers(1, max(1, len(order))))]


texts = st.lists(st.sampled_from([*(c.encode() for c in LETTERS), b" ", b" ", b"z", b"\xc3", b"\xff"]), max_size=50)


@settings(max_examples=300, deadline=None)
@given(vocabularies(), st.lists(texts.map(b"".join), min_size=1, max_size=4))
def test_ids_follow_the_plain_rules(vocabulary: tuple[list[bytes], list[bytes]], some: list[bytes]) -> None:
    pieces, merges = vocabulary
    if not merges:
        return
    tokenizer = from_pieces(pieces, merges)
    for text in [*some, b"".join(some) * 8]:  # the last one is long enough for the heap and the caches
        assert tokenizer.encode(text, False).tolist() == plain_bpe(pieces, merges, text)


def test_the_first_of_two_equal_merges_counts() -> None:
    pieces = [b"a", b"b", b"ab", b"ba"]
    assert from_pieces(pieces, [b"a b", b"b a", b"a b"]).encode("bab", False).tolist() == [257, 258]
    assert from_pieces(pieces, [b"b a", b"a b", b"b a"]).encode("bab", False).tolist() == [259, 257]


def test_spaces_inside_merges() -> None:
    """The first space after the first byte divides; one inside a piece may be written U+0120."""
    dotted = "\u0120".encode()
    from_pieces([b" a", b"b", b" ab"], [b" a b"])
    from_pieces([b"a b", b"c", b"a bc"], [b"a" + dotted + b"b c"])
    letter = from_pieces([dotted, b"b", dotted + b"b"], [dotted + b" b"])
    assert letter.encode(dotted + b"b", False).tolist() == [258]  # where U+0120 is a letter, it is itself


GOOD = [("a", 1), ("b", 1), ("ab", 1), *((p.decode(), 6) for p, _, _ in BYTES)]
MERGES = "tokenizer.ggml.merges"
CASES: list[tuple[dict[str, bytes | None], str]] = [
    ({"merges": None}, f"'{MERGES}': expected an array, but the file has no such key; Gemma 4's text cannot be split"),
    ({"merges": merge_entry([])}, f"'{MERGES}': expected at least one merge, got none"),
    ({"merges": entry(MERGES, STRING, string("a b"))}, f"'{MERGES}': expected an array of string, got string"),
    ({"merges": array(MERGES, I32, 1, bytes(4))}, f"'{MERGES}': expected an array of string, got an array of int32"),
    ({"merges": merge_entry(["a b", "ab"])}, "merge 1, 'ab': expected two pieces with a space between them"),
    ({"merges": merge_entry(["a "])}, "merge 0, 'a ': expected two pieces"),
    ({"merges": merge_entry([" a"])}, "merge 0, ' a': expected two pieces"),
    ({"merges": merge_entry([""])}, "merge 0, '': expected two pieces"),
    ({"merges": merge_entry(["a b", "a q"])}, "merge 1, 'a q': expected 'q' among the pieces"),
    ({"merges": merge_entry(["q b"])}, "merge 0, 'q b': expected 'q' among the pieces"),
    ({"merges": merge_entry(["b a"])}, "merge 0, 'b a': expected 'ba' among the pieces"),
    ({"merges": merge_entry([b"a \xff\n"])}, r"merge 0, 'a \xff\x0a': expected '\xff\x0a' among the pieces"),
]


@pytest.mark.parametrize(("instead", "message"), CASES, ids=[message for _, message in CASES])
def test_merges_that_cannot_be_used(tmp_path: Path, instead: dict[str, bytes | None], message: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(bpe_file(GOOD, [("a", "b")], instead))
    with pytest.raises(BadFile) as caught:
        Tokenizer(str(path))
    assert message in str(caught.value)


def test_what_a_gemma4_file_says_otherwise(tmp_path: Path) -> None:
    """No start token, a space before the text, no scores, the name 'llama': none of it changes anything."""
    pre = entry("tokenizer.ggml.pre", STRING, string("gemma4"))
    flags = {
        "add_bos_token": entry("tokenizer.ggml.add_bos_token", BOOL, b"\0"),
        "add_space_prefix": entry("tokenizer.ggml.add_space_prefix", BOOL, b"\1"),
    }
    path = tmp_path / "file.gguf"
    tokens = [("<bos>", 3), *GOOD]
    model = entry("tokenizer.ggml.model", STRING, string("llama"))
    for instead in ({}, {"scores": None}, {"pre": pre}, flags, {"model": model, "pre": pre, **flags}):
        path.write_bytes(bpe_file(tokens, [("a", "b")], instead))
        tokenizer = Tokenizer(str(path))
        assert tokenizer.add_bos
        assert tokenizer.encode("ab").tolist() == [0, 3]
    path.write_bytes(bpe_file(tokens, [("a", "b")], {"model": model, "pre": pre, "merges": None}))
    with pytest.raises(BadFile, match="expected an array, but the file has no such key"):
        Tokenizer(str(path))
    # Without `pre` it is Gemma 3's kind, whose scores count and whose merges, if any, do not.
    scores = array("tokenizer.ggml.scores", 6, len(tokens), struct.pack(f"<{len(tokens)}f", *[-1.0] * len(tokens)))
    path.write_bytes(bpe_file(tokens, [("a", "b")], {"model": model, "scores": scores, **flags}))
    assert not Tokenizer(str(path)).add_bos


def test_the_real_pieces(tmp_path: Path) -> None:
    """Gemma 3's 262144 pieces and every merge of two that makes a third: as many as Gemma 4 has, and the same ids."""
    theirs = Tokenizer(demo_file())
    tokens: list[tuple[str, int]] = []
    for id in range(theirs.vocab_size):
        piece = theirs.piece(id, special=True)
        if 238 <= id < 494:
            tokens.append((f"<0x{id - 238:02X}>", 6))
        else:
            tokens.append((piece.decode().replace(" ", MARK), 1 if theirs.piece(id) else 3))
    merges = all_merges(tokens)
    assert len(merges) == 514_906
    path = tmp_path / "real.gguf"
    path.write_bytes(bpe_file(tokens, merges))
    ours = Tokenizer(str(path))
    table = min(testing.tokenizer_build_seconds(str(path))[2] for _ in range(3))
    assert table < 2  # a few hundredths of a second; this is for the machine that has no time
    assert ours.encode("\n" * 31 + "a" + " " * 31).tolist() == [2, 137, ours.find("a"), 167]
    # Runs and tags are merged here and special there, so: text of words with one space between them.
    for text in strings({"prose": 300})["prose"]:
        one_line = text.replace(b"\n", b" ")
        assert ours.encode(one_line).tolist() == theirs.encode(one_line).tolist()
