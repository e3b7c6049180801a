"""The sweeps of `speed.py`: prompt lengths, sequences at once, threads. Points beside each other; most have no bar."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import Any

from comparison import Ask, Bench, Check, Row
from engines import ENGINES, GEMLET, LLAMA

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)


def prefill_growth(bench: Bench) -> Row:
    """Where the time of long prompts goes: outside attention, a token costs the same at any length."""
    row = Row("prefill-growth", f"270M, prefill a token, {LENGTHS[0]} to {LENGTHS[-1] // 1024}K", "ms/token")
    samples = max(1, bench.samples // 3)
    found: dict[int, list[dict[str, float]]] = {tokens: [] for tokens in LENGTHS}
    with bench.start(GEMLET, "270m", context=LENGTHS[-1] + 64) as process:
        process.ask("prompt", LENGTHS[0])
        for _ in range(samples):
            for tokens in LENGTHS:
                found[tokens].append(process.ask("profile", tokens))
    for tokens, runs in found.items():
        mid = {key: median(run[key] for run in runs) / tokens for key in runs[0]}
        row.points.append({"tokens": tokens, **mid, "rest_s": mid["seconds"] - mid["attention_s"]})
    row.ours = [point["seconds"] * 1e3 for point in row.points]
    first, last = row.points[0], row.points[-1]
    growth = last["attention_s"] / first["attention_s"]
    row.checks = [
        Check("x the time outside attention", last["rest_s"] / first["rest_s"], 1.1, at_most=True),
        Check(
            "x what attention's operations explain",
            growth / (last["attention_ops"] / first["attention_ops"]),
            1.1,
            at_most=True,
        ),
    ]
    row.note = f"medians of {samples}; a token's pairs beyond the window are those of global layers alone"
    return row


def _sweep(bench: Bench, row: Row, name: str, points: list[tuple[dict[str, Any], int, Ask]], context: int) -> Row:
    """Each point: what it is, its number of threads, and how to ask for its seconds a token."""
    samples = max(1, bench.samples // 3)
    for point, threads, ask in points:
        found: dict[str, list[float]] = {kind: [] for kind in ENGINES}
        with ExitStack() as stack:
            started = {
                kind: stack.enter_context(bench.start(kind, name, context=context, threads=threads)) for kind in ENGINES
            }
            for process in started.values():
                ask(process)
            for i in range(samples):
                for kind in ENGINES if i % 2 == 0 else ENGINES[::-1]:
                    found[kind].append(1 / ask(started[kind]))
        mid = {kind: median(values) for kind, values in found.items()}
        row.points.append({**point, "ours": mid[GEMLET], "theirs": mid[LLAMA]})
    row.ours = [point["ours"] for point in row.points]
    row.theirs = [point["theirs"] for point in row.points]
    row.note = f"medians of {samples}"
    return row


def prompt_sweep(bench: Bench) -> Row:
    row = Row("prompt-sweep", "270M, prompts of 128 to 16K")
    lengths = (128, 256, *LENGTHS)
    points = [({"tokens": n}, bench.threads, lambda process, n=n: process.ask("prompt", n) / n) for n in lengths]
    return _sweep(bench, row, "270m", points, LENGTHS[-1] + 64)


def batch_sweep(bench: Bench, name: str = "270m") -> Row:
    """Ours together; theirs, which runs one at a time, alone."""
    row = Row(f"{name}-batch-sweep", f"{name.upper()}, 1 to 16 decodes at once")

    def ask(streams: int) -> Ask:
        return lambda process: (
            process.ask("together", 32, streams) if process.kind == GEMLET else process.ask("decode", 32)
        )

    points = [({"streams": n}, bench.threads, ask(n)) for n in (1, 2, 4, 8, 16)]
    return _sweep(bench, row, name, points, 4096)


def batch_sweep_e2b(bench: Bench) -> Row:
    return batch_sweep(bench, "e2b")


def thread_sweep(bench: Bench) -> Row:
    row = Row("thread-sweep", "270M, 1 and 2 threads, prompt and decode")
    points: list[tuple[dict[str, Any], int, Ask]] = []
    for threads in (1, 2):
        points.append(({"threads": threads, "what": "prompt"}, threads, lambda p: p.ask("prompt", 512) / 512))
        points.append(({"threads": threads, "what": "decode"}, threads, lambda p: p.ask("decode", 64)))
    return _sweep(bench, row, "270m", points, 1024)
