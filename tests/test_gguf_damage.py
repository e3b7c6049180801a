"""Damaged GGUF files: refused, by name and with the remedy, and never a crash."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gemlet import errors
from gemlet._core import Gguf, testing
from gguf_bytes import (
    ARRAY,
    BOOL,
    F32,
    F64,
    STRING,
    TYPE_F32,
    TYPE_Q8_0,
    entry,
    raw_file,
    small_file,
    string,
    tensor_entry,
    uint32,
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], str]:
    def to_file(raw: bytes) -> str:
        path = tmp_path / "file.gguf"
        path.write_bytes(raw)
        return str(path)

    return to_file


# What is damaged.

FLOATS = bytes(64)  # room for sixteen float32


def of_entries(*entries: bytes) -> bytes:
    return raw_file(entries)


def array(kind: int, count: int, payload: bytes = b"") -> bytes:
    return raw_file([entry("k", ARRAY, struct.pack("<IQ", kind, count) + payload)])


def alignment(value: int) -> bytes:
    return raw_file([uint32("general.alignment", value)])


def tensor(dims: Sequence[int], kind: int = TYPE_F32, offset: int = 0, name: str | bytes = "t") -> bytes:
    return raw_file([], [tensor_entry(name, dims, kind, offset)], FLOATS)


def two_tensors(second: str, offset: int) -> bytes:
    return raw_file([], [tensor_entry(second, [8], TYPE_F32, offset), tensor_entry("a", [16], TYPE_F32, 0)], FLOATS)


# name -> (bytes, what the message says)
DAMAGE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "archive": (b"PK\x03\x04" + bytes(60), r"which begins with 'GGUF', got 'PK\\x03\\x04'; this is an archive"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "this looks like a Git LFS pointer"),
    "web page": (b"<!DOCTYPE html>", "this is a web page"),
    "old format": (b"tjgg" + bytes(60), "this is a format older than GGUF"),
    "version 0": (raw_file(version=0), "expected version 2 or 3, got 0"),
    "version 1": (raw_file(version=1), "expected version 2 or 3, got 1; convert"),
    "version 4": (raw_file(version=4), "expected version 2 or 3, got 4; update"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "expected a little-endian file, got a big-endian one"),
    "entry count": (raw_file(counts=(0, 2**40)), "at most 0 metadata entries in 24 bytes, got 1099511627776"),
    "tensor count": (raw_file(counts=(2**63, 0)), "at most 0 tensors in 24 bytes, got 9223372036854775808"),
    "empty key": (of_entries(uint32("", 1)), "expected a key of 1 to 65536 bytes, got 0"),
    "long key": (of_entries(uint32("k" * 65537, 1)), "expected a key of 1 to 65536 bytes, got 65537"),
    "key length": (of_entries(struct.pack("<Q", 2**64 - 1) + bytes(99)), "length of 18446744073709551615 at byte 32"),
    "value type": (of_entries(entry("k", 13, bytes(8))), "metadata 'k': expected a value type of 0 to 12, got 13"),
    "array type": (array(99, 0), "expected a value type of 0 to 12, got 99"),
    "nested array": (array(ARRAY, 1, bytes(40)), "metadata 'k': .* got an array of arrays"),
    "bool of 2": (of_entries(entry("k", BOOL, b"\x02")), "metadata 'k': expected a bool of 0 or 1, got 2"),
    "bools of 255": (array(BOOL, 2, b"\x01\xff"), "metadata 'k': expected a bool of 0 or 1, got 255"),
    "array count": (array(F64, 2**61), "a length of 2305843009213693952 at byte 49 is impossible"),
    "array past the end": (array(F64, 9), "metadata 'k': file ends at byte 49, needs 121; download it again"),
    "strings count": (array(STRING, 2**60), "expected at most 0 strings in the rest of the file, got 11529"),
    "strings past the end": (array(STRING, 2, string("") + string("x")[:8]), "file ends at byte 65, needs 66"),
    "string length": (of_entries(entry("k", STRING, struct.pack("<Q", 100))), "file ends at byte 45, needs 145"),
    "same key twice": (of_entries(uint32("k", 1), uint32("k", 1)), "metadata 'k': expected one entry, got a second"),
    "alignment 0": (alignment(0), "'general.alignment': expected a power of two of 8 or more, got 0"),
    "alignment 4": (alignment(4), "expected a power of two of 8 or more, got 4"),
    "alignment 48": (alignment(48), "expected a power of two of 8 or more, got 48"),
    "alignment text": (of_entries(entry("general.alignment", STRING, string("x"))), "an integer, got string"),
    "alignment true": (of_entries(entry("general.alignment", BOOL, b"\x01")), "an integer, got bool"),
    "no name": (tensor([8], name=""), "expected a name of 1 to 64 bytes, got 0"),
    "long name": (tensor([8], name="n" * 65), "expected a name of 1 to 64 bytes, got 65"),
    "odd name": (tensor([8], offset=4, name=b"\x1b[2J\xff"), r"tensor '\\x1b\[2J\\xff': expected an offset"),
    "no dimension": (tensor([]), "tensor 't': expected 1 to 4 dimensions, got 0"),
    "five dimensions": (tensor([1] * 5), "expected 1 to 4 dimensions, got 5"),
    "dimension of 0": (tensor([8, 0]), "expected dimensions of 1 or more, got 0"),
    "dimension of -1": (tensor([2**64 - 1]), "expected dimensions of 1 or more, got -1"),
    "elements": (tensor([2**32, 2**32]), r"expected a number of elements below 2\^63"),
    "bytes": (tensor([2**62]), r"expected a size below 2\^63 bytes"),
    "broken block": (tensor([33], TYPE_Q8_0), "expected rows of a multiple of 32 elements for Q8_0, got 33"),
    "offset": (tensor([8], offset=4), "tensor 't': expected an offset that is a multiple of 32, got 4"),
    "huge offset": (tensor([8], offset=2**64 - 32), "an offset of 18446744073709551584 is impossible"),
    "past the end": (tensor([16], offset=32), "tensor 't': file ends at byte 128, needs 160; download it again"),
    "overlap": (two_tensors("b", 32), "tensor 'b': expected its data after that of 'a', got an overlap"),
    "same offset": (two_tensors("b", 0), "got an overlap"),
    "same name": (two_tensors("a", 64) + bytes(64), "tensor 'a': expected one of this name, got a second"),
    "split count": (of_entries(uint32("split.count", 100000)), "a part below 99999 of a split set, got split.no 0"),
    "split number": (of_entries(uint32("split.count", 2), uint32("split.no", 2)), "got split.no 2 and split.count 2"),
    "split type": (of_entries(entry("split.count", F32, bytes(4))), "'split.count': expected an integer of 0 or more"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(damage: str, write: Callable[[bytes], str]) -> None:
    raw, message = DAMAGE[damage]
    path = write(raw)
    with pytest.raises(errors.BadFile, match=message) as refused:
        Gguf(path)
    assert str(refused.value).startswith(f"gguf: '{path}': ")
    with pytest.raises(errors.BadFile):
        testing.parse_gguf(raw)


@pytest.mark.parametrize(("kind", "name"), [(16, "IQ2_XXS"), (4096, "of no name known here")])
def test_an_unknown_type_is_unsupported(kind: int, name: str) -> None:
    with pytest.raises(errors.UnsupportedModel, match=rf"tensor 't': type {kind} \({name}\) is not one .* reads; use"):
        testing.parse_gguf(tensor([256], kind))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFound, match=r"nowhere\.gguf"):
        Gguf(str(tmp_path / "nowhere.gguf"))
    with pytest.raises(errors.BadFile, match="expected a regular file"):
        Gguf(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.BadFile, match="expected a regular file"):
        Gguf(tmp_path / "pipe")
    with pytest.raises(ValueError, match="zero byte"):
        Gguf("a\0b")
    with pytest.raises(TypeError):
        Gguf(3)


def test_truncation_at_every_byte() -> None:
    raw = small_file()
    assert testing.parse_gguf(raw) == 2
    for size in range(len(raw)):
        with pytest.raises(errors.BadFile, match=r"download it again|expected a GGUF file"):
            testing.parse_gguf(raw[:size])


def test_truncated_files_say_where(write: Callable[[bytes], str]) -> None:
    raw = small_file()
    with pytest.raises(errors.BadFile, match=f"file ends at byte {len(raw) - 1}, needs {len(raw)}; download it again"):
        Gguf(write(raw[:-1]))


def test_2000_corrupted_bytes_never_crash(tmp_path: Path) -> None:
    rng = random.Random(8)
    raw = small_file()
    head = len(raw) - 160  # what lies behind is tensor data, where any byte is as good as another
    outcomes = {"read": 0, "refused": 0}
    for i in range(2000):
        damaged = bytearray(raw)
        damaged[rng.randrange(head)] ^= rng.randrange(1, 256)
        try:
            testing.parse_gguf(bytes(damaged))
        except (errors.BadFile, errors.UnsupportedModel):
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        path = tmp_path / f"{i}.gguf"
        path.write_bytes(damaged)
        opened = Gguf(path)
        opened.metadata()
        for t in opened.tensors():
            if t["type"] in {"Q8_0", "F32"} and "\ufffd" not in t["name"]:
                assert opened.tensor(t["name"]).shape == t["shape"]
    assert outcomes["read"] > 100
    assert outcomes["refused"] > 500
