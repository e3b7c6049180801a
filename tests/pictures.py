"""Pictures that the tests make themselves: random pixels, gradients, shapes; and the sizes that are tried."""

from __future__ import annotations

import numpy as np

BUDGETS = (70, 140, 280, 560, 1120)


def shapes() -> list[tuple[int, int]]:
    """60 sizes (height, width) from a row of pixels to twelve million of them."""
    fixed = [(1, 1000), (1000, 1), (3000, 4000), (4000, 3000), (1, 1), (48, 48), (47, 49), (1080, 1920), (480, 640)]
    fixed += [(3000, 500), (10, 4000), (4000, 10), (768, 768), (672, 912), (1584, 1584), (2, 3), (16, 16), (720, 1280)]
    rng = np.random.default_rng(60)
    while len(fixed) < 60:
        high, wide = (int(n) for n in np.exp(rng.uniform(np.log(8), np.log(2400), 2)))
        fixed.append((high, wide))
    return fixed


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random pixels (H, W, 3) uint8: the hardest thing to resize alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def gradient(height: int, width: int) -> np.ndarray:
    """Red grows to the right, green downwards, blue is a disc."""
    y, x = np.mgrid[0:height, 0:width]
    disc = np.hypot(y - height / 2, x - width / 2) < min(height, width) / 4
    planes = [x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), disc * 255]
    return np.stack(planes, axis=-1).astype(np.uint8)
