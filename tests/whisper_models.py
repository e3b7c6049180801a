"""Small random Whisper models: as a Hugging Face folder, as one of CTranslate2's, and computed in numpy."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

LANGUAGES = ("en", "zh", "de", "haw")
SAMPLES, FRAMES, PLACES = 480000, 3000, 1500


@dataclass(frozen=True)
class Sizes:
    """Of a model; the widths are multiples of 32, so that 8 bits are possible."""

    mels: int = 80
    width: int = 64
    heads: int = 2
    ffn: int = 96
    encoder_layers: int = 2
    decoder_layers: int = 2
    positions: int = 448


def pieces() -> list[str]:
    """Byte pieces, a few words, special tokens and times, in the order that Whisper has them."""
    from gemlet.whisper.vocabulary import _LETTERS

    words = ["Ġa", "Ġt", "he", "Ġthe", "in", "Ġ-", "Ġ'", "ing", "âĻ", "âĻª"]
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{name}|>" for name in LANGUAGES), "<|translate|>"]
    special += ["<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    return [*_LETTERS.values(), *words, *special, *(f"<|{i * 0.02:.2f}|>" for i in range(1501))]


VOCABULARY = 1779
NOT_BYTES = 256


def tensors(sizes: Sizes, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights by Hugging Face's names, of a size that keeps activations lively."""
    rng = np.random.default_rng(seed)
    d, f = sizes.width, sizes.ffn

    def draw(*shape: int, scale: float | None = None) -> np.ndarray:
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        return (rng.standard_normal(shape) * (scale or 1.5 / math.sqrt(fan))).astype(np.float32)

    made: dict[str, np.ndarray] = {}

    def norm(name: str) -> None:
        made[name + ".weight"], made[name + ".bias"] = 1 + draw(d, scale=0.1), draw(d, scale=0.1)

    def linear(name: str, out: int, into: int, bias: bool = True) -> None:
        made[name + ".weight"] = draw(out, into)
        if bias:
            made[name + ".bias"] = draw(out, scale=0.1)

    def layer(name: str, attentions: tuple[str, ...]) -> None:
        for attention in attentions:
            for part in "qkvo":
                linear(f"{name}.{attention}.{'out' if part == 'o' else part}_proj", d, d, part != "k")
            norm(f"{name}.{attention}_layer_norm")
        linear(name + ".fc1", f, d)
        linear(name + ".fc2", d, f)
        norm(name + ".final_layer_norm")

    for name, into in (("conv1", sizes.mels), ("conv2", d)):
        made[f"encoder.{name}.weight"], made[f"encoder.{name}.bias"] = draw(d, into, 3), draw(d, scale=0.1)
    made["encoder.embed_positions.weight"] = draw(PLACES, d, scale=0.3)
    for i in range(sizes.encoder_layers):
        layer(f"encoder.layers.{i}", ("self_attn",))
    norm("encoder.layer_norm")
    made["decoder.embed_tokens.weight"] = draw(VOCABULARY, d, scale=0.5)
    made["decoder.embed_positions.weight"] = draw(sizes.positions, d, scale=0.3)
    for i in range(sizes.decoder_layers):
        layer(f"decoder.layers.{i}", ("self_attn", "encoder_attn"))
    norm("decoder.layer_norm")
    return made


def config(sizes: Sizes) -> dict[str, object]:
    """config.json of the Hugging Face folder."""
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "activation_function": "gelu",
        "num_mel_bins": sizes.mels,
        "d_model": sizes.width,
        "encoder_layers": sizes.encoder_layers,
        "encoder_attention_heads": sizes.heads,
        "encoder_ffn_dim": sizes.ffn,
        "decoder_layers": sizes.decoder_layers,
        "decoder_attention_heads": sizes.heads,
        "decoder_ffn_dim": sizes.ffn,
        "vocab_size": VOCABULARY,
        "max_source_positions": PLACES,
        "max_target_positions": sizes.positions,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 2,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
    }


def write_tokenizer(folder: Path) -> None:
    """tokenizer.json with the members that are read."""
    all_pieces = pieces()
    assert len(all_pieces) == VOCABULARY
    first = all_pieces.index("<|endoftext|>")
    added = [{"id": i, "content": piece, "special": True} for i, piece in enumerate(all_pieces) if i >= first]
    vocab = {piece: i for i, piece in enumerate(all_pieces[:first])}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": added}))


def write_folder(folder: Path, sizes: Sizes, weights: dict[str, np.ndarray]) -> str:
    """A Hugging Face folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"model." + name: value for name, value in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config(sizes)))
    (folder / "generation_config.json").write_text(json.dumps({"is_multilingual": True}))
    write_tokenizer(folder)
    return str(folder)


# ---- CTranslate2 ---------------------------------------------------------------------------------------------------

TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}


def text(name: str) -> bytes:
    raw = name.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def variable(name: str, value: np.ndarray, kind: str | None = None) -> bytes:
    kind = kind or value.dtype.name
    head = text(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    return head + struct.pack("<BI", TYPES[kind], value.nbytes) + value.tobytes()


def model_bin(variables: list[bytes], aliases: list[tuple[str, str]] = (), *, spec: str = "WhisperSpec") -> bytes:
    """The file's bytes."""
    head = struct.pack("<I", 6) + text(spec) + struct.pack("<II", 3, len(variables))
    tail = b"".join(text(a) + text(b) for a, b in aliases)
    return head + b"".join(variables) + struct.pack("<I", len(aliases)) + tail


def stored(name: str, value: np.ndarray, kind: str) -> list[bytes]:
    """One weight in a stored type; what has one dimension stays float."""
    matrix = value.ndim > 1 and "encodings" not in name
    if kind.startswith("int8") and matrix:
        flat = value.reshape(len(value), -1)
        scale = (127 / np.abs(flat).max(1)).astype(np.float32)
        q = np.rint(flat * scale[:, None]).astype(np.int8).reshape(value.shape)
        return [variable(name, q), variable(name + "_scale", scale)]
    if kind == "int16" and matrix:
        scale = np.float32(2**10 / np.abs(value).max())
        return [variable(name, np.rint(value * scale).astype(np.int16)), variable(name + "_scale", np.array(scale))]
    if kind in ("float16", "int8_float16"):
        return [variable(name, value.astype(np.float16))]
    if kind in ("bfloat16", "int8_bfloat16"):
        bits = value.astype(np.float32).view(np.uint32)
        return [variable(name, ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16), "bfloat16")]
    return [variable(name, value)]


def ctranslate2_names(weights: dict[str, np.ndarray], sizes: Sizes) -> dict[str, np.ndarray]:
    """The same weights as CTranslate2 arranges them: fused, and under its names."""
    made: dict[str, np.ndarray] = {}

    def copy(theirs: str, *ours: str) -> None:
        for part in ("weight", "bias"):
            rows = [weights.get(f"{name}.{part}", np.zeros(sizes.width, np.float32)) for name in ours]
            made[f"{theirs}/{part}"] = np.concatenate(rows)

    def norm(theirs: str, ours: str) -> None:
        made[theirs + "/gamma"], made[theirs + "/beta"] = weights[ours + ".weight"], weights[ours + ".bias"]

    for side, layers in (("encoder", sizes.encoder_layers), ("decoder", sizes.decoder_layers)):
        for i in range(layers):
            a, b = f"{side}/layer_{i}", f"{side}.layers.{i}"
            copy(f"{a}/self_attention/linear_0", *(f"{b}.self_attn.{p}_proj" for p in "qkv"))
            copy(f"{a}/self_attention/linear_1", f"{b}.self_attn.out_proj")
            norm(f"{a}/self_attention/layer_norm", f"{b}.self_attn_layer_norm")
            if side == "decoder":
                copy(f"{a}/attention/linear_0", f"{b}.encoder_attn.q_proj")
                copy(f"{a}/attention/linear_1", *(f"{b}.encoder_attn.{p}_proj" for p in "kv"))
                copy(f"{a}/attention/linear_2", f"{b}.encoder_attn.out_proj")
                norm(f"{a}/attention/layer_norm", f"{b}.encoder_attn_layer_norm")
            copy(f"{a}/ffn/linear_0", f"{b}.fc1")
            copy(f"{a}/ffn/linear_1", f"{b}.fc2")
            norm(f"{a}/ffn/layer_norm", f"{b}.final_layer_norm")
        norm(f"{side}/layer_norm", f"{side}.layer_norm")
        made[f"{side}/position_encodings/encodings"] = weights[f"{side}.embed_positions.weight"]
    for name in ("conv1", "conv2"):
        copy(f"encoder/{name}", f"encoder.{name}")
    made["decoder/embeddings/weight"] = weights["decoder.embed_tokens.weight"]
    return made


def ctranslate2_bytes(sizes: Sizes, weights: dict[str, np.ndarray], kind: str = "float32") -> bytes:
    """model.bin with the weights in one of CTranslate2's types."""
    parts = [part for name, value in ctranslate2_names(weights, sizes).items() for part in stored(name, value, kind)]
    settings = {"activation": 3, "pre_norm": 1, "scale_embeddings": 0, "alibi": 0, "start_from_zero_embedding": 0}
    parts += [variable(f"decoder/{name}", np.array(value, np.int8)) for name, value in settings.items()]
    parts += [variable(f"{side}/num_heads", np.array(sizes.heads, np.int16)) for side in ("encoder", "decoder")]
    return model_bin(parts, [("decoder/projection/weight", "decoder/embeddings/weight")])


def write_ctranslate2(folder: Path, sizes: Sizes, weights: dict[str, np.ndarray], kind: str = "float32") -> str:
    """A folder of CTranslate2's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(ctranslate2_bytes(sizes, weights, kind))
    (folder / "config.json").write_text(json.dumps({"is_multilingual": True}))
    (folder / "vocabulary.json").write_text(json.dumps(pieces()))
    return str(folder)


# ---- numpy ---------------------------------------------------------------------------------------------------------


def mel(samples: np.ndarray, bands: int) -> np.ndarray:
    """(3000, bands): the paper's front end in float64."""
    x = np.zeros(SAMPLES)
    x[: len(samples)] = samples
    x = np.pad(x, 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    cut = np.lib.stride_tricks.sliding_window_view(x, 400)[::160][:FRAMES]
    energy = np.abs(np.fft.rfft(cut * window)) ** 2
    hertz = np.arange(201) * 40.0

    def to_mel(f: np.ndarray) -> np.ndarray:
        return np.where(f < 1000, f * 3 / 200, 15 + np.log(np.maximum(f, 1) / 1000) * 27 / np.log(6.4))

    def to_hertz(m: np.ndarray) -> np.ndarray:
        return np.where(m < 15, m * 200 / 3, 1000 * np.exp((m - 15) * np.log(6.4) / 27))

    points = to_hertz(np.linspace(0, to_mel(np.array(8000.0)), bands + 2))
    low, middle, high = points[:-2, None], points[1:-1, None], points[2:, None]
    triangles = np.maximum(0, np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)))
    logs = np.log10(np.maximum(1e-10, energy @ (triangles * 2 / (high - low)).T))
    return (np.maximum(logs, logs.max() - 8) + 4) / 4


class Reference:
    """The model in float64."""

    def __init__(self, sizes: Sizes, weights: dict[str, np.ndarray]) -> None:
        self.sizes = sizes
        self.w = {name: value.astype(np.float64) for name, value in weights.items()}

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        bias = self.w.get(name + ".bias")
        return x @ self.w[name + ".weight"].T + (0 if bias is None else bias)

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        around = x - x.mean(-1, keepdims=True)
        scaled = around / np.sqrt((around**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.w[name + ".weight"] + self.w[name + ".bias"]

    def attention(self, name: str, x: np.ndarray, y: np.ndarray, causal: bool = False) -> np.ndarray:
        h = self.sizes.heads

        def split(part: str, z: np.ndarray) -> np.ndarray:
            return self.linear(f"{name}.{part}_proj", z).reshape(len(z), h, -1).transpose(1, 0, 2)

        q, k, v = split("q", x), split("k", y), split("v", y)
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        if causal:
            scores += np.triu(np.full((len(x), len(x)), -np.inf), 1)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        out = (p / p.sum(-1, keepdims=True)) @ v
        return self.linear(f"{name}.out_proj", out.transpose(1, 0, 2).reshape(len(x), -1))

    @staticmethod
    def gelu(x: np.ndarray) -> np.ndarray:
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    def feed_forward(self, name: str, x: np.ndarray) -> np.ndarray:
        h = self.gelu(self.linear(f"{name}.fc1", self.norm(f"{name}.final_layer_norm", x)))
        return x + self.linear(f"{name}.fc2", h)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        x = frames
        for name, step in (("conv1", 1), ("conv2", 2)):
            padded = np.pad(x, ((1, 1), (0, 0)))
            w = self.w[f"encoder.{name}.weight"]
            y = sum(padded[k : k + len(x)] @ w[:, :, k].T for k in range(3)) + self.w[f"encoder.{name}.bias"]
            x = self.gelu(y[::step])
        x = x + self.w["encoder.embed_positions.weight"]
        for i in range(self.sizes.encoder_layers):
            name = f"encoder.layers.{i}"
            h = self.norm(f"{name}.self_attn_layer_norm", x)
            x = self.feed_forward(name, x + self.attention(f"{name}.self_attn", h, h))
        return self.norm("encoder.layer_norm", x)

    def logits(self, features: np.ndarray, tokens: list[int]) -> np.ndarray:
        x = self.w["decoder.embed_tokens.weight"][tokens] + self.w["decoder.embed_positions.weight"][: len(tokens)]
        for i in range(self.sizes.decoder_layers):
            name = f"decoder.layers.{i}"
            h = self.norm(f"{name}.self_attn_layer_norm", x)
            x = x + self.attention(f"{name}.self_attn", h, h, causal=True)
            h = self.norm(f"{name}.encoder_attn_layer_norm", x)
            x = self.feed_forward(name, x + self.attention(f"{name}.encoder_attn", h, features))
        return self.norm("decoder.layer_norm", x) @ self.w["decoder.embed_tokens.weight"].T
