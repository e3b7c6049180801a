"""Which block type each tensor gets in a file of a given quantisation ("Q4_0", "Q4_K_M"), and what that takes in bytes.

For files that do not exist yet. What a file that does exist holds is read from it, never from here.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from .sizes import PLE_TABLE, ROPE_FREQS

if TYPE_CHECKING:
    from .sizes import Sizes

# type: (weights a block, bytes a block)
BLOCKS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q8_0": (32, 34),
    "Q5_1": (32, 24),
    "Q5_0": (32, 22),
    "Q4_0": (32, 18),
    "Q6_K": (256, 210),
    "Q5_K": (256, 176),
    "Q4_K": (256, 144),
}
# What takes the place of a type whose blocks do not divide a row.
_FALLBACK = {"Q6_K": "Q8_0", "Q5_K": "Q5_1", "Q4_K": "Q5_0"}
# mix: (most tensors, the token embedding that is also the head, every other layer's values and down projections)
MIXES = {
    "F32": ("F32", "F32", "F32"),
    "BF16": ("BF16", "BF16", "BF16"),
    "F16": ("F16", "F16", "F16"),
    "Q8_0": ("Q8_0", "Q8_0", "Q8_0"),
    "Q6_K": ("Q6_K", "Q6_K", "Q6_K"),
    "Q5_K_M": ("Q5_K", "Q6_K", "Q6_K"),
    "Q4_K_M": ("Q4_K", "Q6_K", "Q6_K"),
    "Q4_0": ("Q4_0", "Q6_K", "Q4_0"),
}
_MORE_BITS = ("attn_v.weight", "ffn_down.weight", "ffn_down_exps.weight")
_DENSE = ("ffn_gate.weight", "ffn_up.weight", "ffn_down.weight")


def block_bytes(kind: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor of this type and shape, outermost extent first.

    >>> block_bytes("Q4_0", (2, 64))
    72
    """
    weights, size = BLOCKS[kind]
    if shape[-1] % weights:
        raise ValueError(f"{kind}: rows of {shape[-1]} are not whole blocks of {weights}")
    return prod(shape) // weights * size


def type_of(name: str, shape: tuple[int, ...], mix: str, sizes: Sizes) -> str:
    """The type of one tensor of a file with this mix.

    >>> from gemlet.planning.sizes import FAMILY
    >>> type_of("blk.0.ffn_up.weight", (6144, 1536), "Q4_0", FAMILY["E2B"])
    'Q4_0'
    """
    most, embedding, more = MIXES[mix]
    part = name.split(".", 2)[-1] if name.startswith("blk.") else name
    if len(shape) == 1 or part == "ffn_gate_inp.weight" or name == ROPE_FREQS:
        return "F32"  # norms, and the router: a few thousand weights that choose what all others do
    if name == "per_layer_model_proj.weight":
        return most if most in ("F32", "BF16") else "F16"
    if name == "token_embd.weight":
        kind = embedding
    elif sizes.experts and part in _DENSE and BLOCKS[most][0] > 1:
        kind = "Q8_0"  # beside the experts every token passes here; four bits cost it much, and it is small
    elif part in _MORE_BITS and _takes_more(int(name.split(".")[1]), len(sizes.layers)):
        kind = more
    else:
        kind = most
    while shape[-1] % BLOCKS[kind][0]:
        kind = _FALLBACK.get(kind, "F16")
    return kind


def _takes_more(layer: int, layers: int) -> bool:
    """The first and the last eighth of the layers, and every third between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def tensors_of(sizes: Sizes, mix: str) -> list[tuple[str, tuple[int, ...], str, int]]:
    """Name, shape, type and bytes of every tensor of a file with these sizes and this mix."""
    found = ((name, shape, type_of(name, shape, mix, sizes)) for name, shape in sizes.tensors())
    return [(name, shape, kind, block_bytes(kind, shape)) for name, shape, kind in found]


def file_bytes(sizes: Sizes, mix: str) -> int:
    """Bytes of all tensors of such a file, the table of per-layer embeddings among them."""
    return sum(size for *_, size in tensors_of(sizes, mix))


__all__ = ["BLOCKS", "MIXES", "PLE_TABLE", "block_bytes", "file_bytes", "tensors_of", "type_of"]
