"""What the benchmarks of both towers need: weights of released ones' kind, a clock, and how far rows are apart."""

from __future__ import annotations

import time
from typing import Any

import numpy as np


def loose(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bounds as wide as released ones, which few values reach."""
    return {name: np.float32(8 * array) if array.ndim == 0 else array for name, array in made.items()}


def rounded(array: np.ndarray) -> np.ndarray:
    """To bfloat16, so that all compute with the same weights."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype(np.uint32).view(np.float32).reshape(array.shape)


def seconds(call: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    made = call()
    return time.perf_counter() - start, made


def distance(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))
