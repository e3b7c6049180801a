"""Random tiny checkpoints that transformers saved, in float32: its logits, past several windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemlet
from folder_models import write_tokenizer

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SLIDING, FULL = "sliding_attention", "full_attention"
SMALL: dict[str, Any] = {"max_position_embeddings": 512, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
E2B = SMALL | {
    "vocab_size": 300, "vocab_size_per_layer_input": 300, "hidden_size": 20, "intermediate_size": 28,
    "num_hidden_layers": 10, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 10, "global_head_dim": 24,
    "sliding_window": 9, "layer_types": ([SLIDING] * 4 + [FULL]) * 2, "hidden_size_per_layer_input": 6,
    "num_kv_shared_layers": 5, "use_double_wide_mlp": True, "final_logit_softcapping": 30.0,
}  # fmt: skip
LARGE = SMALL | {
    "vocab_size": 282, "hidden_size": 24, "intermediate_size": 36, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_global_key_value_heads": 1, "head_dim": 8, "global_head_dim": 18,
    "sliding_window": 7, "attention_k_eq_v": True, "final_logit_softcapping": 30.0,
}  # fmt: skip
NO_TABLE = {"hidden_size_per_layer_input": 0}
MOE = LARGE | NO_TABLE | {"enable_moe_block": True, "num_experts": 6, "top_k_experts": 2, "moe_intermediate_size": 10}
E4B = E2B | {
    "num_hidden_layers": 12, "layer_types": ([SLIDING] * 5 + [FULL]) * 2, "num_key_value_heads": 2,
    "use_double_wide_mlp": False, "num_attention_heads": 4,
}  # fmt: skip
VISION = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "position_embedding_size": 16,
}  # fmt: skip
GEMMA3 = SMALL | {
    "vocab_size": 280, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 7, "num_attention_heads": 3,
    "num_key_value_heads": 1, "head_dim": 10, "sliding_window": 9, "query_pre_attn_scalar": 14,
}  # fmt: skip


EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}


def gemma4(sizes: dict[str, Any]) -> Any:
    return transformers.Gemma4ForCausalLM(transformers.Gemma4TextConfig(**sizes, **EAGER))


def gemma4_with_eyes(sizes: dict[str, Any]) -> Any:
    config = transformers.Gemma4Config(text_config=sizes, vision_config=VISION, **EAGER)
    return transformers.Gemma4ForConditionalGeneration(config)


def unified(sizes: dict[str, Any]) -> Any:
    return transformers.Gemma4UnifiedForCausalLM(transformers.Gemma4UnifiedTextConfig(**sizes, **EAGER))


def gemma3(sizes: dict[str, Any]) -> Any:
    return transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**sizes, attn_implementation="eager"))


LINEAR = {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "E2B": (gemma4, E2B),
    "E2B with eyes": (gemma4_with_eyes, E2B),
    "E4B": (gemma4, E4B),
    "12B": (unified, LARGE),
    "31B": (gemma4, LARGE | NO_TABLE),
    "26B": (gemma4, MOE),
    "26B with eyes": (gemma4_with_eyes, MOE),
    "3": (gemma3, GEMMA3),
    "3 linear": (gemma3, GEMMA3 | LINEAR),
}


def randomise(model: Any, seed: int) -> None:
    """Weights of a trained model's size, so that logits are not all alike; the values of make_gemma4.py's kind."""
    generator = torch.Generator().manual_seed(seed)
    three = "Gemma3" in type(model).__name__
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if "inv_freq" in name or not tensor.is_floating_point() or "embed_scale" in name:
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if "layer_scalar" in name:
                tensor.copy_(0.9 + 0.05 * noise)
            elif tensor.ndim < 2:
                channels = tensor.shape[0] if tensor.ndim else 1
                mean = 1.2 / channels**0.5 if "q_norm" in name and not three else 0.4 if "post" in name else 1.0
                tensor.copy_(mean * (1 + 0.3 * noise) - (1 if three else 0))
            else:
                tensor.copy_(noise / tensor.shape[-1] ** 0.5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", [1, 2])
def test_logits(tmp_path: Path, name: str, seed: int) -> None:
    make, sizes = MODELS[name]
    torch.set_num_threads(1)
    model = make(sizes).eval().float()
    randomise(model, seed)
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    write_tokenizer(tmp_path, min(sizes["vocab_size"], 300))
    ids = [2, *np.random.default_rng(seed).integers(4, sizes["vocab_size"], 70).tolist()]
    with torch.no_grad():
        wanted = model(torch.tensor([ids]), use_cache=False).logits[0].numpy()
    with gemlet.load(tmp_path) as ours:
        found = ours.logits(ids)
    assert np.ptp(wanted) > 1
    assert np.abs(found - wanted).max() <= 2e-4
