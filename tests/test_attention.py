"""Attention over pages: every set gives the bits of the scalar one, that one what numpy computes in float64; how work
is cut among threads, tiles and sequences changes no bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlet._core import testing
from test_kernels import SETS, assert_same_bits, each_set, needs_sets

KINDS = ["f32", "f16", "q8_0"]
each_kind = pytest.mark.parametrize("kind", KINDS)

# q (T, H * C), k and v (S, K * C), begin and end (T): token t sees keys [begin, end)
Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def attention(isa: str, case: Case, kv_heads: int, kind: str, threads: int = 1) -> np.ndarray:
    (out,) = testing.attention(isa, [case], kv_heads, scale_of(case, kv_heads), kind, threads)
    return out


def scale_of(case: Case, kv_heads: int) -> float:
    return (case[1].shape[1] // kv_heads) ** -0.5


def stored(x: np.ndarray, kv_heads: int, kind: str) -> np.ndarray:
    """x (S, K * C) as a cache of that kind holds it, float64"""
    if kind != "q8_0":
        return x.astype(np.float16 if kind == "f16" else np.float32).astype(np.float64)
    channels = x.shape[1] // kv_heads
    padded = np.zeros((len(x) * kv_heads, -(-channels // 32) * 32), np.float32)
    padded[:, :channels] = x.reshape(-1, channels)
    blocks = padded.reshape(len(padded), -1, 32)
    scale = (np.abs(blocks).max(2, keepdims=True) / np.float32(127)).astype(np.float16).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.where(scale > 0, np.clip(np.rint(blocks * (np.float32(1) / scale)), -127, 127), 0)
    return (q.astype(np.float64) * scale).reshape(padded.shape)[:, :channels].reshape(x.shape)


def expected(case: Case, kv_heads: int, kind: str) -> np.ndarray:
    """(T, H * C) in float64"""
    q, k, v, begin, end = case
    k, v = stored(k, kv_heads, kind), stored(v, kv_heads, kind)
    channels = k.shape[1] // kv_heads
    heads = q.shape[1] // channels
    out = np.zeros(q.shape)
    for t in range(len(q)):
        for h in range(heads):
            at = slice(h // (heads // kv_heads) * channels, (h // (heads // kv_heads) + 1) * channels)
            keys, values = k[begin[t] : end[t], at], v[begin[t] : end[t], at]
            score = keys @ q[t, h * channels : (h + 1) * channels].astype(np.float64) * channels**-0.5
            p = np.exp(score - score.max())
            out[t, h * channels : (h + 1) * channels] = p @ values / p.sum()
    return out


def make(tokens: int, keys: int, window: int, kv_heads: int, group: int, channels: int, seed: int) -> Case:
    """The last `tokens` of `keys` positions, each seeing `window` back."""
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((tokens, kv_heads * group * channels)).astype(np.float32)
    k, v = (rng.standard_normal((keys, kv_heads * channels)).astype(np.float32) for _ in range(2))
    end = np.arange(keys - tokens + 1, keys + 1, dtype=np.int64)
    return q, k, v, np.maximum(0, end - window), end


def rows(case: Case, at: slice) -> Case:
    q, k, v, begin, end = case
    return q[at], k, v, begin[at], end[at]


SHAPES = [  # tokens, keys, window, key/value heads, query heads of each, channels
    (1, 1, 1, 1, 1, 8),
    (1, 300, 1000, 1, 4, 256),
    (1, 515, 100, 2, 3, 64),
    (5, 5, 1000, 1, 1, 16),
    (7, 70, 33, 2, 1, 24),
    (9, 257, 256, 1, 2, 72),
    (33, 600, 512, 1, 4, 40),
    (70, 70, 1000, 4, 2, 128),
    (20, 900, 17, 1, 5, 32),
    (3, 130, 1000, 2, 2, 13),
    (11, 200, 1000, 1, 8, 512),
]


@each_kind
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_is_numpys(shape: tuple[int, ...], kind: str) -> None:
    case, kv_heads = make(*shape, seed=13), shape[3]
    want = expected(case, kv_heads, kind)
    # Rounding queries and weights to 16 bits costs about a ten-thousandth of what rounding keys to 8 does.
    error = {"rtol": 2e-5, "atol": 2e-6} if kind != "q8_0" else {"rtol": 1e-4, "atol": 2e-4}
    for isa in ["scalar", *SETS]:
        np.testing.assert_allclose(attention(isa, case, kv_heads, kind, 2), want, **error)


@needs_sets
@each_set
@each_kind
@pytest.mark.parametrize("shape", SHAPES)
def test_every_set_equals_the_scalar_twin(shape: tuple[int, ...], kind: str, isa: str) -> None:
    case, kv_heads = make(*shape, seed=14), shape[3]
    want = attention("scalar", case, kv_heads, kind)
    for threads in (1, 2, 3):
        assert_same_bits(attention(isa, case, kv_heads, kind, threads), want)


@needs_sets
@each_set
@each_kind
def test_any_rows_together_give_equal_bits(isa: str, kind: str) -> None:
    case = make(23, 400, 90, 2, 3, 40, seed=15)
    want = attention(isa, case, 2, kind)
    for t in range(23):
        assert_same_bits(attention(isa, rows(case, slice(t, t + 1)), 2, kind), want[t : t + 1])
    for cut in (1, 4, 6, 17):
        parts = [attention(isa, rows(case, at), 2, kind) for at in (slice(cut), slice(cut, None))]
        assert_same_bits(np.concatenate(parts), want)
    for head in range(3):  # one query head of each group alone
        columns = np.concatenate([np.arange(40) + (kv * 3 + head) * 40 for kv in range(2)])
        assert_same_bits(attention(isa, (case[0][:, columns], *case[1:]), 2, kind), want[:, columns])


@needs_sets
@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_shape_equals_the_scalar_twin(data: st.DataObject) -> None:
    keys = data.draw(st.integers(1, 600))
    tokens = data.draw(st.integers(1, min(keys, 20)))
    window = data.draw(st.sampled_from([1, 2, 15, 63, 64, 65, 255, 256, 257, 1000]))
    kv_heads, group = (data.draw(st.integers(1, n)) for n in (3, 9))
    case = make(
        tokens, keys, window, kv_heads, group, data.draw(st.integers(1, 160)), data.draw(st.integers(0, 2**32 - 1))
    )
    isa, kind, threads = (data.draw(st.sampled_from(of)) for of in (SETS, KINDS, [1, 2, 3]))
    assert_same_bits(attention(isa, case, kv_heads, kind, threads), attention("scalar", case, kv_heads, kind))


@each_kind
@given(keys=st.lists(st.integers(1, 9000), min_size=1, max_size=6), seed=st.integers(0, 99), heads=st.integers(1, 2))
@settings(max_examples=12, deadline=None)
def test_long_caches_cut_into_tiles_and_sequences_together(kind: str, keys: list[int], seed: int, heads: int) -> None:
    """With one thread no unit is cut; with more, long ones are, tile by tile."""
    isa = (SETS or ["scalar"])[-1]
    rng = np.random.default_rng(seed)
    cases = [make(min(n, int(rng.integers(1, 4))), n, 10**6, heads, 2, 32, seed + i) for i, n in enumerate(keys)]
    want = [attention(isa, case, heads, kind) for case in cases]
    for threads in (1, 2, 3, 8):
        for got, alone in zip(testing.attention(isa, cases, heads, 32**-0.5, kind, threads), want, strict=True):
            assert_same_bits(got, alone)


@each_kind
def test_a_cache_of_several_rounds(kind: str) -> None:
    """80 tiles of 16 rows x 256 channels: five times what waits to be merged at once."""
    isa = (SETS or ["scalar"])[-1]
    case = make(2, 80 * 256 - 3, 10**6, 1, 8, 256, seed=20)
    want = attention(isa, case, 1, kind)
    for threads in (2, 3):
        assert_same_bits(attention(isa, case, 1, kind, threads), want)


@needs_sets
@each_set
@each_kind
def test_extreme_scores(isa: str, kind: str) -> None:
    q, *rest = make(6, 300, 1000, 1, 2, 64, seed=16)
    for factor in (0.0, 1e3, 1e15, 1e-30, 1e-37):
        case = (q * np.float32(factor), *rest)
        got = attention(isa, case, 1, kind)
        assert np.isfinite(got).all()
        assert_same_bits(got, attention("scalar", case, 1, kind))


@needs_sets
@each_set
@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-6, 1e-3, 1e3, 1e6])
def test_bytes_of_any_size(isa: str, size: float) -> None:
    """Scales at the ends of binary16: zero, subnormal, large."""
    q, k, v, begin, end = make(3, 100, 1000, 1, 2, 64, seed=17)
    case = (q, k, v * np.float32(size), begin, end)
    got = attention(isa, case, 1, "q8_0")
    np.testing.assert_allclose(got, expected(case, 1, "q8_0"), rtol=1e-4, atol=1e-4 * size)
    assert_same_bits(got, attention("scalar", case, 1, "q8_0"))


@needs_sets
@each_kind
def test_keys_that_a_row_does_not_see_cannot_spoil_it(kind: str) -> None:
    q, k, v, begin, end = make(21, 300, 40, 1, 3, 32, seed=18)
    clean = attention("scalar", (q, k, v, begin, end), 1, kind)
    v[290, 5], k[293, 0], v[241, 1] = np.inf, np.nan, np.nan
    case = (q, k, v, begin, end)
    sees = np.array([[b <= at < e for at in (290, 293, 241)] for b, e in zip(begin, end, strict=True)])
    assert 0 < sees.any(1).sum() < 21
    want = attention("scalar", case, 1, kind)
    assert_same_bits(want[~sees.any(1)], clean[~sees.any(1)])
    assert not np.isfinite(want[sees[:, [0, 2]].any(1)]).all(1).any()
    for isa in SETS:
        assert_same_bits(attention(isa, case, 1, kind), want)
    if kind == "q8_0":  # queries become integers: what is not finite must not vanish
        q[4, 3] = np.nan
        for isa in SETS:
            assert_same_bits(attention(isa, case, 1, kind), attention("scalar", case, 1, kind))
