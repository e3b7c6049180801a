"""Gemma 4's kind of vocabulary live against `tokenizers` and llama.cpp, special pieces parsed or not."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from bpe_vocabulary import MARK, all_merges, bpe_file, bpe_strings, document_order, open_tokenizers
from gemlet._core import Tokenizer
from llama_oracle import open_llama
from test_bpe import read_golden

pytestmark = pytest.mark.peer

EACH = 700


def vocabulary(name: str) -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
    """`golden`: learnt pieces. `small`: random ones, merges in any order and only some of those there could be."""
    if name == "golden":
        golden = read_golden()
        return golden["tokens"], [(a, b) for a, b in golden["merges"]]
    rng = random.Random(name)
    letters = ["a", "e", "t", "h", "o", "=", "<", "|", ">", "é", "的", MARK, "\t"]
    words = ["".join(rng.choices(letters, k=rng.randint(2, 4))) for _ in range(400)]
    tokens = document_order([w for w in words if "\t" not in w], letters)
    merges = [m for m in all_merges(tokens) if set("".join(m)) == {"\n"} or rng.random() < 0.8]
    head = [m for m in merges if set("".join(m)) <= {"\n"}]
    tail = [m for m in merges if m not in set(head)]
    rng.shuffle(tail)
    return tokens, head + tail


@pytest.fixture(params=["golden", "small 1", "small 2"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def opened(path: Path, name: str) -> Tokenizer:
    path.write_bytes(bpe_file(*vocabulary(name)))
    return Tokenizer(str(path))


@pytest.mark.parametrize("special", [False, True])
def test_same_ids_as_tokenizers(tmp_path: Path, name: str, special: bool) -> None:
    pytest.importorskip("tokenizers")
    ours = opened(tmp_path / "v.gguf", name)
    theirs = open_tokenizers(*vocabulary(name), special=special)
    texts = [text for texts in bpe_strings(EACH).values() for text in texts]
    assert len(texts) >= 10 * EACH
    for text, want in zip(texts, theirs.encode_batch([t.decode() for t in texts]), strict=True):
        assert ours.encode(text, False, special).tolist() == want.ids, text


def test_same_ids_as_llama_cpp(tmp_path: Path, name: str) -> None:
    """But for runs of more newlines than a piece has, where llama.cpp merges pairs and the longest first is better."""
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    path = tmp_path / "v.gguf"
    ours = opened(path, name)
    compared = 0
    with open_llama(str(path)) as theirs:
        for texts in bpe_strings(EACH).values():
            for text in texts:
                if re.search(rb"\n{32}", text):
                    continue
                compared += 1
                for special in (False, True):
                    want = theirs.encode(text, parse_special=special)
                    assert ours.encode(text, False, special).tolist() == want, (text, special)
    assert compared > 9 * EACH
