"""The demo's real weights, live, beside transformers and llama.cpp: the bars of quality that speed may not lower."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import gemlet

pytestmark = [pytest.mark.parity, pytest.mark.peer, pytest.mark.slow]
TOKENS = 300


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    """benchmarks/quality.py, whose measure this is."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "quality.py"
    spec = importlib.util.spec_from_file_location("quality", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_demo_is_as_near_to_float32_as_promised(quality: ModuleType, demo_path: str) -> None:
    with gemlet.load(demo_path) as m, gemlet.load(demo_path, compute="float32") as exact:
        ids = m.tokenize(quality.PROSE.read_text(encoding="utf-8"))[:TOKENS]
        reference = quality.reference_logits(demo_path, ids)
        ours = quality.compare(reference, m.logits(ids), ids)
        in_float = quality.compare(reference, exact.logits(ids), ids)
    llama = quality.compare(reference, quality.llama_logits(demo_path, ids, 2), ids)
    assert in_float["kl_mean"] <= 1e-4
    assert in_float["top1"] >= 0.99
    assert ours["kl_mean"] <= 1.05 * llama["kl_mean"]
    assert ours["top1"] >= llama["top1"] - 0.005 - 1 / TOKENS
