"""Writes GGUF files with the real sizes of Gemma 4 and random weights: for speed and memory, not for sense.

    python benchmarks/real_shapes.py E2B Q4_0 e2b-q4_0.gguf --seed 1
    python benchmarks/real_shapes.py 31B Q4_0 part.gguf --layers 6      # the real widths where the whole is too large
    python benchmarks/real_shapes.py --list

Blocks are random bytes with small scales, so that each matrix keeps the size of what goes through it. The tokenizer is
whole: the demo's pieces in Gemma 4's order, with merges (extra `demo`). The file is streamed, a piece in memory at a
time, and gets its name when it is complete.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cache
from math import prod, sqrt
from pathlib import Path
from typing import BinaryIO

import gguf
import numpy as np

from gemlet._core import testing
from gemlet.planning import mixes
from gemlet.planning.sizes import FAMILY, ROPE_FREQS, VOCABULARY, LayerSizes, Sizes
from shapes_vocabulary import vocabulary

PIECE = 32 << 20  # bytes made at a time
# Models small enough for a test: one like the small members (per-layer embeddings, shared keys), one like the mixture
# (K = V, experts whose rows not every block type divides).
TINY = Sizes(
    "tiny",
    *(256, 64, 4096),
    layers=tuple(LayerSizes(i % 2 == 0, 4, 1, (64, 128)[i % 2], 512 * (1 + (i >= 4)), owns_kv=i < 4) for i in range(8)),
    vocabulary=1024,
    per_layer=32,
)
TINY_MIXTURE = Sizes(
    "tiny-mixture",
    *(256, 64, 4096),
    layers=tuple(LayerSizes(i < 3, 4, (2, 1)[i == 3], (64, 128)[i == 3], 192, has_v=i < 3) for i in range(4)),
    vocabulary=1024,
    experts=8,
    experts_used=2,
    expert_ffn=96,
)
SHAPES = {**FAMILY, TINY.name: TINY, TINY_MIXTURE.name: TINY_MIXTURE}

# type: byte offsets of the 16-bit scales in a block, and what each is times the block's unit. A minimum is half the range
# of its values below zero, so that weights are centred.
_SCALES = {
    "Q8_0": {0: 1.0},
    "Q4_0": {0: 1.0},
    "Q5_0": {0: 1.0},
    "Q5_1": {0: 1.0, 2: -15.5},
    "Q4_K": {0: 1.0, 2: 7.5},
    "Q5_K": {0: 1.0, 2: 15.5},
    "Q6_K": {208: 1.0},
}
_SIGNED = ("Q8_0", "Q4_0", "Q5_0", "Q6_K")  # their values are not centred; scales of both signs see to it


class Random:
    """Random tensors of any type, a piece at a time."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.SFC64(seed)
        self._rng = np.random.Generator(self._bits)

    def floats(self, count: int, mean: float, spread: float) -> np.ndarray:
        return (mean + spread * self._rng.standard_normal(count, dtype=np.float32)).astype(np.float32)

    def bytes(self, count: int) -> np.ndarray:
        return self._bits.random_raw(-(-count // 8)).view(np.uint8)[:count]

    def blocks(self, kind: str, count: int, deviation: float) -> np.ndarray:
        """So many blocks (count, bytes) uint8 whose weights have this standard deviation."""
        size = mixes.BLOCKS[kind][1]
        out = self.bytes(count * size).reshape(count, size)
        # 256 scales around the right one, picked by a byte that is random already.
        steps = np.linspace(0.75, 1.25, 256, dtype=np.float32) * np.float32(deviation / unit_deviation(kind))
        if kind in _SIGNED:
            steps[::2] *= -1
        chosen = out[:, 1].copy()
        for offset, factor in _SCALES[kind].items():
            scales = (steps * np.float32(factor)).astype("<f2").view(np.uint8).reshape(256, 2)
            out[:, offset : offset + 2] = scales[chosen]
        return out

    def matrix(self, kind: str, shape: tuple[int, ...], deviation: float) -> Iterator[np.ndarray]:
        """The tensor's bytes, in pieces."""
        per_block, size = mixes.BLOCKS[kind]
        left = prod(shape) // per_block
        while left:
            count = min(left, PIECE // size)
            left -= count
            if per_block > 1:
                yield self.blocks(kind, count, deviation)
            else:
                yield narrowed(self.floats(count, 0.0, deviation), kind)


def narrowed(x: np.ndarray, kind: str) -> np.ndarray:
    """Float32 as F32, F16 or BF16 (cut, which is as random as rounded)."""
    if kind == "BF16":
        return (x.view("<u4") >> 16).astype("<u2")
    return x.astype("<f2" if kind == "F16" else "<f4")


@cache
def unit_deviation(kind: str) -> float:
    """The standard deviation of random blocks whose scale is 1, from decoding some."""
    count = 4096
    size = mixes.BLOCKS[kind][1]
    out = np.random.default_rng(0).integers(0, 256, (count, size), dtype=np.uint8)
    for offset, factor in _SCALES[kind].items():
        out[:, offset : offset + 2] = np.array([factor], "<f2").view(np.uint8)
    return float(np.sqrt(np.mean(np.square(testing.decode(kind, out, mixes.BLOCKS[kind][0])))))


# Mean and spread of vectors; a branch adds little next to the stream, and the layer's scale stays near 1, so that
# nothing grows from layer to layer.
_VECTORS = {
    "post_attention_norm.weight": (0.4, 0.1),
    "post_ffw_norm.weight": (0.4, 0.1),
    "post_norm.weight": (0.4, 0.1),
    "layer_output_scale.weight": (0.95, 0.02),
    "output_norm.weight": (2.0, 0.3),
}
_GAINS = {"ffn_gate.weight": 1.5, "inp_gate.weight": 0.4, "token_embd.weight": 2.5, "ffn_gate_inp.weight": 3.0}


def tensor_bytes(sizes: Sizes, name: str, shape: tuple[int, ...], kind: str, random: Random) -> Iterator[np.ndarray]:
    """A tensor's bytes, in pieces."""
    part = name.split(".", 2)[-1] if name.startswith("blk.") else name
    if name == ROPE_FREQS:
        turning = shape[0] // 4
        yield np.array([1.0] * turning + [1e30] * (shape[0] - turning), "<f4")
    elif len(shape) == 1:
        mean, spread = _VECTORS.get(part, (1.0, 0.2))
        if part == "attn_q_norm.weight":  # scores are not divided by sqrt(C): this norm carries the temperature
            mean, spread = 1.2 / sqrt(shape[0]), 0.2 / sqrt(shape[0])
        if part == "ffn_gate_inp.scale":  # the engine divides by sqrt(D)
            mean, spread = sqrt(shape[0]) / 2, sqrt(shape[0]) / 10
        made = random.floats(shape[0], mean, spread)
        if part == "output_norm.weight":
            # Signs: with a tied head, positive weights would make the model repeat the token it has just read.
            made *= np.where(random.bytes(shape[0]) & 1, np.float32(1), np.float32(-1))
        yield narrowed(made, kind)
    else:
        incoming = sizes.width if name == "token_embd.weight" else shape[-1]
        if name == mixes.PLE_TABLE:
            incoming = sizes.per_layer
        yield from random.matrix(kind, shape, _GAINS.get(part, 1.0) / sqrt(incoming))


def header(path: Path, sizes: Sizes, mix: str) -> gguf.GGUFWriter:
    """A writer with all metadata and tensor infos written to `path`."""
    writer = gguf.GGUFWriter(path, "gemma4")
    layers = sizes.layers
    full = next(layer for layer in layers if not layer.sliding)
    sliding = next(layer for layer in layers if layer.sliding)
    writer.add_name(f"Gemma 4 {sizes.name} sizes, random weights")
    writer.add_context_length(sizes.context)
    writer.add_embedding_length(sizes.width)
    writer.add_block_count(len(layers))
    writer.add_feed_forward_length(_scalar_or_array([layer.ffn for layer in layers]))
    writer.add_embedding_length_per_layer_input(sizes.per_layer)
    writer.add_head_count(full.heads)
    writer.add_head_count_kv(_scalar_or_array([layer.kv_heads for layer in layers]))
    writer.add_key_length(full.channels)
    writer.add_value_length(full.channels)
    writer.add_key_length_swa(sliding.channels)
    writer.add_value_length_swa(sliding.channels)
    writer.add_sliding_window(sizes.window)
    writer.add_sliding_window_pattern([layer.sliding for layer in layers])
    writer.add_shared_kv_layers(sizes.shared_kv)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_rope_freq_base_swa(1e4)
    writer.add_rope_dimension_count(full.channels)
    writer.add_rope_dimension_count_swa(sliding.channels)
    writer.add_final_logit_softcapping(sizes.softcap)
    if sizes.experts:
        writer.add_expert_count(sizes.experts)
        writer.add_expert_used_count(sizes.experts_used)
        writer.add_expert_feed_forward_length(sizes.expert_ffn)
    writer.add_file_type(gguf.LlamaFileType[_FILE_TYPE.get(mix, f"MOSTLY_{mix}")])
    _add_tokenizer(writer, sizes.vocabulary)
    for name, shape, kind, size in mixes.tensors_of(sizes, mix):
        writer.add_tensor_info(name, shape, np.dtype(np.float32), size, gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return writer


_FILE_TYPE = {"F32": "ALL_F32"}


def _scalar_or_array(values: list[int]) -> int | list[int]:
    return values[0] if len(set(values)) == 1 else values


def _add_tokenizer(writer: gguf.GGUFWriter, size: int) -> None:
    pieces, kinds, merges = vocabulary(size)
    writer.add_tokenizer_model("gemma4")
    writer.add_token_list(pieces)
    writer.add_token_scores([-1000.0] * size)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def write(
    sizes: Sizes, mix: str, path: Path, *, seed: int = 1, progress: Callable[[int, int], object] | None = None
) -> None:
    """Write the file; `progress(done, total)` counts bytes of tensors."""
    tensors = mixes.tensors_of(sizes, mix)
    total = sum(size for *_, size in tensors)
    free = shutil.disk_usage(path.parent).free
    if free < total + (64 << 20):
        raise SystemExit(f"{path}: needs {total / 1e9:.1f} GB, and {path.parent} has {free / 1e9:.1f} GB free")
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    done = 0
    try:
        random = Random(seed)
        with closing(header(partial, sizes, mix)) as writer:
            out = writer.fout[0]
            writer.write_padding(out, out.tell())
            for name, shape, kind, size in tensors:
                for piece in tensor_bytes(sizes, name, shape, kind, random):
                    out.write(memoryview(piece).cast("B"))
                    done += piece.nbytes
                    if progress is not None:
                        progress(done, total)
                writer.write_padding(out, size)
            _read_anew(out)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _read_anew(file: BinaryIO) -> None:
    """Take the file out of the page cache: it is to come back in the large pieces its reader asks for."""
    file.flush()
    os.fsync(file.fileno())
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def first_layers(sizes: Sizes, count: int) -> Sizes:
    """The same widths with fewer layers."""
    layers = sizes.layers[:count]
    if not 0 < count <= len(sizes.layers) or len({layer.sliding for layer in layers}) < 2:
        raise SystemExit(
            f"{sizes.name}: --layers {count}: needs a sliding and a full layer, of {len(sizes.layers)} layers"
        )
    return replace(sizes, name=f"{sizes.name} ({count} layers)", layers=layers)


def show_progress() -> Callable[[int, int], None]:
    """A line on standard error, four times a second at most."""
    last = began = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 0.25 or done == total:
            last = now
            speed = done / 1e6 / max(now - began, 1e-3)
            end = "\n" if done == total else ""
            print(
                f"\r{done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {speed:.0f} MB/s ", end=end, file=sys.stderr, flush=True
            )

    return show


def listing() -> str:
    """What there is to write, in MB."""
    lines = [f"{'MB of tensors':<14}" + "".join(f"{mix:>10}" for mix in mixes.MIXES)]
    for name, sizes in SHAPES.items():
        counts = "".join(f"{mixes.file_bytes(sizes, mix) / 1e6:>10,.0f}" for mix in mixes.MIXES)
        lines.append(f"{name:<14}{counts}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", nargs="?", choices=list(SHAPES))
    parser.add_argument("mix", nargs="?", choices=list(mixes.MIXES), default="Q4_0")
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, metavar="N", help="the first N layers only")
    parser.add_argument("--list", action="store_true", help="bytes of every shape and mix")
    args = parser.parse_args()
    if args.list:
        print(listing())
        return 0
    if args.shape is None or args.path is None:
        parser.error("give SHAPE MIX PATH, or --list")
    sizes = SHAPES[args.shape] if args.layers is None else first_layers(SHAPES[args.shape], args.layers)
    write(sizes, args.mix, args.path.absolute(), seed=args.seed, progress=show_progress())
    real = " (real)" if sizes.vocabulary == VOCABULARY else ""
    print(f"{args.path}: {args.path.stat().st_size / 1e6:,.0f} MB, vocabulary of {sizes.vocabulary:,}{real}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
