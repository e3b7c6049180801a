"""Sizes as a model states them of itself: the metadata of a GGUF file, or the config.json of a Hugging Face folder.

Reads what a plan needs and no more; the engine checks everything again when it loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import BadFile, UnsupportedModel
from .sizes import PLE_TABLE, LayerSizes, Sizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LAYERS_LIMIT = 1024  # more is no model of this family; also how long an array of metadata is worth reading


class TensorEntry(NamedTuple):
    """One tensor of a file or of a plan for one, under its name in a GGUF file; shape outermost first."""

    name: str
    shape: tuple[int, ...]
    kind: str
    bytes: int


class _Keys:
    """Metadata of one architecture, with errors that name the key."""

    def __init__(self, where: str, metadata: Mapping[str, Any], prefix: str) -> None:
        self._where, self._metadata, self._prefix = where, metadata, prefix

    def error(self, key: str, expected: str, got: object) -> BadFile:
        found = "nothing" if got is None else repr(got)
        return BadFile(f"plan: {self._where}: {self._prefix}{key}: expected {expected}, got {found}")

    def count(self, key: str, default: int | None = None, low: int = 1) -> int:
        value = self._metadata.get(self._prefix + key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 1 << 40:
            raise self.error(key, f"a whole number from {low}", value)
        return value

    def each(self, key: str, layers: int, default: int | None = None) -> list[int]:
        """One number for all layers, or an array with one for each."""
        value = self._metadata.get(self._prefix + key)
        if not isinstance(value, list):
            return [self.count(key, default)] * layers
        if len(value) != layers or not all(isinstance(n, int) and 0 < n < 1 << 40 for n in value):
            raise self.error(key, f"{layers} whole numbers from 1", value)
        return value

    def flags(self, key: str, layers: int) -> list[bool]:
        value = self._metadata.get(self._prefix + key)
        if not isinstance(value, list) or len(value) != layers:
            raise self.error(key, f"a flag for each of {layers} layers", value)
        return [bool(flag) for flag in value]


def sizes_of_gguf(where: str, metadata: Mapping[str, Any], tensors: Iterable[TensorEntry]) -> Sizes:
    """Sizes from `_core.Gguf(path).metadata(LAYERS_LIMIT)` and the file's tensors; `where` names it in errors."""
    architecture = metadata.get("general.architecture")
    if architecture not in ("gemma3", "gemma4"):
        raise UnsupportedModel(f"plan: {where}: its architecture is {architecture!r}; gemlet runs gemma3 and gemma4")
    keys = _Keys(where, metadata, f"{architecture}.")
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    count = keys.count("block_count")
    if count > LAYERS_LIMIT:
        raise keys.error("block_count", f"at most {LAYERS_LIMIT}", count)
    if "token_embd.weight" not in shapes:
        raise BadFile(f"plan: {where}: there is no tensor 'token_embd.weight'; the file holds no text model")
    ffn, kv_heads = keys.each("feed_forward_length", count), keys.each("attention.head_count_kv", count)
    heads = keys.each("attention.head_count", count)
    channels = keys.count("attention.key_length")
    if architecture == "gemma4":
        sliding = keys.flags("attention.sliding_window_pattern", count)
        swa, shared = keys.count("attention.key_length_swa"), keys.count("attention.shared_kv_layers", 0, low=0)
    else:
        sliding, swa, shared = [(i + 1) % 6 != 0 for i in range(count)], channels, 0
    experts = keys.count("expert_count", 0, low=0)
    return Sizes(
        name=str(metadata.get("general.name", architecture)),
        width=keys.count("embedding_length"),
        window=keys.count("attention.sliding_window"),
        context=keys.count("context_length"),
        vocabulary=shapes["token_embd.weight"][0],
        per_layer=keys.count("embedding_length_per_layer_input", 0, low=0),
        experts=experts,
        experts_used=keys.count("expert_used_count") if experts else 0,
        expert_ffn=keys.count("expert_feed_forward_length") if experts else 0,
        architecture=architecture,
        layers=tuple(
            LayerSizes(
                *(sliding[i], heads[i], kv_heads[i], swa if sliding[i] else channels, ffn[i], i < count - shared),
                has_v=i >= count - shared or f"blk.{i}.attn_v.weight" in shapes,
            )
            for i in range(count)
        ),
    )


def sizes_of_config(where: str, config: Mapping[str, Any]) -> Sizes:
    """Sizes from config.json of a Gemma 4 or Gemma 3 checkpoint, with the class's defaults for absent keys."""
    text = config.get("text_config", config)
    kind = str(text.get("model_type", config.get("model_type", ""))) if isinstance(text, dict) else ""
    if not kind.startswith(("gemma4", "gemma3")) or "assistant" in kind or kind.startswith("gemma3n"):
        raise UnsupportedModel(f"plan: {where}: its model_type is {kind!r}; gemlet runs gemma3 and gemma4 text models")
    keys = _Keys(where, text, "")
    newer = kind.startswith("gemma4")
    count = keys.count("num_hidden_layers")
    types = text.get("layer_types") or [f"{'full' if (i + 1) % 6 == 0 else 'sliding'}_attention" for i in range(count)]
    if count > LAYERS_LIMIT or len(types) != count:
        raise keys.error("layer_types", f"one for each of {count} layers, at most {LAYERS_LIMIT}", len(types))
    head, heads, kv = keys.count("head_dim", 256), keys.count("num_attention_heads"), keys.count("num_key_value_heads")
    shared = (text.get("num_kv_shared_layers") or 0) if newer else 0
    same = newer and bool(text.get("attention_k_eq_v"))
    kv_full = (text.get("num_global_key_value_heads") if same else None) or kv
    ffn, wide = keys.count("intermediate_size"), newer and bool(text.get("use_double_wide_mlp"))
    moe = newer and bool(text.get("enable_moe_block"))

    def layer(i: int) -> LayerSizes:
        full, owns = types[i] == "full_attention", i < count - shared
        channels = keys.count("global_head_dim", 512) if full and newer else head
        width = ffn * (2 if wide and not owns else 1)
        return LayerSizes(not full, heads, kv_full if full else kv, channels, width, owns, not (same and full))

    return Sizes(
        name=str(config.get("_name_or_path") or kind),
        width=keys.count("hidden_size"),
        window=keys.count("sliding_window", 512),
        context=keys.count("max_position_embeddings", 131_072),
        vocabulary=keys.count("vocab_size", 262_144),
        per_layer=keys.count("hidden_size_per_layer_input", 256, low=0) if newer else 0,
        experts=keys.count("num_experts") if moe else 0,
        experts_used=keys.count("top_k_experts") if moe else 0,
        expert_ffn=keys.count("moe_intermediate_size") if moe else 0,
        architecture="gemma4" if newer else "gemma3",
        layers=tuple(layer(i) for i in range(count)),
    )


_HF_NAMES = {
    "embed_tokens.weight": "token_embd.weight",
    "embed_tokens_per_layer.weight": PLE_TABLE,
    "per_layer_model_projection.weight": "per_layer_model_proj.weight",
}
_HF_OTHERS = ("vision", "audio", "multi_modal", "embed_vision", "embed_audio")


def entries_of_folder(tensors: Iterable[Mapping[str, Any]]) -> list[TensorEntry]:
    """The text decoder's tensors of a checkpoint, under the GGUF names where a plan tells them apart by name."""
    found = []
    for tensor in tensors:
        name = str(tensor["name"])
        if any(part in name for part in _HF_OTHERS):
            continue
        short = name.split("language_model.", 1)[-1].removeprefix("model.")
        if short.startswith("layers."):
            _, layer, part = short.split(".", 2)
            for long, gguf in (
                ("self_attn.k_proj", "attn_k"),
                ("self_attn.v_proj", "attn_v"),
                ("experts.gate_up_proj", "ffn_gate_up_exps.weight"),
                ("experts.down_proj", "ffn_down_exps.weight"),
            ):
                part = part.replace(long, gguf)
            short = f"blk.{layer}.{part}"
        found.append(
            TensorEntry(_HF_NAMES.get(short, short), tuple(tensor["shape"]), str(tensor["type"]), int(tensor["bytes"]))
        )
    return found
