"""`gemlet.plan`: before a model is loaded, what of it fits a given memory, with which cache and context, and how fast.

Reads a file's header or the table of the family, and measures this machine's limits; the arithmetic is in `estimates`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from .. import _core, doctor
from ..results import Plan, size_text
from ..types import check_bytes, check_choice, check_int, unknown_option
from . import estimates, mixes, sizes
from .estimates import KV_BYTES
from .subjects import DEFAULT_MIX, Subject, hypothetical, subject_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTIONS = ("ram", "context", "kv_dtype", "threads", "prompt", "quant", "limits")
_ASSUMED_DISK = 1.0  # GB/s, where there is no file to read from
LEAST_CONTEXT = 512  # a shorter one is no use to anybody


def plan(
    model: str | os.PathLike[str],
    *,
    ram: int | str | None = None,
    context: int | None = None,
    kv_dtype: str = "auto",
    threads: int | str = "auto",
    prompt: int = 512,
    quant: str | None = None,
    limits: Mapping[str, float] | None = None,
    **unknown: NoReturn,
) -> Plan:
    """What a model will take and give before it is loaded: memory, the context that fits, speed, and why.

    model: a GGUF file, a Hugging Face folder, "demo", or a name of the family without a file, "E2B:Q4_0".
    ram: bytes, or text with a unit ("8GiB", "16GB"); None is what this machine has available now.
    context: tokens of prompt and answer together; None plans for the largest that fits.
    kv_dtype: "auto", "f32", "f16" or "q8_0". threads, prompt: what the speeds are for; prompt counts tokens.
    quant: the quantisation of a model without a file, or that a folder is to be loaded with.
    limits: {"read_gb_s", "int8_gops"} of the machine, where they are known; measured otherwise.

    >>> p = plan("E2B:Q4_0", ram="8GiB", context=4096, limits={"read_gb_s": 30, "int8_gops": 800})
    >>> p.fits, p.kv_dtype, p.largest_context["f16"]
    (True, 'f16', 131072)
    """
    if unknown:
        raise unknown_option("plan", unknown, _OPTIONS)
    wanted = None if context is None else check_int("plan", "context", context, 1, 2**31 - 1)
    check_choice("plan", "kv_dtype", kv_dtype, ("auto", *KV_BYTES))
    tokens = check_int("plan", "prompt", prompt, 1, 2**31 - 1)
    workers = _core.cpu()["threads"] if threads == "auto" else check_int("plan", "threads", threads, 1, 1024)
    budget = _available() if ram is None else check_bytes("plan", "ram", ram)
    subject = subject_of(model, quant)
    trained = subject.sizes.context
    if wanted is not None and wanted > trained:
        raise ValueError(f"plan: context must be at most {trained}, what {subject.name} was trained for, not {wanted}")
    found = _measured(limits, workers)
    kind, length, reasons = _choose(subject, budget, wanted, kv_dtype)
    return _report(subject, budget, kind, length, min(tokens, length), found, workers, reasons)


# ---- what the machine has


def _available() -> int:
    """Memory that this process could still take: free now, within the control group's limit."""
    found = doctor.memory()
    counts = [count for count in (found["available"], found["cgroup_limit"]) if count]
    if not counts:
        raise ValueError('plan: this system does not tell its memory; say ram="8GiB"')
    return min(counts)


def _measured(limits: Mapping[str, float] | None, threads: int) -> dict[str, float]:
    if limits is None:
        return dict(_core.measure_limits(threads))
    found = {name: float(limits.get(name, 0)) for name in ("read_gb_s", "int8_gops")}
    if not all(0 < value < float("inf") for value in found.values()):
        raise ValueError(f"plan: limits must have read_gb_s and int8_gops, both above 0, not {dict(limits)!r}")
    return found


# ---- what to do


def _memory(subject: Subject, tokens: int, kind: str) -> dict[str, int]:
    found = subject.sizes
    return {
        "weights": subject.work.resident,
        "kv_cache": estimates.kv_bytes(found, tokens, kind),
        "activations": estimates.activation_bytes(found, tokens),
        "tokenizer": estimates.tokenizer_bytes(found.vocabulary, subject.merges) + subject.header,
        "process": estimates.PROCESS_BYTES,
    }


def _total(subject: Subject, tokens: int, kind: str) -> int:
    return sum(_memory(subject, tokens, kind).values())


def _largest(subject: Subject, budget: int, kind: str) -> int:
    """The longest context that fits, to a page; 0 if not even a short one does."""
    trained = subject.sizes.context
    if _total(subject, trained, kind) <= budget:
        return trained
    low, high = 0, trained // estimates.PAGE  # pages: low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _total(subject, middle * estimates.PAGE, kind) <= budget else (low, middle)
    return low * estimates.PAGE


def _choose(subject: Subject, budget: int, wanted: int | None, kind: str) -> tuple[str, int, list[str]]:
    """The type of keys and values, the context, and the reasons."""
    trained = subject.sizes.context
    first = "f32" if subject.float_weights else "f16"
    kinds = (first, "q8_0") if kind == "auto" else (kind,)
    goal = wanted or trained
    for each in kinds:
        if _total(subject, goal, each) <= budget:
            why = "fits" if kind != "auto" or each == first else f"fits where {first} does not"
            what = "the context asked for" if wanted else "the whole context it was trained for"
            return each, goal, [f"{each}: {what} {why}"]
    last = kinds[-1]
    largest = _largest(subject, budget, last)
    if wanted is not None or largest < min(LEAST_CONTEXT, trained):
        return last, wanted or min(4096, trained), []
    return last, largest, [f"{last}: the longest context that fits; all {trained:,} tokens do not"]


def _report(
    subject: Subject,
    budget: int,
    kind: str,
    context: int,
    prompt: int,
    limits: dict[str, float],
    threads: int,
    reasons: list[str],
) -> Plan:
    found, load = subject.sizes, subject.work
    memory = _memory(subject, context, kind)
    total = sum(memory.values())
    speed = estimates.speed(found, load, kind, prompt=prompt, context=context, **limits)
    result = Plan(
        model=subject.name,
        source=subject.source,
        ram=budget,
        fits=total <= budget,
        total=total,
        memory=memory,
        on_disk=load.table,
        context=context,
        kv_dtype=kind,
        trained_context=found.context,
        largest_context={each: _largest(subject, budget, each) for each in KV_BYTES},
        prompt=prompt,
        decode_tok_s=speed.decode,
        decode_full_tok_s=speed.decode_full,
        prefill_tok_s=speed.prefill,
        bytes_per_token=round(load.active + estimates.kv_read(found, prompt, kind)),
        limits=limits,
        threads=threads,
        reasons=reasons,
        warnings=[],
    )
    if subject.path is None:
        result.warnings.append(
            "there is no file yet: sizes are the published ones, types those that converters give this quantisation"
        )
    kept = max(estimates.KEPT_BYTES, memory["kv_cache"])
    if total <= budget < total + kept:
        result.warnings.append(
            f"keys and values of earlier prompts are kept, {size_text(kept)} at most; with several long prompts "
            "that may not fit"
        )
    if speed.prefill is None:
        result.warnings.append("weights are floats: no limit measured here tells how fast a prompt is read")
    if found.experts:
        share = load.active / load.resident
        reasons.append(
            f"a mixture: a token uses {found.experts_used} of {found.experts} experts a layer, "
            f"and so reads {share:.0%} of the weights"
        )
    return result if result.fits else _too_large(subject, result)


# ---- what does not fit


def _too_large(subject: Subject, found: Plan) -> Plan:
    """The same plan with the speed that disk reads leave, and with what would help."""
    load = subject.work
    if max(found.largest_context.values()) >= min(LEAST_CONTEXT, found.trained_context):
        kind, tokens = max(found.largest_context.items(), key=lambda item: item[1])
        found.warnings.append(f"{found.context:,} tokens do not fit; the most is {tokens:,}, with kv_dtype={kind!r}")
        return found
    room = found.ram - (found.total - load.resident)
    disk, where = _disk_gb_s(subject.path)
    if load.experts and room > load.resident - load.experts:
        held = (room - (load.resident - load.experts)) / load.experts
        missing = (1 - held) * (load.active - (load.resident - load.experts))
        found.warnings.append(
            f"{held:.0%} of the experts fit; a token then reads about {missing / 1e6:,.0f} MB from disk if it chooses "
            "evenly, less where texts favour some"
        )
    else:
        missing = load.active
        found.warnings.append("what every token reads does not fit, so all of it comes from disk again for each token")
    found.warnings.append(f"speeds are for a disk that gives {disk:.2g} GB/s ({where}); expect them to vary")
    slow = missing / (disk * 1e9)
    better = _smaller(subject, found)
    if better:
        found.warnings.append(better)
    # A block of prompt tokens meets nearly all weights, whatever each token alone would read.
    blocks = -(-found.prompt // estimates.BLOCK)
    read = blocks * max(load.resident - max(room, 0), missing) / (disk * 1e9)
    prefill = found.prefill_tok_s
    return replace(
        found,
        decode_tok_s=1 / (1 / found.decode_tok_s + slow),
        decode_full_tok_s=1 / (1 / found.decode_full_tok_s + slow),
        prefill_tok_s=None if prefill is None else found.prompt / (found.prompt / prefill + read),
    )


def _smaller(subject: Subject, found: Plan) -> str:
    """The best quantisation of the same sizes that fits, or a smaller model of the family."""
    for mix in sorted(mixes.MIXES, key=lambda mix: -mixes.file_bytes(subject.sizes, mix)):
        other = hypothetical(mix, "table", subject.sizes, mix)
        if _total(other, LEAST_CONTEXT, "f16") <= found.ram:
            return f"what would fit: the same model as {mix}"
    for each in sorted(sizes.FAMILY.values(), key=lambda each: -mixes.file_bytes(each, DEFAULT_MIX)):
        if _total(hypothetical("", "table", each, DEFAULT_MIX), LEAST_CONTEXT, "f16") <= found.ram:
            return f"what would fit: {each.name}:{DEFAULT_MIX}"
    return ""


def _disk_gb_s(path: str | None) -> tuple[float, str]:
    """Speed of random reads of 1 MiB that pass the page cache, and where the figure is from."""
    if path is None or os.path.isdir(path) or not hasattr(os, "O_DIRECT"):
        return _ASSUMED_DISK, "assumed"
    import mmap
    import random
    import time

    piece = 1 << 20
    pieces = os.path.getsize(path) // piece
    if pieces < 64:
        return _ASSUMED_DISK, "assumed"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return _ASSUMED_DISK, "assumed"
    try:
        with mmap.mmap(-1, piece) as buffer:
            began = time.perf_counter()
            for i in random.Random(0).sample(range(pieces), 64):
                os.preadv(handle, [buffer], i * piece)
            return 64 * piece / (time.perf_counter() - began) / 1e9, "measured"
    except OSError:
        return _ASSUMED_DISK, "assumed"
    finally:
        os.close(handle)
