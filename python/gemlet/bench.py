"""Speed and memory of a model on this machine, each next to the machine's own limit measured around the same sample.

Decode cannot pass read bandwidth / bytes of weights per token, prefill int8 peak / operations really executed.
"""

from __future__ import annotations

import math
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .model.model import load
from .types import check_int

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model.model import Model

_MIB = 2**20


def measure(
    path: str,
    *,
    prompt: int = 512,
    generate: int = 128,
    threads: int | str = "auto",
    repeat: int = 5,
    compute: str = "auto",
    profile: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:
    """Medians of `repeat` samples: reading `prompt` tokens and writing `generate`, with limits before and after each.

    Memory is read after one run of both and before any limit is measured, so that it is the model's alone. With
    `profile`, as many runs again are timed operation by operation (`profiled`).

    >>> report = measure("demo", prompt=16, generate=4, repeat=1)
    >>> sorted(report)
    ['decode', 'isa', 'limits', 'load_s', 'memory', 'model', 'prefill', 'threads']
    """
    check_int("bench", "prompt", prompt, 1)
    check_int("bench", "generate", generate, 2)
    check_int("bench", "repeat", repeat, 1)
    began = time.perf_counter()
    context = _round_up(prompt + generate + 8)
    with load(path, threads=threads, context=context, compute=compute, draft="off") as model:
        load_s = time.perf_counter() - began
        ids = np.random.default_rng(0).integers(1000, min(model.vocab_size, 200_000), prompt, dtype=np.int32)
        _prefill(model, ids)
        _decode(model, ids[:8], generate)
        memory = resident()
        samples: dict[str, list[tuple[float, dict[str, float]]]] = {"prefill": [], "decode": []}
        for i in range(repeat):
            samples["prefill"].append(_sample(model, lambda: _prefill(model, ids)))
            samples["decode"].append(_sample(model, lambda: _decode(model, ids[:8], generate)))
            if progress is not None:
                progress(i + 1, repeat)
        report = _report(model, prompt, generate, load_s, memory, samples)
        if profile:
            runs = {"prefill": lambda: _prefill(model, ids), "decode": lambda: _decode(model, ids[:8], generate)}
            report["profile"] = {phase: profiled(model, phase, run, repeat) for phase, run in runs.items()}
        return report


def _round_up(tokens: int) -> int:
    return math.ceil(tokens / 64) * 64


def _prefill(model: Model, ids: np.ndarray[Any, np.dtype[np.int32]]) -> float:
    model.forget()  # the same prompt again would cost nothing
    return model.generate(ids, max_tokens=1, temperature=0, ignore_eos=True).timings.prefill_tok_s


def _decode(model: Model, ids: np.ndarray[Any, np.dtype[np.int32]], count: int) -> float:
    return model.generate(ids, max_tokens=count, temperature=0, ignore_eos=True).timings.decode_tok_s


def _sample(model: Model, run: Callable[[], float]) -> tuple[float, dict[str, float]]:
    """Tokens a second, and the limits: means of a measurement just before and one just after."""
    before = _core.measure_limits(model.threads)
    tok_s = run()
    after = _core.measure_limits(model.threads)
    return tok_s, {name: (before[name] + after[name]) / 2 for name in before}


def profiled(model: Model, phase: str, run: Callable[[], object], repeat: int = 1) -> dict[str, Any]:
    """Where the time of "prefill" or "decode" goes while `run` is run, a mean of `repeat`, beside the machine's limits.

    `limit_fraction` is the least time that an operation's bytes and arithmetic need (whichever `limit`, "read" or
    "int8", is the longer) over the time it took; null where no such work is counted.

    >>> found = profiled(m, "decode", lambda: m.generate("Once", max_tokens=4))
    >>> found["tokens"], max(found["operations"], key=lambda part: part["seconds"])["name"]
    (3, 'head')
    """
    before = _core.measure_limits(model.threads)
    model._engine.profile(True)
    for _ in range(repeat):
        run()
    counted = model._engine.profile(False)[phase]
    after = _core.measure_limits(model.threads)
    limits = {name: (before[name] + after[name]) / 2 for name in before}
    operations = [_operation(part, repeat, limits) for part in counted["parts"]]
    total = sum(operation["seconds"] for operation in operations)
    for operation in operations:
        operation["share"] = operation["seconds"] / total if total else 0.0
    return {
        "tokens": round(counted["tokens"] / repeat),
        "steps": round(counted["steps"] / repeat),
        "seconds": total,
        "limits": limits,
        "operations": sorted(operations, key=lambda operation: -operation["seconds"]),
    }


def _operation(part: tuple[str, int, float, int, int], repeat: int, limits: dict[str, float]) -> dict[str, Any]:
    name, calls, seconds, moved, executed = part
    least = {"read": moved / limits["read_gb_s"] / 1e9, "int8": executed / limits["int8_gops"] / 1e9}
    limit = max(least, key=lambda kind: least[kind])
    counts = least[limit] > 0 and seconds > 0
    return {
        "name": name,
        "calls": round(calls / repeat),
        "seconds": seconds / repeat,
        "gb_s": moved / seconds / 1e9 if counts else None,
        "gops": executed / seconds / 1e9 if counts else None,
        "limit": limit if counts else None,
        "limit_fraction": least[limit] / seconds if counts else None,
    }


def _report(
    model: Model,
    prompt: int,
    generate: int,
    load_s: float,
    memory: dict[str, float],
    samples: dict[str, list[tuple[float, dict[str, float]]]],
) -> dict[str, Any]:
    info = model.info
    # Only a prompt's last token goes through the head, and through layers that no other token sees.
    madds = (prompt - 1) * info["madds_per_prompt_token"] + info["madds_per_token"] + info["madds_head"]
    ops_per_token = 2 * madds / prompt
    prefill = [(tok_s, tok_s * ops_per_token / (limit["int8_gops"] * 1e9)) for tok_s, limit in samples["prefill"]]
    decode = [
        (tok_s, tok_s * info["bytes_per_token"] / (limit["read_gb_s"] * 1e9)) for tok_s, limit in samples["decode"]
    ]
    limits = [limit for runs in samples.values() for _, limit in runs]
    return {
        "model": model.name,
        "isa": model.isa,
        "threads": model.threads,
        "load_s": load_s,
        "prefill": {"tokens": prompt, **_medians(prefill)},
        "decode": {"tokens": generate, **_medians(decode)},
        "limits": {name: median(limit[name] for limit in limits) for name in ("read_gb_s", "int8_gops")},
        "memory": memory,
    }


def _medians(pairs: list[tuple[float, float]]) -> dict[str, float]:
    return {"tok_s": median(tok_s for tok_s, _ in pairs), "limit_fraction": median(share for _, share in pairs)}


def resident() -> dict[str, float]:
    """Resident memory of this process in MiB: the peak so far, and what is anonymous and what is mapped files now.

    >>> resident()["peak_rss_mib"] > 0
    True
    """
    fields: dict[str, str] = {}
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        pass

    def mib(name: str) -> float:
        return int(fields[name].split()[0]) * 1024 / _MIB if name in fields else float("nan")

    return {"peak_rss_mib": mib("VmHWM"), "anon_mib": mib("RssAnon"), "file_mib": mib("RssFile")}
