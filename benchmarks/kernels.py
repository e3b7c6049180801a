"""Micro-benchmarks of the kernels: format by instruction set by shape, each beside the limit measured around it.

    python benchmarks/kernels.py --threads 2 --json kernels.json
    python benchmarks/kernels.py --kinds matvec gemm --formats Q4_0 Q6_K --isas avx2 --shapes "feed-forward up"

matvec: one token, weights from memory, GB/s. gemm: 512 tokens, Gop/s, a multiply-add counting two. attention: a block
of queries, or one, against keys and values of a cache, Gop/s of what is visible. Best of --repeats, weights random.
The limits are the instruction set's own: its widest int8 multiply-adds, and what it reads from memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gemlet import _core
from gemlet._core import testing
from gemlet.planning.mixes import block_bytes

FORMATS = ("Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K")
KINDS = ("matvec", "gemm", "attention")
GEMM_TOKENS = 512
# (name, rows, columns): E2B's, and the demo's head. Columns are multiples of 256, which every format divides.
SHAPES = {
    "attention q": (2048, 1536),
    "feed-forward up": (6144, 1536),
    "feed-forward down": (1536, 6144),
    "wide feed-forward up": (12288, 1536),
    "head": (262144, 1536),
}
GEMM_SHAPES = ("attention q", "feed-forward up", "feed-forward down")
COLD_BYTES = 128 << 20  # a matrix for matvec is repeated to this size, so that no cache holds it


class Cache(NamedTuple):
    """Keys and values to attend to: E2B's sliding and full layers."""

    kv_heads: int
    group: int
    channels: int


CACHES = {"sliding, 256 channels": Cache(1, 8, 256), "full, 512 channels": Cache(1, 8, 512)}


def limits(isa: str, threads: int) -> dict[str, float]:
    """Measured with that set's own instructions: it is chosen by GEMLET_ISA, in a process of its own."""
    code = f"import json; from gemlet import _core; print(json.dumps(_core.measure_limits({threads})))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "GEMLET_ISA": isa}, stdout=subprocess.PIPE, check=True
    )
    return dict(json.loads(done.stdout))


def products(args: argparse.Namespace, isa: str) -> Iterator[dict[str, Any]]:
    for kind in ("matvec", "gemm"):
        if kind not in args.kinds:
            continue
        for shape in args.shapes:
            rows, columns = SHAPES[shape]
            if kind == "gemm" and (shape not in GEMM_SHAPES or isa == "scalar"):  # the oracle: minutes of it
                continue
            for form in args.formats:
                tokens = GEMM_TOKENS if kind == "gemm" else 1
                high = rows
                if kind == "matvec":
                    high = max(rows, COLD_BYTES // block_bytes(form, (1, columns)) if args.cold else rows)
                seconds = testing.time_linear(isa, form, high, columns, tokens, args.threads, args.repeats)
                yield {
                    "kind": kind,
                    "format": form,
                    "shape": f"{shape}, {rows} x {columns}",
                    "gb_s": block_bytes(form, (high, columns)) / seconds / 1e9,
                    "gops": 2 * high * columns * tokens / seconds / 1e9,
                }


def attentions(args: argparse.Namespace, isa: str) -> Iterator[dict[str, Any]]:
    if "attention" not in args.kinds or isa == "scalar":
        return
    for kind in ("f16", "q8_0"):
        for name, cache in CACHES.items():
            for keys, tokens in ((512, 512), (4096, 64), (16384, 1)):
                seconds = testing.time_attention(
                    isa, kind, *cache, keys, tokens, threads=args.threads, repeats=args.repeats
                )
                pairs = sum(keys - tokens + t + 1 for t in range(tokens))
                stored = 2 if kind == "f16" else 34 / 32
                yield {
                    "kind": "attention",
                    "format": kind,
                    "shape": f"{name}, {tokens} of {keys:,}",
                    "gb_s": 2 * keys * cache.kv_heads * cache.channels * stored / seconds / 1e9,
                    "gops": 4 * pairs * cache.kv_heads * cache.group * cache.channels / seconds / 1e9,
                }


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each, with the limits before and after it, and the larger share of the two."""
    for isa in args.isas:
        before = limits(isa, args.threads)
        for row in (*products(args, isa), *attentions(args, isa)):
            after = limits(isa, args.threads)
            here = {name: (before[name] + after[name]) / 2 for name in after}
            before = after
            shares = {"read": row["gb_s"] / here["read_gb_s"], "int8": row["gops"] / here["int8_gops"]}
            limit = max(shares, key=lambda name: shares[name])
            yield {"isa": isa, **row, "limit": limit, "limit_fraction": shares[limit], "limits": here}


def markdown(rows: list[dict[str, Any]], threads: int) -> str:
    """One table, as the rows come."""
    lines = [
        f"{threads} threads",
        "",
        "| kind | set | format | shape | GB/s | Gop/s | share of its limit |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        share = f"{row['limit_fraction']:.0%} {row['limit']}"
        lines.append(
            f"| {row['kind']} | {row['isa']} | {row['format']} | {row['shape']} | {row['gb_s']:.1f} | "
            f"{row['gops']:.0f} | {share} |"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--isas", nargs="+", default=_core.isas()[-1:], metavar="SET", help=", ".join(_core.isas()))
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(GEMM_SHAPES), metavar="SHAPE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm", dest="cold", action="store_false", help="matvec: the shape alone, in whatever cache")
    parser.add_argument("--json", type=Path, metavar="PATH")
    return parser.parse_args()


def main() -> int:
    args = parse()
    rows = list(measure(args))
    print(markdown(rows, args.threads))
    if args.json:
        args.json.write_text(json.dumps({"threads": args.threads, "rows": rows}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
