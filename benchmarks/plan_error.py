"""How far `gemlet plan` is from what happens: peak memory, tokens a second of a prompt and of new tokens.

    python benchmarks/plan_error.py demo e2b-q4_0.gguf --prompt 512 --generate 64 --json plan_error.json

Speeds are predicted from the limits that were measured around the very samples, so that a machine that others use does
not count as an error of the plan; memory is that of a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import gemlet
import memory
from gemlet import bench
from gemlet.local.sources import resolve

MIB = 2**20


def compare(path: str, *, prompt: int, generate: int, threads: int, repeat: int) -> dict[str, Any]:
    """Figures of one model: expected, measured, and the error in per cent of the measured one."""
    context = -(-(prompt + generate) // 64) * 64
    memory.warm(path)
    case = memory.Case("peak", context=context, prompt=prompt, generate=generate)
    peak = memory.measure("gemlet", path, case, threads)
    report = bench.measure(path, prompt=prompt, generate=generate, threads=threads, repeat=repeat)
    expected = gemlet.plan(path, context=context, prompt=prompt, threads=threads, limits=report["limits"])
    # New tokens are measured after eight tokens of prompt.
    short = gemlet.plan(path, context=context, prompt=8, threads=threads, limits=report["limits"])
    pairs = {
        "peak MiB": (expected.total / MIB, peak.peak_mib),
        "prefill tok/s": (expected.prefill_tok_s or float("nan"), report["prefill"]["tok_s"]),
        "decode tok/s": (short.decode_tok_s, report["decode"]["tok_s"]),
    }
    return {
        "model": os.path.basename(path),
        "limits": report["limits"],
        "figures": {
            name: {"expected": plan, "measured": real, "error_percent": 100 * (plan / real - 1)}
            for name, (plan, real) in pairs.items()
        },
    }


def table(found: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| model | figure | expected | measured | error |", "|---|---|---|---|---|"]
    for each in found:
        for name, figure in each["figures"].items():
            lines.append(
                f"| {each['model']} | {name} | {figure['expected']:,.1f} | {figure['measured']:,.1f} | "
                f"{figure['error_percent']:+.0f} % |"
            )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["demo"])
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", metavar="PATH")
    args = parser.parse_args()
    options = {"prompt": args.prompt, "generate": args.generate, "threads": args.threads, "repeat": args.repeat}
    found = [compare(resolve(model), **options) for model in args.models]
    print(table(found))
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
