"""Makes image.npz: target sizes and resized pictures of the reference.

    python tests/golden/make_image.py

Needs torch 2.13 and transformers 5.23. The sizes come from transformers' Gemma 4 image processor; the pictures from
torch's antialiased bicubic resize of 8-bit arrays, which is what torchvision, the processor's default backend, calls.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import pictures  # noqa: E402

# (height, width) -> (height, width): growing, shrinking, both, one way only.
RESIZED = [
    ((12, 20), (48, 96)),
    ((150, 90), (48, 48)),
    ((30, 200), (96, 48)),
    ((48, 130), (48, 48)),
    ((97, 48), (48, 48)),
]


def main() -> None:
    import torch
    from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size

    sizes = [
        [get_aspect_ratio_preserving_size(h, w, 16, budget * 9, 3) for budget in pictures.BUDGETS]
        for h, w in pictures.shapes()
    ]
    arrays = {"sizes": np.array(sizes, np.int32)}
    for i, (source, target) in enumerate(RESIZED):
        planes = torch.from_numpy(pictures.noise(*source, seed=i)).permute(2, 0, 1)[None]
        made = torch.nn.functional.interpolate(planes, size=list(target), mode="bicubic", antialias=True)
        arrays[f"resized{i}"] = made[0].permute(1, 2, 0).numpy()
    np.savez_compressed(HERE / "image.npz", **arrays)


if __name__ == "__main__":
    main()
