"""Instructions that the ARM kernels run, counted under an emulator: what can be known of them without the hardware.

    ./dev aarch64 && python benchmarks/arm_instructions.py

Instructions are not time: they say how much there is to do, not how many are done in a cycle.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
COUNT = ROOT / "build" / "aarch64" / "tests" / "aarch64" / "count"
FORMATS = ["Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
SETS = ["scalar", "neon", "dotprod", "i8mm"]
ROWS, COLS, TOKENS = 64, 2048, 64  # as count.cpp has them


def build_plugin(folder: Path) -> Path:
    source, plugin = ROOT / "tests" / "aarch64" / "instructions.cpp", folder / "instructions.so"
    subprocess.run(["g++", "-O2", "-shared", "-fPIC", str(source), "-o", str(plugin)], check=True)
    return plugin


def instructions(plugin: Path, isa: str, kind: str, tokens: int) -> float:
    """Of one run: two more repeats than one, halved."""

    def run(repeats: int) -> int:
        emulator = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu", "max", "-plugin", str(plugin)]
        command = [*emulator, str(COUNT), isa, kind, str(tokens), str(repeats)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stderr)

    return (run(3) - run(1)) / 2


def main() -> None:
    """A table: for each block of 32 weights and one token, and for 1,000 multiply-adds of many tokens."""
    with tempfile.TemporaryDirectory() as folder:
        plugin = build_plugin(Path(folder))
        print(f"| format | {' | '.join(SETS)} | {' | '.join(SETS)} |\n|---|{'---|' * 2 * len(SETS)}")
        for kind in FORMATS:
            one = [instructions(plugin, isa, kind, 1) / (ROWS * COLS / 32) for isa in SETS]
            many = [instructions(plugin, isa, kind, TOKENS) / (ROWS * COLS * TOKENS / 1000) for isa in SETS]
            print(f"| {kind} | {' | '.join(f'{n:.0f}' for n in one)} | {' | '.join(f'{n:,.0f}' for n in many)} |")


if __name__ == "__main__":
    main()
