"""Gemma 4's drafter in plain numpy float64, beside the target of reference_gemma4.py: the oracle of its tests.

Letters: D its own width, B the target's, V the vocabulary. It owns the arithmetic only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import ArrayLike

from reference_gemma4 import Array, Gemma4, gelu, rms, softmax


def turned(x: Array, frequencies: Array, position: int) -> Array:
    """x (heads, C) at one position."""
    half = x.shape[-1] // 2
    cos, sin = np.cos(position * frequencies), np.sin(position * frequencies)
    a, b = x[:, :half], x[:, half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


@dataclass
class Assistant:
    """H heads, sliding: one entry a layer. used: centroids that the head looks at; 0: all ids."""

    target: Gemma4
    H: int
    sliding: list[bool]
    eps: float
    used: int
    w: dict[str, Array]

    @classmethod
    def load(cls, path: str | Path, target: Gemma4) -> Assistant:
        """llama.cpp's names."""
        reader = gguf.GGUFReader(path)
        key = {name: field.contents() for name, field in reader.fields.items()}
        return cls(
            target=target,
            H=key["gemma4-assistant.attention.head_count"],
            sliding=key["gemma4-assistant.attention.sliding_window_pattern"],
            eps=key["gemma4-assistant.attention.layer_norm_rms_epsilon"],
            used=key.get("gemma4-assistant.centroid_top_k", 0),
            w={t.name: t.data.astype(np.float64) for t in reader.tensors},
        )

    def norm(self, name: str, x: Array) -> Array:
        return rms(x, self.eps) * self.w[f"{name}.weight"]

    def attention(self, layer: int, y: Array, k: Array, v: Array, position: int, donor: int) -> Array:
        """y (D,), normed; k, v (position, K, C) of the target's layer `donor`: every key there is. -> (D,)

        Pitfall: the token itself has no keys yet, and drafts never get any, so the last key is of position - 1; the
        query's own position is the same for every draft of a round.
        """
        C = k.shape[-1]
        q = self.norm(f"blk.{layer}.attn_q_norm", (y @ self.w[f"blk.{layer}.attn_q.weight"].T).reshape(self.H, C))
        q = turned(q, self.target.frequencies(donor), position)
        first = max(0, position - self.target.window + 1) if self.sliding[layer] else 0
        heads = np.empty((self.H, C))
        for h in range(self.H):
            shared = h // (self.H // k.shape[1])
            heads[h] = softmax(q[h] @ k[first:, shared].T) @ v[first:, shared]
        return heads.reshape(-1) @ self.w[f"blk.{layer}.attn_output.weight"].T

    def head(self, x: Array) -> Array:
        """x (D,) -> logits (V,). Pitfall: no softcap, whatever the target has."""
        every = x @ self.w["token_embd.weight"].T
        if not self.used:
            return every
        scores = self.w["mtp.centroids.weight"] @ x
        ids = self.w["mtp.token_ordering.weight"].astype(int).reshape(len(scores), -1)
        chosen = ids[np.argsort(-scores, kind="stable")[: self.used]].reshape(-1)
        logits = np.full(len(every), every[chosen].min() - 1)
        logits[chosen] = every[chosen]
        return logits

    def drafts(self, ids: ArrayLike, steps: int) -> tuple[Array, Array]:
        """ids (T,): what may follow the last one -> logits (steps, V), and the states (steps, B) that steps hand on."""
        *before, token = np.asarray(ids, np.int64).tolist()
        t, position = self.target, len(before)
        states = t.hidden(before)
        donors = [max(j for j in range(t.L) if t.donor[j] == j and t.sliding[j] == s) for s in self.sliding]
        # Pitfall: the state after the final norm. Keys are what the target's cache holds, of its last layers with any.
        state = states[-1][-1]
        x0 = t.w["token_embd.weight"][before] * np.sqrt(t.D)
        kept = {}
        for donor in set(donors):
            entering = states[donor - 1] if donor > 0 else x0
            kept[donor] = t.keys_values(donor, t.norm(f"blk.{donor}.attn_norm", entering))
        logits, carried = [], []
        for _ in range(steps):
            embedding = t.w["token_embd.weight"][token] * np.sqrt(t.D)
            x = np.concatenate([embedding, state]) @ self.w["nextn.pre_projection.weight"].T
            for i, donor in enumerate(donors):
                place = f"blk.{i}"
                a = self.attention(i, self.norm(f"{place}.attn_norm", x), *kept[donor], position, donor)
                x = x + self.norm(f"{place}.post_attention_norm", a)
                gate, up, down = (self.w[f"{place}.ffn_{n}.weight"] for n in ("gate", "up", "down"))
                y = self.norm(f"{place}.ffn_norm", x)
                x = x + self.norm(f"{place}.post_ffw_norm", (gelu(y @ gate.T) * (y @ up.T)) @ down.T)
                x = x * self.w[f"{place}.layer_output_scale.weight"]
            x = self.norm("output_norm", x)
            logits.append(self.head(x))
            state = x @ self.w["nextn.post_projection.weight"].T
            carried.append(state)
            token = int(np.argmax(logits[-1]))
        return np.stack(logits), np.stack(carried)
