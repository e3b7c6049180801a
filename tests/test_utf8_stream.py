"""Streaming UTF-8 against Python's own decoder, whatever the bytes and wherever they are cut."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gemlet._core import Utf8Stream

# Every border of the well-formed table, and whole characters to be cut.
EDGES = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF]
EDGES += [0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
edges = st.lists(st.sampled_from(EDGES), max_size=12).map(bytes)
chunk = st.one_of(edges, st.binary(max_size=8), st.text(max_size=4).map(lambda s: s.encode()))


@settings(max_examples=500, deadline=None)
@given(st.lists(chunk, max_size=8))
@example([b"\xe2", b"\x82", b"\xac"])
@example([b"\xf0\x9f\x98", b"\xf0\x9f\x98\x80"])
@example([b"\xed", b"\xa0", b"\x80"])
@example([b"\xf4", b"\x90"])
def test_equals_python_at_every_step(chunks: list[bytes]) -> None:
    stream, python = Utf8Stream(), codecs.getincrementaldecoder("utf-8")("replace")
    whole = b"".join(chunks).decode("utf-8", "replace")
    ours = theirs = ""
    for data in chunks:
        ours += stream.push(data)
        theirs += python.decode(data)
        assert whole.startswith(ours)  # nothing that later bytes could change
        assert ours.startswith(theirs)  # nothing kept back that is certain; Python itself waits with half a surrogate
    assert ours + stream.finish() == whole
    assert stream.push(b"again") == "again"


def test_every_pair_of_bytes() -> None:
    for first in range(256):
        for second in range(256):
            stream = Utf8Stream()
            text = stream.push(bytes([first])) + stream.push(bytes([second])) + stream.finish()
            assert text == bytes([first, second]).decode("utf-8", "replace")


@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_an_unfinished_character_waits(character: str) -> None:
    stream = Utf8Stream()
    *held, last = character.encode()
    assert [stream.push(bytes([b])) for b in held] == [""] * len(held)
    assert stream.push(bytes([last])) == character
    assert stream.finish() == ""


def test_only_bytes() -> None:
    with pytest.raises(TypeError):
        Utf8Stream().push("text")  # type: ignore[arg-type]
