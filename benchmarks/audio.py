"""The part that hears at E2B's real size, beside transformers on torch, in turns: who needs less time for 30 seconds.

    python benchmarks/audio.py                          # float32 and bfloat16
    python benchmarks/audio.py --seconds 30 --pairs 3 --dtypes float32 --json audio.json
    python benchmarks/audio.py --memory                 # an hour through listen(): memory above the model, by minute

Writes a random tower itself: 12 layers, width 1024, bfloat16 weights in a folder, with a tiny text model. A figure is
the median of the pairs' ratios. Also printed: how far the soft tokens are from the reference's. Needs torch and
transformers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))
import audio_models  # noqa: E402
import gemlet  # noqa: E402
import sounds  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


def tower() -> tuple[Any, Any, dict[str, np.ndarray]]:
    maker = audio_models.script("make_audio")
    v = replace(maker.VARIANTS[0], name="e2b-real", d=1024, H=8, L=12, maps=32, M=1536)
    return maker, v, {name: rounded(array) for name, array in loose(maker.weights(v)).items()}


def loose(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bounds as wide as released ones, which few values reach."""
    return {name: np.float32(8 * array) if array.ndim == 0 else array for name, array in made.items()}


def rounded(array: np.ndarray) -> np.ndarray:
    """To bfloat16, so that all compute with the same weights."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype(np.uint32).view(np.float32).reshape(array.shape)


def seconds(call: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    made = call()
    return time.perf_counter() - start, made


def distance(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


def compare(folder: str, length: float, pairs: int, dtypes: list[str], threads: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    maker, v, made = tower()
    sound = sounds.speech_like(round(16000 * length))
    figures: dict[str, Any] = {"seconds": length}
    with gemlet.load(folder, threads=threads) as model:
        soft = model.encode_audio((sound, 16000))
        for dtype in dtypes:
            run = maker.transformers_part(v, made, dtype=dtype)
            ratios, ours_s, theirs_s = [], [], []
            for _ in range(pairs):
                ours, soft = seconds(lambda: model.encode_audio((sound, 16000)))
                theirs, wanted = seconds(lambda run=run: run(sound))
                ratios.append(theirs / ours), ours_s.append(ours), theirs_s.append(theirs)
            figures[dtype] = {
                "gemlet_s": statistics.median(ours_s),
                "transformers_s": statistics.median(theirs_s),
                "ratio": statistics.median(ratios),
                "ratios": ratios,
                "distance": distance(soft, wanted),
            }
            print(json.dumps({dtype: figures[dtype]}), flush=True)
    return figures


def resident() -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "RssFile"))}
    return (int(values["VmRSS"]) - int(values["RssFile"])) / 1024


def memory(folder: str, minutes: int, threads: int) -> dict[str, Any]:
    """MiB of own memory above the loaded model, after each minute that went through."""

    def blocks() -> Iterator[np.ndarray]:
        for i in range(minutes * 60):
            yield sounds.speech_like(16000, seed=i % 7)

    with gemlet.load(folder, threads=threads) as model:
        before, above, rows = resident(), [], 0
        for made in model.listen((blocks(), 16000), every=5.0):
            last, rows = rows, rows + len(made)
            if rows // 1500 > last // 1500:
                above.append(round(resident() - before, 1))
    return {"above_mib_by_minute": above, "tokens": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=int, default=60, help="of sound, for --memory")
    parser.add_argument("--folder", help="where the model lies, or is written to if there is none")
    parser.add_argument("--memory", action="store_true", help="only the memory of a long sound")
    parser.add_argument("--json", help="write the figures here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(given.folder or scratch) / "e2b-audio"
        if not (folder / "config.json").exists():
            _, v, made = tower()
            audio_models.write_variant(folder, v, made, "BF16")
        if given.memory:
            figures: Any = memory(str(folder), given.minutes, given.threads)
            print(json.dumps(figures))
        else:
            figures = compare(str(folder), given.seconds, given.pairs, given.dtypes, given.threads)
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
