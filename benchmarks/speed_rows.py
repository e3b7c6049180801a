"""The rows of `speed.py`: what each one runs, and the bar it has to reach."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from comparison import Bench, Check, Row, of_peak, pairs, ratio, side_by_side
from engines import ENGINES, GEMLET, LLAMA, Process
from speed_sweeps import batch_sweep, batch_sweep_e2b, prefill_growth, prompt_sweep, thread_sweep

PROMPT = 512  # tokens, as in every bar
START_TOKENS = 8
START_TEXT = "Once upon a time, in a small village by the sea,"
STREAMS = 8


def prompt_operations(info: dict[str, Any]) -> float:
    """A token of a prompt whose last token alone goes through the head, and through layers that no other sees."""
    first = (PROMPT - 1) * info["madds_per_prompt_token"]
    return 2 * (first + info["madds_per_token"] + info["madds_head"]) / PROMPT


def _prompt(bench: Bench, row: Row, name: str, bar: float | None, stretch: float | None) -> Row:
    info = side_by_side(bench, row, name, lambda process: process.ask("prompt", PROMPT) / PROMPT)
    row.checks = [ratio(row, bar, stretch)]
    row.checks.append(Check("of the int8 peak", of_peak(row, prompt_operations(info), "int8_gops")))
    return row


def prefill_270m(bench: Bench) -> Row:
    row = _prompt(bench, Row("270m-prefill", f"270M Q4_K_M, prefill of {PROMPT}"), "270m", 2.5, None)
    row.checks[1].stretch = 0.5
    return row


def first_token_e2b(bench: Bench) -> Row:
    return _prompt(bench, Row("e2b-first-token", f"E2B Q4_0, first token on {PROMPT}"), "e2b", 6, 8)


def first_token_e4b(bench: Bench) -> Row:
    return _prompt(bench, Row("e4b-first-token", f"E4B Q4_0, first token on {PROMPT}"), "e4b", None, None)


def logits_e2b(bench: Bench) -> Row:
    row = Row("e2b-logits", f"E2B Q4_0, logits of {PROMPT} tokens")
    info = side_by_side(bench, row, "e2b", lambda process: process.ask("logits", PROMPT) / PROMPT)
    work = 2 * (info["madds_per_token"] + info["madds_head"])
    row.checks = [ratio(row, 2.3), Check("of the int8 peak", of_peak(row, work, "int8_gops"), 0.5, 0.6)]
    row.note = "llama.cpp with logits of every position too, so both do the same products"
    return row


def _decode(bench: Bench, row: Row, name: str, tokens: int, kinds: Iterable[str] = ENGINES) -> dict[str, Any]:
    return side_by_side(bench, row, name, lambda process: process.ask("decode", tokens), kinds)


def _shares_of_read(
    row: Row, info: dict[str, Any], bar: float | None = None, stretch: float | None = None
) -> list[Check]:
    """Of the best of a few reads, which the bar means, and of their mean, which a shared host gives a longer run."""
    best, mean = (of_peak(row, info["bytes_per_token"], name) for name in ("read_gb_s", "read_mean_gb_s"))
    return [Check("of the read bandwidth", best, bar, stretch), Check("of its mean", mean)]


def decode_270m(bench: Bench) -> Row:
    row = Row("270m-decode", "270M Q4_K_M, decode")
    info = _decode(bench, row, "270m", 96)
    row.checks = [ratio(row, 1.5), *_shares_of_read(row, info)]
    return row


def decode_e2b(bench: Bench) -> Row:
    row = Row("e2b-decode", "E2B Q4_0, decode")
    info = _decode(bench, row, "e2b", 32)
    row.checks = [ratio(row, 1.25), *_shares_of_read(row, info, 0.9, 0.97)]
    return row


def decode_e4b(bench: Bench) -> Row:
    row = Row("e4b-decode", "E4B Q4_0, decode")
    info = _decode(bench, row, "e4b", 24)
    row.checks = [ratio(row, None), *_shares_of_read(row, info)]
    return row


def decode_26b(bench: Bench) -> Row:
    """Without the peer, whose repacked copy and the file together do not fit the memory of a small machine."""
    row = Row("26b-decode", "26B-A4B Q4_0 in memory, decode")
    with bench.start(GEMLET, "26b") as process:
        info = process.ask("info")
        for _ in range(2):
            process.ask("prompt", PROMPT)  # maps nearly every expert
        pairs(bench, row, {GEMLET: process}, lambda engine: engine.ask("decode", 24))
    row.checks = _shares_of_read(row, info, 0.8, 0.9)
    row.note = f"{info['bytes_per_token'] / 1e6:,.0f} MB touched a token"
    return row


def eight_at_once(bench: Bench) -> Row:
    row = Row("e2b-8-at-once", f"E2B Q4_0, {STREAMS} decodes at once, together")
    tokens = 24

    def ask(process: Process) -> float:
        if process.kind == GEMLET:
            return float(process.ask("together", tokens, STREAMS))
        return float(process.ask("decode", tokens))

    side_by_side(bench, row, "e2b", ask)
    row.checks = [ratio(row, 2.5, 4)]
    row.note = f"against one decode of llama.cpp; ours with the {STREAMS} prompts of 8 tokens"
    return row


def load_e2b(bench: Bench) -> Row:
    row = Row("e2b-load", "E2B Q4_0, load, file in the page cache", "s")
    memory: dict[str, dict[str, float]] = {}
    for i in range(bench.samples + 1):
        for kind in ENGINES if i % 2 == 0 else ENGINES[::-1]:
            with bench.start(kind, "e2b") as process:
                seconds = process.ask("loaded")["seconds"]
                if i == 0:  # not counted
                    process.ask("prompt", PROMPT)
                    process.ask("decode", 16)
                    memory[kind] = process.ask("memory")
                else:
                    (row.ours if kind == GEMLET else row.theirs).append(seconds)
    ours = memory[GEMLET]
    row.checks = [
        Check("x llama.cpp's time", median(row.ratios()), 0.25, at_most=True),
        Check("anonymous MiB without keys and values", ours["anon_mib"] - ours["kv_mib"], 150, at_most=True),
    ]
    row.note = (
        f"memory after {PROMPT} tokens read and 16 written; keys and values {ours['kv_mib']:.0f} MiB; "
        f"llama.cpp {memory[LLAMA]['anon_mib']:,.0f} MiB with them"
    )
    return row


def start_command(kind: str, path: str, threads: int) -> list[str]:
    """A new process that ends after eight tokens of text."""
    if kind == GEMLET:
        words = ["-n", str(START_TOKENS), "--temperature", "0", "-t", str(threads), "-q"]
        return [sys.executable, "-m", "gemlet", "run", path, START_TEXT, *words]
    code = (
        "import sys, llama_cpp\n"
        "llm = llama_cpp.Llama(sys.argv[1], n_threads=int(sys.argv[2]), verbose=False)\n"
        f"print(llm.create_completion(sys.argv[3], max_tokens={START_TOKENS}, temperature=0)['choices'][0]['text'])"
    )
    return [sys.executable, "-c", code, path, str(threads), START_TEXT]


def start_270m(bench: Bench) -> Row:
    row = Row("270m-start", f"270M, new process to {START_TOKENS} tokens", "s")
    path = bench.file("270m")
    # pip compiles what it installs; a checkout is compiled on first use
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    peaks: dict[str, list[float]] = {kind: [] for kind in ENGINES}
    for i in range(bench.samples + 1):
        for kind in ENGINES if i % 2 == 0 else ENGINES[::-1]:
            began = time.perf_counter()
            process = subprocess.Popen(
                start_command(kind, path, bench.threads),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
            _, status, used = os.wait4(process.pid, 0)
            took = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise RuntimeError(f"{kind} ended with {process.returncode}")
            if i > 0:
                (row.ours if kind == GEMLET else row.theirs).append(took)
                peaks[kind].append(used.ru_maxrss / 1024)
    row.checks = [Check("x llama.cpp's time", median(row.ratios()), 0.5, 0.35, at_most=True)]
    row.note = f"peak {median(peaks[GEMLET]):.0f} MiB resident, llama.cpp {median(peaks[LLAMA]):.0f} MiB"
    return row


def imports(bench: Bench) -> Row:
    row = Row("import", "import, numpy being there", "s")
    modules = {GEMLET: "gemlet, gemlet.model.model", LLAMA: "llama_cpp"}
    for i in range(bench.samples):
        for kind in ENGINES if i % 2 == 0 else ENGINES[::-1]:
            code = (
                f"import time, numpy; t = time.perf_counter(); import {modules[kind]}; print(time.perf_counter() - t)"
            )
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            (row.ours if kind == GEMLET else row.theirs).append(float(done.stdout))
    row.checks = [Check("x llama.cpp's time", median(row.ratios()))]
    return row


TABLE: dict[str, Callable[[Bench], Row]] = {
    "270m-prefill": prefill_270m,
    "e2b-logits": logits_e2b,
    "e2b-first-token": first_token_e2b,
    "270m-decode": decode_270m,
    "e2b-decode": decode_e2b,
    "26b-decode": decode_26b,
    "e2b-8-at-once": eight_at_once,
    "prefill-growth": prefill_growth,
    "e2b-load": load_e2b,
    "270m-start": start_270m,
}
MORE: dict[str, Callable[[Bench], Row]] = {
    "e4b-first-token": first_token_e4b,
    "e4b-decode": decode_e4b,
    "import": imports,
    "prompt-sweep": prompt_sweep,
    "270m-batch-sweep": batch_sweep,
    "e2b-batch-sweep": batch_sweep_e2b,
    "thread-sweep": thread_sweep,
}
LARGE = ("26b-decode",)  # by name only: 15 GB of memory
