"""Peak resident memory of a prompt and some new tokens, gemlet beside llama.cpp (llama-cpp-python), a process each.

    python benchmarks/memory.py MODEL --context 4096 --prompt 1500 --generate 64 --json memory.json
    python benchmarks/memory.py MODEL --long        # 128K tokens in the cache by a hook, as Q8_0; then 16K really read

The peak is the system's own (VmHWM). What it is made of comes from /proc/PID/smaps_rollup, read all the time from
outside: anonymous memory is the process's own, the rest is mapped files, which the system may drop and read again. Both
count. The reading closest to the peak is shown, so its sum can be a little below the peak.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

MIB = 2**20
ENGINES = ("gemlet", "llama.cpp")
INTERVAL_S = 0.02


@dataclass
class Case:
    """One measurement: what the process is to do, and the bar in MiB for gemlet."""

    name: str
    context: int
    prompt: int
    generate: int
    kv_dtype: str = "auto"
    filled: int = 0  # tokens put into the cache by a hook before anything is read; gemlet only
    bar_mib: float | None = None


@dataclass
class Peak:
    """MiB, and tokens a second."""

    peak_mib: float
    anon_mib: float
    file_mib: float
    prefill_tok_s: float
    decode_tok_s: float
    samples: int
    decode_filled_tok_s: float | None = None  # with the cache full
    # Seconds of a token with the cache full over those after a short prompt, over the bytes that each reads: 1 or less
    # means that reading the cache explains all of it.
    unexplained: float | None = None


def ids_for(count: int, vocabulary: int) -> list[int]:
    """The same ordinary ids for both engines: a fixed walk through the vocabulary's words."""
    return [500 + (i * 7919) % min(100_000, vocabulary - 500) for i in range(count)]


# ---- inside the measured process


def run_gemlet(path: str, case: Case, threads: int) -> dict[str, float]:
    import gemlet

    with gemlet.load(path, threads=threads, context=case.context, kv_dtype=case.kv_dtype) as model:
        full = decode_filled(model, case.filled, model.info["bytes_per_token"]) if case.filled else {}
        ids = ids_for(case.prompt, model.vocab_size)
        found = model.generate(ids, max_tokens=case.generate, temperature=0, ignore_eos=True)
    return {"prefill_tok_s": found.timings.prefill_tok_s, "decode_tok_s": found.timings.decode_tok_s, **full}


def decode_filled(model: Any, filled: int, active: int) -> dict[str, float]:
    """New tokens behind a full cache and, in turns with them, behind an empty one. `active`: bytes of weights each."""
    from gemlet._core import testing

    full, empty = [], []
    for _ in range(3):
        found = testing.decode_filled(model._engine, filled, 4)
        full.append(median(found["seconds"]))
        empty.append(median(testing.decode_filled(model._engine, 0, 4)["seconds"]))
    ratio = median(full) / median(empty)
    explained = (active + found["bytes_read"]) / active
    return {"decode_filled_tok_s": 1 / median(full), "unexplained": ratio / explained}


def run_llama(path: str, case: Case, threads: int) -> dict[str, float]:
    """As a user gets it, but with sliding layers kept to their window, which is its smaller way."""
    import llama_cpp
    import numpy as np

    llm = llama_cpp.Llama(
        path,
        n_ctx=case.context,
        n_batch=512,
        n_ubatch=512,
        n_threads=threads,
        n_threads_batch=threads,
        swa_full=False,
        verbose=False,
    )

    def last() -> int:
        row = llama_cpp.llama_get_logits_ith(llm._ctx.ctx, -1)
        return int(np.ctypeslib.as_array(row, (llm.n_vocab(),)).argmax())

    began = time.perf_counter()
    llm.eval(ids_for(case.prompt, llm.n_vocab()))
    token = last()
    read = time.perf_counter()
    for _ in range(case.generate - 1):
        llm.eval([token])
        token = last()
    wrote = time.perf_counter()
    return {"prefill_tok_s": case.prompt / (read - began), "decode_tok_s": (case.generate - 1) / (wrote - read)}


def work(args: argparse.Namespace) -> None:
    """The measured process: do it, tell the speed, and wait to be let go, so that the last reading finds it alive."""
    case = Case(**json.loads(args.case))
    run = run_gemlet if args.worker == "gemlet" else run_llama
    print(json.dumps(run(args.model, case, args.threads)), flush=True)
    sys.stdin.readline()


# ---- outside


def fields(pid: int, name: str) -> dict[str, int]:
    """Byte counts of a file of /proc; empty once the process is gone."""
    found = {}
    try:
        for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
            words = line.split()
            if len(words) == 3 and words[2] == "kB":
                found[words[0].rstrip(":")] = int(words[1]) * 1024
    except (OSError, UnicodeDecodeError):
        pass
    return found


def measure(engine: str, path: str, case: Case, threads: int) -> Peak:
    """Run one engine in a process of its own and watch it."""
    command = [sys.executable, __file__, path, "--worker", engine, "--threads", str(threads)]
    command += ["--case", json.dumps(asdict(case))]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        told, peak = watch(process)
        if not told.endswith(b"\n"):
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise SystemExit(f"{engine}: the process ended with {process.returncode}: {''.join(said)}")
    return Peak(**peak, **json.loads(told))


def watch(process: subprocess.Popen[bytes]) -> tuple[bytes, dict[str, float]]:
    """What the process tells, and its memory at the peak; returns when it has told or ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    best, samples, told = {"Rss": 0, "Anonymous": 0}, 0, b""
    while process.poll() is None and not told.endswith(b"\n"):
        # The full account walks the page tables and so takes time from what is measured: only where it can be news.
        if fields(process.pid, "status").get("VmRSS", 0) > best["Rss"]:
            now = fields(process.pid, "smaps_rollup")
            samples += 1
            if now.get("Rss", 0) > best["Rss"]:
                best = now
        told += process.stdout.read() or b""
        time.sleep(INTERVAL_S)
    peak = fields(process.pid, "status").get("VmHWM", 0)
    process.stdin.close()
    process.stdout.close()
    process.wait()
    split = {"anon_mib": best["Anonymous"] / MIB, "file_mib": (best["Rss"] - best["Anonymous"]) / MIB}
    return told, {"peak_mib": peak / MIB, "samples": samples, **split}


def warm(path: str) -> None:
    """The file into the page cache, so that neither engine reads the disk."""
    with open(path, "rb", buffering=0) as file:
        block = bytearray(16 * MIB)
        while file.readinto(block):
            pass


def table(model: str, threads: int, found: dict[str, dict[str, Peak]], cases: list[Case]) -> str:
    """Markdown."""
    lines = [
        f"{model}, {threads} threads; MiB resident",
        "",
        "| case | engine | peak | anonymous | mapped files | prefill tok/s | decode tok/s | bar |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        for engine, peak in found[case.name].items():
            bar = "" if case.bar_mib is None or engine != "gemlet" else verdict(peak, case.bar_mib)
            lines.append(
                f"| {case.name} | {engine} | {peak.peak_mib:,.0f} | {peak.anon_mib:,.0f} | {peak.file_mib:,.0f} | "
                f"{peak.prefill_tok_s:.1f} | {peak.decode_tok_s:.1f} | {bar} |"
            )
            if peak.decode_filled_tok_s is not None:
                lines.append(
                    f"| | decode with {case.filled:,} tokens in the cache | | | | | {peak.decode_filled_tok_s:.2f} | "
                    f"{peak.unexplained:.2f} of what the bytes explain |"
                )
    return "\n".join(lines)


def verdict(peak: Peak, bar_mib: float) -> str:
    """Whether the bar is met."""
    return f"{'met' if peak.peak_mib < bar_mib else 'MISSED'}: < {bar_mib:,.0f}"


def cases_of(args: argparse.Namespace) -> list[Case]:
    """What to measure."""
    if args.long:
        # The cache is full, and a real prompt is read beside it.
        name = f"{args.context:,} tokens filled, then {args.prompt:,} read"
        return [
            Case(name, args.context, args.prompt, 16, args.kv_dtype, args.context - 64, args.bar),
        ]
    name = f"{args.prompt:,} tokens of {args.context:,}"
    return [Case(name, args.context, args.prompt, args.generate, args.kv_dtype, bar_mib=args.bar)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, help="4096; with --long 131072")
    parser.add_argument("--prompt", type=int, help="1500; with --long 16384")
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--kv-dtype", help="auto; with --long q8_0")
    parser.add_argument("--long", action="store_true", help="fill the whole context first (gemlet only)")
    parser.add_argument("--bar", type=float, metavar="MIB", help="fail unless gemlet's peak is below")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args)
        return 0
    from gemlet.local.sources import resolve

    path = resolve(args.model)
    args.context = args.context or (131_072 if args.long else 4096)
    args.prompt = args.prompt or (16_384 if args.long else 1500)
    args.kv_dtype = args.kv_dtype or ("q8_0" if args.long else "auto")
    engines = ["gemlet"] if args.long else args.engines
    warm(path)
    cases = cases_of(args)
    found = {case.name: {engine: measure(engine, path, case, args.threads) for engine in engines} for case in cases}
    print(table(os.path.basename(path), args.threads, found, cases))
    if args.json:
        whole = {name: {engine: asdict(peak) for engine, peak in each.items()} for name, each in found.items()}
        Path(args.json).write_text(json.dumps({"model": os.path.basename(path), "cases": whole}, indent=1))
    missed = [case for case in cases if case.bar_mib and found[case.name]["gemlet"].peak_mib >= case.bar_mib]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
