"""Sharded safetensors folders: read as one, and refused where index and shards differ. Files: test_safetensors.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from gemlet import errors
from gemlet._core import Safetensors

INDEX = "model.safetensors.index.json"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def shard(folder: Path, weight_map: Any = None, **index: Any) -> dict[str, np.ndarray]:
    """A folder of two shards; weight_map in place of the true one, index for further members."""
    arrays = {f"layers.{i}.w": np.full((2, i + 1), i, np.float32) for i in range(4)}
    names = list(arrays)
    for number, part in enumerate([names[:1] + names[3:], names[1:3]]):
        save_file({n: arrays[n] for n in part}, folder / SHARDS[number], metadata={"format": "pt", f"k{number}": "v"})
    true_map = {names[0]: SHARDS[0], names[3]: SHARDS[0], names[1]: SHARDS[1], names[2]: SHARDS[1]}
    content = {"metadata": {"total_size": 80}} | index
    content["weight_map"] = true_map if weight_map is None else weight_map(true_map)
    (folder / INDEX).write_text(json.dumps(content, indent=2))
    return arrays


@pytest.mark.parametrize("of_folder", [True, False])
def test_shards(tmp_path: Path, of_folder: bool) -> None:
    arrays = shard(tmp_path)
    path = tmp_path if of_folder else tmp_path / INDEX
    opened = Safetensors(path)
    assert opened.path == str(path)
    assert opened.metadata() == {"format": "pt", "k0": "v", "k1": "v"}
    found = {t["name"]: t["file"] for t in opened.tensors()}
    assert found == {name: str(tmp_path / SHARDS[0 if name[7] in "03" else 1]) for name in arrays}
    for name, want in arrays.items():
        np.testing.assert_array_equal(opened.tensor(name), want)
    assert len(Safetensors(tmp_path / SHARDS[0]).tensors()) == 2  # a shard is a file like any other


def test_a_folder_of_one_file(tmp_path: Path) -> None:
    with pytest.raises(
        errors.ModelNotFound, match=rf"expected 'model\.safetensors' or '{INDEX}' in the folder, got nei"
    ):
        Safetensors(tmp_path)
    save_file({"x": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    assert Safetensors(tmp_path).tensor("x").tolist() == [1, 1, 1]
    shard(tmp_path)  # what is whole comes first
    assert [t["name"] for t in Safetensors(tmp_path).tensors()] == ["x"]


def test_other_members_of_an_index_are_ignored(tmp_path: Path) -> None:
    members = {"a": [1, -2.5e-3, 0, 1e9, {}], "b": {"c": None, "d": [True, False, []]}, "total_size": 80.0, "e": "ü"}
    arrays = shard(tmp_path, metadata=members, more=-0.5)
    assert len(Safetensors(tmp_path).tensors()) == len(arrays)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shard(tmp_path)
    (tmp_path / SHARDS[1]).unlink()
    with pytest.raises(
        errors.ModelNotFound, match=rf"{INDEX}': expected the shard '.*{SHARDS[1]}', which is missing; put"
    ):
        Safetensors(tmp_path)


def test_damage_in_a_shard_names_the_shard(tmp_path: Path) -> None:
    shard(tmp_path)
    raw = (tmp_path / SHARDS[1]).read_bytes()
    (tmp_path / SHARDS[1]).write_bytes(raw[:-1])
    with pytest.raises(
        errors.BadFile, match=rf"{SHARDS[1]}': tensor 'layers\.[12]\.w': file ends at byte {len(raw) - 1}"
    ):
        Safetensors(tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "a\0b", "./" + SHARDS[0]])
def test_shards_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    shard(tmp_path, lambda true: true | {"layers.0.w": name})
    with pytest.raises(
        errors.BadFile, match=r"tensor 'layers\.0\.w': expected the name of a file beside the index, got"
    ):
        Safetensors(tmp_path)


def test_index_and_shards_must_agree(tmp_path: Path) -> None:
    shard(tmp_path, lambda true: true | {"extra": SHARDS[0], "more": SHARDS[1]})
    with pytest.raises(
        errors.BadFile, match=rf"{SHARDS[0]}': tensor 'extra': expected here by the index.*; 2 such in all"
    ):
        Safetensors(tmp_path)
    shard(tmp_path, lambda true: {k: v for k, v in true.items() if k != "layers.2.w"})
    with pytest.raises(
        errors.BadFile, match=rf"{SHARDS[1]}': tensor 'layers\.2\.w': expected only tensors of the index"
    ):
        Safetensors(tmp_path)
    shard(tmp_path, lambda true: true | {"layers.0.w": SHARDS[1]})
    with pytest.raises(errors.BadFile, match=rf"{SHARDS[0]}': tensor 'layers\.0\.w': expected in '{SHARDS[1]}' by the"):
        Safetensors(tmp_path)
    shard(tmp_path)
    (tmp_path / SHARDS[1]).write_bytes((tmp_path / SHARDS[0]).read_bytes())
    with pytest.raises(
        errors.BadFile, match=rf"{SHARDS[1]}': tensor 'layers\.[03]\.w': expected only tensors of the index"
    ):
        Safetensors(tmp_path)


# text of an index -> what the message says
BAD_INDEX: dict[str, tuple[str, str]] = {
    "empty": ("", "index: expected an object at byte 0 of the index, got the end"),
    "an array": ("[]", "index: expected an object at byte 0"),
    "no map": ('{"metadata":{}}', "index: expected a weight_map of tensors and shards, got none"),
    "empty map": ('{"weight_map":{}}', "got an empty one"),
    "map of a list": ('{"weight_map":[]}', "index: expected an object at byte 14"),
    "shard of a number": ('{"weight_map":{"a":1}}', "tensor 'a': expected a string at byte 19"),
    "map twice": ('{"weight_map":{"a":"b"},"weight_map":{}}', "member 'weight_map': expected one of this name"),
    "tensor twice": ('{"weight_map":{"a":"b","a":"b"}}', "tensor 'a': expected one of this name, got a second"),
    "member twice": ('{"metadata":{"a":1,"a":1}}', "member 'a': expected one of this name, got a second"),
    "deep": ('{"m":' + "[" * 100_000, "expected at most 16 levels of brackets, got more at byte 22"),
    "word": ('{"m":nul}', "expected a value at byte 5 of the index, got 'n'"),
    "number": ('{"m":01}', "expected a number at byte 7"),
    "minus": ('{"m":-}', "expected a number at byte 6"),
    "point": ('{"m":1.}', "expected a digit at byte 7"),
    "exponent": ('{"m":1e+}', "expected a digit at byte 8"),
    "not a number": ('{"m":NaN}', "expected a value at byte 5 of the index, got 'N'"),
}


@pytest.mark.parametrize("damage", BAD_INDEX)
def test_damage_in_an_index_is_named(tmp_path: Path, damage: str) -> None:
    content, message = BAD_INDEX[damage]
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(errors.BadFile, match=message) as refused:
        Safetensors(tmp_path)
    assert str(refused.value).startswith(f"safetensors: '{tmp_path / INDEX}': ")


def test_an_index_cut_at_every_byte(tmp_path: Path) -> None:
    shard(tmp_path, metadata={"total_size": 80, "a": [1.5e1, True, None, "x\\n"]})
    raw = (tmp_path / INDEX).read_bytes()
    for size in range(len(raw)):
        (tmp_path / INDEX).write_bytes(raw[:size])
        with pytest.raises(errors.BadFile, match=INDEX):
            Safetensors(tmp_path)
