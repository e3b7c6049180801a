"""Arrays that callers give: checked int32 token ids of foreign ones, and room for results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _as_array(source: Any, name: str) -> NDArray[Any]:
    if isinstance(source, (bytes, bytearray)):
        raise TypeError(f"{name}: bytes are neither text nor ids; decode them to str first")
    try:
        if not hasattr(source, "__array__") and hasattr(source, "__dlpack__"):
            return np.from_dlpack(source)
        if not hasattr(source, "__array__") and not hasattr(source, "__len__") and hasattr(source, "__iter__"):
            source = list(source)
        return np.asarray(source)
    except (ValueError, TypeError, BufferError, RuntimeError) as error:
        got = type(source).__name__
        raise TypeError(f"{name}: expected a string or one row of token ids, got {got}: {error}") from None


def as_ids(source: Any, vocab_size: int, name: str = "x") -> NDArray[np.int32]:
    """Token ids (T,) as a new int32 array, from `__array__`, the buffer protocol, `__dlpack__` or a sequence.

    >>> as_ids([2, 818], 262144)
    array([  2, 818], dtype=int32)
    """
    array = _as_array(source, name)
    if array.dtype.kind == "O":
        raise TypeError(f"{name}: expected a string or one row of token ids, got {type(source).__name__} of objects")
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one row of token ids (T,), got shape {array.shape}; pass one row at a time")
    if array.size == 0:
        raise ValueError(f"{name}: no token ids; at least one is needed")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: token ids must be integers, got dtype {array.dtype}; if they are ids, convert them")
    wrong = np.flatnonzero((array < 0) | (array >= vocab_size))
    if wrong.size:
        at = int(wrong[0])
        raise ValueError(f"{name}[{at}]: token id {int(array[at])} is outside the vocabulary, 0 to {vocab_size - 1}")
    return np.array(array, dtype=np.int32, order="C", copy=True)


def check_room(call: str, out: Any, shape: tuple[int, ...]) -> None:
    """Refuse an `out` that results of this shape cannot be written to as it is.

    >>> check_room("logits", np.empty((2, 3), np.float32), (2, 3))
    """
    wanted = f"{call}: out: expected a writable C-contiguous float32 array of shape {shape}, got"
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{wanted} {type(out).__name__}")
    fits = out.dtype == np.float32 and out.shape == shape and out.flags.c_contiguous
    if not fits or not out.flags.writeable or not out.flags.aligned:
        kind = "" if out.flags.writeable else "read-only "
        raise ValueError(f"{wanted} {kind}{out.dtype} of shape {out.shape} and strides {out.strides}")


def as_positions(positions: Any, count: int) -> NDArray[np.int64]:
    """Positions (n,) into `count` tokens: an int, ints, a slice, or None for all; negatives count from the end.

    >>> as_positions(slice(-2, None), 5)
    array([3, 4])
    """
    if positions is None:
        return np.arange(count, dtype=np.int64)
    if isinstance(positions, slice):
        return np.arange(count, dtype=np.int64)[positions]
    array = np.atleast_1d(_as_array(positions, "positions"))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"positions: expected ints, a slice or None, got dtype {array.dtype}, shape {array.shape}")
    wrong = np.flatnonzero((array < -count) | (array >= count))
    if wrong.size:
        raise ValueError(f"positions: {int(array[wrong[0]])} is outside {count} tokens, {-count} to {count - 1}")
    index = array.astype(np.int64)
    index[index < 0] += count
    return index


def several(texts: Any) -> list[Any]:
    """One text or id row -> a list of it; several -> a list."""
    if isinstance(texts, str):
        return [texts]
    if hasattr(texts, "ndim"):
        return [texts] if texts.ndim == 1 else list(texts)
    rows = list(texts)
    return [rows] if rows and all(isinstance(row, (int, np.integer)) for row in rows) else rows
