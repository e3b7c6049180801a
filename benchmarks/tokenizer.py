"""Tokeniser: MB/s of encoding and decoding on one core against llama.cpp, and what opening a vocabulary costs.

Run: PYTHONPATH=python python benchmarks/tokenizer.py MODEL.gguf [--json] [--file TEXT ...]
Without --file the texts are Python's own: its help topics (prose with markup) and its standard library (code).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gemlet._core import Tokenizer, testing

MB = 1e6


def default_texts() -> dict[str, bytes]:
    from pydoc_data import topics

    library = Path(sysconfig.get_paths()["stdlib"])
    code = b"".join(path.read_bytes() for path in sorted(library.glob("*.py")))[:2_000_000]
    prose = "\n".join(topics.topics.values()).encode()
    return {
        "prose": prose,
        "code": code,
        "both": prose + code[: len(prose)],
        "chinese": "今天早上下了一场小雨，街上的灯还亮着。我们沿着河边走到旧书店，买了三张地图。\n".encode() * 8000,
        "no space": prose.replace(b" ", b"").replace(b"\n", b""),
        "one letter": b"a" * 1_000_000,
        "spaces": b" " * 1_000_000,
    }


def best_seconds(call: Callable[[], object], budget: float = 1.0) -> float:
    """Of processor time, the shortest of as many runs as fit the budget, two at least: other work only adds."""
    times: list[float] = []
    while len(times) < 2 or (sum(times) < budget and len(times) < 200):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return min(times)


def llama_encoder(path: str) -> Callable[[bytes], int] | None:
    try:
        import llama_cpp as llama
    except ImportError:
        return None
    silent = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(path.encode(), params)
    vocab = llama.llama_model_get_vocab(model)

    def encode(text: bytes, keep: Any = (silent, model)) -> int:
        ids = (ctypes.c_int32 * (len(text) + 8))()
        return int(llama.llama_tokenize(vocab, text, len(text), ids, len(ids), False, False))

    return encode


def anonymous_bytes() -> int:
    """Memory of this process that is not a file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def opening(path: str) -> dict[str, float]:
    before = anonymous_bytes()
    kept = Tokenizer(path)
    memory = anonymous_bytes() - before
    rows = [testing.tokenizer_build_seconds(path) for _ in range(30)]
    file, pieces, tables = (min(column) * 1e3 for column in zip(*rows, strict=True))
    return {
        "file_ms": file,
        "pieces_ms": pieces,
        "tables_ms": tables,
        "all_median_ms": statistics.median(sum(row) for row in rows) * 1e3,
        "memory_mb": memory / MB,
        "pieces": kept.vocab_size,
    }


def measure(tokenizer: Tokenizer, theirs: Callable[[bytes], int] | None, text: bytes) -> dict[str, float | None]:
    ids = tokenizer.encode(text, add_bos=False)
    ours = best_seconds(lambda: tokenizer.encode(text, add_bos=False))
    back = best_seconds(lambda: tokenizer.decode_bytes(ids), 0.3)
    short = text[: text.rfind(b"\n", 0, 200_000) + 1] or text[:200_000]  # theirs is quadratic in the number of lines
    peer = best_seconds(lambda: theirs(short), 0.5) if theirs else None
    return {
        "bytes": len(text),
        "bytes_per_token": len(text) / max(1, len(ids)),
        "encode_mb_s": len(text) / MB / ours,
        "decode_mb_s": len(text) / MB / back,
        "llama_mb_s": len(short) / MB / peer if peer else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    texts = {Path(f).name: Path(f).read_bytes() for f in args.file} or default_texts()
    result: dict[str, Any] = {"open": opening(args.model), "texts": {}}
    tokenizer, theirs = Tokenizer(args.model), llama_encoder(args.model)
    for name, text in texts.items():
        result["texts"][name] = measure(tokenizer, theirs, text)
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    if args.json:
        json.dump(result, sys.stdout, indent=1)
        print()
        return
    print("open:", ", ".join(f"{key} {value:.2f}" for key, value in result["open"].items()))
    print(f"{'text':<12}{'MB':>7}{'B/token':>9}{'encode MB/s':>13}{'llama.cpp':>11}{'ratio':>7}{'decode MB/s':>13}")
    for name, row in result["texts"].items():
        peer = row["llama_mb_s"]
        beside = f"{peer:>11.2f}{row['encode_mb_s'] / peer:>7.0f}" if peer else f"{'-':>11}{'-':>7}"
        print(
            f"{name:<12}{row['bytes'] / MB:>7.2f}{row['bytes_per_token']:>9.2f}{row['encode_mb_s']:>13.1f}"
            f"{beside}{row['decode_mb_s']:>13.1f}"
        )


if __name__ == "__main__":
    main()
