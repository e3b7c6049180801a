"""Makes audio.npz: soft tokens of tiny random parts that hear, as transformers computes them.

    python tests/golden/make_audio.py

Needs torch 2.13 and transformers 5.23. `weights`, `config` and `write_projector` need numpy and gguf only, so that
tests make the same models while they run, as a folder's tensors or as a GGUF file.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import projector_file  # noqa: E402
import sounds  # noqa: E402


@dataclass(frozen=True)
class Variant:
    """d width, H heads, L layers, maps of the second convolution, M between, D the decoder's; L 0: as the 12B."""

    name: str
    text: str  # the variant of make_gemma4.py that it hears for
    seed: int
    D: int
    d: int = 0
    H: int = 0
    L: int = 0
    maps: int = 4
    M: int = 640
    clipped: bool = True


VARIANTS = (
    Variant("e2b", "gemma4_tiny_e2b", 31, D=16, d=32, H=2, L=3, M=24),
    Variant("free", "gemma4_tiny_e2b", 32, D=16, d=36, H=3, L=2, M=40, maps=2, clipped=False),
    Variant("12b", "gemma4_tiny_31b", 33, D=20),
)
SAMPLES = 25_000  # of the sound whose soft tokens are kept
MATRICES = {"self_attn.q_proj": (1, 1), "self_attn.k_proj": (1, 1), "self_attn.v_proj": (1, 1),
            "self_attn.post": (1, 1),
            "feed_forward1.ffw_layer_1": (4, 1), "feed_forward1.ffw_layer_2": (1, 4),
            "feed_forward2.ffw_layer_1": (4, 1), "feed_forward2.ffw_layer_2": (1, 4),
            "lconv1d.linear_start": (2, 1), "lconv1d.linear_end": (1, 1)}  # fmt: skip
NORMS = ("feed_forward1.pre_layer_norm", "feed_forward1.post_layer_norm", "feed_forward2.pre_layer_norm",
         "feed_forward2.post_layer_norm", "norm_pre_attn", "norm_post_attn", "norm_out", "lconv1d.pre_layer_norm",
         "lconv1d.conv_norm")  # fmt: skip


def _layer(v: Variant, i: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    p = f"audio_tower.layers.{i}."
    made = {}
    for name, (rows, cols) in MATRICES.items():
        shape = rows * v.d, cols * v.d
        made[f"{p}{name}.linear.weight"] = (rng.standard_normal(shape) / np.sqrt(shape[1])).astype(np.float32)
        if v.clipped:  # of the first layer not the same for all that read the same input
            low, high = (1.2, 1.5) if i == 0 and "q_proj" in name else (1.7, 1.6)
            for bound, value in (("input_min", -low), ("input_max", high), ("output_min", -2.0), ("output_max", 1.9)):
                made[f"{p}{name}.{bound}"] = np.array(value, np.float32)
    for name in NORMS:
        made[f"{p}{name}.weight"] = (1 + 0.2 * rng.standard_normal(v.d)).astype(np.float32)
    made[p + "self_attn.relative_k_proj.weight"] = (rng.standard_normal((v.d, v.d)) / np.sqrt(v.d)).astype(np.float32)
    made[p + "self_attn.per_dim_scale"] = (0.5 * rng.standard_normal(v.d // v.H)).astype(np.float32)
    made[p + "lconv1d.depthwise_conv1d.weight"] = rng.standard_normal((v.d, 1, 5)).astype(np.float32) / 2
    return made


def weights(v: Variant) -> dict[str, np.ndarray]:
    """Tensors under the names of released folders, without the leading "model."."""
    rng = np.random.default_rng(v.seed)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    made: dict[str, np.ndarray] = {}
    if v.L > 0:
        p = "audio_tower.subsample_conv_projection."
        made[p + "layer0.conv.weight"], made[p + "layer0.norm.weight"] = (
            normal(128, 1, 3, 3),
            1 + normal(128, scale=0.2),
        )
        made[p + "layer1.conv.weight"] = normal(v.maps, 128, 3, 3, scale=1152**-0.5)
        made[p + "layer1.norm.weight"] = 1 + normal(v.maps, scale=0.2)
        made[p + "input_proj_linear.weight"] = normal(v.d, 32 * v.maps, scale=(32 * v.maps) ** -0.5)
        for i in range(v.L):
            made |= _layer(v, i, rng)
        made["audio_tower.output_proj.weight"] = normal(v.M, v.d, scale=v.d**-0.5)
        made["audio_tower.output_proj.bias"] = normal(v.M, scale=0.3)
    made["embed_audio.embedding_projection.weight"] = normal(v.D, v.M, scale=v.M**-0.5)
    return made


def config(v: Variant) -> dict[str, Any]:
    """`audio_config` of config.json."""
    if v.L == 0:
        return {"model_type": "gemma4_unified_audio", "audio_embed_dim": v.M, "rms_norm_eps": 1e-6}
    return {
        "model_type": "gemma4_audio",
        "hidden_size": v.d,
        "num_hidden_layers": v.L,
        "num_attention_heads": v.H,
        "hidden_act": "silu",
        "subsampling_conv_channels": [128, v.maps],
        "conv_kernel_size": 5,
        "residual_weight": 0.5,
        "attention_chunk_size": 12,
        "attention_context_left": 13,
        "attention_context_right": 0,
        "attention_logit_cap": 50.0,
        "attention_invalid_logits_value": -1e9,
        "use_clipped_linears": v.clipped,
        "rms_norm_eps": 1e-6,
        "gradient_clipping": 1e10,
        "output_proj_dims": v.M,
    }


# --- GGUF ---

LAYER_NAMES = {
    "feed_forward1.pre_layer_norm": "ffn_norm",
    "feed_forward1.ffw_layer_1": "ffn_up",
    "feed_forward1.ffw_layer_2": "ffn_down",
    "feed_forward1.post_layer_norm": "ffn_post_norm",
    "feed_forward2.pre_layer_norm": "ffn_norm_1",
    "feed_forward2.ffw_layer_1": "ffn_up_1",
    "feed_forward2.ffw_layer_2": "ffn_down_1",
    "feed_forward2.post_layer_norm": "ffn_post_norm_1",
    "norm_pre_attn": "attn_pre_norm",
    "norm_post_attn": "attn_post_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.post": "attn_out",
    "self_attn.relative_k_proj": "attn_k_rel",
    "lconv1d.pre_layer_norm": "conv_norm",
    "lconv1d.conv_norm": "norm_conv",
    "lconv1d.linear_start": "conv_pw1",
    "lconv1d.depthwise_conv1d": "conv_dw",
    "lconv1d.linear_end": "conv_pw2",
    "norm_out": "ln2",
}
TOP_NAMES = {
    "audio_tower.subsample_conv_projection.layer0.conv.weight": "a.conv1d.0.weight",
    "audio_tower.subsample_conv_projection.layer0.norm.weight": "a.conv1d.0.norm.weight",
    "audio_tower.subsample_conv_projection.layer1.conv.weight": "a.conv1d.1.weight",
    "audio_tower.subsample_conv_projection.layer1.norm.weight": "a.conv1d.1.norm.weight",
    "audio_tower.subsample_conv_projection.input_proj_linear.weight": "a.input_projection.weight",
    "audio_tower.output_proj.weight": "a.pre_encode.out.weight",
    "audio_tower.output_proj.bias": "a.pre_encode.out.bias",
    "embed_audio.embedding_projection.weight": "mm.a.input_projection.weight",
}


def gguf_tensors(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    out = {}
    for name, array in made.items():
        if not name.startswith("audio_tower.layers."):
            out[TOP_NAMES[name]] = array
            continue
        layer, rest = name.removeprefix("audio_tower.layers.").split(".", 1)
        if rest == "self_attn.per_dim_scale":
            out[f"a.blk.{layer}.per_dim_scale.weight"] = np.log1p(np.exp(array))
            continue
        module, part = rest.replace(".linear.", ".").rsplit(".", 1)
        array = array.reshape(1) if array.ndim == 0 else array.squeeze(1) if array.ndim == 3 else array
        out[f"a.blk.{layer}.{LAYER_NAMES[module]}.{part}"] = array
    return out


def write_projector(v: Variant, path: Path, made: dict[str, np.ndarray] | None = None, dtype: str = "F32",
                    **metadata: str) -> None:  # fmt: skip
    """An "mmproj" file. dtype: of the matrices and the projection: F32, F16, BF16 or Q8_0 (where rows are whole)."""
    import gguf

    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string("clip.audio.projector_type", metadata.get("kind", "gemma4a" if v.L else "gemma4ua"))
    if v.L:
        sizes = {"embedding_length": v.d, "feed_forward_length": 4 * v.d, "block_count": v.L, "projection_dim": v.D,
                 "num_mel_bins": 128, "attention.head_count": v.H}  # fmt: skip
        for key, value in sizes.items():
            writer.add_uint32(f"clip.audio.{key}", value)
        writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-6)
    tensors = gguf_tensors(weights(v) if made is None else made)
    projector_file.finish(
        writer, tensors, dtype, lambda name: name.startswith(("a.blk.", "mm.")) and "conv_dw" not in name
    )


# --- transformers ---


def transformers_part(v: Variant, made: dict[str, np.ndarray], dtype: str = "float32") -> Any:
    """samples (n,) at 16 kHz -> soft tokens (n, D) float32."""
    import torch

    kind = getattr(torch, dtype)
    state = {name: torch.from_numpy(np.array(array)) for name, array in made.items()}
    projection = {"embedding_projection.weight": state.pop("embed_audio.embedding_projection.weight")}
    from transformers.models.gemma4 import modeling_gemma4 as gemma4

    if v.L == 0:
        from transformers.models.gemma4_unified import feature_extraction_gemma4_unified as cut
        from transformers.models.gemma4_unified import modeling_gemma4_unified as unified

        sizes = unified.Gemma4UnifiedAudioConfig(audio_embed_dim=v.M, output_proj_dims=v.M, hidden_size=v.M)
        embed = unified.Gemma4UnifiedMultimodalEmbedder(sizes, unified.Gemma4UnifiedTextConfig(hidden_size=v.D))
        embed.load_state_dict(projection, strict=True)
        embed = embed.eval().to(kind)
        frames = cut.Gemma4UnifiedAudioFeatureExtractor()

        def run(samples: np.ndarray) -> Any:
            made = frames([samples], return_tensors="pt")
            return embed(made["input_features"].to(kind))[made["input_features_mask"].bool()]

    else:
        from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor

        sizes = gemma4.Gemma4AudioConfig(**{k: x for k, x in config(v).items() if k != "model_type"})
        tower = gemma4.Gemma4AudioModel(sizes).eval().float()
        tower.load_state_dict({name.removeprefix("audio_tower."): t for name, t in state.items()}, strict=True)
        join = gemma4.Gemma4MultimodalEmbedder(sizes, gemma4.Gemma4TextConfig(hidden_size=v.D)).eval().float()
        join.load_state_dict(projection, strict=True)
        tower, join = tower.to(kind), join.to(kind)
        mel = Gemma4AudioFeatureExtractor()

        def run(samples: np.ndarray) -> Any:
            made = mel([samples], return_tensors="pt")
            out = tower(made["input_features"].to(kind), made["input_features_mask"])
            return join(out.last_hidden_state)[out.attention_mask.bool()]

    def tokens(samples: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return run(samples).float().numpy()

    return tokens


def main() -> None:
    sound = sounds.speech_like(SAMPLES)
    np.savez_compressed(HERE / "audio.npz", **{v.name: transformers_part(v, weights(v))(sound) for v in VARIANTS})


if __name__ == "__main__":
    main()
