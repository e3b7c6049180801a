"""What running a model takes, from its sizes and tensors: bytes held, bytes read and operations for a token, seconds.

The arithmetic of a plan. Opens no file and measures nothing; `benchmarks/plan_error.py` compares it with real runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING, NamedTuple

from .sizes import PLE_TABLE, part_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .headers import TensorEntry
    from .sizes import LayerSizes, Sizes

BLOCK = 512  # prompt tokens that go through the layers together
PAGE = 64  # tokens of a page of the cache
# Keys and values of earlier calls that the engine keeps, beside those of the newest.
KEPT_BYTES = 256 << 20
# Bytes an element of keys and values takes, by `kv_dtype`.
KV_BYTES = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32}

# Resident bytes as measured: Python with numpy and gemlet; a piece of the vocabulary; a merge.
PROCESS_BYTES = 30 << 20
PIECE_BYTES, MERGE_BYTES = 24, 22
# A piece and its merges as a file's header holds them, for files that do not exist yet.
HEADER_BYTES_PER_PIECE = 62
# Shares of the machine's limits that the engine reaches, and what a token costs beside reading: in all, and each layer.
DECODE_SHARE, PREFILL_SHARE, ATTENTION_SHARE = 0.85, 0.55, 0.08
# Of the int8 limit, in attention of one new token: behind a long cache its arithmetic can take longer than reading it.
STEP_ATTENTION_SHARE = {"f32": 0.13, "f16": 0.13, "q8_0": 0.30}
TOKEN_SECONDS, LAYER_SECONDS = 6e-4, 1.15e-4


class Work(NamedTuple):
    """Bytes of tensors, and what a token does with them."""

    file: int  # all tensors of the text decoder
    resident: int  # of those, mapped and touched when tokens are made
    table: int  # the table of per-layer embeddings: rows are read from the file one by one, it is never resident
    experts: int  # of `resident`, in experts
    active: int  # read for one new token
    madds_decode: int  # multiply-adds of a new token, the head among them
    madds_prompt: int  # of a prompt token whose output nobody wants
    quantised: bool  # most multiply-adds are of 8-bit integers


def work(sizes: Sizes, tensors: Iterable[TensorEntry]) -> Work:
    """Add up the tensors of a model by what happens to them."""
    file = resident = table = experts = active = decode = prompt = quantised = 0
    known = {tensor.name: tensor for tensor in tensors}
    share = sizes.experts_used / sizes.experts if sizes.experts else 0.0
    for name, tensor in known.items():
        file += tensor.bytes
        if _dead(name, sizes):
            continue
        if name == PLE_TABLE:
            table += tensor.bytes
            continue
        if name == "token_embd.weight" and "output.weight" in known:
            continue  # looked up, a row a token
        part = part_of(name)
        used = share if part == "experts" else 1.0
        resident += tensor.bytes
        experts += tensor.bytes if part == "experts" else 0
        active += round(tensor.bytes * used)
        if len(tensor.shape) > 1:
            madds = round(prod(tensor.shape) * used)
            decode += madds
            quantised += madds if tensor.kind not in ("F32", "F16", "BF16") else 0
            prompt += round(madds * _prompt_share(name, sizes))
    return Work(file, resident, table, experts, active, decode, prompt, quantised > decode / 2)


def _layer_of(name: str) -> int | None:
    return int(name.split(".")[1]) if name.startswith("blk.") and name.split(".")[1].isdigit() else None


def _dead(name: str, sizes: Sizes) -> bool:
    """Keys and values of layers that share another's: some files still hold them."""
    layer = _layer_of(name)
    if layer is None or layer >= len(sizes.layers) or sizes.layers[layer].owns_kv:
        return False
    return name.split(".", 2)[2].startswith(("attn_k.", "attn_v.", "attn_k_norm."))


def _last_owner(sizes: Sizes) -> int:
    """The last layer with keys and values of its own: no other row sees what it and later layers make of one."""
    return len(sizes.layers) - sizes.shared_kv - 1


def _prompt_share(name: str, sizes: Sizes) -> float:
    """The part of a tensor that a prompt token goes through whose own output nobody wants."""
    layer, last = _layer_of(name), _last_owner(sizes)
    if name == "per_layer_model_proj.weight":
        return last / len(sizes.layers)
    if layer is None:
        return 0.0
    return float(layer < last or (layer == last and name.split(".", 2)[2].startswith(("attn_k.", "attn_v."))))


def kv_bytes(sizes: Sizes, tokens: int, dtype: str, *, reading: bool = True) -> int:
    """Bytes of the cache with so many tokens; `reading`: while a prompt is read, which keeps a block more.

    >>> from gemlet.planning.sizes import FAMILY
    >>> kv_bytes(FAMILY["E2B"], 4096, "f16") / 2**20
    36.0
    """
    total = 0.0
    for layer in sizes.layers:
        if layer.owns_kv:
            total += _pages(layer, sizes, tokens, reading) * PAGE * _kv_elements(layer, dtype) * KV_BYTES[dtype]
    return round(total)


def _kv_elements(layer: LayerSizes, dtype: str) -> int:
    whole = 32 if dtype == "q8_0" else 8
    return 2 * layer.kv_heads * (ceil(layer.channels / whole) * whole)


def _pages(layer: LayerSizes, sizes: Sizes, tokens: int, reading: bool) -> int:
    held = sizes.window + (BLOCK if reading else PAGE)
    return ceil((min(tokens, held) if layer.sliding else tokens) / PAGE)


def kv_read(sizes: Sizes, tokens: int, dtype: str) -> float:
    """Bytes of keys and values that a new token reads after so many; layers that share read like any other."""
    seen = ((min(tokens, sizes.window) if at.sliding else tokens) * _kv_elements(at, dtype) for at in sizes.layers)
    return sum(seen) * KV_BYTES[dtype]


def activation_bytes(sizes: Sizes, tokens: int) -> int:
    """Scratch of a block of prompt tokens, and one row of logits."""
    rows = min(tokens, BLOCK)
    last = _last_owner(sizes)
    through = sizes.layers[:last] or sizes.layers  # a whole block goes through these
    q = max(layer.heads * layer.channels for layer in through)
    kv = max(layer.kv_heads * layer.channels for layer in through)
    ffn = max(layer.ffn for layer in through)
    mixture = sizes.experts_used * 2 * (sizes.expert_ffn + sizes.width) + 2 * sizes.width if sizes.experts else 0
    floats = 2 * (sizes.width + q + kv + ffn + last * sizes.per_layer) + mixture
    quantised = max(q, ffn, sizes.width) * 1.25
    return round(rows * (4 * floats + quantised)) + 4 * sizes.vocabulary


def tokenizer_bytes(vocabulary: int, merges: int) -> int:
    """What the tokenizer builds beside the file's own strings."""
    return vocabulary * PIECE_BYTES + merges * MERGE_BYTES


@dataclass(frozen=True)
class Speed:
    """Tokens a second that a machine should reach; None where there is nothing to base a figure on."""

    decode: float  # after a short prompt
    decode_full: float  # with the context full
    prefill: float | None  # of the prompt length asked


def decode_seconds(sizes: Sizes, load: Work, tokens: int, dtype: str, *, read_gb_s: float, int8_gops: float) -> float:
    """Seconds of one new token after so many."""
    rate = read_gb_s * 1e9 * DECODE_SHARE
    fixed = TOKEN_SECONDS + LAYER_SECONDS * len(sizes.layers)
    seen = (at.heads * at.channels * (min(tokens, sizes.window) if at.sliding else tokens) for at in sizes.layers)
    arithmetic = 2 * 2 * sum(seen) / (int8_gops * 1e9 * STEP_ATTENTION_SHARE[dtype])
    return load.active / rate + max(kv_read(sizes, tokens, dtype) / rate, arithmetic) + fixed


def prefill_seconds(sizes: Sizes, load: Work, tokens: int, int8_gops: float) -> float | None:
    """Seconds of a prompt; None for float weights, whose speed no limit measured here tells."""
    if not load.quantised:
        return None
    head = sizes.vocabulary * sizes.width
    beyond = load.madds_decode - head - load.madds_prompt  # what only the last prompt token goes through
    linear = 2 * (load.madds_prompt * tokens + head + beyond) / (int8_gops * 1e9 * PREFILL_SHARE)
    attention = 0.0
    for layer in sizes.layers[: _last_owner(sizes)]:
        reach = min(sizes.window, tokens) if layer.sliding else tokens
        seen = reach - reach * reach / (2 * tokens)  # on average: the first ones see fewer
        attention += 2 * 2 * layer.heads * layer.channels * seen * tokens
    return linear + attention / (int8_gops * 1e9 * ATTENTION_SHARE)


def speed(
    sizes: Sizes, load: Work, dtype: str, *, prompt: int, context: int, read_gb_s: float, int8_gops: float
) -> Speed:
    """Expected tokens a second, all weights in memory."""
    prefill = prefill_seconds(sizes, load, prompt, int8_gops)
    return Speed(
        decode=1 / decode_seconds(sizes, load, prompt, dtype, read_gb_s=read_gb_s, int8_gops=int8_gops),
        decode_full=1 / decode_seconds(sizes, load, context, dtype, read_gb_s=read_gb_s, int8_gops=int8_gops),
        prefill=None if prefill is None else prompt / prefill,
    )
