"""The part that hears at E2B's real size, beside transformers on torch, in turns: who needs less time for 30 seconds.

    python benchmarks/audio.py                          # float32 and bfloat16
    python benchmarks/audio.py --seconds 30 --pairs 3 --dtypes float32 --json audio.json
    python benchmarks/audio.py --memory                 # an hour through listen(): memory above the model, by minute

Writes a random tower itself: 12 layers, width 1024, with a tiny text model; bfloat16 weights in a folder, or, with
`--weights q8_0`, a projector file. A figure is the median of the pairs' ratios. Also printed: how far the soft tokens
are from the reference's with the same weights. Needs torch and transformers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))
import audio_models  # noqa: E402
import gemlet  # noqa: E402
import sounds  # noqa: E402
from tower_figures import distance, loose, rounded, seconds  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


def tower() -> tuple[Any, Any, dict[str, np.ndarray]]:
    maker = audio_models.script("make_audio")
    v = replace(maker.VARIANTS[0], name="e2b-real", d=1024, H=8, L=12, maps=32, M=1536)
    return maker, v, {name: rounded(array) for name, array in loose(maker.weights(v)).items()}


def widened(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights as a Q8_0 projector holds them."""
    import gguf

    kind = gguf.GGMLQuantizationType.Q8_0
    for name, array in made.items():
        if array.ndim == 2 and (name.startswith("audio_tower.layers.") or name.startswith("embed_audio.")):
            made[name] = gguf.quants.dequantize(gguf.quants.quantize(array, kind), kind)
        elif array.ndim == 2:
            made[name] = array.astype(np.float16).astype(np.float32)
    return made


def compare(path: str, length: float, pairs: int, dtypes: list[str], threads: int, weights: str) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    maker, v, made = tower()
    made = widened(made) if weights == "q8_0" else made
    sound = sounds.speech_like(round(16000 * length))
    figures: dict[str, Any] = {"seconds": length, "weights": weights}
    with gemlet.load(path, threads=threads) as model:
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


def memory(path: str, minutes: int, threads: int) -> dict[str, Any]:
    """MiB of own memory above the loaded model, after each minute that went through."""

    def blocks() -> Iterator[np.ndarray]:
        for i in range(minutes * 60):
            yield sounds.speech_like(16000, seed=i % 7)

    with gemlet.load(path, threads=threads) as model:
        before, above, rows = resident(), [], 0
        for made in model.listen((blocks(), 16000), every=5.0):
            last, rows = rows, rows + len(made)
            if rows // 1500 > last // 1500:
                above.append(round(resident() - before, 1))
    return {"above_mib_by_minute": above, "tokens": rows}


def written(folder: Path, weights: str) -> str:
    """The model's path, written if it is not there."""
    if weights == "bf16":
        folder /= "e2b-audio"
        if not (folder / "config.json").exists():
            _, v, made = tower()
            audio_models.write_variant(folder, v, made, "BF16")
        return str(folder)
    path = folder / "e2b-audio-q8_0" / "model.gguf"
    if not path.exists():
        maker, v, made = tower()
        path.parent.mkdir(parents=True)
        audio_models.script("make_gemma4").write_gguf(audio_models.folder_models.variant(v.text), path)
        maker.write_projector(v, path.parent / "mmproj.gguf", made, dtype="Q8_0")
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--weights", choices=("bf16", "q8_0"), default="bf16")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=int, default=60, help="of sound, for --memory")
    parser.add_argument("--folder", help="where the model lies, or is written to if there is none")
    parser.add_argument("--memory", action="store_true", help="only the memory of a long sound")
    parser.add_argument("--json", help="write the figures here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = written(Path(given.folder or scratch), given.weights)
        if given.memory:
            figures: Any = memory(path, given.minutes, given.threads)
            print(json.dumps(figures))
        else:
            figures = compare(path, given.seconds, given.pairs, given.dtypes, given.threads, given.weights)
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
