"""gemlet beside llama.cpp (llama-cpp-python) in one run: ratios, shares of the machine's limits, bars and verdicts.

    python benchmarks/speed.py --samples 9 --json speed.json --markdown speed.md --plots plots
    python benchmarks/speed.py --rows 270m-prefill e2b-decode --shapes FOLDER
    python benchmarks/speed.py --from speed.json more.json --plots plots      # no measuring: tables and plots of runs

Without --rows all rows of the table are measured but the 26B one, which needs 15 GB of memory. The shapes are files
with real sizes and random weights, which `real_shapes.py` writes: FOLDER/e2b-q4_0.gguf and so on. Samples alternate,
limits are measured around each, the engine that is not measured is stopped. Plots need the extra `plot`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from comparison import Bench, Check, Row
from speed_rows import LARGE, MORE, TABLE

ROWS = {**TABLE, **MORE}


def quantity(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"


def line(row: Row) -> str:
    """A line of the table."""
    ours = quantity(median(row.ours), row.unit) if not row.points else "below"
    theirs = quantity(median(row.theirs), row.unit) if row.theirs and not row.points else ""
    spread = ""
    if row.theirs and not row.points:
        ratios = row.ratios()
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    checks = "; ".join(str(check) for check in row.checks)
    return f"| {row.what} | {ours} | {theirs} | {spread} | {checks} | {row.note} |"


def sweep(row: Row) -> list[str]:
    """The points of a sweep as a table of their own."""
    if not row.points:
        return []
    if "rest_s" in row.points[0]:
        lines = ["", f"{row.what}, ms a token", "", "| tokens | all | attention | the rest |", "|---|---|---|---|"]
        for point in row.points:
            parts = " | ".join(f"{point[key] * 1e3:.3f}" for key in ("seconds", "attention_s", "rest_s"))
            lines.append(f"| {point['tokens']:,} | {parts} |")
        return lines
    names = [key for key in row.points[0] if key not in ("ours", "theirs")]
    lines = ["", f"{row.what}, {row.unit}", "", f"| {' | '.join(names)} | gemlet | llama.cpp | ratio |"]
    lines.append("|---" * (len(names) + 3) + "|")
    for point in row.points:
        key = " | ".join(f"{point[name]:,}" if isinstance(point[name], int) else point[name] for name in names)
        figures = f"{point['ours']:,.4g} | {point['theirs']:,.4g} | {point['ours'] / point['theirs']:.2f}"
        lines.append(f"| {key} | {figures} |")
    return lines


def markdown(machine: dict[str, Any], rows: list[Row]) -> str:
    """The table, and one for each sweep."""
    limits = [entry for row in rows for entry in row.limits]
    told = ""
    if limits:
        read, int8 = (median(entry[name] for entry in limits) for name in ("read_gb_s", "int8_gops"))
        told = f"; limits: read {read:.1f} GB/s, int8 {int8:.0f} Gop/s"
    counts = sorted({len(row.ours) for row in rows if not row.points})
    samples = f", {' to '.join(str(n) for n in counts[:1] + counts[1:][-1:])} samples of each" if counts else ""
    lines = [
        f"{machine['threads']} threads, {machine['isa']}{samples}{told}",
        "",
        "| work | gemlet | llama.cpp | ratio (smallest to largest) | bars | |",
        "|---|---|---|---|---|---|",
        *(line(row) for row in rows),
    ]
    for row in rows:
        lines += sweep(row)
    return "\n".join(lines)


def read(paths: list[Path]) -> tuple[dict[str, Any], list[Row]]:
    """Rows of earlier runs; of a row measured twice the last."""
    machine: dict[str, Any] = {}
    found: dict[str, Row] = {}
    for path in paths:
        told = json.loads(path.read_text(encoding="utf-8"))
        machine = told["machine"]
        for entry in told["rows"]:
            checks = [Check(**check) for check in entry.pop("checks")]
            found[entry["name"]] = Row(**entry, checks=checks)
    return machine, [found[name] for name in ROWS if name in found]


def write(path: Path, machine: dict[str, Any], rows: list[Row]) -> None:
    told = {"machine": machine, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(told, indent=1), encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [name for name in TABLE if name not in LARGE]
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=usual, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--demo", default="demo", metavar="MODEL", help="the 270M model (the demo)")
    parser.add_argument("--shapes", type=Path, default=Path("."), metavar="FOLDER", help="where the written shapes are")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every sample there")
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="write the table there too")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw there, as PNG and SVG")
    parser.add_argument("--from", nargs="+", type=Path, metavar="JSON", dest="earlier", help="rows measured before")
    return parser.parse_args()


def main() -> int:
    args = parse()
    if args.earlier:
        machine, rows = read(args.earlier)
    else:
        from gemlet import _core
        from gemlet.local.sources import resolve

        machine = {"isa": _core.isa(), "threads": args.threads, "samples": args.samples, "cpus": os.cpu_count()}
        bench = Bench(resolve(args.demo), args.shapes, args.threads, args.samples)
        rows = []
        for name in args.rows:
            rows.append(ROWS[name](bench))
            print(line(rows[-1]), file=sys.stderr, flush=True)
            if args.json:
                write(args.json, machine, rows)  # what is measured is kept, whatever comes after
    table = markdown(machine, rows)
    print(table)
    if args.markdown:
        args.markdown.write_text(table + "\n", encoding="utf-8")
    if args.plots:
        from speed_plots import draw

        for path in draw(args.plots, rows):
            print(f"drawn: {path}", file=sys.stderr)
    return 1 if any(check.met is False for row in rows for check in row.checks) else 0


if __name__ == "__main__":
    sys.exit(main())
