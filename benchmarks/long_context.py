"""How fast a model decodes behind a long cache, beside the time that reading the cache alone would take.

    python benchmarks/long_context.py e2b-q4_0.gguf --kv f16 q8_0 --tokens 4096 16384 65536 131072

The cache is filled with random keys and values, not by the model. Each type runs in a process of its own, whose peak
resident memory is shown. `read` is the bytes of keys and values a step reads, divided by what this machine reads from
memory at about the same moment; `cache` is the step less a step behind an empty cache.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from statistics import median

from gemlet import _core
from gemlet._core import testing

STEPS = 6  # timed of each length; the first of all also brings the weights into memory


def read_speed(threads: int) -> float:
    """10^9 bytes a second; in a process of its own, because it takes 256 MiB"""
    code = f"from gemlet import _core; print(_core.measure_limits({threads})['read_gb_s'])"
    return float(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)


def measure(path: str, kv: str, lengths: list[int], threads: int) -> list[dict[str, float]]:
    model = _core.Model(path, kv_dtype=kv, threads=threads, context=max(lengths) + STEPS)
    threads = model.info()["threads"]
    testing.decode_filled(model, 0, 1)
    rows = []
    for tokens in lengths:
        speed = read_speed(threads)
        empty = median(testing.decode_filled(model, 0, STEPS)["seconds"])
        filled = testing.decode_filled(model, tokens, STEPS)
        speed = max(speed, read_speed(threads))
        step = median(filled["seconds"])
        rows.append(
            {
                "tokens": tokens,
                "step": step,
                "cache": step - empty,
                "read": filled["bytes_read"] / speed / 1e9,
                "mib": filled["cache_bytes"] / 2**20,
                "gb_s": speed,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--kv", nargs="+", choices=("f32", "f16", "q8_0"), default=["f16", "q8_0"])
    parser.add_argument("--tokens", nargs="+", type=int, default=[4096, 16384, 65536, 131072 - STEPS])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        json.dump(measure(args.model, args.kv[0], args.tokens, args.threads), sys.stdout)
        return
    print("kv     tokens   tok/s  step ms  cache ms  read ms  cache/read  cache MiB  GB/s  peak MiB")
    for kv in args.kv:
        options = ["--kv", kv, "--tokens", *map(str, args.tokens), "--threads", str(args.threads), "--one"]
        child = subprocess.run(
            [sys.executable, __file__, args.model, *options], stdout=subprocess.PIPE, check=True, text=True
        )
        for r in json.loads(child.stdout):
            print(
                f"{kv:5} {r['tokens']:7}  {1 / r['step']:6.2f}  {r['step'] * 1e3:7.1f}  {r['cache'] * 1e3:8.1f}"
                f"  {r['read'] * 1e3:7.1f}  {r['cache'] / r['read']:10.2f}  {r['mib']:9.1f}  {r['gb_s']:4.1f}"
                f"  {r['peak']:8.0f}"
            )


if __name__ == "__main__":
    main()
