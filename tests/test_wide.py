"""Products and attention in 16 bits, for the towers: against numpy, and every set against the scalar one."""

from __future__ import annotations

import numpy as np
import pytest

from gemlet import _core
from gemlet._core import testing

SETS = [name for name in _core.isas() if name != "scalar"]
each_set = pytest.mark.parametrize("isa", SETS or [pytest.param("none", marks=pytest.mark.skip("only the scalar set"))])


def bytes_of(w: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a type, and what they stand for."""
    if kind == "F16":
        half = w.astype(np.float16)
        return half.view(np.uint8).reshape(len(w), -1), half.astype(np.float32)
    bits = w.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    top = np.ascontiguousarray((bits >> 16).astype(np.uint16))
    return top.view(np.uint8).reshape(len(w), -1), bits.view(np.float32)


def distance(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def softmax_product(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int, scale: float) -> np.ndarray:
    by_head = [np.split(x.astype(np.float64), heads, axis=1) for x in (q, k, v)]
    out = []
    for a, b, c in zip(*by_head, strict=True):
        scores = scale * a @ b.T
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        out.append(p @ c / p.sum(axis=1, keepdims=True))
    return np.concatenate(out, axis=1)


@pytest.mark.parametrize("kind", ["F16", "BF16"])
@pytest.mark.parametrize(("rows", "cols", "tokens"), [(1, 8, 1), (16, 64, 4), (37, 72, 7), (65, 203, 9), (48, 768, 66)])
def test_products_are_numpys_and_the_same_on_every_set(kind: str, rows: int, cols: int, tokens: int) -> None:
    rng = np.random.default_rng(rows)
    w, meant = bytes_of(rng.standard_normal((rows, cols)), kind)
    x = rng.standard_normal((tokens, cols)).astype(np.float32)
    want = testing.wide_linear("scalar", w, kind, x)
    sizes = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(meant, axis=1)
    assert np.max(np.abs(want - x.astype(np.float64) @ meant.T) / sizes) < 3e-4
    for isa in SETS:
        np.testing.assert_array_equal(testing.wide_linear(isa, w, kind, x, 2), want)


@pytest.mark.parametrize("isa", ["scalar", *SETS])
def test_the_largest_products_fit(isa: str) -> None:
    w, meant = bytes_of(np.tile(np.float32([1, -1]), (16, 192)), "F16")
    x = np.tile(np.float32([[3, -3], [-3, 3], [3, 3], [-3, 3]]), (1, 192))
    np.testing.assert_allclose(testing.wide_linear(isa, w, "F16", x), x @ meant.T, rtol=1e-6)


@pytest.mark.parametrize("isa", ["scalar", *SETS])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_no_number_spoils_itself_only(isa: str, bad: float) -> None:
    rng = np.random.default_rng(3)
    w, _ = bytes_of(rng.standard_normal((20, 64)), "BF16")
    x = rng.standard_normal((6, 64)).astype(np.float32)
    clean = testing.wide_linear(isa, w, "BF16", x)
    x[2, 5] = bad
    got = testing.wide_linear(isa, w, "BF16", x)
    assert np.isnan(got[2]).all()
    np.testing.assert_array_equal(np.delete(got, 2, 0), np.delete(clean, 2, 0))


@pytest.mark.parametrize(
    ("tokens", "keys", "heads", "channels"), [(1, 1, 1, 16), (5, 33, 2, 24), (70, 257, 2, 64), (9, 700, 1, 72)]
)
def test_attention_is_numpys_and_the_same_on_every_set(tokens: int, keys: int, heads: int, channels: int) -> None:
    rng = np.random.default_rng(keys)
    q, k, v = (rng.standard_normal((n, heads * channels)).astype(np.float32) for n in (tokens, keys, keys))
    given = (3 * q, k, v, heads, channels**-0.5, 6.0)
    want = testing.wide_attention("scalar", *given)
    assert distance(want, softmax_product(*given[:5])) < 3e-3
    for isa in SETS:
        np.testing.assert_array_equal(testing.wide_attention(isa, *given, 2), want)


@pytest.mark.parametrize("isa", ["scalar", *SETS])
def test_one_key_far_above_the_others_is_all(isa: str) -> None:
    rng = np.random.default_rng(5)
    q, k, v = (rng.standard_normal((n, 16)).astype(np.float32) for n in (3, 600, 600))
    k[300] = 0
    got = testing.wide_attention(isa, 0 * q + 1, np.where(np.arange(600)[:, None] == 300, 40, k), v, 1, 1.0, 6.0)
    np.testing.assert_allclose(got, np.tile(v[300], (3, 1)), atol=2e-3)


@pytest.mark.parametrize("isa", ["scalar", *SETS])
def test_a_key_or_value_that_is_no_number_is_seen(isa: str) -> None:
    rng = np.random.default_rng(6)
    q, k, v = (rng.standard_normal((n, 16)).astype(np.float32) for n in (3, 20, 20))
    for spoilt in (k, v):
        before = spoilt[7, 2]
        spoilt[7, 2] = np.nan
        assert np.isnan(testing.wide_attention(isa, q, k, v, 1, 1.0, 6.0)).all()
        spoilt[7, 2] = before


def test_shares_are_powers_of_two() -> None:
    scores = np.concatenate([np.linspace(-30, 3, 95, dtype=np.float32), np.float32([-np.inf])])
    shares, total, largest = testing.weigh("scalar", scores)
    exact = np.exp2(scores.astype(np.float64) - 3)
    assert largest == 3
    assert total == pytest.approx(exact.sum(), rel=1e-5)
    np.testing.assert_allclose(shares / 16383, exact, atol=0.51 / 16383)


@each_set
@pytest.mark.parametrize("n", [16, 48, 256])
def test_shares_are_the_same_on_every_set(isa: str, n: int) -> None:
    rng = np.random.default_rng(n)
    for size in (1, 30, 1e4):
        scores = (size * rng.standard_normal(n)).astype(np.float32)
        got, want = testing.weigh(isa, scores), testing.weigh("scalar", scores)
        np.testing.assert_array_equal(got[0], want[0])
        assert got[1:] == want[1:]
