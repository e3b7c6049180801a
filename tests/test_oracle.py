"""The fast operations against the plain ones: whole matrices in double precision (Eigen), for every block format."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlet import _core

TESTING = _core.testing
ISA = _core.isas()[-1]
# Formats that tests can write by our own encoder; the others are covered through decode in test_kernels.
FORMATS = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


def blocks(type_name: str, rows: int, cols: int, rng: np.random.Generator) -> np.ndarray:
    """Random weights (rows, row bytes) in a format."""
    weights = rng.standard_normal((rows, cols)).astype(np.float32)
    return TESTING.encode(type_name, weights)


@pytest.mark.parametrize("type_name", FORMATS)
@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 40), blocks_of_32=st.integers(1, 9), tokens=st.integers(1, 6), seed=st.integers(0, 99))
def test_float_products(type_name: str, rows: int, blocks_of_32: int, tokens: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = blocks(type_name, rows, 32 * blocks_of_32, rng)
    x = rng.standard_normal((tokens, 32 * blocks_of_32)).astype(np.float32)
    expected = TESTING.oracle_linear(w, type_name, x)
    np.testing.assert_allclose(TESTING.linear(ISA, w, type_name, x, float_compute=True), expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("type_name", ["Q4_0", "Q5_0", "Q8_0"])
def test_quantised_products_are_within_the_rounding_of_activations(type_name: str) -> None:
    rng = np.random.default_rng(3)
    w = blocks(type_name, 64, 640, rng)
    x = rng.standard_normal((5, 640)).astype(np.float32)
    expected = TESTING.oracle_linear(w, type_name, x)
    error = TESTING.linear(ISA, w, type_name, x) - expected
    # Each activation is off by at most half a step of its block, about 1/254 of the block's largest; errors are random.
    assert np.sqrt((error**2).mean()) < 0.006 * np.sqrt((expected**2).mean())


@settings(max_examples=20, deadline=None)
@given(
    kv_heads=st.integers(1, 2),
    group=st.integers(1, 4),
    channels=st.sampled_from([8, 40, 64, 256]),
    tokens=st.integers(1, 9),
    cached=st.integers(0, 600),
    window=st.sampled_from([1, 7, 64, 512, 4096]),
    seed=st.integers(0, 99),
)
def test_attention(kv_heads: int, group: int, channels: int, tokens: int, cached: int, window: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    total = cached + tokens
    q = rng.standard_normal((tokens, kv_heads * group * channels)).astype(np.float32)
    k, v = rng.standard_normal((2, total, kv_heads * channels)).astype(np.float32)
    end = np.arange(cached, total) + 1
    begin = np.maximum(0, end - window)
    expected = TESTING.oracle_attention(q, k, v, kv_heads, begin, end, channels**-0.5)
    (got,) = TESTING.attention(ISA, [(q, k, v, begin, end)], kv_heads, channels**-0.5, "f32", threads=2)
    np.testing.assert_allclose(got, expected, atol=3e-6, rtol=3e-5)
