"""Gemma 4's text decoder in plain numpy float64, from a GGUF file: the oracle of the engine's tests. Slow and clear.

Letters: T tokens or soft rows,
D width, H heads, K key heads, C channels a head, F feed-forward, L layers, V vocabulary, P per-layer
width, E experts. It owns the arithmetic only; it has no cache, no batch and no tokeniser. tests/test_reference4.py
holds it against transformers. Comments that begin with "Pitfall" tell where an engine goes wrong without an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Soft = Sequence[tuple[int, str, ArrayLike]]  # where it begins, "image", "video" or "audio", its rows (n, D)


def rms(x: Array, eps: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)


def gelu(x: Array) -> Array:
    """The tanh form."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rope(x: Array, frequencies: Array) -> Array:
    """x (T, heads, C), frequencies (C/2,): channel d turns with channel d + C/2 by position * frequencies[d]."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None] * frequencies
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def donors(sliding: list[bool], shared: int) -> list[int]:
    """For each layer, the layer whose keys and values it attends to.

    Pitfall: the donors are the last layers of either kind below the first that shares. They are "two before" (sliding)
    and "one before" (full) only because in E2B and E4B the sharing begins after a full layer; look the kind up.
    (llama.cpp takes two and one for granted and aborts on other files.)
    """
    first = len(sliding) - shared
    result = list(range(first))
    for i in range(first, len(sliding)):
        result.append(max(j for j in range(first) if sliding[j] == sliding[i]))
    return result


@dataclass
class Gemma4:
    """One model: its numbers and its tensors. K, C, sliding, donor: one entry a layer."""

    D: int
    H: int
    K: list[int]
    C: list[int]
    L: int
    P: int
    used: int
    window: int
    sliding: list[bool]
    donor: list[int]
    eps: float
    base: float
    base_sliding: float
    softcap: float
    w: dict[str, Array]
    # Whom a picture's rows see beside all before them. "causal": nobody. "sliding": in sliding layers those behind them
    # in the same picture, and nobody before the window. "overlay": in every layer all of the same picture.
    vision: str = "causal"
    block: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # (T,) which picture, -1: none
    # What the last run chose: layer -> (experts (T, used), best first; their weights (T, used)).
    routes: dict[int, tuple[NDArray[np.int64], Array]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Gemma4:
        reader = gguf.GGUFReader(path)

        def key(name: str, default=None):
            found = reader.fields.get(f"gemma4.{name}")
            if found is None and default is None:
                raise KeyError(f"gemma4.{name}")
            return default if found is None else found.contents()

        layers = key("block_count")
        sliding = key("attention.sliding_window_pattern")
        kv_heads = key("attention.head_count_kv")
        # Pitfall: key_length is that of the FULL layers; the sliding ones have key_length_swa. head_count_kv and
        # feed_forward_length are one number or one a layer. The feed-forward width is read off the tensors here.
        C, C_sliding = key("attention.key_length"), key("attention.key_length_swa")
        tensors = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
        return cls(
            D=key("embedding_length"),
            H=key("attention.head_count"),
            K=kv_heads if isinstance(kv_heads, list) else [kv_heads] * layers,
            C=[C_sliding if s else C for s in sliding],
            L=layers,
            P=key("embedding_length_per_layer_input", 0),
            used=key("expert_used_count", 0),
            window=key("attention.sliding_window"),
            sliding=sliding,
            donor=donors(sliding, key("attention.shared_kv_layers", 0)),
            eps=key("attention.layer_norm_rms_epsilon"),
            base=key("rope.freq_base"),
            base_sliding=key("rope.freq_base_swa"),
            # Pitfall: absent means 30 in a GGUF file, but none in config.json; 0 means none.
            softcap=key("final_logit_softcapping", 30.0),
            w=tensors,
            # Pitfall: no key tells. The models with per-layer embeddings (E2B, E4B) see pictures as they see text.
            vision="sliding" if key("embedding_length_per_layer_input", 0) == 0 else "causal",
        )

    def norm(self, name: str, x: Array) -> Array:
        """Pitfall: the weight is used as it is, on disk and in memory; nothing adds 1, unlike in Gemma 3."""
        return rms(x, self.eps) * self.w[f"{name}.weight"]

    # --- attention ---

    def frequencies(self, layer: int) -> Array:
        """(C/2,) turns per position.

        Pitfall: in full layers the exponent's divisor is the whole C, although only the first quarter of the pairs
        turns: pair d is (d, d + C/2), not (d, d + C/4). rope_freqs DIVIDES, 1e30 stopping a pair (float16 would make it
        infinite), and is for full layers only.
        """
        half = self.C[layer] // 2
        if self.sliding[layer]:
            return self.base_sliding ** (-np.arange(half) / half)
        return self.base ** (-np.arange(half) / half) / self.w["rope_freqs.weight"]

    def keys_values(self, layer: int, x: Array) -> tuple[Array, Array]:
        """x (T, D), normed -> keys and values (T, K, C), as a cache keeps them.

        Pitfall: values are normed without a weight in EVERY layer. Where attn_v is missing the values are the bare
        products of attn_k: before the key norm's weight, and never turned.
        """
        shape = (len(x), self.K[layer], self.C[layer])
        k = (x @ self.w[f"blk.{layer}.attn_k.weight"].T).reshape(shape)
        v = k
        if f"blk.{layer}.attn_v.weight" in self.w:
            v = (x @ self.w[f"blk.{layer}.attn_v.weight"].T).reshape(shape)
        return rope(self.norm(f"blk.{layer}.attn_k_norm", k), self.frequencies(layer)), rms(v, self.eps)

    def scale(self, layer: int) -> float:
        """Pitfall: 1, not C^-0.5; and the scores have no softcap."""
        return 1.0

    def attention(self, layer: int, x: Array, k: Array, v: Array) -> Array:
        """x (T, D), normed; k, v (T, K, C), the layer's own or its donor's -> (T, D)."""
        T, C, K = len(x), self.C[layer], self.K[layer]
        q = self.norm(f"blk.{layer}.attn_q_norm", (x @ self.w[f"blk.{layer}.attn_q.weight"].T).reshape(T, self.H, C))
        q = rope(q, self.frequencies(layer))
        hidden = ~self.seen(layer, T)
        heads = np.empty((T, self.H, C))
        for h in range(self.H):
            shared = h // (self.H // K)
            scores = q[:, h] @ k[:, shared].T * self.scale(layer)
            heads[:, h] = softmax(np.where(hidden, -np.inf, scores)) @ v[:, shared]
        return heads.reshape(T, -1) @ self.w[f"blk.{layer}.attn_output.weight"].T  # H * C need not be D

    def seen(self, layer: int, T: int) -> NDArray[np.bool_]:
        """(query, key), T each.

        Pitfall: "sliding" has no bound forwards, and full layers stay causal; "overlay" beats the window.
        """
        at = np.arange(T)
        distance = at[:, None] - at[None, :]
        before = distance >= 0
        near = distance < self.window  # exactly `window` keys, the query's own included
        same = np.zeros((T, T), bool)
        if self.vision != "causal" and len(self.block):
            same = (self.block[:, None] == self.block[None, :]) & (self.block >= 0)
        if not self.sliding[layer]:
            return before | same if self.vision == "overlay" else before
        return (before & near) | same if self.vision == "overlay" else (before | same) & near

    # --- feed-forward ---

    def dense(self, layer: int, x: Array) -> Array:
        gate, up, down = (self.w[f"blk.{layer}.ffn_{n}.weight"] for n in ("gate", "up", "down"))
        return (gelu(x @ gate.T) * (x @ up.T)) @ down.T

    def route(self, layer: int, r: Array) -> tuple[NDArray[np.int64], Array]:
        """r (T, D), the stream after attention, NOT normed -> experts (T, used), best first, and weights (T, used).

        Pitfall: the router norms the stream itself, without a weight; its scale comes without the D^-0.5 in the file.
        Softmax over all experts, then the best, then renormalised, and only then the experts' own scales. Logits hardly
        tell a wrong sum (post_ffw_norm_2 takes a common factor out again); the weights in the golden files do.
        """
        place = f"blk.{layer}.ffn_gate_inp"
        z = rms(r, self.eps) * self.w[f"{place}.scale"] * self.D**-0.5
        p = softmax(z @ self.w[f"{place}.weight"].T)
        best = np.argsort(-p, axis=-1, kind="stable")[:, : self.used]
        taken = np.take_along_axis(p, best, axis=-1)
        return best, taken / taken.sum(axis=-1, keepdims=True) * self.w[f"blk.{layer}.ffn_down_exps.scale"][best]

    def experts(self, layer: int, x: Array, best: NDArray[np.int64], weights: Array) -> Array:
        """x (T, D), normed -> (T, D). Pitfall: in the fused tensor the gate's rows come first, then the up's."""
        place = f"blk.{layer}.ffn_"
        if f"{place}gate_up_exps.weight" in self.w:
            gate, up = np.split(self.w[f"{place}gate_up_exps.weight"], 2, axis=1)
        else:
            gate, up = self.w[f"{place}gate_exps.weight"], self.w[f"{place}up_exps.weight"]
        down = self.w[f"{place}down_exps.weight"]
        y = np.zeros_like(x)
        for t, (chosen, parts) in enumerate(zip(best, weights, strict=True)):
            for e, part in zip(chosen, parts, strict=True):
                y[t] += part * (down[e] @ (gelu(gate[e] @ x[t]) * (up[e] @ x[t])))
        return y

    def feed_forward(self, layer: int, r: Array) -> Array:
        """r (T, D), the stream after attention -> what is normed by post_ffw_norm and added to it."""
        place = f"blk.{layer}"
        d = self.dense(layer, self.norm(f"{place}.ffn_norm", r))
        if not self.used:
            return d
        # Pitfall: three readers of r (dense, router, experts), each with its own norm, and three norms afterwards.
        self.routes[layer] = self.route(layer, r)
        e = self.experts(layer, self.norm(f"{place}.pre_ffw_norm_2", r), *self.routes[layer])
        return self.norm(f"{place}.post_ffw_norm_1", d) + self.norm(f"{place}.post_ffw_norm_2", e)

    # --- per-layer embeddings ---

    def per_layer(self, ids: NDArray[np.int64], x0: Array) -> Array:
        """ids (T,), x0 (T, D), the scaled embeddings -> (T, L, P), once a token, before layer 0.

        Pitfall: three scales, sqrt(P) on the table's row, D^-0.5 on the projection (without effect but through eps),
        2^-0.5 on the sum; the norm's weight is the same for all layers and touches the projection only. A soft token
        takes row 0 (padding) of the table, not the placeholder's row, and its soft embedding as x0.
        """
        T = len(ids)
        row = self.w["per_layer_token_embd.weight"][ids].reshape(T, self.L, self.P) * np.sqrt(self.P)
        context = (x0 @ self.w["per_layer_model_proj.weight"].T * self.D**-0.5).reshape(T, self.L, self.P)
        return (self.norm("per_layer_proj_norm", context) + row) * 2**-0.5

    def inject(self, layer: int, x: Array, part: Array) -> Array:
        """x (T, D), the stream after the feed-forward, part (T, P) -> what is added to it."""
        place = f"blk.{layer}"
        g = gelu(x @ self.w[f"{place}.inp_gate.weight"].T) * part  # x is not normed
        return self.norm(f"{place}.post_norm", g @ self.w[f"{place}.proj.weight"].T)

    # --- the whole ---

    def hidden(self, ids: ArrayLike, soft: Soft = ()) -> Array:
        """ids (T,) -> (L + 1, T, D): the state after each layer, then after the last norm.

        soft: rows that stand in place of ids. Pitfall: they are not scaled; their per-layer row is padding's, id 0.
        Pictures without a token between them see each other; a sound never looks ahead.
        """
        ids = np.array(ids, np.int64)
        picture = np.zeros(len(ids), bool)
        for begin, kind, rows in soft:
            ids[begin : begin + len(np.asarray(rows))] = 0
            picture[begin : begin + len(np.asarray(rows))] = kind != "audio"
        self.block = np.where(picture, np.cumsum(~picture), -1)
        x = self.w["token_embd.weight"][ids] * np.sqrt(self.D)
        for begin, _, rows in soft:
            x[begin : begin + len(np.asarray(rows))] = rows
        parts = self.per_layer(ids, x) if self.P else None
        states: list[Array] = []
        kept: list[tuple[Array, Array]] = []
        for i in range(self.L):
            place = f"blk.{i}"
            y = self.norm(f"{place}.attn_norm", x)
            # Pitfall: whether a layer owns keys is told by its index alone; older files carry dead tensors for those
            # that share, newer ones none.
            kept.append(self.keys_values(i, y) if self.donor[i] == i else kept[self.donor[i]])
            x = x + self.norm(f"{place}.post_attention_norm", self.attention(i, y, *kept[i]))
            x = x + self.norm(f"{place}.post_ffw_norm", self.feed_forward(i, x))
            if parts is not None:
                x = x + self.inject(i, x, parts[:, i])
            # Pitfall: scales the whole stream, not what the layer added. No tensor means 1.
            x = x * self.w.get(f"{place}.layer_output_scale.weight", 1.0)
            states.append(x)
        return np.stack([*states, self.norm("output_norm", x)])

    def logits(self, ids: ArrayLike, soft: Soft = ()) -> Array:
        """ids (T,) -> (T, V), capped."""
        head = self.w.get("output.weight", self.w["token_embd.weight"])  # the embedding's sqrt(D) is not in the head
        raw = (self.hidden(ids, soft) if len(soft) else self.hidden(ids))[-1] @ head.T
        return self.softcap * np.tanh(raw / self.softcap) if self.softcap else raw

    def greedy(self, ids: ArrayLike, count: int) -> list[int]:
        """The next `count` ids, each the best after all before it."""
        path = list(np.asarray(ids))
        for _ in range(count):
            path.append(int(np.argmax(self.logits(path)[-1])))
        return path[len(path) - count :]
