"""The numpy Gemma 3 of reference_gemma3.py against what transformers computed, so that other tests may trust it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")

from load_tool import maker  # noqa: E402
from reference_gemma3 import Gemma3  # noqa: E402

GOLDEN = Path(__file__).parent / "golden"
NAMES = ["gemma3_tiny", "gemma3_tiny_linear", "gemma3_tiny_q8_0"]


def golden(name: str) -> tuple[Gemma3, dict[str, np.ndarray]]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return Gemma3.load(GOLDEN / f"{name}.gguf"), dict(file)


@pytest.mark.parametrize("name", NAMES)
def test_logits(name):
    model, expected = golden(name)
    logits = model.logits(expected["ids"])[-len(expected["logits"]) :]
    assert np.abs(logits - expected["logits"]).max() < 1e-4
    assert np.ptp(expected["logits"]) > 10  # 1e-4 would mean little if the logits were tiny


@pytest.mark.parametrize("name", NAMES[:2])
def test_hidden_states(name):
    model, expected = golden(name)
    hidden = model.hidden(expected["ids"])
    for layer, (state, wanted) in enumerate(zip(hidden, expected["hidden"], strict=True)):
        assert np.abs(state - wanted).max() < 1e-4, f"layer {layer}"


@pytest.mark.parametrize("name", NAMES)
def test_greedy(name):
    model, expected = golden(name)
    assert model.greedy(expected["ids"], 24) == expected["greedy"].tolist()
    assert len(set(expected["greedy"].tolist())) >= 10  # no loop, which a broken model would also fall into


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gemma3_tiny", {"window": 15}),
        ("gemma3_tiny", {"window": 17}),
        ("gemma3_tiny", {"base": 1e4}),
        ("gemma3_tiny", {"eps": 1e-3}),
        ("gemma3_tiny", {"D": 33}),
        ("gemma3_tiny_linear", {"window": 9}),
        ("gemma3_tiny_linear", {"factor": 1.0}),
    ],
)
def test_golden_files_notice_a_wrong_number(name, change):
    model, expected = golden(name)
    wrong = dataclasses.replace(model, **change).logits(expected["ids"])
    assert np.abs(wrong - expected["logits"]).max() > 1e-2


@pytest.mark.parity
def test_golden_files_are_what_the_script_makes(tmp_path):
    pytest.importorskip("torch")
    script = maker("make_gemma3")
    for variant in script.VARIANTS:
        script.make(variant, tmp_path)
        kept = (GOLDEN / f"{variant.name}.gguf").read_bytes()
        assert (tmp_path / f"{variant.name}.gguf").read_bytes() == kept
        with np.load(tmp_path / f"{variant.name}.npz") as made, np.load(GOLDEN / f"{variant.name}.npz") as stored:
            assert set(made) == set(stored)
            for key in stored:
                np.testing.assert_allclose(made[key], stored[key], rtol=0, atol=2e-5, err_msg=key)
