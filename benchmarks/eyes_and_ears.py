"""Peak resident memory of one chat about a picture and a sound, with a model of E2B's size that sees and hears.

    python benchmarks/eyes_and_ears.py e2b-q4_0.gguf                    # towers in Q8_0, bar 2 GiB
    python benchmarks/eyes_and_ears.py e2b-q4_0.gguf --weights F16 --seconds 30 --image-tokens 280 --json peak.json

The towers are random ones of E2B's real size, in projector files beside a link to the model (which must be as wide as
E2B is). A process of its own loads all of it, asks one question about a photograph of 4000 x 3000 and the sound, and is
watched from outside, as in memory.py; mapped weights count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))
import memory  # noqa: E402
import sounds  # noqa: E402
from folder_models import script  # noqa: E402

WIDTH = 1536  # of E2B's decoder
PHOTO = (3000, 4000)


def write_towers(folder: Path, weights: str) -> None:
    """Two projectors of E2B's real size."""
    eyes, ears = script("make_vision"), script("make_audio")
    sight = replace(eyes.VARIANTS[0], name="e2b-real", D=WIDTH, d=768, H=12, C=64, F=3072, L=16, positions=10240)
    hearing = replace(ears.VARIANTS[0], name="e2b-real", D=WIDTH, d=1024, H=8, L=12, maps=32, M=1536)
    eyes.write_projector(sight, folder / "eyes.gguf", dtype=weights)
    ears.write_projector(hearing, folder / "ears.gguf", dtype=weights)


def work(args: argparse.Namespace) -> None:
    """The measured process."""
    import gemlet

    rng = np.random.default_rng(1)
    photo = np.kron(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), np.ones((100, 100, 1), np.uint8))
    assert photo.shape[:2] == PHOTO
    sound = sounds.speech_like(round(16000 * args.seconds))
    with gemlet.load(args.model, threads=args.threads, context=4096) as model:
        answer = model.chat(
            "What is seen, and what is said?", images=[photo], audio=(sound, 16000), image_tokens=args.image_tokens,
            max_tokens=32, temperature=0, ignore_eos=True,
        )  # fmt: skip
    told = {"prompt_tokens": answer.usage.prompt_tokens, "image_tokens": answer.usage.image_tokens}
    print(json.dumps({**told, "audio_tokens": answer.usage.audio_tokens}), flush=True)
    sys.stdin.readline()


def measure(args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """The peak of a process of its own, in MiB."""
    model = folder / "model.gguf"
    model.symlink_to(Path(args.model).resolve())
    write_towers(folder, args.weights)
    for path in folder.iterdir():
        memory.warm(str(path))
    command = [sys.executable, __file__, str(model), "--worker", "--threads", str(args.threads)]
    command += ["--seconds", str(args.seconds), "--image-tokens", str(args.image_tokens)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    told, peak = memory.watch(process)
    if not told:
        raise SystemExit(f"the process ended with {process.returncode}")
    towers = sum(os.path.getsize(folder / name) for name in ("eyes.gguf", "ears.gguf")) / memory.MIB
    return {**json.loads(told), **peak, "towers_mib": towers}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--weights", choices=("Q8_0", "F16"), default="Q8_0")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--image-tokens", type=int, default=280)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bar", type=float, default=2048.0, metavar="MIB", help="fail unless the peak is below")
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(args, Path(scratch))
    print(json.dumps(figures))
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if figures["peak_mib"] <= args.bar else 1


if __name__ == "__main__":
    sys.exit(main())
