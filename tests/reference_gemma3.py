"""Gemma 3's text decoder in plain numpy float64, from a GGUF file: the oracle of the engine's tests. Slow and clear.

Letters: T tokens, D width, H heads, K key heads, C channels a head, F feed-forward, L layers, V vocabulary. It owns the
arithmetic only; it has no cache, no batch and no tokeniser. tests/test_reference.py holds it against transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def gelu(x: Array) -> Array:
    """The tanh form."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rope(x: Array, positions: Array, base: float, factor: float) -> Array:
    """x (T, heads, C): channel d turns with channel d + C/2 by position / factor * base^(-2d/C)."""
    half = x.shape[-1] // 2
    angle = (positions / factor)[:, None] * base ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


@dataclass
class Gemma3:
    """One model: its numbers and its tensors (norm weights as stored, the +1 folded in)."""

    D: int
    H: int
    K: int
    C: int
    L: int
    window: int
    eps: float
    base: float
    factor: float
    w: dict[str, Array]

    @classmethod
    def load(cls, path: str | Path) -> Gemma3:
        reader = gguf.GGUFReader(path)

        def key(name: str, default: float | None = None):
            found = reader.fields.get(f"gemma3.{name}")
            if found is None and default is None:
                raise KeyError(f"gemma3.{name}")
            return default if found is None else found.contents()

        tensors = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
        return cls(
            D=key("embedding_length"),
            H=key("attention.head_count"),
            K=key("attention.head_count_kv"),
            C=key("attention.key_length"),
            L=key("block_count"),
            window=key("attention.sliding_window"),
            eps=key("attention.layer_norm_rms_epsilon"),
            base=key("rope.freq_base", 1e6),
            factor=key("rope.scaling.factor", 1.0),
            w=tensors,
        )

    def sliding(self, layer: int) -> bool:
        return (layer + 1) % 6 != 0

    def scale(self) -> float:
        """query_pre_attn_scalar^-0.5: C, but D / H in the 27B."""
        return (self.D / self.H if self.L == 62 else self.C) ** -0.5

    def attention(self, layer: int, x: Array) -> Array:
        """x (T, D), normed -> (T, D)."""
        w, T = (
            {n: self.w[f"blk.{layer}.attn_{n}.weight"] for n in ("q", "k", "v", "q_norm", "k_norm", "output")},
            len(x),
        )
        q = rms_norm((x @ w["q"].T).reshape(T, self.H, self.C), w["q_norm"], self.eps)
        k = rms_norm((x @ w["k"].T).reshape(T, self.K, self.C), w["k_norm"], self.eps)
        v = (x @ w["v"].T).reshape(T, self.K, self.C)
        at = np.arange(T, dtype=np.float64)
        turn = (1e4, 1.0) if self.sliding(layer) else (self.base, self.factor)
        q, k = rope(q, at, *turn), rope(k, at, *turn)
        distance = at[:, None] - at[None, :]  # (query, key)
        hidden = distance < 0
        if self.sliding(layer):
            hidden |= distance >= self.window
        heads = np.empty((T, self.H, self.C))
        for h in range(self.H):
            shared = h // (self.H // self.K)
            scores = q[:, h] @ k[:, shared].T * self.scale()
            heads[:, h] = softmax(np.where(hidden, -np.inf, scores)) @ v[:, shared]
        return heads.reshape(T, -1) @ w["output"].T

    def feed_forward(self, layer: int, x: Array) -> Array:
        gate, up, down = (self.w[f"blk.{layer}.ffn_{n}.weight"] for n in ("gate", "up", "down"))
        return (gelu(x @ gate.T) * (x @ up.T)) @ down.T

    def hidden(self, ids: ArrayLike) -> Array:
        """ids (T,) -> (L + 1, T, D): the state after each layer, then after the last norm."""

        def norm(name: str, y: Array) -> Array:
            return rms_norm(y, self.w[f"{name}.weight"], self.eps)

        x = self.w["token_embd.weight"][np.asarray(ids)] * np.sqrt(self.D)
        states = []
        for i in range(self.L):
            attended = self.attention(i, norm(f"blk.{i}.attn_norm", x))
            x = x + norm(f"blk.{i}.post_attention_norm", attended)
            fed = self.feed_forward(i, norm(f"blk.{i}.ffn_norm", x))
            x = x + norm(f"blk.{i}.post_ffw_norm", fed)
            states.append(x)
        return np.stack([*states, norm("output_norm", x)])

    def logits(self, ids: ArrayLike) -> Array:
        """ids (T,) -> (T, V)."""
        head = self.w.get("output.weight", self.w["token_embd.weight"])
        return self.hidden(ids)[-1] @ head.T

    def greedy(self, ids: ArrayLike, count: int) -> list[int]:
        """The next `count` ids, each the best after all before it."""
        path = list(np.asarray(ids))
        for _ in range(count):
            path.append(int(np.argmax(self.logits(path)[-1])))
        return path[len(path) - count :]
