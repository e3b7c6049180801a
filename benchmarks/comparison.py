"""What a row of `speed.py` is: samples in turns, the limits around each, ratios of pairs, figures beside their bars."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from engines import ENGINES, GEMLET, LIMITS, Process, warm

SHAPES = {"e2b": "E2B", "e4b": "E4B", "26b": "26B-A4B"}


@dataclass
class Check:
    """A figure beside its bar."""

    what: str
    value: float
    bar: float | None = None
    stretch: float | None = None
    at_most: bool = False  # else at least

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None where there is none."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.at_most else self.value >= self.bar

    def __str__(self) -> str:
        text = f"{self.what} {self.value:.3g}"
        if self.bar is None:
            return text
        sign = "≤" if self.at_most else "≥"
        stretch = "" if self.stretch is None else f", stretch {self.stretch:g}"
        return f"{text} ({sign} {self.bar:g}{stretch}) {'met' if self.met else '**missed**'}"


@dataclass
class Row:
    """A row's samples and what they come to."""

    name: str
    what: str
    unit: str = "tok/s"
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    limits: list[dict[str, float]] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)  # of a sweep
    note: str = ""

    def ratios(self) -> list[float]:
        """Ours over theirs, pair by pair, ascending."""
        return sorted(a / b for a, b in zip(self.ours, self.theirs, strict=True)) if self.theirs else []


class Bench:
    """The options of a run, and the files that it measures."""

    def __init__(self, demo: str, shapes: Path, threads: int, samples: int) -> None:
        self.threads, self.samples = threads, samples
        self._demo, self._shapes = demo, shapes
        self._warmed: set[str] = set()

    def file(self, name: str) -> str:
        """The path of "270m", "e2b", "e4b" or "26b", in the page cache."""
        path = self._demo
        if name in SHAPES:
            path = str(self._shapes / f"{SHAPES[name].lower()}-q4_0.gguf")
            if not os.path.exists(path):
                raise SystemExit(
                    f"speed: no {path}; write it: python benchmarks/real_shapes.py {SHAPES[name]} Q4_0 {path}"
                )
        if path not in self._warmed:
            warm(path)
            self._warmed.add(path)
        return path

    def start(self, kind: str, name: str = "", *, context: int = 1024, threads: int | None = None) -> Process:
        """An engine with that file loaded, in a process of its own."""
        path = self.file(name) if name else ""
        return Process(kind, path, threads=threads or self.threads, context=context)


Ask = Callable[[Process], float]


def pairs(bench: Bench, row: Row, processes: dict[str, Process], ask: Ask, samples: int | None = None) -> Row:
    """Seconds a token of each engine into the row, as tokens a second; the first run of each is not counted."""
    for process in processes.values():
        ask(process)
    with bench.start(LIMITS) as limits:
        edge = limits.ask("measure")
        for i in range(samples or bench.samples):
            for kind in list(processes) if i % 2 == 0 else list(processes)[::-1]:
                value = 1 / ask(processes[kind])
                before, edge = edge, limits.ask("measure")
                if kind == GEMLET:
                    row.ours.append(value)
                    row.limits.append({key: (before[key] + edge[key]) / 2 for key in edge})
                else:
                    row.theirs.append(value)
    return row


def side_by_side(
    bench: Bench, row: Row, name: str, ask: Ask, kinds: Iterable[str] = ENGINES, context: int = 1024
) -> dict[str, Any]:
    """Fill the row from those engines with that file; what gemlet tells of the model."""
    with ExitStack() as stack:
        processes = {kind: stack.enter_context(bench.start(kind, name, context=context)) for kind in kinds}
        info: dict[str, Any] = processes[GEMLET].ask("info")
        pairs(bench, row, processes, ask)
    return info


def of_peak(row: Row, work: float, limit: str) -> float:
    """The median share of the limit, where a token is so much work (bytes or operations)."""
    return median(rate * work / limits[limit] / 1e9 for rate, limits in zip(row.ours, row.limits, strict=True))


def ratio(row: Row, bar: float | None, stretch: float | None = None) -> Check:
    return Check("x llama.cpp", median(row.ratios()), bar, stretch)
