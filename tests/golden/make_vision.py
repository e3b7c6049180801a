"""Makes vision.npz: soft tokens of tiny random parts that see, as transformers computes them.

    python tests/golden/make_vision.py

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
import pictures  # noqa: E402
import projector_file  # noqa: E402


@dataclass(frozen=True)
class Variant:
    """d width, H heads, C channels a head, F feed-forward, L layers, D the decoder's width; L 0: no encoder (12B)."""

    name: str
    text: str  # the variant of make_gemma4.py that it sees for
    seed: int
    D: int
    d: int
    H: int = 0
    C: int = 0
    F: int = 0
    L: int = 0
    positions: int = 480
    clipped: bool = False
    standardize: bool = False


VARIANTS = (
    Variant("e2b", "gemma4_tiny_e2b", 21, D=16, d=32, H=2, C=16, F=40, L=3, clipped=True),
    Variant("31b", "gemma4_tiny_31b", 22, D=20, d=96, H=8, C=12, F=72, L=2, standardize=True),
    Variant("12b", "gemma4_tiny_31b", 23, D=20, d=20, positions=96),
)
PICTURE = (120, 170)  # height, width of the gradient whose soft tokens are kept, at 70 tokens


def _layer(v: Variant, i: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    def matrix(rows: int, cols: int) -> np.ndarray:
        return (rng.standard_normal((rows, cols)) / np.sqrt(cols)).astype(np.float32)

    def norm(size: int, mean: float = 1.0) -> np.ndarray:
        return (mean * (1 + 0.2 * rng.standard_normal(size))).astype(np.float32)

    p = f"vision_tower.encoder.layers.{i}."
    heads = v.H * v.C
    shapes = {"self_attn.q_proj": (heads, v.d), "self_attn.k_proj": (heads, v.d), "self_attn.v_proj": (heads, v.d),
              "self_attn.o_proj": (v.d, heads), "mlp.gate_proj": (v.F, v.d), "mlp.up_proj": (v.F, v.d),
              "mlp.down_proj": (v.d, v.F)}  # fmt: skip
    made = {f"{p}{name}.linear.weight": matrix(*shape) for name, shape in shapes.items()}
    for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        made[f"{p}{name}_layernorm.weight"] = norm(v.d)
    # Queries and keys of length sqrt(C): weights that make scores of about 1, as in a trained model.
    for name in ("q_norm", "k_norm"):
        made[f"{p}self_attn.{name}.weight"] = norm(v.C, v.C**-0.25)
    if v.clipped:
        for name in shapes:  # of the first layer not the same for all that read the same input
            low, high = (1.2, 1.5) if i == 0 and "q_proj" in name else (1.6, 1.4)
            for bound, value in (("input_min", -low), ("input_max", high), ("output_min", -2.0), ("output_max", 1.9)):
                made[f"{p}{name}.{bound}"] = np.array(value, np.float32)
    return made


def weights(v: Variant) -> dict[str, np.ndarray]:
    """Tensors under the names of released folders, without the leading "model."."""
    rng = np.random.default_rng(v.seed)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    made: dict[str, np.ndarray] = {}
    if v.L == 0:
        p = "vision_embedder."
        made[p + "patch_ln1.weight"], made[p + "patch_ln1.bias"] = 1 + normal(6912, scale=0.2), normal(6912, scale=0.2)
        made[p + "patch_dense.weight"], made[p + "patch_dense.bias"] = normal(v.d, 6912, scale=1 / 83), normal(v.d)
        made[p + "patch_ln2.weight"], made[p + "patch_ln2.bias"] = 1 + normal(v.d, scale=0.2), normal(v.d, scale=0.2)
        made[p + "pos_embedding"] = normal(v.positions, 2, v.d, scale=0.3)
        made[p + "pos_norm.weight"], made[p + "pos_norm.bias"] = 1 + normal(v.d, scale=0.2), normal(v.d, scale=0.2)
    else:
        made["vision_tower.patch_embedder.input_proj.weight"] = normal(v.d, 768, scale=768**-0.5)
        made["vision_tower.patch_embedder.position_embedding_table"] = normal(2, v.positions, v.d, scale=0.3)
        for i in range(v.L):
            made |= _layer(v, i, rng)
        if v.standardize:
            made["vision_tower.std_bias"] = normal(v.d)
            made["vision_tower.std_scale"] = np.abs(1 + normal(v.d, scale=0.2))
    made["embed_vision.embedding_projection.weight"] = normal(v.D, v.d, scale=v.d**-0.5)
    return made


def config(v: Variant) -> dict[str, Any]:
    """`vision_config` of config.json."""
    if v.L == 0:
        return {"model_type": "gemma4_unified_vision", "patch_size": 16, "pooling_kernel_size": 3, "mm_embed_dim": v.d,
                "mm_posemb_size": v.positions, "output_proj_dims": v.d, "rms_norm_eps": 1e-6}  # fmt: skip
    return {
        "model_type": "gemma4_vision",
        "hidden_size": v.d,
        "intermediate_size": v.F,
        "num_hidden_layers": v.L,
        "num_attention_heads": v.H,
        "num_key_value_heads": v.H,
        "head_dim": v.C,
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-6,
        "pooling_kernel_size": 3,
        "patch_size": 16,
        "position_embedding_size": v.positions,
        "use_clipped_linears": v.clipped,
        "standardize": v.standardize,
        "rope_parameters": {"rope_type": "axial", "rope_theta": 100.0},
    }


# --- GGUF ---

LAYER_NAMES = {
    "input_layernorm": "ln1",
    "post_attention_layernorm": "attn_post_norm",
    "pre_feedforward_layernorm": "ln2",
    "post_feedforward_layernorm": "ffn_post_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_out",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOP_NAMES = {
    "vision_tower.patch_embedder.input_proj.weight": "v.patch_embd.weight",
    "vision_tower.patch_embedder.position_embedding_table": "v.position_embd.weight",
    "vision_tower.std_bias": "v.std_bias",
    "vision_tower.std_scale": "v.std_scale",
    "embed_vision.embedding_projection.weight": "mm.input_projection.weight",
    "vision_embedder.patch_dense.weight": "v.patch_embd.weight",
    "vision_embedder.patch_dense.bias": "v.patch_embd.bias",
    "vision_embedder.patch_ln1.weight": "v.patch_norm.1.weight",
    "vision_embedder.patch_ln1.bias": "v.patch_norm.1.bias",
    "vision_embedder.patch_ln2.weight": "v.patch_norm.2.weight",
    "vision_embedder.patch_ln2.bias": "v.patch_norm.2.bias",
    "vision_embedder.pos_norm.weight": "v.patch_norm.3.weight",
    "vision_embedder.pos_norm.bias": "v.patch_norm.3.bias",
    "vision_embedder.pos_embedding": "v.position_embd.weight",
}


def _planar(array: np.ndarray, side: int) -> np.ndarray:
    """Rows of (row, column, colour) as (colour, row, column)."""
    return np.ascontiguousarray(array.reshape(-1, side, side, 3).transpose(0, 3, 1, 2))


def gguf_tensors(v: Variant, made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    out = {}
    for name, array in made.items():
        if name.startswith("vision_tower.encoder.layers."):
            layer, rest = name.removeprefix("vision_tower.encoder.layers.").split(".", 1)
            module, part = rest.replace(".linear.", ".").rsplit(".", 1)
            out[f"v.blk.{layer}.{LAYER_NAMES[module]}.{part}"] = array.reshape(1) if array.ndim == 0 else array
            continue
        target = TOP_NAMES[name]
        if target == "v.patch_embd.weight":
            array = _planar(array, 16 if v.L else 48)
            array = array if v.L else array.reshape(v.d, 6912)
        elif "patch_ln1" in name:
            array = _planar(array, 48).reshape(6912)
        elif target == "v.position_embd.weight" and v.L == 0:
            array = np.ascontiguousarray(array.transpose(1, 0, 2))
        out[target] = array
    return out


def write_projector(v: Variant, path: Path, made: dict[str, np.ndarray] | None = None, dtype: str = "F32",
                    **metadata: str) -> None:  # fmt: skip
    """An "mmproj" file. dtype: of the large matrices: F32, F16, BF16 or Q8_0 (where rows are whole blocks)."""
    import gguf

    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.vision.projector_type", metadata.get("kind", "gemma4v" if v.L else "gemma4uv"))
    for key, value in (("embedding_length", v.d), ("feed_forward_length", v.F), ("block_count", v.L),
                       ("projection_dim", v.D), ("attention.head_count", v.H), ("patch_size", 16), ("image_size", 224),
                       ("projector.scale_factor", 3)):  # fmt: skip
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    for key, values in (("image_mean", [0.0] * 3), ("image_std", [1.0] * 3)):  # as released files have them
        writer.add_array(f"clip.vision.{key}", values)
    tensors = gguf_tensors(v, weights(v) if made is None else made)
    projector_file.finish(writer, tensors, dtype, lambda name: name.startswith(("v.blk.", "mm.input_projection.")))


# --- transformers ---


def transformers_part(v: Variant, made: dict[str, np.ndarray], dtype: str = "float32", patches: int = 0) -> Any:
    """pixels (uint8, resized already) -> soft tokens (n, D) float32. patches: pads an encoder's input to so many."""
    import torch

    kind = getattr(torch, dtype)

    state = {name: torch.from_numpy(np.array(array)) for name, array in made.items()}
    projection = state.pop("embed_vision.embedding_projection.weight")
    if v.L == 0:
        from transformers.models.gemma4_unified import modeling_gemma4_unified as unified

        sizes = unified.Gemma4UnifiedVisionConfig(**config(v))
        text = unified.Gemma4UnifiedTextConfig(hidden_size=v.D)
        part = unified.Gemma4UnifiedVisionEmbedder(sizes, text).eval().float()
        named = {name.removeprefix("vision_embedder."): tensor for name, tensor in state.items()}
        named["multimodal_embedder.embedding_projection.weight"] = projection
        part.load_state_dict(named, strict=True)

        def embed(pixels: np.ndarray) -> np.ndarray:
            squares, places = cut(pixels, 48)
            return part(squares, places).pooler_output[0].numpy()

        run = embed
    else:
        from transformers.models.gemma4 import modeling_gemma4 as gemma4

        sizes = gemma4.Gemma4VisionConfig(**config(v), attn_implementation="sdpa")
        tower = gemma4.Gemma4VisionModel(sizes).eval()
        tower.load_state_dict(
            {name.removeprefix("vision_tower."): tensor for name, tensor in state.items()}, strict=True
        )
        join = gemma4.Gemma4MultimodalEmbedder(sizes, gemma4.Gemma4TextConfig(hidden_size=v.D)).eval().float()
        join.load_state_dict({"embedding_projection.weight": projection}, strict=True)
        join = join.to(kind)

        def encode(pixels: np.ndarray) -> np.ndarray:
            squares, places = cut(pixels, 16)
            more = max(0, patches - squares.shape[1])
            squares = torch.nn.functional.pad(squares, (0, 0, 0, more))
            places = torch.nn.functional.pad(places, (0, 0, 0, more), value=-1)
            return join(tower(squares, places).last_hidden_state.to(kind)).float().numpy()

        run = encode

    def cut(pixels: np.ndarray, side: int) -> tuple[Any, Any]:
        high, wide = pixels.shape[0] // side, pixels.shape[1] // side
        squares = pixels.astype(np.float32) * np.float32(1 / 255)
        squares = squares.reshape(high, side, wide, side, 3).transpose(0, 2, 1, 3, 4).reshape(1, high * wide, -1)
        places = np.stack(np.meshgrid(np.arange(wide), np.arange(high)), axis=-1).reshape(1, -1, 2)
        return torch.from_numpy(squares.copy()), torch.from_numpy(places.copy())

    def tokens(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return run(pixels)

    return tokens


def main() -> None:
    from gemlet._core import testing

    picture = pictures.gradient(*PICTURE)
    resized = testing.resize(picture, *testing.target_size(*PICTURE, 70))
    np.savez_compressed(HERE / "vision.npz", **{v.name: transformers_part(v, weights(v))(resized) for v in VARIANTS})


if __name__ == "__main__":
    main()
