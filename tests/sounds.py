"""Sounds for tests, and the log-mel frames of Gemma 4 in numpy, as the reference tells them."""

from __future__ import annotations

import numpy as np

RATE = 16000


def tone(samples: int, hertz: float = 1000.0, loud: float = 0.5) -> np.ndarray:
    return (loud * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)).astype(np.float32)


def speech_like(samples: int, seed: int = 0) -> np.ndarray:
    """Noise under a slow envelope, with a gliding tone, and silence in between; within -1 to 1."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / RATE
    envelope = np.clip(np.sin(2 * np.pi * 1.7 * t + seed), 0, None)
    glide = np.sin(2 * np.pi * (180 * t + 60 * np.sin(2 * np.pi * 0.8 * t)))
    return (envelope * (0.4 * glide + 0.15 * rng.standard_normal(samples)).clip(-1, 1)).astype(np.float32)


def filters() -> np.ndarray:
    """Triangles (257, 128), linear in hertz between points even in mel."""
    top = 2595 * np.log10(1 + 8000 / 700)
    points = 700 * (10 ** (np.linspace(0, top, 130) / 2595) - 1)
    bins = np.arange(257)[:, None] * RATE / 512
    up = (bins - points[:-2]) / (points[1:-1] - points[:-2])
    down = (points[2:] - bins) / (points[2:] - points[1:-1])
    return np.maximum(0, np.minimum(up, down))


def log_mel(samples: np.ndarray) -> np.ndarray:
    """(n) -> (frames, 128)."""
    padded = np.concatenate([np.zeros(160), samples.astype(np.float64)])
    count = max(0, (len(padded) - 321) // 160 + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 320)
    frames = np.array([padded[160 * i : 160 * i + 320] for i in range(count)]).reshape(count, 320) * window
    return np.log(np.abs(np.fft.rfft(frames, 512)) @ filters() + 0.001).astype(np.float32)
