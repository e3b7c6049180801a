"""Every instruction set gives the bits of the scalar one, and the scalar one gives what numpy computes in float64."""

from __future__ import annotations

import math

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlet import _core
from gemlet._core import testing

SETS = [name for name in _core.isas() if name != "scalar"]
needs_sets = pytest.mark.skipif(not SETS, reason="this CPU has the scalar set only")
each_set = pytest.mark.parametrize("isa", SETS)

FAST = ["Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
GENERIC = ["Q4_1", "Q5_1", "Q2_K", "Q3_K", "IQ4_NL", "IQ4_XS", "MXFP4"]
PLAIN = ["F32", "F16", "BF16"]
# Byte offsets of a block's float16 scales.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}  # fmt: skip


def block_of(kind: str) -> tuple[int, int]:
    """Elements and bytes."""
    return gguf.constants.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]


def columns(kind: str) -> list[int]:
    return [256, 512, 2048, 2560] if block_of(kind)[0] == 256 else [32, 64, 640, 704, 2112]


def set_scales(w: np.ndarray, kind: str, scales: np.ndarray | float) -> np.ndarray:
    """All float16 scales of w (rows, bytes) become `scales`, broadcast over (rows, blocks)."""
    _, size = block_of(kind)
    blocks = w.reshape(len(w), -1, size)
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(np.broadcast_to(np.asarray(scales, np.float16), blocks.shape[:2]))
    for at in HALVES[kind]:
        blocks[:, :, at : at + 2] = halves[..., None].view(np.uint8)
    return w


def weights(kind: str, rows: int, cols: int, rng: np.random.Generator) -> np.ndarray:
    """Random bytes with scales around 0.01, uint8 (rows, bytes of a row)"""
    if kind in PLAIN:
        values = rng.standard_normal((rows, cols)).astype(np.float32)
        return testing.encode(kind, values)
    elements, size = block_of(kind)
    w = rng.integers(0, 256, (rows, cols // elements * size), dtype=np.uint8)
    if kind == "MXFP4":  # one byte of exponent a block
        w.reshape(rows, -1, size)[:, :, 0] = rng.integers(120, 130, (rows, cols // elements))
        return w
    return set_scales(w, kind, rng.normal(0, 0.01, (rows, cols // elements)))


def dequantised(kind: str, w: np.ndarray) -> np.ndarray:
    """float64 (rows, cols), by the `gguf` package"""
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(w, gguf.GGMLQuantizationType[kind]).astype(np.float64)


def activations(x: np.ndarray) -> np.ndarray:
    """What the products see of x (T, K): d * q of its int8 blocks, in float64."""
    q, d, *_ = testing.quantize("scalar", x)
    return (q.reshape(len(x), -1, 32) * d.astype(np.float64)[..., None]).reshape(len(x), -1)[:, : x.shape[1]]


def assert_same_bits(got: np.ndarray, want: np.ndarray) -> None:
    """Equal, zeros of equal sign; the payload of what is not a number is not compared."""
    assert got.shape == want.shape
    assert got.dtype == want.dtype == np.float32
    different = (got.view(np.uint32) != want.view(np.uint32)) & ~(np.isnan(got) & np.isnan(want))
    assert not different.any(), f"{different.sum()} differ, first {got[different][0]!r} for {want[different][0]!r}"


def assert_product(got: np.ndarray, w: np.ndarray, x: np.ndarray, relative: float = 2e-6) -> None:
    """got (T, rows) = x . w^T up to float32 rounding: relative to the sum of magnitudes."""
    bound = np.abs(x) @ np.abs(w).T
    error = np.abs(got - x @ w.T)
    assert (error <= relative * bound + 1e-30).all(), f"relative error {np.max(error / (bound + 1e-30)):.2e}"


# ---- products ----


@pytest.mark.parametrize("kind", FAST)
def test_scalar_product_is_numpys(kind: str) -> None:
    rng = np.random.default_rng(0)
    for cols in columns(kind):
        w, x = weights(kind, 19, cols, rng), rng.standard_normal((3, cols)).astype(np.float32)
        expected = dequantised(kind, w), activations(x)
        assert_product(testing.linear("scalar", w, kind, x), *expected)
        assert_product(testing.linear("scalar", w, kind, x[:1]), expected[0], expected[1][:1])


@pytest.mark.parametrize("kind", FAST + GENERIC + PLAIN)
def test_scalar_float_product_is_numpys(kind: str) -> None:
    rng = np.random.default_rng(1)
    w, x = weights(kind, 19, 768, rng), rng.standard_normal((3, 768)).astype(np.float32)
    assert_product(testing.linear("scalar", w, kind, x, float_compute=True), dequantised(kind, w), x.astype(np.float64))


@needs_sets
@each_set
@pytest.mark.parametrize("kind", FAST)
def test_products_equal_the_scalar_twin(kind: str, isa: str) -> None:
    rng = np.random.default_rng(2)
    for cols in columns(kind):
        w, x = weights(kind, 40, cols, rng), rng.standard_normal((9, cols)).astype(np.float32)
        want = testing.linear("scalar", w, kind, x)
        for tokens in (9, 1, 2, 5):
            assert_same_bits(testing.linear(isa, w, kind, x[:tokens]), want[:tokens])
        for rows in (1, 2, 15, 16, 17, 33):
            assert_same_bits(testing.linear(isa, w[:rows], kind, x[:3]), want[:3, :rows])
            assert_same_bits(testing.linear(isa, w[:rows], kind, x[4:5]), want[4:5, :rows])


@needs_sets
@each_set
@pytest.mark.parametrize("kind", FAST)
def test_many_tokens_equal_one_at_a_time(kind: str, isa: str) -> None:
    rng = np.random.default_rng(3)
    cols = columns(kind)[1]
    w, x = weights(kind, 21, cols, rng), rng.standard_normal((37, cols)).astype(np.float32)
    together = testing.linear(isa, w, kind, x)
    assert_same_bits(together, np.concatenate([testing.linear(isa, w, kind, row[None]) for row in x]))
    assert_same_bits(together, testing.linear("scalar", w, kind, x))


@needs_sets
@given(st.data())
@settings(max_examples=80, deadline=None)
def test_products_of_any_shape_equal_the_scalar_twin(data: st.DataObject) -> None:
    isa, kind = data.draw(st.sampled_from(SETS)), data.draw(st.sampled_from(FAST + GENERIC + PLAIN))
    rows, tokens = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 9))
    cols = block_of(kind)[0] * data.draw(st.integers(1, 300 if kind in PLAIN else 4 if "K" in kind else 24))
    threads, floats = data.draw(st.integers(1, 3)), data.draw(st.booleans())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    w, x = weights(kind, rows, cols, rng), rng.standard_normal((tokens, cols)).astype(np.float32)
    want = testing.linear("scalar", w, kind, x, float_compute=floats)
    assert_same_bits(testing.linear(isa, w, kind, x, threads, floats), want)


@needs_sets
@each_set
@pytest.mark.parametrize("cols", [1, 7, 15, 16, 17, 33, 704, 2112, 4304])
@pytest.mark.parametrize("kind", PLAIN)
def test_float_products_of_odd_widths(kind: str, cols: int, isa: str) -> None:
    rng = np.random.default_rng(cols)
    w, x = weights(kind, 11, cols, rng), rng.standard_normal((7, cols)).astype(np.float32)
    want = testing.linear("scalar", w, kind, x)
    assert_product(want, dequantised(kind, w), x.astype(np.float64))
    assert_same_bits(testing.linear(isa, w, kind, x), want)
    assert_same_bits(testing.linear(isa, w, kind, x[:1]), want[:1])  # 16-bit rows are streamed
    assert_same_bits(testing.linear(isa, w[:2], kind, x[6:]), want[6:, :2])


@needs_sets
@each_set
@pytest.mark.parametrize("rows", [65552, 65541])
def test_rows_too_long_for_the_cache_equal_the_scalar_twin(rows: int, isa: str) -> None:
    rng = np.random.default_rng(4)
    w, x = weights("Q4_0", rows, 32, rng), rng.standard_normal((3, 32)).astype(np.float32)
    y = testing.linear(isa, w, "Q4_0", x, 2)
    assert y.ctypes.data % 64 == 0  # whole lines are written past the cache: of 65552 all, of 65541 those of some rows
    assert_same_bits(y, testing.linear("scalar", w, "Q4_0", x))


# ---- products at the edge ----


def extreme_bytes(kind: str, fill: int, cols: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of blocks whose bytes are all `fill`, or, for -1, 0x00 or 0xFF each, or, for -2, 0x80 or 0x7F each."""
    elements, size = block_of(kind)
    shape = (18, cols // elements * size)
    if fill == -1:
        w = np.where(rng.random(shape) < 0.5, 0, 255).astype(np.uint8)
    elif fill == -2:
        w = np.where(rng.random(shape) < 0.5, 0x80, 0x7F).astype(np.uint8)
    else:
        w = np.full(shape, fill, np.uint8)
    return set_scales(w, kind, 1.0)


@needs_sets
@pytest.mark.parametrize("fill", [0x00, 0xFF, 0x80, 0x7F, 0x0F, 0xF0, -1, -2])
@pytest.mark.parametrize("kind", FAST)
def test_extreme_weights_and_activations_do_not_saturate(kind: str, fill: int) -> None:
    rng = np.random.default_rng(5)
    cols = 768
    w = extreme_bytes(kind, fill, cols, rng)
    x = np.ones((6, cols), np.float32)
    x[1] = -1
    x[2, ::2] = -1  # both bytes of a 16-bit pair against each other
    x[3] = np.where(rng.random(cols) < 0.5, -1, 1)
    x[4, 1::4] = -1
    x[5] = 0
    q, *_ = testing.quantize("scalar", x)
    assert set(np.unique(q)) == {-127, 0, 127}
    want = testing.linear("scalar", w, kind, x)
    assert_product(want, dequantised(kind, w), activations(x))
    assert not want[5].any()
    for isa in SETS:
        assert_same_bits(testing.linear(isa, w, kind, x), want)
        for t in range(6):
            assert_same_bits(testing.linear(isa, w, kind, x[t : t + 1]), want[t : t + 1])


@needs_sets
@pytest.mark.parametrize("half", [-128, 127])
@pytest.mark.parametrize("fill", [0x00, 0xFF])
def test_largest_scales_of_half_blocks(fill: int, half: int) -> None:
    w = np.full((18, 3 * 210), fill, np.uint8)  # Q6_K: weights of -32 or 31
    w.reshape(18, 3, 210)[:, :, 192:208] = np.uint8(half & 255)
    w = set_scales(w, "Q6_K", 1.0)
    x = np.ones((7, 768), np.float32)
    for t in range(1, 7):  # all lanes, then the lanes of 16-bit sums, each alone
        x[t] = np.where(np.arange(768) % 2 ** (t // 2) == t % 2, 1, -1)
    want = testing.linear("scalar", w, "Q6_K", x)
    assert_product(want, dequantised("Q6_K", w), activations(x))
    for isa in SETS:
        assert_same_bits(testing.linear(isa, w, "Q6_K", x), want)
        for t in range(7):
            assert_same_bits(testing.linear(isa, w, "Q6_K", x[t : t + 1]), want[t : t + 1])


@needs_sets
@pytest.mark.parametrize("scale", [0.0, -0.0, 6e-8, -6e-8, 3e-5, 65504.0, -65504.0, np.inf, np.nan])
@pytest.mark.parametrize("kind", FAST)
def test_extreme_scales(kind: str, scale: float) -> None:
    rng = np.random.default_rng(6)
    cols = columns(kind)[2]
    w = weights(kind, 17, cols, rng)
    w[1:] = set_scales(w[1:].copy(), kind, scale)
    for magnitude in (1.0, 3e38, 1e-38, 1e-42):
        x = (rng.uniform(-1, 1, (5, cols)) * magnitude).astype(np.float32)
        want = testing.linear("scalar", w, kind, x)
        for isa in SETS:
            assert_same_bits(testing.linear(isa, w, kind, x), want)
            assert_same_bits(testing.linear(isa, w, kind, x[2:3]), want[2:3])


@needs_sets
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [*FAST, "F16", "Q2_K"])
def test_an_activation_that_is_no_number_spoils_its_token_only(kind: str, bad: float) -> None:
    rng = np.random.default_rng(7)
    w, x = weights(kind, 18, 512, rng), rng.standard_normal((5, 512)).astype(np.float32)
    clean = testing.linear("scalar", w, kind, x)
    x[1, 37] = bad
    for isa in ["scalar", *SETS]:
        for tokens in (x, x[1:2]):
            y = testing.linear(isa, w, kind, tokens)
            spoilt = y[1] if len(tokens) == 5 else y[0]
            assert not np.isfinite(spoilt).any()
            if kind in FAST:
                assert np.isnan(spoilt).all()
            if len(tokens) == 5:
                assert_same_bits(np.delete(y, 1, 0), np.delete(clean, 1, 0))


@needs_sets
@each_set
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(isa: str, threads: int) -> None:
    rng = np.random.default_rng(8)
    w, x = weights("Q4_K", 611, 512, rng), rng.standard_normal((6, 512)).astype(np.float32)
    want = testing.linear(isa, w, "Q4_K", x)
    assert_same_bits(testing.linear(isa, w, "Q4_K", x, threads), want)
    assert_same_bits(testing.linear(isa, w, "Q4_K", x[3:4], threads), want[3:4])


# ---- quantised activations ----


def test_quantised_activations_are_the_nearest() -> None:
    rng = np.random.default_rng(9)
    x = (rng.standard_normal((4, 640)) * 10.0 ** rng.integers(-20, 20, (4, 1))).astype(np.float32)
    x[0, 32:64] = 0
    q, d, total, minus32, dsum = testing.quantize("scalar", x)
    blocks = x.reshape(4, 20, 32).astype(np.float64)
    assert q.shape == (4, 768)  # padded with zero blocks to a multiple of eight
    assert not q[:, 640:].any()
    assert not d[:, 20:].any()
    amax = np.abs(blocks).max(-1)
    np.testing.assert_array_equal(d[:, :20], amax.astype(np.float32) / np.float32(127))
    error = np.abs(q.reshape(4, 24, 32)[:, :20] * d[:, :20, None].astype(np.float64) - blocks)
    assert (error <= 0.50001 * d[:, :20, None]).all()
    np.testing.assert_array_equal(total, q.reshape(4, 24, 32).sum(-1, dtype=np.int32))
    pairs = q.reshape(4, 24, 2, 4, 2, 2).sum((3, 5), dtype=np.int32)  # halves, then elements 0, 1 and 2, 3 modulo 4
    np.testing.assert_array_equal(minus32, -32 * pairs)
    np.testing.assert_array_equal(dsum, d * total.astype(np.float32))


def test_halfway_activations_round_to_even() -> None:
    x = np.zeros((1, 32), np.float32)
    x[0, :7] = 127, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5
    for isa in ["scalar", *SETS]:
        q, *_ = testing.quantize(isa, x)
        assert q[0, :7].tolist() == [127, 0, 2, 2, 0, -2, 126]


@needs_sets
@each_set
@pytest.mark.parametrize("cols", [1, 31, 32, 33, 100, 256, 640, 2112])
def test_quantise_equals_the_scalar_twin(isa: str, cols: int) -> None:
    rng = np.random.default_rng(10)
    x = (rng.standard_normal((9, cols)) * 10.0 ** rng.integers(-44, 38, (9, 1))).astype(np.float32)
    x[0] = 0
    x[1, :] = -3.4028235e38
    x[2, 0] = np.nan
    x[3, -1] = np.inf
    x[4] = 1e-45
    for got, want in zip(testing.quantize(isa, x), testing.quantize("scalar", x), strict=True):
        if got.dtype == np.float32:
            assert_same_bits(got, want)
        else:
            np.testing.assert_array_equal(got, want)


# ---- row operations ----

NONE = np.zeros(0, np.float32)


def row_inputs(n: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    ordinary = tuple(rng.standard_normal(n).astype(np.float32) for _ in range(3))
    wide = tuple((v * 10.0 ** rng.integers(-30, 18, n)).astype(np.float32) for v in ordinary)
    spoilt = tuple(v.copy() for v in ordinary)
    spoilt[0][n // 2] = np.nan
    return [ordinary, wide, spoilt]


@needs_sets
@each_set
@pytest.mark.parametrize("n", [1, 3, 7, 8, 9, 15, 16, 17, 31, 64, 255, 256, 640, 2113])
def test_row_operations_equal_the_scalar_twin(isa: str, n: int) -> None:
    for a, b, c in row_inputs(n, np.random.default_rng(n)):
        for name, args, number in [
            ("rms_norm", (a, b, NONE), 1e-6),
            ("rms_norm", (a, NONE, NONE), 1e-6),
            ("add_rms_norm", (a, b, c), 1e-6),
            ("layer_norm", (a, b, c), 1e-5),
            ("gelu_erf", (a, NONE, NONE), 0),
            ("gelu_erf", (a, b, NONE), 0),
            ("gelu_mul", (a, b, NONE), 0),
            ("sigmoid_mul", (a, b, NONE), 0),
            ("sigmoid_mul", (b, a, NONE), 0),
            ("rope", (a, b[: n // 2], c[: n // 2]), 0),
            ("softcap", (a, NONE, NONE), 30),
            ("scale", (a, NONE, NONE), -0.3),
        ]:
            if name == "rope" and n % 2:
                continue
            want = testing.row_operation("scalar", name, *args, number)
            assert_same_bits(testing.row_operation(isa, name, *args, number), want)
        most = float(np.fmax.reduce(a, initial=-1))
        want = np.float32(testing.sum_exp("scalar", a, most))
        assert_same_bits(np.array([testing.sum_exp(isa, a, most)], np.float32), want[None])


def test_row_operations_are_numpys() -> None:
    rng = np.random.default_rng(11)
    a, b, c = (rng.standard_normal(1000).astype(np.float32) for _ in range(3))
    x, w, r = (v.astype(np.float64) for v in (a, b, c))
    normed = x / np.sqrt((x * x).mean() + 1e-6)

    def run(name: str, *args: np.ndarray, number: float = 0) -> np.ndarray:
        return testing.row_operation("scalar", name, *args, *[NONE] * (3 - len(args)), number)

    np.testing.assert_allclose(run("rms_norm", a, number=1e-6), normed, rtol=1e-6)
    np.testing.assert_allclose(run("rms_norm", a, b, number=1e-6), normed * w, rtol=1e-6)
    np.testing.assert_allclose(run("add_rms_norm", a, b, c, number=1e-6), r + normed * w, rtol=1e-6, atol=1e-6)
    around = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    np.testing.assert_allclose(run("layer_norm", a, b, c, number=1e-5), around * w + r, rtol=1e-5, atol=1e-6)
    exact = np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x + w])
    np.testing.assert_allclose(run("gelu_erf", a, b), exact, rtol=1e-6, atol=1e-6)
    gelu = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(run("gelu_mul", a, b), gelu * w, rtol=3e-6, atol=1e-12)
    np.testing.assert_allclose(run("sigmoid_mul", a, b), x / (1 + np.exp(-w)), rtol=1e-6)
    np.testing.assert_allclose(run("softcap", 40 * a, number=30), 30 * np.tanh(40 * x / 30), rtol=1e-5, atol=1e-5)
    cos, sin = np.cos(w[:500]), np.sin(w[:500])
    turned = np.concatenate([x[:500] * cos - x[500:] * sin, x[500:] * cos + x[:500] * sin])
    got = run("rope", a, cos.astype(np.float32), sin.astype(np.float32))
    np.testing.assert_allclose(got, turned, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("isa", ["scalar", *SETS])
def test_saturated_activations(isa: str) -> None:
    far = np.array([1e30, -1e30, np.inf, -np.inf, 800, -800], np.float32)
    one = np.ones(6, np.float32)
    np.testing.assert_array_equal(testing.row_operation(isa, "softcap", far, NONE, NONE, 30), 30 * np.sign(far))
    gelu = testing.row_operation(isa, "gelu_mul", far[:2], one[:2], NONE, 0)
    assert gelu[0] == far[0]
    assert abs(gelu[1]) < 1e-7  # the exponential is clamped at e^88
    np.testing.assert_allclose(testing.row_operation(isa, "gelu_mul", far[4:], one[4:], NONE, 0), [800, 0], atol=1e-30)


def test_exponential_is_within_one_ulp() -> None:
    x = np.concatenate([np.linspace(-87, 0, 4001), np.linspace(0, 88, 997)]).astype(np.float32)
    got = np.array([testing.sum_exp("scalar", v[None], 0.0) for v in x])
    expected = np.exp(x.astype(np.float64))
    ulp = np.spacing(expected.astype(np.float32)).astype(np.float64)
    assert (np.abs(got - expected) <= ulp).all()


@pytest.mark.parametrize("isa", ["scalar", *SETS])
def test_log_softmax_is_numpys(isa: str) -> None:
    rng = np.random.default_rng(12)
    x = (rng.standard_normal((5, 10_007)) * [[1], [10], [30], [0], [1]]).astype(np.float32)
    x[4, 77] = 1000
    targets = np.array([3, 10_006, 0, 5, 77], np.int32)
    wide = x.astype(np.float64)
    shifted = wide - wide.max(-1, keepdims=True)
    expected = (shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))[np.arange(5), targets]
    for threads in (1, 3):
        got = testing.log_softmax_at(isa, x, targets, threads)
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
        assert_same_bits(got, testing.log_softmax_at("scalar", x, targets))


# ---- 16-bit numbers ----


@pytest.mark.parametrize("isa", ["scalar", *SETS])
def test_every_half_widens_and_narrows(isa: str) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    wide = testing.widen(isa, "F16", bits)
    assert_same_bits(wide, bits.view(np.float16).astype(np.float32))
    back = testing.narrow_f16(isa, wide)
    numbers = ~np.isnan(wide)
    np.testing.assert_array_equal(back[numbers], bits[numbers])
    quiet = (bits[~numbers] & 0x7C00) == 0x7C00
    assert quiet.all()
    assert np.isnan(back[~numbers].view(np.float16)).all()
    assert_same_bits(testing.widen(isa, "BF16", bits), (bits.astype(np.uint32) << 16).view(np.float32))


@pytest.mark.parametrize("isa", ["scalar", *SETS])
def test_narrowing_rounds_to_nearest_even(isa: str) -> None:
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    above = np.append(halves[1:], np.float32(65536))
    ties = ((halves.astype(np.float64) + above) / 2).astype(np.float32)  # exact
    around = np.concatenate([ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(np.inf))])
    more = np.array([1e-45, 1e-8, 2.9802322e-8, 2.9802326e-8, 65519.996, 65520, 1e10, 3.4e38, np.inf], np.float32)
    x = np.concatenate([around, more])
    x = np.concatenate([x, -x])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(testing.narrow_f16(isa, x), x.astype(np.float16).view(np.uint16))


@needs_sets
@each_set
@pytest.mark.parametrize("n", range(1, 19))
def test_short_rows_convert(isa: str, n: int) -> None:
    x = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    x[0] = np.nan
    half = testing.narrow_f16("scalar", x)
    np.testing.assert_array_equal(testing.narrow_f16(isa, x), half)
    for kind in ("F16", "BF16"):
        assert_same_bits(testing.widen(isa, kind, half), testing.widen("scalar", kind, half))


# ---- the machine's limits ----


@pytest.mark.parametrize("isa", ["scalar", *SETS])
def test_limit_loops_do_the_work_they_report(isa: str) -> None:
    words = np.random.default_rng(17).integers(0, 2**63, 4096, dtype=np.uint64)
    checksum, operations = testing.streams(isa, words.view(np.uint8), 10)
    assert checksum == int(words.sum(dtype=np.uint64))
    assert operations >= 10 * 64 * 2
