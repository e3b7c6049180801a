"""The part that sees at E2B's real size, beside transformers on torch, in pairs: who needs less time for one picture.

    python benchmarks/vision.py                       # 280 and 1120 tokens, float32 and bfloat16
    python benchmarks/vision.py --tokens 280 --pairs 3 --dtypes float32 --json vision.json
    python benchmarks/vision.py --peer                # the same beside llama.cpp's libmtmd, on the same projector file

Writes a random tower itself: 16 layers, width 768, feed-forward 3072, bfloat16 weights in a folder, with a tiny text
model. The two take turns, and a figure is the median of the pairs' ratios. Also printed: how far the soft tokens are
from those of the other, and with --memory what encoding a photograph of 4000 x 3000 takes above the model. Needs torch
and transformers; with --peer instead llama-cpp-python, and the dtypes are those of the file (F16, Q8_0).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))
import gemlet  # noqa: E402
import pictures  # noqa: E402
import vision_models  # noqa: E402
from gemlet._core import testing  # noqa: E402
from tower_figures import distance, loose, rounded, seconds  # noqa: E402

PHOTO = (3000, 4000)


def tower() -> tuple[Any, Any, dict[str, np.ndarray]]:
    maker = vision_models.script("make_vision")
    v = replace(maker.VARIANTS[0], name="e2b-real", d=768, H=12, C=64, F=3072, L=16, positions=10240)
    return maker, v, {name: rounded(array) for name, array in loose(maker.weights(v)).items()}


def compare(folder: str, tokens: int, pairs: int, dtypes: list[str], threads: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    maker, v, made = tower()
    photo = pictures.gradient(*PHOTO) // 2 + pictures.noise(*PHOTO) // 2
    size = testing.target_size(*PHOTO, tokens)
    resized = testing.resize(photo, *size, threads)
    patches = tokens * 9  # the reference pads to the budget
    figures: dict[str, Any] = {"tokens": tokens, "size": list(size), "patches": size[0] * size[1] // 256}
    with gemlet.load(folder, threads=threads) as model:
        for dtype in dtypes:
            run = maker.transformers_part(v, made, dtype=dtype, patches=patches)
            ratios, ours_s, theirs_s = [], [], []
            for _ in range(pairs):
                ours, soft = seconds(lambda: model.encode_image(resized, image_tokens=tokens))
                theirs, wanted = seconds(lambda run=run: run(resized))
                ratios.append(theirs / ours), ours_s.append(ours), theirs_s.append(theirs)
            figures[dtype] = {
                "gemlet_s": statistics.median(ours_s),
                "transformers_s": statistics.median(theirs_s),
                "ratio": statistics.median(ratios),
                "ratios": ratios,
                "distance": distance(soft, wanted),
            }
            print(json.dumps({"tokens": tokens, dtype: figures[dtype]}), flush=True)
    return figures


def compare_peer(scratch: Path, dtype: str, tokens: int, pairs: int, threads: int) -> dict[str, Any]:
    """Both read one GGUF projector; a picture goes in resized already, and llama.cpp is told to keep its size."""
    from mtmd_peer import open_mtmd

    maker, v, made = tower()
    folder = scratch / dtype
    if not folder.exists():
        folder.mkdir()
        text = vision_models.script("make_gemma4")
        text.write_gguf(vision_models.folder_models.variant(v.text), folder / "model.gguf")
        maker.write_projector(v, folder / "eyes.gguf", made, dtype)
    photo = pictures.gradient(*PHOTO) // 2 + pictures.noise(*PHOTO) // 2
    resized = testing.resize(photo, *testing.target_size(*PHOTO, tokens), threads)
    count = resized.shape[0] * resized.shape[1] // 48**2
    model_path, projector = str(folder / "model.gguf"), str(folder / "eyes.gguf")
    ratios, ours_s, theirs_s = [], [], []
    with (
        gemlet.load(model_path, threads=threads) as model,
        open_mtmd(model_path, projector, width=v.D, tokens=count, threads=threads) as peer,
    ):
        small = resized[:480, :480]
        model.encode_image(small, image_tokens=70)
        for _ in range(pairs):
            ours, soft = seconds(lambda: model.encode_image(resized, image_tokens=tokens))
            theirs, wanted = seconds(lambda: peer.encode(resized))
            ratios.append(theirs / ours), ours_s.append(ours), theirs_s.append(theirs)
    figures = {
        "tokens": tokens,
        "dtype": dtype,
        "gemlet_s": statistics.median(ours_s),
        "llama_cpp_s": statistics.median(theirs_s),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "distance": distance(soft, wanted),
    }
    print(json.dumps(figures), flush=True)
    return figures


def resident() -> tuple[float, float]:
    """MiB now, and the most there ever were."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(values["VmRSS"]) / 1024, int(values["VmHWM"]) / 1024


def memory(folder: str, threads: int) -> dict[str, float]:
    photo = pictures.gradient(*PHOTO)
    with gemlet.load(folder, threads=threads) as model:
        model.encode_image(photo[:480, :640], image_tokens=70)
        before, _ = resident()
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        model.encode_image(photo, image_tokens=1120)
        after, peak = resident()
    return {"before_mib": before, "peak_above_mib": peak - before, "left_mib": after - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[280, 1120])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", help="float32 bfloat16, or with --peer F16 Q8_0")
    parser.add_argument("--peer", action="store_true", help="beside llama.cpp instead of transformers")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", help="where the model lies, or is written to if there is none")
    parser.add_argument("--memory", action="store_true", help="only the memory of one photograph")
    parser.add_argument("--json", help="write the figures here")
    given = parser.parse_args()
    dtypes = given.dtypes or (["F16", "Q8_0"] if given.peer else ["float32", "bfloat16"])
    with tempfile.TemporaryDirectory() as scratch:
        if given.peer:
            cases = [(dtype, n) for dtype in dtypes for n in given.tokens]
            save([compare_peer(Path(scratch), *case, given.pairs, given.threads) for case in cases], given.json)
            return
        folder = Path(given.folder or scratch) / "e2b-vision"
        if not (folder / "config.json").exists():
            maker, v, made = tower()
            vision_models.write_variant(folder, maker, v, made, "BF16")
        if given.memory:
            figures: Any = memory(str(folder), given.threads)
            print(json.dumps(figures))
        else:
            figures = [compare(str(folder), n, given.pairs, dtypes, given.threads) for n in given.tokens]
    save(figures, given.json)


def save(figures: Any, path: str | None) -> None:
    if path:
        Path(path).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
