"""gemlet against llama.cpp (llama-cpp-python) on the same file, in one run: speed, start, memory, import.

    python benchmarks/peer.py [MODEL] --threads 2 --samples 9 --json peer.json

Samples alternate, and so does who goes first; a pair gives one ratio, and the median of the ratios is the figure.
Engines and the machine's limits run in processes of their own, so that none sees another's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

ENGINES = ("gemlet", "llama.cpp")
PROMPT = "Once upon a time, in a small village by the sea,"
START_TOKENS = 8


def worker_gemlet(path: str, threads: int, context: int) -> Callable[[str, int], float]:
    """A function of (what, tokens) that gives tokens a second."""
    import gemlet

    m = gemlet.load(path, threads=threads, context=context, draft="off")  # as the peer: every token costs a step

    def measure(what: str, count: int) -> float:
        m.forget()  # every prompt is read anew, as the other engine does
        if what == "prefill":
            return m.generate(ids_for(count), max_tokens=1, temperature=0).timings.prefill_tok_s
        return m.generate(ids_for(8), max_tokens=count, temperature=0, ignore_eos=True).timings.decode_tok_s

    return measure


def worker_llama(path: str, threads: int, context: int) -> Callable[[str, int], float]:
    """The same through llama-cpp-python's thinnest calls: eval, and argmax over the last row of logits."""
    import llama_cpp
    import numpy as np

    llm = llama_cpp.Llama(
        path, n_ctx=context, n_batch=512, n_ubatch=512, n_threads=threads, n_threads_batch=threads, verbose=False
    )

    def last() -> int:
        row = llama_cpp.llama_get_logits_ith(llm._ctx.ctx, -1)
        return int(np.ctypeslib.as_array(row, (llm.n_vocab(),)).argmax())

    def measure(what: str, count: int) -> float:
        llm.reset()
        llm._ctx.kv_cache_clear()
        if what == "prefill":
            began = time.perf_counter()
            llm.eval(ids_for(count))
            last()
            return count / (time.perf_counter() - began)
        llm.eval(ids_for(8))
        token = last()
        began = time.perf_counter()
        for _ in range(count - 1):
            llm.eval([token])
            token = last()
        return (count - 1) / (time.perf_counter() - began)

    return measure


def worker_limits(threads: int) -> Callable[[str, int], dict[str, float]]:
    """Read bandwidth and int8 peak of this moment."""
    from gemlet import _core

    return lambda what, count: dict(_core.measure_limits(threads))


def ids_for(count: int) -> list[int]:
    """The same ordinary ids for both: a fixed walk through the vocabulary's words."""
    return [1000 + (i * 7919) % 100_000 for i in range(count)]


def serve(args: argparse.Namespace) -> None:
    """Answer one JSON line a request; the loop of a worker process."""
    if args.worker == "limits":
        answer: Callable[[str, int], Any] = worker_limits(args.threads)
    else:
        make = worker_gemlet if args.worker == "gemlet" else worker_llama
        answer = make(args.model, args.threads, args.prompt + args.generate + 64)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        what, count = json.loads(line)
        print(json.dumps(answer(what, count)), flush=True)


class Worker:
    """One engine in a process of its own."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        command = [sys.executable, __file__, args.model, "--worker", name, "--threads", str(args.threads)]
        command += ["--prompt", str(args.prompt), "--generate", str(args.generate)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker {self._process.args} ended with {self._process.wait()}")
        return json.loads(line)

    def ask(self, what: str = "", count: int = 0) -> Any:
        """Send a request and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, count]) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process by closing its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def alternate(samples: int, run: Callable[[str], float]) -> dict[str, list[float]]:
    """`samples` figures of each engine, taken in turns, the first one changing."""
    found: dict[str, list[float]] = {name: [] for name in ENGINES}
    for i in range(samples):
        for name in ENGINES if i % 2 == 0 else ENGINES[::-1]:
            found[name].append(run(name))
    return found


def speeds(args: argparse.Namespace) -> dict[str, Any]:
    """Prefill and decode with warm engines, and the limits around every sample."""
    workers = {name: Worker(name, args) for name in ENGINES}
    limits = Worker("limits", args)
    around: list[dict[str, float]] = []

    def sample(name: str, what: str, count: int) -> float:
        around.append(limits.ask())
        value: float = workers[name].ask(what, count)
        around.append(limits.ask())
        return value

    result: dict[str, Any] = {}
    for what, count in (("prefill", args.prompt), ("decode", args.generate)):
        for worker in workers.values():
            worker.ask(what, count)  # warm caches and pages, not counted
        result[what] = {"tokens": count, **alternate(args.samples, lambda name, w=what, c=count: sample(name, w, c))}
    for worker in (*workers.values(), limits):
        worker.close()
    result["limits"] = {key: median(entry[key] for entry in around) for key in around[0]}
    return result


def start_command(name: str, args: argparse.Namespace) -> list[str]:
    """A new process that ends after eight tokens of text."""
    if name == "gemlet":
        words = [
            "run",
            args.model,
            PROMPT,
            "-n",
            str(START_TOKENS),
            "--temperature",
            "0",
            "-t",
            str(args.threads),
            "-q",
        ]
        return [sys.executable, "-m", "gemlet", *words]
    code = (
        "import sys, llama_cpp\n"
        "llm = llama_cpp.Llama(sys.argv[1], n_threads=int(sys.argv[2]), verbose=False)\n"
        f"print(llm.create_completion(sys.argv[3], max_tokens={START_TOKENS}, temperature=0)['choices'][0]['text'])"
    )
    return [sys.executable, "-c", code, args.model, str(args.threads), PROMPT]


def start_and_memory(args: argparse.Namespace) -> dict[str, Any]:
    """Wall time of that process, and its peak resident memory in MiB as the system counted it."""
    peaks: dict[str, list[float]] = {name: [] for name in ENGINES}

    def run(name: str) -> float:
        began = time.perf_counter()
        process = subprocess.Popen(start_command(name, args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{name} ended with {process.returncode}")
        peaks[name].append(used.ru_maxrss / 1024)
        return took

    for name in ENGINES:
        run(name)  # the file into the page cache, bytecode onto the disk
        peaks[name].clear()
    return {"start_s": alternate(args.samples, run), "peak_mib": peaks}


def imports(args: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds of the import, with numpy imported before."""
    modules = {"gemlet": "gemlet, gemlet.model", "llama.cpp": "llama_cpp"}

    def run(name: str) -> float:
        code = f"import time, numpy; t = time.perf_counter(); import {modules[name]}; print(time.perf_counter() - t)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return 1000 * float(done.stdout)

    return alternate(args.samples, run)


def row(label: str, figures: dict[str, list[float]], unit: str) -> str:
    """A line of the table: both medians, and the median ratio with the smallest and largest."""
    ours, theirs = figures["gemlet"], figures["llama.cpp"]
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    spread = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"| {label} | {median(ours):.4g} {unit} | {median(theirs):.4g} {unit} | {spread} |"


def report(result: dict[str, Any]) -> str:
    """The Markdown table."""
    limits = result["limits"]
    lines = [
        f"{result['model']}, {result['threads']} threads, {result['samples']} samples each; "
        f"limits: read {limits['read_gb_s']:.1f} GB/s, int8 {limits['int8_gops']:.0f} Gop/s",
        "",
        "| | gemlet | llama.cpp | ratio (smallest to largest) |",
        "|---|---|---|---|",
        row(f"prefill {result['prefill']['tokens']}", result["prefill"], "tok/s"),
        row(f"decode {result['decode']['tokens']}", result["decode"], "tok/s"),
        row(f"new process to {START_TOKENS} tokens", result["start_s"], "s"),
        row("peak memory of that process", result["peak_mib"], "MiB"),
        row("import, after numpy", result["import_ms"], "ms"),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--json", metavar="PATH", help="write every sample there")
    parser.add_argument("--worker", choices=(*ENGINES, "limits"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve(args)
        return 0
    from gemlet.sources import resolve

    args.model = resolve(args.model)
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # pip compiles what it installs; a checkout is compiled on first use
    result = {"model": os.path.basename(args.model), "threads": args.threads, "samples": args.samples}
    result |= speeds(args) | start_and_memory(args) | {"import_ms": imports(args)}
    print(report(result))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
