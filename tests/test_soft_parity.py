"""Mixed prompts of every variant against transformers, which gets the same soft rows and merges them itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from folder_models import write_tokenizer
from gemlet import _core
from load_tool import maker
from reference_gemma4 import Gemma4
from soft_prompts import SHAPES, mixed

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from test_folder_parity import E2B, E4B, LARGE, MOE, NO_TABLE, randomise  # noqa: E402

GOLDEN = Path(__file__).parent / "golden"
made = maker("make_soft")
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "E2B": (made.with_tower, E2B),
    "E4B": (made.with_tower, E4B),
    "26B": (made.with_tower, MOE | made.BOTH_WAYS),
    "31B": (made.with_tower, LARGE | NO_TABLE | made.BOTH_WAYS),
    "12B": (made.unified, LARGE),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", [1, 2])
def test_logits(tmp_path: Path, name: str, seed: int) -> None:
    make, sizes = MODELS[name]
    torch.set_num_threads(1)
    model = make(sizes)
    randomise(model, seed)
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path, min(sizes["vocab_size"], 300))
    overlay = name == "12B"  # transformers' own mask there; the usual one is held against the oracle elsewhere
    ours = _core.Model(str(tmp_path), vision_overlay=overlay)
    plain = _core.Model(str(tmp_path))
    for shape in SHAPES.values():
        m = mixed(shape, sizes["vocab_size"], sizes["hidden_size"], seed)
        wanted = made.merged(model, m)
        assert np.ptp(wanted) > 1
        assert np.abs(ours.logits(m.prompt) - wanted).max() <= 2e-4
        if overlay:
            assert np.abs(plain.logits(m.prompt) - wanted).max() > 1e-2


def test_the_golden_file_is_what_the_script_makes() -> None:
    with np.load(GOLDEN / "soft_gemma4.npz") as stored:
        computed = made.compute()
        assert set(computed) == set(stored)
        for key in stored:
            np.testing.assert_allclose(computed[key], stored[key], rtol=0, atol=5e-5, err_msg=key)


@pytest.mark.parametrize("name", ["gemma4_tiny_e2b", "gemma4_tiny_31b", "gemma4_tiny_26b"])
def test_the_oracle(name: str) -> None:
    """The numpy form, which the plain tests trust for other sizes, is what transformers computes."""
    variant = next(v for v in maker("make_gemma4").VARIANTS if v.name == name)
    oracle, model = Gemma4.load(GOLDEN / f"{name}.gguf"), made.stored(variant, overlay=False)
    for seed, shape in enumerate(SHAPES.values()):
        m = mixed(shape, variant.V, variant.D, seed)
        assert np.abs(oracle.logits(m.ids, m.soft) - made.merged(model, m)).max() < 2e-4
