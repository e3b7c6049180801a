"""Plots of what `speed.py` measured: ratios and shares beside their bars, and the sweeps. Needs the extra `plot`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from comparison import Check, Row

OURS, THEIRS, BAR = "#1a7f5a", "#8a8f98", "#c2410c"


def draw(folder: Path, rows: list[Row]) -> list[Path]:
    """PNG and SVG files of what there is to draw."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, fill in _figures(rows).items():
        figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
        axes.spines[["top", "right"]].set_visible(False)
        fill(axes)
        for kind in ("png", "svg"):
            paths.append(folder / f"{name}.{kind}")
            figure.savefig(paths[-1], dpi=150)
        pyplot.close(figure)
    return paths


def _figures(rows: list[Row]) -> dict[str, Callable[[Any], None]]:
    figures: dict[str, Callable[[Any], None]] = {}
    # Times as their inverse, so that longer is better everywhere.
    ratios = [
        (row.what, _faster(check)) for row in rows for check in row.checks if check.what.startswith("x llama.cpp")
    ]
    shares = [(row.what, check) for row in rows for check in row.checks if check.what.startswith("of the ")]
    if ratios:
        figures["ratios"] = lambda axes: _bars(axes, ratios, "times as fast as llama.cpp")
    if shares:
        figures["limits"] = lambda axes: _bars(axes, shares, "share of the machine's limit")
    for row in rows:
        if row.points and "rest_s" in row.points[0]:
            figures[row.name] = lambda axes, row=row: _growth(axes, row)
        elif row.points:
            figures[row.name] = lambda axes, row=row: _sweep(axes, row)
    return figures


def _faster(check: Check) -> Check:
    if not check.at_most:
        return check
    bar, stretch = (None if value is None else 1 / value for value in (check.bar, check.stretch))
    return Check(check.what, 1 / check.value, bar, stretch)


def _bars(axes: Any, found: list[tuple[str, Check]], label: str) -> None:
    """One bar a row, with its bar as a line and its stretch as a dotted one."""
    for at, (_, check) in enumerate(reversed(found)):
        axes.barh(at, check.value, height=0.6, color=OURS if check.met is not False else THEIRS)
        axes.text(check.value, at, f" {check.value:.2f}", va="center", fontsize=8)
        for value, style in ((check.bar, "-"), (check.stretch, ":")):
            if value is not None:
                axes.plot([value, value], [at - 0.4, at + 0.4], style, color=BAR)
    axes.set_ylim(-0.7, max(len(found), 5) - 0.3)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(found)), [what for what, _ in reversed(found)], fontsize=8)
    axes.set_xlabel(f"{label} (line: the bar, dotted: the stretch; grey: bar missed)")


def _growth(axes: Any, row: Row) -> None:
    tokens = [point["tokens"] for point in row.points]
    parts = [[point[key] * 1e3 for point in row.points] for key in ("rest_s", "attention_s")]
    axes.stackplot(tokens, parts, labels=["everything else", "attention"], colors=[OURS, THEIRS])
    axes.set_xscale("log", base=2)
    axes.set_xticks(tokens, [f"{n:,}" for n in tokens])
    axes.set_xlabel("prompt, tokens")
    axes.set_ylabel("ms a token")
    axes.set_title(row.what)
    axes.legend(loc="upper left", frameon=False)


def _sweep(axes: Any, row: Row) -> None:
    """A curve of each engine; one point after another where a point is more than a number."""
    names = [key for key in row.points[0] if key not in ("ours", "theirs")]
    labels = [" ".join(str(point[name]) for name in names) for point in row.points]
    places = list(range(len(labels)))
    for name, key, colour in (("gemlet", "ours", OURS), ("llama.cpp", "theirs", THEIRS)):
        values = [point[key] for point in row.points]
        if len(names) == 1:
            axes.plot(places, values, "o-", color=colour, label=name)
        else:
            axes.bar([at + (0.2 if key == "theirs" else -0.2) for at in places], values, 0.38, color=colour, label=name)
    axes.set_xticks(places, labels)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(", ".join(names))
    axes.set_ylabel(row.unit)
    axes.set_title(row.what)
    axes.legend(frameon=False)
