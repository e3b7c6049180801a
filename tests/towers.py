"""Towers that draw soft tokens at random from the bytes of a source, and note who was asked for what."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

import gemlet
from gemlet.errors import MediaError
from gemlet.soft import Senses


class Towers:
    def __init__(self, width: int) -> None:
        self.width = width
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def rows(self, source: Any, count: int) -> np.ndarray:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        seed = int.from_bytes(hashlib.sha256(content).digest()[:4], "little")
        return np.random.default_rng(seed).normal(0, 1, (count, self.width)).astype(np.float32)

    def encode_image(self, source: Any, *, image_tokens: int | str) -> gemlet.SoftTokens:
        self.calls.append(("image", {"image_tokens": image_tokens}))
        if source == b"broken":
            raise MediaError("image: no image: its header is cut")
        count = 9 if image_tokens == "auto" else int(image_tokens) // 70 + 2
        return gemlet.SoftTokens(self.rows(source, count), notes=[f"{count} of {image_tokens} tokens"])

    def encode_video(
        self, source: Any, *, image_tokens: int | str, fps: float = 1.0, frames: int = 0
    ) -> gemlet.SoftTokens:
        self.calls.append(("video", {"image_tokens": image_tokens, "fps": fps}))
        frames = [self.rows(source, 3) + i for i in range(int(3 * fps))]
        return gemlet.SoftTokens(frames, "video", times=[30.5 * i / fps for i in range(len(frames))])

    def encode_audio(self, source: Any, **options: Any) -> gemlet.SoftTokens:
        self.calls.append(("audio", options))
        return gemlet.SoftTokens(self.rows(source, 6), "audio")


def with_towers(model: gemlet.Model, towers: object | None = None) -> Any:
    """Gives the model eyes and ears, and them back."""
    given = Towers(int(model.info["width"])) if towers is None else towers
    model._own_senses = Senses(model.name, int(model.info["width"]), given)
    model._format = None
    return given
