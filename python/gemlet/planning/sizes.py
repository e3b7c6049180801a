"""The sizes of Gemma's text decoders: the published Gemma 4 family as a table, and those that a file's header states.

Owns what follows from sizes alone: the list of tensors, parameters, elements of the key-value cache. Reads no weights
and knows no quantisation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

VOCABULARY = 262_144


class LayerSizes(NamedTuple):
    """One layer: H heads, K key/value heads, C channels a head, F feed-forward."""

    sliding: bool
    heads: int
    kv_heads: int
    channels: int
    ffn: int
    owns_kv: bool = True  # else it reads the cache of an earlier layer
    has_v: bool = True  # else its values are its keys before their norm


@dataclass(frozen=True)
class Sizes:
    """A text decoder: D width, V vocabulary, P per-layer channels (0: none), E experts (0: none) of M channels."""

    name: str
    width: int
    window: int
    context: int
    layers: tuple[LayerSizes, ...]
    vocabulary: int = VOCABULARY
    per_layer: int = 0
    experts: int = 0
    experts_used: int = 0
    expert_ffn: int = 0
    architecture: str = "gemma4"
    softcap: float = field(default=30.0, compare=False)

    @property
    def shared_kv(self) -> int:
        """How many layers at the end have no keys and values of their own."""
        return sum(not layer.owns_kv for layer in self.layers)

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names as in a GGUF file, and shapes, outermost first, in the order that such files have."""
        D = self.width
        yield "token_embd.weight", (self.vocabulary, D)
        if self.per_layer:
            yield "per_layer_token_embd.weight", (self.vocabulary, len(self.layers) * self.per_layer)
            yield "per_layer_model_proj.weight", (len(self.layers) * self.per_layer, D)
            yield "per_layer_proj_norm.weight", (self.per_layer,)
        for i, layer in enumerate(self.layers):
            for name, shape in self._layer_tensors(layer):
                yield f"blk.{i}.{name}", shape
        yield "output_norm.weight", (D,)
        # A table of divisors for the full layers' rotation; no weights, and in no count of parameters.
        yield ROPE_FREQS, (max(layer.channels for layer in self.layers) // 2,)

    def _layer_tensors(self, layer: LayerSizes) -> Iterator[tuple[str, tuple[int, ...]]]:
        D, E, M, P, F = self.width, self.experts, self.expert_ffn, self.per_layer, layer.ffn
        q, kv, C = layer.heads * layer.channels, layer.kv_heads * layer.channels, layer.channels
        yield from (("attn_norm.weight", (D,)), ("attn_q.weight", (q, D)), ("attn_q_norm.weight", (C,)))
        if layer.owns_kv:
            yield from (("attn_k.weight", (kv, D)), ("attn_k_norm.weight", (C,)))
            if layer.has_v:
                yield "attn_v.weight", (kv, D)
        yield from (("attn_output.weight", (D, q)), ("post_attention_norm.weight", (D,)), ("ffn_norm.weight", (D,)))
        yield from (("ffn_gate.weight", (F, D)), ("ffn_up.weight", (F, D)), ("ffn_down.weight", (D, F)))
        yield from (("post_ffw_norm.weight", (D,)), ("layer_output_scale.weight", (1,)))
        if P:
            yield from (("inp_gate.weight", (P, D)), ("proj.weight", (D, P)), ("post_norm.weight", (D,)))
        if E:
            yield from (("ffn_gate_inp.weight", (E, D)), ("ffn_gate_inp.scale", (D,)))
            yield from (("ffn_gate_up_exps.weight", (E, 2 * M, D)), ("ffn_down_exps.weight", (E, D, M)))
            yield from (("ffn_down_exps.scale", (E,)), ("pre_ffw_norm_2.weight", (D,)))
            yield from (("post_ffw_norm_1.weight", (D,)), ("post_ffw_norm_2.weight", (D,)))

    def parameters(self) -> dict[str, int]:
        """How many weights are in embed, ple (the table of per-layer embeddings), experts, and text, the rest."""
        count = dict.fromkeys(("embed", "ple", "experts", "text"), 0)
        for name, shape in self.tensors():
            if name != ROPE_FREQS:
                count[part_of(name)] += prod(shape)
        return count

    def kv_elements(self) -> tuple[int, int]:
        """Elements of keys and values that a token adds: in full layers; in sliding ones, which keep a window only."""
        own = [layer for layer in self.layers if layer.owns_kv]
        each = [(layer.sliding, 2 * layer.kv_heads * layer.channels) for layer in own]
        return sum(n for sliding, n in each if not sliding), sum(n for sliding, n in each if sliding)


ROPE_FREQS = "rope_freqs.weight"
PLE_TABLE = "per_layer_token_embd.weight"


def part_of(name: str) -> str:
    """Which part of `Sizes.parameters` a tensor belongs to, by its name in a GGUF file."""
    if name in ("token_embd.weight", "output.weight"):
        return "embed"
    if name == PLE_TABLE:
        return "ple"
    return "experts" if name.endswith("_exps.weight") else "text"


def _gemma4(
    name: str,
    *,
    width: int,
    layers: int,
    ffn: int,
    heads: int,
    kv_heads: tuple[int, int],  # in sliding layers, in full ones
    window: int,
    context: int,
    channels: tuple[int, int] = (256, 512),
    pattern: int = 6,  # every so manyth layer is full
    shared: int = 0,
    wide: bool = False,  # feed-forward twice as wide in layers that share
    k_eq_v: bool = False,
    per_layer: int = 0,
    experts: tuple[int, int, int] = (0, 0, 0),  # how many, used at a time, channels
) -> Sizes:
    def layer(i: int) -> LayerSizes:
        full, owns = (i + 1) % pattern == 0, i < layers - shared
        width_of_ffn = ffn * (2 if wide and not owns else 1)
        return LayerSizes(not full, heads, kv_heads[full], channels[full], width_of_ffn, owns, not (k_eq_v and full))

    there, used, expert_ffn = experts
    return Sizes(
        *(name, width, window, context, tuple(layer(i) for i in range(layers))),
        per_layer=per_layer,
        experts=there,
        experts_used=used,
        expert_ffn=expert_ffn,
    )


_small = partial(_gemma4, window=512, context=131_072, heads=8, per_layer=256)
_large = partial(_gemma4, window=1024, context=262_144, k_eq_v=True)
_mixture = partial(_large, experts=(128, 8, 704))
FAMILY: dict[str, Sizes] = {
    sizes.name: sizes
    for sizes in (
        _small("E2B", width=1536, layers=35, ffn=6144, kv_heads=(1, 1), pattern=5, shared=20, wide=True),
        _small("E4B", width=2560, layers=42, ffn=10_240, kv_heads=(2, 2), shared=18),
        _large("12B", width=3840, layers=48, ffn=15_360, heads=16, kv_heads=(8, 1)),
        _mixture("26B-A4B", width=2816, layers=30, ffn=2112, heads=16, kv_heads=(8, 2)),
        _large("31B", width=5376, layers=60, ffn=21_504, heads=32, kv_heads=(16, 4)),
    )
}
