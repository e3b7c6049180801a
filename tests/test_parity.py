"""The demo's real weights, live, beside transformers and llama.cpp: the bars of quality that speed may not lower."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.parity, pytest.mark.peer, pytest.mark.slow]
TOKENS = 300
# A process of its own: torch, llama.cpp and this engine each bring threads, and other tests set llama.cpp's callbacks.
QUALITY = Path(__file__).resolve().parents[1] / "benchmarks" / "quality.py"


def test_demo_is_as_near_to_float32_as_promised(demo_path: str, tmp_path: Path) -> None:
    figures = tmp_path / "quality.json"
    command = [sys.executable, str(QUALITY), demo_path, "--tokens", str(TOKENS), "--json", str(figures)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    measured = json.loads(figures.read_text(encoding="utf-8"))
    ours, in_float, llama = measured["gemlet"], measured["gemlet float32"], measured["llama.cpp"]
    assert in_float["kl_mean"] <= 1e-4
    assert in_float["top1"] >= 0.99
    assert ours["kl_mean"] <= 1.05 * llama["kl_mean"]
    assert ours["top1"] >= llama["top1"] - 0.005 - 1 / TOKENS
