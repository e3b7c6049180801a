"""Live against llama.cpp: every string's ids, special pieces parsed or not, on the demo vocabulary and on tiny ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemlet._core import Tokenizer
from llama_oracle import LlamaTokenizer, open_llama
from test_tokenizer import demo_file
from tokenizer_files import BYTES, vocabulary_file
from tokenizer_strings import KINDS, glued, strings

pytestmark = pytest.mark.peer
pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")

COUNTS = {
    "blocks": 5000, "emoji": 1500, "spaces": 2500, "invalid": 4000, "look_alikes": 2500, "html": 1500, "code": 1500,
    "long_words": 1500, "random_bytes": 2500, "prose": 1500,
}  # fmt: skip
PIECES = 3000


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(demo_file())


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaTokenizer]:
    with open_llama(demo_file()) as open_:
        yield open_


def compare(ours: Tokenizer, theirs: LlamaTokenizer, texts: list[bytes]) -> None:
    for text in texts:
        for special in (False, True):
            ids = ours.encode(text, add_bos=False, parse_special=special).tolist()
            assert ids == theirs.encode(text, parse_special=special), (text, special)


def test_there_are_enough_strings() -> None:
    assert COUNTS.keys() == KINDS.keys()
    assert len({t for texts in strings(COUNTS).values() for t in texts}) + PIECES > 20_000


@pytest.mark.parametrize("kind", COUNTS)
def test_same_ids(tokenizer: Tokenizer, llama: LlamaTokenizer, kind: str) -> None:
    compare(tokenizer, llama, strings({kind: COUNTS[kind]})[kind])


def test_same_ids_for_glued_pieces(tokenizer: Tokenizer, llama: LlamaTokenizer) -> None:
    pieces = [tokenizer.piece(id, special=True) for id in range(0, tokenizer.vocab_size, 29)]
    compare(tokenizer, llama, glued(pieces, PIECES))


@pytest.mark.parametrize("space_prefix", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_same_ids_with_a_tiny_vocabulary(tmp_path: Path, seed: int, space_prefix: bool) -> None:
    """What Gemma's file never does: a space before the text, space marks inside pieces, equal scores, unused pieces."""
    rng = random.Random(seed)
    letters = ["a", "b", "c", "\u2581", "\u2581", "é", ">", "<"]
    words = {"".join(rng.choices(letters, k=rng.randint(1, 4))) for _ in range(60)}
    tokens = [*BYTES, *((w.encode(), float(-rng.randint(0, 9)), rng.choice([1, 1, 1, 5])) for w in sorted(words))]
    tokens += [(b"[x]", -1000.0, 4), (b"[ab]", -1000.0, 3), (b"\n\n", 0.0, 4), (b"{unk}", 0.0, 2)]
    path = tmp_path / "tiny.gguf"
    path.write_bytes(vocabulary_file(tokens, add_space_prefix=space_prefix))
    parts = ["a", "b", "c", "ab", " ", "  ", "\u2581", "é", "[x]", "[ab]", "{unk}", "\n\n", "<", ">", "> <", "z"]
    texts = ["".join(rng.choices(parts, k=rng.randint(1, 14))).encode() for _ in range(400)]
    texts += [t[: rng.randrange(len(t)) + 1] + rng.choice([b"\xe4", b"\xf0", b"\xc3"]) + b" a" + t for t in texts[:100]]
    with open_llama(str(path)) as llama:
        compare(Tokenizer(str(path)), llama, texts)
