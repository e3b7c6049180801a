"""Whole models decoded on emulated ARM processors and here: the same greedy ids, the same bits of every logit.

    same_as_here.py DECODE EMULATOR...

DECODE is the cross-compiled program, EMULATOR the command that runs it, without `-cpu`.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gemlet import _core
from gemlet.local import demo

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = [f"gemma{name}" for name in ("3_tiny", "3_tiny_linear", "3_tiny_q8_0", "4_tiny_e2b", "4_tiny_31b", "4_tiny_26b")]
KINDS = ["f32", "f16", "q8_0"]
# The Raspberry Pi 4's, the Raspberry Pi 5's, and one with everything: the set that each must choose.
PROCESSORS = {"cortex-a72": "neon", "cortex-a76": "dotprod", "max": "i8mm"}
THE_CAPITAL_OF_FRANCE_IS = [2, 818, 5279, 529, 7001, 563]


@dataclass(frozen=True)
class Case:
    model: Path
    kv: str
    ids: tuple[int, ...]
    count: int
    processor: str
    golden: tuple[int, ...] | None = None  # what transformers generates

    def __str__(self) -> str:
        return f"{self.model.stem}, keys and values {self.kv}, on {self.processor}"


def cases() -> list[Case]:
    """Every tiny model with every kind of cache, each on one processor; the demo on two."""
    found = []
    for i, name in enumerate(TINY):
        golden = np.load(GOLDEN / f"{name}.npz")
        ids, greedy = (tuple(int(x) for x in golden[key]) for key in ("ids", "greedy"))
        for j, processor in enumerate(PROCESSORS):
            kv = KINDS[(i + j) % len(KINDS)]
            exact = greedy if kv == "f32" and "q8" not in name else None
            found.append(Case(GOLDEN / f"{name}.gguf", kv, ids, len(greedy), processor, exact))
    if demo.installed():
        for processor in ("cortex-a76", "max"):
            found.append(Case(demo.path(), "f16", tuple(THE_CAPITAL_OF_FRANCE_IS), 6, processor))
    return found


def here(case: Case) -> tuple[list[int], str]:
    """Greedy ids, and the logits (T, V) of the prompt as the bits of their numbers."""
    model = _core.Model(str(case.model), threads=2, kv_dtype=case.kv)
    options = _core.GenerateOptions()
    options.temperature, options.max_tokens, options.ignore_eos = 0, case.count, True
    stream = model.generate(case.ids, options)
    greedy: list[int] = []
    while (event := stream.next(1000)) is None or event["kind"] != "end":
        if event is not None and event["kind"] == "tokens":
            greedy += event["ids"]
    logits = model.logits(case.ids)
    return greedy, logits.astype(">f4").tobytes().hex()


def there(case: Case, program: str, emulator: list[str]) -> dict[str, str]:
    """What the program prints: isa, greedy, logits."""
    arguments = [str(case.model), case.kv, str(case.count), *map(str, case.ids)]
    done = subprocess.run([*emulator, "-cpu", case.processor, program, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        return {"error": f"exit {done.returncode}: {done.stdout[:300]}{done.stderr[:300]}"}
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def difference(case: Case, program: str, emulator: list[str]) -> str | None:
    got = there(case, program, emulator)
    if "error" in got:
        return got["error"]
    greedy, logits = here(case)
    if got["isa"] != PROCESSORS[case.processor]:
        return f"chose the set {got['isa']}, expected {PROCESSORS[case.processor]}"
    if got["greedy"] != " ".join(map(str, greedy)):
        return f"generated {got['greedy']}, here {' '.join(map(str, greedy))}"
    if case.golden is not None and tuple(greedy) != case.golden:
        return f"generated {got['greedy']}, transformers {' '.join(map(str, case.golden))}"
    for i in range(0, len(logits), 8):
        if got["logits"][i : i + 8] != logits[i : i + 8]:
            return f"logit {i // 8} of {len(logits) // 8} is {got['logits'][i : i + 8]}, here {logits[i : i + 8]}"
    return None if len(got["logits"]) == len(logits) else "another number of logits"


def main(program: str, *emulator: str) -> int:
    failed = 0
    all_cases = cases()
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda case: difference(case, program, list(emulator)), all_cases)
        for case, what in zip(all_cases, found, strict=True):
            failed += what is not None
            print(f"{case}: {what or 'the same bits'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
