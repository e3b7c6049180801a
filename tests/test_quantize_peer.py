"""llama.cpp on files that this project wrote from folders: it loads them, and computes what this project computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gemlet

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp")

from folder_models import write_gemma3
from llama_oracle import kl, open_llama
from test_gemma4_peer import llama_logits
from test_quantize import E2B, MOE, wide

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("form", ["f16", "q8_0", "q4_0"])
@pytest.mark.parametrize("name", [E2B, MOE, "gemma3_tiny"])
def test_same_answers(tmp_path: Path, name: str, form: str) -> None:
    folder = write_gemma3(tmp_path / "folder", name)[0] if "gemma3" in name else wide(tmp_path / "folder", name)[0]
    out = tmp_path / "out.gguf"
    gemlet.quantize(folder, out, form)
    ids = np.random.default_rng(7).integers(4, 262, 50).astype(np.int32)
    with gemlet.load(out, kv_dtype="f32") as model:
        ours = model.logits(ids)
    theirs = llama_logits(out, ids)
    margin = np.diff(np.sort(theirs, axis=1)[:, -2:], axis=1)[:, 0]
    assert kl(theirs, ours) < (1e-3 if form == "f16" else 2e-2)
    sure = margin > (0.1 if form == "f16" else 1.0)
    assert sure.sum() > 5
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1))[sure].all()


def test_same_ids(tmp_path: Path) -> None:
    folder, _ = wide(tmp_path / "folder", E2B)
    gemlet.quantize(folder, tmp_path / "out.gguf", "q8_0")
    with gemlet.load(folder) as model, open_llama(str(tmp_path / "out.gguf")) as theirs:
        for text in (
            "a and an",
            "  \nthe thing",
            "<|turn>and<turn|>",
            "é中",
            "<|tool_response>x",
            "\n\n\n",
            "and   and",
        ):
            for special in (False, True):
                ids = model.tokenize(text, add_bos=False, parse_special=special).tolist()
                assert ids == theirs.encode(text.encode(), parse_special=special), text
