"""Microseconds a token that the sampler costs, at Gemma's vocabulary.

    python benchmarks/sampler.py [--json]

Logits are random with a spread like a language model's: a broad bell and a few dozen clear favourites. "flat" is the
worst case: nearly equal logits, where nothing can be thrown away early. Medians of 200 calls, Python's call included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from gemlet._core import testing

VOCABULARY = 262_144


def model_like(rng: np.random.Generator) -> np.ndarray:
    logits = rng.normal(-6.0, 3.0, VOCABULARY).astype(np.float32)
    favourites = rng.choice(VOCABULARY, 48, replace=False)
    logits[favourites] = rng.normal(14.0, 3.0, 48)
    return logits


def median_us(
    sampler: testing.Sampler, logits: list[np.ndarray], mask: np.ndarray | None = None, calls: int = 200
) -> float:
    times = []
    for i in range(calls + 10):
        x = logits[i % len(logits)]
        start = time.perf_counter()
        sampler.sample(x, mask)
        times.append(time.perf_counter() - start)
    return statistics.median(times[10:]) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    model = [model_like(rng) for _ in range(8)]
    flat = [rng.normal(0.0, 0.1, VOCABULARY).astype(np.float32) for _ in range(8)]
    mask = rng.integers(0, 2**32, VOCABULARY // 32, dtype=np.uint32)
    cases = {
        "greedy": ({"temperature": 0.0}, model, None),
        "greedy, half masked": ({"temperature": 0.0}, model, mask),
        "temperature": ({"temperature": 1.0}, model, None),
        "top_k 64": ({"top_k": 64}, model, None),
        "top_k 64, top_p 0.95": ({"top_k": 64, "top_p": 0.95}, model, None),
        "top_k 64, top_p 0.95, penalties": (
            {"top_k": 64, "top_p": 0.95, "repeat_penalty": 1.1, "frequency_penalty": 0.1},
            model,
            None,
        ),
        "top_p 0.95": ({"top_p": 0.95}, model, None),
        "top_p 0.95, flat": ({"top_p": 0.95}, flat, None),
        "min_p 0.05": ({"min_p": 0.05}, model, None),
        "greedy, logprobs 5": ({"temperature": 0.0, "logprobs": 5}, model, None),
    }
    result = {
        name: round(median_us(testing.Sampler(VOCABULARY, **options), logits, bits), 1)
        for name, (options, logits, bits) in cases.items()
    }
    if arguments.json:
        print(json.dumps({"vocabulary": VOCABULARY, "us_per_token": result}))
        return
    for name, us in result.items():
        print(f"{name:<34}{us:>9.1f} us")


if __name__ == "__main__":
    main()
