"""Foreign arrays to token ids: what is taken, and how the rest is refused."""

from __future__ import annotations

import array
import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemlet.arrays import as_ids, as_positions, several

V = 1000


class OnlyDlpack:
    """What a foreign tensor library offers: no __array__, only the exchange protocol."""

    def __init__(self, values: list[int]) -> None:
        self._array = np.array(values, dtype=np.int64)

    def __dlpack__(self, **options: object) -> object:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


class OnlyArray:
    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.array([1, 2, 3], dtype=np.uint16)


@pytest.mark.parametrize(
    "source",
    [
        [1, 2, 3],
        (1, 2, 3),
        range(1, 4),
        (i for i in (1, 2, 3)),
        np.array([1, 2, 3], dtype=np.uint64),
        np.array([3, 2, 1], dtype=">i8")[::-1],
        array.array("h", [1, 2, 3]),
        memoryview(array.array("i", [1, 2, 3])),
        OnlyDlpack([1, 2, 3]),
        OnlyArray(),
    ],
)
def test_every_kind_of_source(source):
    ids = as_ids(source, V)
    assert ids.dtype == np.int32
    assert ids.flags.c_contiguous
    assert ids.flags.owndata
    assert ids.tolist() == [1, 2, 3]


def test_the_source_is_copied():
    source = np.array([1, 2], dtype=np.int32)
    ids = as_ids(source, V)
    source[0] = 9
    assert ids.tolist() == [1, 2]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
def test_torch_tensors_are_taken():
    import torch

    assert as_ids(torch.tensor([1, 2, 3]), V).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ([], ValueError, "no token ids"),
        ([[1, 2]], ValueError, r"shape \(1, 2\)"),
        (5, ValueError, "one row"),
        ([1.0, 2.0], TypeError, "integers, got dtype float64"),
        ([True, False], TypeError, "bool"),
        (["a"], TypeError, "integers"),
        (None, TypeError, "NoneType"),
        (b"\x01\x02", TypeError, "decode them"),
        ([[1], [2, 3]], TypeError, "list"),
        ([1, V, -3], ValueError, r"x\[1\]: token id 1000 is outside the vocabulary, 0 to 999"),
        ([1, -3], ValueError, r"x\[1\]: token id -3"),
        (np.array([2**63], dtype=np.uint64), ValueError, str(2**63)),
        ([2**70], TypeError, "list of objects"),
    ],
)
def test_what_is_refused(source, error, words):
    with pytest.raises(error, match=words):
        as_ids(source, V)


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=20))
def test_any_list_of_ints_is_kept_or_refused_at_its_first_wrong_index(values):
    wrong = [i for i, value in enumerate(values) if not 0 <= value < V]
    if not wrong:
        assert as_ids(values, V).tolist() == values
    else:
        with pytest.raises(ValueError, match=rf"x\[{wrong[0]}\]"):
            as_ids(values, V)


@given(st.integers(1, 30), st.data())
def test_positions_are_numpys(count, data):
    row = np.arange(count)
    index = data.draw(st.lists(st.integers(-count, count - 1), max_size=5))
    assert as_positions(index, count).tolist() == row[np.array(index, dtype=int)].tolist()
    cut = data.draw(st.slices(count))
    assert as_positions(cut, count).tolist() == row[cut].tolist()
    assert as_positions(None, count).tolist() == row.tolist()


@pytest.mark.parametrize("positions", [5, -6, [0, 5]])
def test_positions_out_of_range_are_refused(positions):
    with pytest.raises(ValueError, match="outside 5 tokens, -5 to 4"):
        as_positions(positions, 5)


@pytest.mark.parametrize("positions", [1.5, "last", [[1]], [True]])
def test_positions_of_another_kind_are_refused(positions):
    with pytest.raises(TypeError, match="positions"):
        as_positions(positions, 5)


def test_one_or_several():
    row = np.array([1, 2])
    assert several("a") == ["a"]
    assert several(["a", "b"]) == ["a", "b"]
    assert several([1, 2]) == [[1, 2]]
    assert several(row)[0] is row
    assert len(several(np.array([[1, 2], [3, 4]]))) == 2
    assert several(text for text in ("a", "b")) == ["a", "b"]
    assert several([]) == []
