"""The scalar codec against the `gguf` package: the same bits both ways."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlet import errors
from gemlet._core import testing

DECODED = [
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4",
]  # fmt: skip
ENCODED = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
SIZED = ["I8", "I16", "I32", "I64", "F64"]


def sizes(name: str) -> tuple[int, int]:
    """Elements and bytes of a block, as the `gguf` package has them."""
    return gguf.constants.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]


def expected_floats(name: str, blocks: np.ndarray) -> np.ndarray:
    """(n, block_bytes) -> float32 (n, block)"""
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name])


def expected_bytes(name: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return gguf.quants.quantize(x, gguf.GGMLQuantizationType[name]).view(np.uint8)


def assert_same_bits(got: np.ndarray, want: np.ndarray) -> None:
    """Equal bits; where the reference is not a number, not a number (whose payload no reference defines)."""
    assert got.dtype == want.dtype == np.float32
    assert got.shape == want.shape
    both_nan = np.isnan(got) & np.isnan(want)
    different = (got.view(np.uint32) != want.view(np.uint32)) & ~both_nan
    assert not different.any(), f"{different.sum()} differ, first: {got[different][0]!r} for {want[different][0]!r}"


def check_decode(name: str, blocks: np.ndarray) -> None:
    block, _ = sizes(name)
    assert_same_bits(testing.decode(name, blocks, block), np.ascontiguousarray(expected_floats(name, blocks)))


def halves(name: str) -> list[int]:
    """Byte offsets of the float16 scales in a block."""
    return {
        "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
        "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
    }.get(name, [])  # fmt: skip


@pytest.mark.parametrize("name", DECODED)
def test_decode_of_any_bytes(name: str) -> None:
    rng = np.random.default_rng(1)
    check_decode(name, rng.integers(0, 256, (3000, sizes(name)[1]), dtype=np.uint8))


@pytest.mark.parametrize("name", [n for n in DECODED if halves(n)])
def test_decode_with_finite_scales_has_no_nan_and_the_same_bits(name: str) -> None:
    rng = np.random.default_rng(2)
    block, size = sizes(name)
    blocks = rng.integers(0, 256, (2000, size), dtype=np.uint8)
    for at in halves(name):
        scale = rng.integers(0, 0x7C00, len(blocks), dtype=np.uint16)
        scale[::2] |= 0x8000
        blocks[:, at : at + 2] = scale.view(np.uint8).reshape(-1, 2)
    got = testing.decode(name, blocks, block)
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(got.view(np.uint32), expected_floats(name, blocks).view(np.uint32))


@pytest.mark.parametrize("name", [n for n in DECODED if halves(n)])
def test_decode_of_every_scale(name: str) -> None:
    """All 65,536 halves in the first scale, subnormals and infinities with them."""
    rng = np.random.default_rng(3)
    patterns = np.arange(0, 65536, 1 if sizes(name)[0] == 32 else 7).astype(np.uint16)
    blocks = np.repeat(rng.integers(0, 256, (1, sizes(name)[1]), dtype=np.uint8), len(patterns), axis=0)
    at = halves(name)[0]
    blocks[:, at : at + 2] = patterns.view(np.uint8).reshape(-1, 2)
    check_decode(name, blocks)


@pytest.mark.parametrize("name", ["F16", "BF16"])
def test_every_half_decodes_and_comes_back(name: str) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    blocks = bits.view(np.uint8).reshape(-1, 2)
    check_decode(name, blocks)
    floats = testing.decode(name, blocks, 1)
    back = testing.encode(name, floats).view(np.uint16).ravel()
    number = ~np.isnan(floats.ravel())
    np.testing.assert_array_equal(back[number], bits[number])
    assert np.isnan(testing.decode(name, back[~number].view(np.uint8), 1)).all()


def test_every_exponent_of_mxfp4() -> None:
    values = np.array([i | ((15 - i) << 4) for i in range(16)], dtype=np.uint8)
    blocks = np.concatenate([np.arange(256, dtype=np.uint8)[:, None], np.tile(values, (256, 1))], axis=1)
    check_decode("MXFP4", np.ascontiguousarray(blocks))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), name=st.sampled_from(DECODED))
def test_decode_of_bytes_that_hypothesis_finds(data: st.DataObject, name: str) -> None:
    size = sizes(name)[1]
    raw = data.draw(st.binary(min_size=size, max_size=size * 3).map(lambda b: b[: len(b) // size * size]))
    check_decode(name, np.frombuffer(raw, dtype=np.uint8).reshape(-1, size))


def test_rows_are_decoded_one_by_one() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((5, 96)).astype(np.float32)
    blocks = testing.encode("Q8_0", x)
    assert blocks.shape == (5, 3 * 34)
    assert_same_bits(testing.decode("Q8_0", blocks, 96), expected_floats("Q8_0", blocks))


def check_encode(name: str, x: np.ndarray) -> None:
    np.testing.assert_array_equal(testing.encode(name, x), expected_bytes(name, x).reshape(len(x), -1))


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-7, 3e-30, 1e4, 3e6, 1e30])
def test_encode_of_normal_numbers(name: str, scale: float) -> None:
    rng = np.random.default_rng(5)
    check_encode(name, (rng.standard_normal((500, 64)) * scale).astype(np.float32))


@pytest.mark.parametrize("name", ENCODED)
def test_encode_of_ties_and_special_blocks(name: str) -> None:
    rng = np.random.default_rng(6)
    blocks = [
        np.zeros(32), -np.ones(32), np.full(32, 7.5), np.linspace(-1, 1, 32), np.arange(32) - 16.0, np.arange(32) / 2,
        np.eye(32)[3], -np.eye(32)[31], np.tile([1.0, -1.0], 16), np.tile([-1.0, 1.0], 16),
    ]  # fmt: skip
    blocks += [rng.integers(-127, 128, 32) * 0.5 for _ in range(200)]
    blocks += [np.float32(2.0) ** rng.integers(-24, 16, 32) for _ in range(200)]
    check_encode(name, np.array(blocks, dtype=np.float32))


@pytest.mark.parametrize("name", ["Q4_0", "Q5_0", "Q8_0"])
def test_encode_of_zeros_of_both_signs(name: str) -> None:
    check_encode(name, np.array([np.tile([0.0, -0.0], 16), np.tile([-0.0, 0.0], 16)], dtype=np.float32))


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(ENCODED),
    values=st.lists(
        # Magnitudes whose scale and inverse are finite floats; a zero has one sign, as the order of two is undefined.
        st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False).map(lambda v: v if abs(v) > 2.0**-60 else 0.0),
        min_size=32,
        max_size=32,
    ),
)
def test_encode_of_floats_that_hypothesis_finds(name: str, values: list[float]) -> None:
    check_encode(name, np.array([values], dtype=np.float32))


def test_float_to_half_at_every_boundary() -> None:
    """Every half, the midpoint above it, and one ulp to either side of both; then overflow and NaN."""
    finite = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middle = (finite[:-1] + finite[1:]) / 2
    points = np.concatenate([finite, middle, [65519.996, 65520.0, 65536.0, 1e30, np.inf]]).astype(np.float32)
    points = np.concatenate([points, np.nextafter(points, np.float32(0)), np.nextafter(points, np.float32(np.inf))])
    points = np.concatenate([points, -points])[:, None]
    check_encode("F16", points)
    nan = np.array([[np.nan], [-np.nan]], dtype=np.float32)
    assert np.isnan(testing.decode("F16", testing.encode("F16", nan), 1)).all()


@pytest.mark.parametrize("name", ["F16", "BF16"])
def test_encode_of_any_float_bits(name: str) -> None:
    x = np.random.default_rng(7).integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    x = x[~np.isnan(x)] if name == "F16" else x
    check_encode(name, x[:, None])


@pytest.mark.parametrize("name", ENCODED)
def test_infinities_and_nan_are_encoded_without_a_crash(name: str) -> None:
    for bad in (np.nan, np.inf, -np.inf, 3e38, 1e-45):
        x = np.ones((1, 64), dtype=np.float32)
        x[0, 5] = bad
        blocks = testing.encode(name, x)
        assert blocks.shape == (1, 64 // sizes(name)[0] * sizes(name)[1])


@pytest.mark.parametrize("name", SIZED)
def test_numbers_that_are_no_weights_are_refused(name: str) -> None:
    with pytest.raises(errors.UnsupportedModel, match=f"{name} holds no weights"):
        testing.decode(name, np.zeros(64, dtype=np.uint8), 8)


def test_rows_that_are_no_whole_number_of_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a row of a multiple of 256 elements for Q4_K, got 32"):
        testing.decode("Q4_K", np.zeros(144, dtype=np.uint8), 32)
    with pytest.raises(ValueError, match="expected whole rows of 34 bytes, got 35"):
        testing.decode("Q8_0", np.zeros(35, dtype=np.uint8), 32)
    with pytest.raises(ValueError, match="no type 'Q9_9'"):
        testing.decode("Q9_9", np.zeros(35, dtype=np.uint8), 32)
    with pytest.raises(ValueError, match="Q4_K is never written"):
        testing.encode("Q4_K", np.zeros((1, 256), dtype=np.float32))
