"""Makes soft_gemma4.npz: what transformers computes from prompts with soft rows, on the stored tiny Gemma 4 models.

    python tests/golden/make_soft.py [folder]

Needs torch 2.13.0, transformers 5.23 and gguf. The rows are drawn at random and put into the towers' mouths, so that
transformers itself merges them, masks them and looks up their per-layer embeddings.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from make_gemma4 import VARIANTS, Variant, hf_config, hf_state, weights  # noqa: E402

from soft_prompts import SHAPES, Mixed, mixed  # noqa: E402

IMAGE, VIDEO, AUDIO = 100_000, 100_001, 100_002  # outside every vocabulary, as transformers allows
PLACEHOLDERS = {"image_token_id": IMAGE, "video_token_id": VIDEO, "audio_token_id": AUDIO}
BOTH_WAYS = {"use_bidirectional_attention": "vision"}
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}
TOWER = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "position_embedding_size": 16,
}  # fmt: skip
KEPT = 12  # the logits of so many positions, evenly spaced and the last, are kept


def with_tower(sizes: dict[str, Any]) -> Any:
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    config = Gemma4Config(text_config=sizes, vision_config=TOWER, **PLACEHOLDERS, **EAGER)
    return Gemma4ForConditionalGeneration(config).eval().float()


def unified(sizes: dict[str, Any]) -> Any:
    """As the 12B: transformers lets pictures overlay both kinds of layers there."""
    from transformers.models import gemma4_unified as made

    config = made.Gemma4UnifiedConfig(
        text_config=made.Gemma4UnifiedTextConfig(**sizes).to_dict(),
        vision_config={"mm_embed_dim": 16, "mm_posemb_size": 16, "output_proj_dims": 16},
        audio_config=None,
        **PLACEHOLDERS,
        **EAGER,
    )
    return made.Gemma4UnifiedForConditionalGeneration(config).eval().float()


def stored(v: Variant, overlay: bool) -> Any:
    """The model of a stored file; a tower beside it stays as it was drawn, for nobody asks it."""
    import torch

    sizes = hf_config(v) | (BOTH_WAYS if v.P == 0 else {})
    for name in ("model_type", "architectures"):
        del sizes[name]
    if overlay:
        for name in [k for k in sizes if "per_layer_input" in k or "expert" in k or "moe" in k or "double" in k]:
            del sizes[name]
    model = unified(sizes) if overlay else with_tower(sizes)
    state = {k: torch.from_numpy(w) for k, w in hf_state(weights(v), "model.language_model.").items()}
    state["lm_head.weight"] = state["model.language_model.embed_tokens.weight"]
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert not [name for name in missing if "language_model" in name], missing
    return model


def merged(model: Any, m: Mixed) -> np.ndarray:
    """Logits (T, V) of a mixed prompt."""
    import torch

    ids = m.ids.astype(np.int64).copy()
    for begin, kind, rows in m.soft:
        ids[begin : begin + len(rows)] = {"image": IMAGE, "video": VIDEO, "audio": AUDIO}[kind]
    rows = {kind: [torch.from_numpy(r) for _, k, r in m.soft if k == kind] for kind in ("image", "video", "audio")}
    given: dict[str, Any] = {
        "mm_encoder_outputs": {k: SimpleNamespace(pooler_output=r) for k, r in rows.items() if r and k != "audio"}
    }
    if rows["audio"]:
        sound = torch.cat(rows["audio"])[None]
        heard = SimpleNamespace(pooler_output=sound, attention_mask=torch.ones(sound.shape[:2], dtype=torch.bool))
        model.model.get_audio_features = lambda *_, **__: heard
        given |= {"input_features": sound, "input_features_mask": heard.attention_mask}
    with torch.no_grad():
        out = model(input_ids=torch.from_numpy(ids)[None], mm_token_type_ids=torch.from_numpy(m.types)[None],
                    use_cache=False, **given)  # fmt: skip
    return out.logits[0].numpy()


def positions(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, KEPT).astype(np.int64))


def compute() -> dict[str, np.ndarray]:
    import torch

    torch.set_num_threads(1)
    made: dict[str, np.ndarray] = {}
    cases = [*((v, False) for v in VARIANTS), *((v, True) for v in VARIANTS if v.name == "gemma4_tiny_31b")]
    for v, overlay in cases:
        model = stored(v, overlay)
        for shape, parts in SHAPES.items():
            m = mixed(parts, 270, v.D)
            made[f"{v.name}/{'overlay' if overlay else 'own'}/{shape}"] = merged(model, m)[positions(len(m.ids))]
    return made


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    np.savez_compressed(folder / "soft_gemma4.npz", **{k: x.astype(np.float32) for k, x in compute().items()})


if __name__ == "__main__":
    main()
