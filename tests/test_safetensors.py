"""The safetensors reader: what the `safetensors` package writes is read back; damage is refused, by name."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from gemlet import errors
from gemlet._core import Safetensors, testing

FLOATS = bytes(64)  # room for sixteen float32


def raw_file(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A file byte by byte, for what no writer would write: header as bytes, or as what JSON is made of."""
    text = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin: int = 0, end: int = 64, shape: Any = (16,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def small_file() -> bytes:
    """Some of everything, and every byte needed."""
    header = {
        "__metadata__": {"format": "pt", "größe": '\U0001f600 \\ " \n'},
        "a": entry(0, 48, (3, 4)),
        "b.weight": entry(48, 58, (5,), "BF16"),
        "b.scale": entry(58, 60, (), "F16"),
    }
    data = np.arange(12, dtype="<f4").tobytes() + bytes.fromhex("803f" * 5) + np.float16(0.5).tobytes()
    return raw_file(json.dumps(header).encode(), data)  # escapes as \uXXXX


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], str]:
    def to_file(raw: bytes) -> str:
        path = tmp_path / "file.safetensors"
        path.write_bytes(raw)
        return str(path)

    return to_file


# What is sound.


def test_every_type_the_package_writes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 5, 7)).astype(np.float32)
    arrays = {
        "model.f32": x,
        "model.f16": x.astype(np.float16),
        "f64": x.astype(np.float64),
        "i8": np.arange(-3, 4, dtype=np.int8),
        "i16": np.arange(5, dtype=np.int16),
        "i32": np.arange(5, dtype=np.int32),
        "i64": np.arange(5, dtype=np.int64),
        "scalar": np.array(2.5, np.float32),
        "nothing": np.zeros((0, 4), np.float32),
    }
    path = tmp_path / "t.safetensors"
    save_file(arrays, path, metadata={"format": "pt", "note": "Grüße, 世界 \U0001f600"})
    opened = Safetensors(path)
    assert opened.path == str(path)
    assert opened.metadata() == {"format": "pt", "note": "Grüße, 世界 \U0001f600"}
    types = {"float32": "F32", "float16": "F16", "float64": "F64"} | {f"int{n}": f"I{n}" for n in (8, 16, 32, 64)}
    assert {t["name"]: t for t in opened.tensors()} == {
        name: {"name": name, "type": types[a.dtype.name], "shape": a.shape, "bytes": a.nbytes, "file": str(path)}
        for name, a in arrays.items()
    }
    for name in ("model.f32", "model.f16", "scalar", "nothing"):
        got = opened.tensor(name)
        assert got.dtype == np.float32
        assert got.shape == arrays[name].shape
        np.testing.assert_array_equal(got, arrays[name].astype(np.float32))
    with pytest.raises(errors.UnsupportedModel, match="tensor 'i64': expected weights, got I64"):
        opened.tensor("i64")
    with pytest.raises(ValueError, match=r"there is no tensor 'x'; tensors\(\) lists"):
        opened.tensor("x")


@pytest.mark.parametrize("shift", range(4))
def test_data_at_any_byte(shift: int, write: Callable[[bytes], str]) -> None:
    x = np.random.default_rng(shift).standard_normal((2, 3)).astype(np.float32)
    header = {"pad": entry(0, shift, (shift,), "I8"), "x": entry(shift, shift + 24, (2, 3))}
    header["y"] = entry(shift + 24, shift + 36, (2, 3), "BF16")
    bf16 = (x.view(np.uint32) >> 16).astype(np.uint16)
    opened = Safetensors(write(raw_file(header, bytes(shift) + x.tobytes() + bf16.tobytes())))
    np.testing.assert_array_equal(opened.tensor("x"), x)
    np.testing.assert_array_equal(opened.tensor("y"), (bf16.astype(np.uint32) << 16).view(np.float32))


# Headers that differ from the usual only in form: the same tensors.
FORMS: dict[str, bytes] = {
    "white space": b'{ "t"\t:\r\n{"dtype" : "F32", "shape":[ 16 ] ,"data_offsets":[0 , 64]}}   \n',
    "other order": b'{"t":{"data_offsets":[0,64],"shape":[16],"dtype":"F32"}}',
    "escapes": rb'{"\u0074":{"dtype":"F\u0033\u0032","shape":[16],"data_offsets":[0,64]}}',
    "metadata behind": b'{"t":{"dtype":"F32","shape":[16],"data_offsets":[0,64]},"__metadata__":{}}',
    "eight dimensions": b'{"t":{"dtype":"F32","shape":[1,1,1,1,1,1,1,16],"data_offsets":[0,64]}}',
}


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_of_the_same(form: str, write: Callable[[bytes], str]) -> None:
    opened = Safetensors(write(raw_file(FORMS[form], np.arange(16, dtype="<f4").tobytes())))
    assert opened.metadata() == {}
    np.testing.assert_array_equal(opened.tensor("t").reshape(-1), np.arange(16))


@pytest.mark.parametrize(
    "name", ["\x00", "é", "世", "\U0001f600", "\uffff", 'a/b\\c"d\b\f\n\r\t', "\x7f\u0080\u07ff\u0800"]
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_names_in_any_script(name: str, ascii_only: bool, write: Callable[[bytes], str]) -> None:
    header = json.dumps({"__metadata__": {name: name}, name: entry()}, ensure_ascii=ascii_only).encode()
    opened = Safetensors(write(raw_file(header, FLOATS)))
    assert opened.metadata() == {name: name}
    assert [t["name"] for t in opened.tensors()] == [name]
    assert opened.tensor(name).shape == (16,)


def test_no_tensor_at_all() -> None:
    assert testing.parse_safetensors(raw_file({})) == 0
    assert testing.parse_safetensors(raw_file({"__metadata__": {"a": "b"}})) == 0


# What is damaged.


def of(*, dtype: str = '"F32"', shape: str = "[16]", offsets: str = "[0,64]", more: str = "") -> bytes:
    return raw_file(
        f'{{"t":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}{more}}}}}'.encode(),
        FLOATS,
    )


def two(first: dict[str, Any], second: dict[str, Any]) -> bytes:
    return raw_file({"a": first, "b": second}, FLOATS)


def text(header: str | bytes) -> bytes:
    return raw_file(header if isinstance(header, bytes) else header.encode())


ONE = '"t":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}'

# name -> (bytes, what the message says)
DAMAGE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "header: the file is empty; download it again"),
    "seven bytes": (bytes(7), "header: file ends at byte 7, needs 8; download it again"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "this looks like a Git LFS pointer"),
    "web page": (b"<!DOCTYPE html>", "this is a web page"),
    "archive": (b"PK\x03\x04" + bytes(60), "file ends at byte 64, needs 67324760; this is an archive or a PyTorch"),
    "gguf": (b"GGUF\x03\x00\x00\x00" + bytes(60), "this is a GGUF file"),
    "length": (raw_file({}, length=100_000_001), "expected at most 100000000 bytes, got a length of 100000001"),
    "length of all": (raw_file({}, length=2**64 - 1), "got a length of 18446744073709551615; the file is damaged"),
    "length past the end": (raw_file({}, length=3), "header: file ends at byte 10, needs 11; download it again"),
    "no header": (raw_file(b""), "header: expected it to begin with '{', got ''"),
    "an array": (text("[]"), r"expected it to begin with '{', got '\['"),
    "space before": (text(" {}"), "expected it to begin with '{', got ' '"),
    "open object": (text("{"), "expected a string at byte 1 of the header, got the end; .* download it again"),
    "after the object": (text("{}x"), "expected nothing more at byte 2 of the header, got 'x'"),
    "second object": (text("{}{}"), "expected nothing more at byte 2 of the header, got '{'"),
    "trailing comma": (text("{" + ONE + ",}"), "expected a string at byte 56 of the header, got '}'"),
    "no comma": (text("{" + ONE + ONE + "}"), "expected ',' or '}' at byte 55 of the header, got '\"'"),
    "no colon": (text('{"t" 1}'), "expected ':' at byte 5 of the header, got '1'"),
    "number as key": (text("{1:2}"), "expected a string at byte 1"),
    "comment": (text("{/**/}"), "expected a string at byte 1"),
    "open string": (text('{"abc'), "expected the end of a string at byte 5 of the header, got the end"),
    "control character": (text('{"a\nb":{}}'), r"expected an escape for a control character at byte 3 .* got '\\x0a'"),
    "escape": (text(r'{"\x41":{}}'), "expected an escape of JSON at byte 3 of the header, got 'x'"),
    "open escape": (text('{"\\'), "expected an escape of JSON at byte 3 of the header, got the end"),
    "hex digits": (text(r'{"\u00g0":{}}'), "expected four hexadecimal digits at byte 6 of the header, got 'g'"),
    "open hex digits": (text(r'{"\u00'), "expected four hexadecimal digits at byte 6 of the header, got the end"),
    "high half alone": (text(r'{"\ud83dx":{}}'), "expected two halves of a character before this at byte 8"),
    "low half alone": (text(r'{"\ude00":{}}'), "expected two halves of a character before this at byte 8"),
    "two high halves": (text(r'{"\ud83d\ud83d":{}}'), "expected two halves of a character before this at byte 14"),
    "metadata of a number": (text('{"__metadata__":{"a":1}}'), "__metadata__: expected a string at byte 21"),
    "metadata of null": (text('{"__metadata__":null}'), "__metadata__: expected an object at byte 16"),
    "metadata twice": (text('{"__metadata__":{},"__metadata__":{}}'), "tensor '__metadata__': expected one .* second"),
    "key twice": (text('{"__metadata__":{"a":"","a":""}}'), "__metadata__: key 'a': expected one of this name"),
    "tensor twice": (text("{" + ONE + "," + ONE + "}"), "header: tensor 't': expected one of this name, got a second"),
    "twice by escape": (text("{" + ONE + "," + ONE.replace("t", r"\u0074", 1) + "}"), "tensor 't': expected one of"),
    "tensor of a list": (text('{"t":[]}'), "tensor 't': expected an object at byte 5"),
    "empty tensor": (text('{"t":{}}'), "tensor 't': expected dtype, shape and data_offsets, got no dtype"),
    "no shape": (text('{"t":{"dtype":"F32"}}'), "tensor 't': expected dtype, shape and data_offsets, got no shape"),
    "no offsets": (text('{"t":{"dtype":"F32","shape":[]}}'), "got no data_offsets"),
    "field twice": (of(more=',"shape":[1]'), "tensor 't': field 'shape': expected one of this name, got a second"),
    "other field": (of(more=',"stride":[1]'), "tensor 't': expected dtype, shape and data_offsets, got also 'stride'"),
    "dtype of 1": (of(dtype="1"), "tensor 't': expected a string at byte 14"),
    "shape of 16": (of(shape="16"), "tensor 't': expected an array at byte 28"),
    "nested shape": (of(shape="[[16]]"), "tensor 't': expected an integer of 0 or more at byte 29"),
    "negative": (of(shape="[-1]"), "tensor 't': expected an integer of 0 or more at byte 29 of the header, got '-'"),
    "fraction": (of(shape="[16.0]"), r"tensor 't': expected an integer of 0 or more at byte 31 .* got '\.'"),
    "exponent": (of(shape="[1e1]"), "expected an integer of 0 or more at byte 30 of the header, got 'e'"),
    "leading zero": (of(shape="[016]"), "expected an integer without leading zeros at byte 29"),
    "open array": (text('{"t":{"shape":[1'), r"expected ',' or '\]' at byte 16 of the header, got the end"),
    "comma in array": (of(shape="[16,]"), r"expected an integer of 0 or more at byte 32 of the header, got '\]'"),
    "wide integer": (of(shape="[18446744073709551616]"), r"expected an integer below 2\^64 at byte 29"),
    "wide dimension": (of(shape="[9223372036854775808]"), r"dimensions below 2\^63, got 9223372036854775808"),
    "nine dimensions": (of(shape="[1,1,1,1,1,1,1,1,16]"), "expected at most 8 dimensions, got more"),
    "elements": (of(shape="[4294967296,4294967296]"), r"tensor 't': expected a size below 2\^63 bytes, got more"),
    "bytes": (of(shape="[4611686018427387904]"), r"expected a size below 2\^63 bytes"),
    "elements by 0": (of(shape="[4294967296,4294967296,0]", offsets="[0,0]"), r"expected a size below 2\^63 bytes"),
    "one offset": (of(offsets="[0]"), "tensor 't': expected data_offsets of 2 numbers, got 1"),
    "three offsets": (of(offsets="[0,64,64]"), "expected data_offsets of 2 numbers, got 3"),
    "falling offsets": (of(offsets="[64,0]"), "expected data_offsets in rising order, got 64 and 0"),
    "huge offset": (of(offsets="[0,18446744073709551615]"), "an offset of 18446744073709551615 is impossible"),
    "largest offset": (
        of(shape="[9223372036854775807]", dtype='"I8"', offsets="[0,9223372036854775807]"),
        "tensor 't': an offset of 9223372036854775807 is impossible",
    ),
    "too few bytes": (of(shape="[17]"), "tensor 't': expected 68 bytes for its shape and dtype, got 64"),
    "too many bytes": (of(shape="[15]"), "tensor 't': expected 60 bytes for its shape and dtype, got 64"),
    "past the end": (raw_file({"t": entry(0, 68, (17,))}, FLOATS), "tensor 't': file ends at byte 135, needs 139; dow"),
    "bytes behind": (raw_file({"t": entry()}, FLOATS + b"x"), "expected the file to end at byte 135, got 136: the"),
    "bytes behind nothing": (raw_file({}, b"x"), "expected the file to end at byte 10, got 11"),
    "hole": (two(entry(0, 28, (7,)), entry(32, 64, (8,))), "tensor 'b': expected its data at offset 28, got 32: the"),
    "hole in front": (raw_file({"t": entry(4, 64, (15,))}, FLOATS), "tensor 't': expected its data at offset 0, got 4"),
    "overlap": (two(entry(0, 36, (9,)), entry(32, 64, (8,))), "tensor 'b': expected its data after that of 'a'"),
    "same data": (two(entry(), entry()), "expected its data after that of '.', got an overlap"),
    "nothing inside": (two(entry(), entry(4, 4, (0,))), "tensor 'b': expected its data after that of 'a', got an ov"),
    "odd name": (raw_file({"\x1b[2J\u00e9": entry(4)}, FLOATS), r"tensor '\\x1b\[2J\\xc3\\xa9': expected 64 bytes"),
}  # fmt: skip

# Not UTF-8: cut short, overlong, half of a pair, beyond U+10FFFF, a tail without a head, bytes that never occur.
NOT_UTF8 = ["c3", "e4b8", "f09f98", "c080", "c1bf", "e08080", "f0808080", "eda080", "edbfbf", "f4908080", "80", "bf", "ff", "f5808080", "c328", "e2283a", "f0288cbc"]  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(damage: str, write: Callable[[bytes], str]) -> None:
    raw, message = DAMAGE[damage]
    path = write(raw)
    with pytest.raises(errors.BadFile, match=message) as refused:
        Safetensors(path)
    assert str(refused.value).startswith(f"safetensors: '{path}': ")
    with pytest.raises(errors.BadFile):
        testing.parse_safetensors(raw)


@pytest.mark.parametrize("damage", NOT_UTF8)
def test_what_is_not_utf8(damage: str) -> None:
    raw = text(b'{"' + bytes.fromhex(damage) + b'":{}}')
    with pytest.raises(errors.BadFile, match=r"header: expected UTF-8 at byte 2 of the header, got '\\x"):
        testing.parse_safetensors(raw)


@pytest.mark.parametrize("dtype", ["U8", "BOOL", "F8_E4M3", "U16", "U32", "U64", "C64", "Q4_K", "f32", ""])
def test_an_unknown_type_is_unsupported(dtype: str) -> None:
    message = f"tensor 't': dtype '{dtype}' is not one that gemlet reads; save the model in F32, F16 or BF16"
    with pytest.raises(errors.UnsupportedModel, match=message):
        testing.parse_safetensors(raw_file({"t": entry(dtype=dtype)}, FLOATS))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFound, match=r"nowhere\.safetensors"):
        Safetensors(str(tmp_path / "nowhere.safetensors"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.BadFile, match="expected a regular file"):
        Safetensors(tmp_path / "pipe")
    with pytest.raises(ValueError, match="safetensors: expected a path, got one that holds a zero byte"):
        Safetensors("a\0b")
    with pytest.raises(TypeError):
        Safetensors(3)


def test_truncation_at_every_byte(write: Callable[[bytes], str]) -> None:
    raw = small_file()
    opened = Safetensors(write(raw))
    assert opened.metadata() == {"format": "pt", "größe": '\U0001f600 \\ " \n'}
    np.testing.assert_array_equal(opened.tensor("a"), np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(opened.tensor("b.weight"), np.ones(5))
    assert opened.tensor("b.scale") == 0.5
    for size in range(len(raw)):
        with pytest.raises(errors.BadFile, match="download it again"):
            testing.parse_safetensors(raw[:size])


def test_a_header_cut_at_every_byte() -> None:
    """The length is right, so that the parser of the header meets the end itself."""
    raw = small_file()
    header = raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]]
    for size in range(len(header)):
        with pytest.raises(errors.BadFile, match=r"got the end|begin with|two halves"):
            testing.parse_safetensors(raw_file(header[:size]))


def test_1000_corrupted_bytes_never_crash(tmp_path: Path) -> None:
    rng = random.Random(8)
    raw = small_file()
    head = len(raw) - 60  # what lies behind is tensor data, where any byte is as good as another
    outcomes = {"read": 0, "refused": 0}
    for _ in range(1000):
        damaged = bytearray(raw)
        damaged[rng.randrange(head)] ^= rng.randrange(1, 256)
        try:
            testing.parse_safetensors(bytes(damaged))
        except (errors.BadFile, errors.UnsupportedModel):
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        path = tmp_path / "f.safetensors"
        path.write_bytes(damaged)
        opened = Safetensors(path)
        opened.metadata()
        for t in opened.tensors():
            if t["type"] in {"F32", "F16", "BF16"}:
                assert opened.tensor(t["name"]).shape == t["shape"]
    assert outcomes["read"] > 50
    assert outcomes["refused"] > 500
