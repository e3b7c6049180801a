"""Makes the tiny random Gemma 3 checkpoints and what transformers computes from them.

    python tests/golden/make_gemma3.py [folder]

Needs torch 2.13.0, transformers 5.23 and gguf; the tests that read the files need none of the three but gguf. Weights
come from numpy's PCG64 with a fixed seed, so the .gguf files come out the same, byte for byte, on every machine.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Variant:
    """Sizes: D width, H heads, K key heads, C channels, F feed-forward, L layers, V vocabulary, T ids."""

    name: str
    seed: int
    D: int
    H: int
    K: int
    C: int
    F: int
    L: int
    V: int
    window: int
    T: int
    linear: float = 1.0  # rope scaling of the full layers
    quantised: bool = False  # matrices in Q8_0
    positions: int = 0  # keep the logits of the last so many positions only, and no hidden states; 0: all


VARIANTS = [
    # Seven layers: full attention is layer 5 (from 0), and the last layer slides, as in the 1B and the 4B.
    Variant("gemma3_tiny", 7, D=32, H=4, K=2, C=32, F=64, L=7, V=320, window=16, T=100),
    # No size a multiple of 16; one key head; the full layer last, as in the 270M and the 12B, and its positions divided
    # by 8, as in the 4B and up.
    Variant("gemma3_tiny_linear", 5, D=24, H=3, K=1, C=40, F=56, L=6, V=262, window=8, T=60, linear=8.0),
    Variant(
        "gemma3_tiny_q8_0", 7, D=32, H=4, K=2, C=32, F=64, L=7, V=320, window=16, T=100, quantised=True, positions=40
    ),
]
GREEDY_TOKENS = 24
LEAST_MARGIN = 0.01  # between the first and the second logit on the greedy path: far above float32's noise


# --- vocabulary: SPM, specials, bytes, and a few pieces that merge ---

CONTROL, USER_DEFINED, NORMAL, BYTE = 3, 4, 1, 6
MERGES = [
    "▁t",
    "he",
    "▁the",
    "in",
    "er",
    "an",
    "on",
    "re",
    "▁a",
    "st",
    "en",
    "at",
    "ing",
    "▁in",
    "▁an",
    "▁and",
    "nd",
    "or",
    "▁s",
    "▁w",
    "is",
    "it",
    "▁is",
    "▁it",
    "ou",
    "ed",
    "▁b",
    "▁c",
]


def vocabulary(size: int) -> tuple[list[str], list[float], list[int]]:
    """Pieces, scores and kinds of a vocabulary of `size`: the more room, the more pieces."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>"]
    kinds = [CONTROL] * 4
    pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    kinds += [BYTE] * 256
    scores = [-1000.0] * 4 + [0.0] * 256
    extra = [("▁", NORMAL), ("a", NORMAL), ("<start_of_turn>", CONTROL), ("\n", USER_DEFINED), ("  ", USER_DEFINED)]
    extra += [(piece, NORMAL) for piece in (*MERGES, *"etoinsrhldcumfpgwyb,.")]
    extra += [(piece, NORMAL) for piece in ("é", "中", "▁of", "to", "▁to", "z")]
    assert len({piece for piece, _ in extra}) == len(extra)
    for rank, (piece, kind) in enumerate(extra[: size - len(pieces)]):
        pieces.append(piece)
        kinds.append(kind)
        scores.append(-float(rank) if kind == NORMAL else -1000.0)
    assert len(pieces) == size, f"the vocabulary has {len(pieces)} pieces, {size} wanted"
    return pieces, scores, kinds


# --- weights: name in the GGUF file -> float32 array, norms with the +1 folded in ---


def weights(v: Variant) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(v.seed)

    def matrix(rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
        return rng.normal(0, gain / np.sqrt(columns), (rows, columns)).astype(np.float32)

    def norm(size: int) -> np.ndarray:
        return np.float32(1) + rng.normal(0, 0.3, size).astype(np.float32)

    w = {"token_embd.weight": matrix(v.V, v.D, 2.5)}
    for i in range(v.L):
        layer = {
            "attn_norm": norm(v.D),
            "attn_q": matrix(v.H * v.C, v.D),
            "attn_k": matrix(v.K * v.C, v.D),
            "attn_v": matrix(v.K * v.C, v.D),
            "attn_q_norm": norm(v.C),
            "attn_k_norm": norm(v.C),
            "attn_output": matrix(v.D, v.H * v.C),
            "post_attention_norm": norm(v.D),
            "ffn_norm": norm(v.D),
            "ffn_gate": matrix(v.F, v.D, 1.5),
            "ffn_up": matrix(v.F, v.D),
            "ffn_down": matrix(v.D, v.F),
            "post_ffw_norm": norm(v.D),
        }
        w |= {f"blk.{i}.{name}.weight": array for name, array in layer.items()}
    # Random signs: with a tied head, all-positive weights would make the model repeat the token it just read.
    w["output_norm.weight"] = norm(v.D) * rng.choice(np.array([-1, 1], np.float32), v.D)
    return w


def write_gguf(v: Variant, path: Path) -> dict[str, np.ndarray]:
    """Writes the checkpoint; returns the weights as a reader of the file sees them, dequantised."""
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_name(v.name)
    writer.add_context_length(2048)
    writer.add_embedding_length(v.D)
    writer.add_block_count(v.L)
    writer.add_feed_forward_length(v.F)
    writer.add_head_count(v.H)
    writer.add_head_count_kv(v.K)
    writer.add_key_length(v.C)
    writer.add_value_length(v.C)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_sliding_window(v.window)
    writer.add_rope_freq_base(1e6)
    if v.linear != 1.0:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(v.linear)
    pieces, scores, kinds = vocabulary(v.V)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if v.quantised else gguf.LlamaFileType.ALL_F32)
    if v.quantised:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    seen = {}
    for name, array in weights(v).items():
        if v.quantised and array.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            blocks = gguf.quants.quantize(array, kind)
            writer.add_tensor(name, blocks, raw_dtype=kind)
            seen[name] = gguf.quants.dequantize(blocks, kind)
        else:
            writer.add_tensor(name, array)
            seen[name] = array
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return seen


# --- transformers ---

HF_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def transformers_model(v: Variant, seen: dict[str, np.ndarray]):
    """Gemma3ForCausalLM in float32 with plain attention; its norms store w where the file stores 1 + w."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    full = {"rope_type": "default", "rope_theta": 1e6}
    if v.linear != 1.0:
        full = {"rope_type": "linear", "factor": v.linear, "rope_theta": 1e6}
    config = Gemma3TextConfig(
        vocab_size=v.V,
        hidden_size=v.D,
        intermediate_size=v.F,
        num_hidden_layers=v.L,
        num_attention_heads=v.H,
        num_key_value_heads=v.K,
        head_dim=v.C,
        query_pre_attn_scalar=v.C,
        sliding_window=v.window,
        max_position_embeddings=2048,
        rope_parameters={"full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}},
        attn_implementation="eager",
    )
    model = Gemma3ForCausalLM(config).eval().float()
    state = {}
    for name, array in seen.items():
        tensor = torch.from_numpy(np.array(array, np.float32))
        if name == "token_embd.weight":
            state["model.embed_tokens.weight"] = state["lm_head.weight"] = tensor
        elif name == "output_norm.weight":
            state["model.norm.weight"] = tensor - 1
        else:
            _, layer, part, _ = name.split(".")
            state[f"model.layers.{layer}.{HF_NAMES[part]}.weight"] = tensor - 1 if tensor.ndim == 1 else tensor
    model.load_state_dict(state, strict=True)
    return model


def compute(v: Variant, seen: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ids (T,) -> logits (T, V), hidden (L + 1, T, D): after each layer, then after the last norm; greedy ids."""
    import torch

    model = transformers_model(v, seen)
    taken: list[torch.Tensor] = []
    hooks = [
        m.register_forward_hook(lambda _m, _i, out: taken.append(out)) for m in (*model.model.layers, model.model.norm)
    ]
    ids = [2, *np.random.default_rng(v.seed + 1).integers(4, v.V, v.T - 1).tolist()]
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
        hidden = torch.cat([t[0] if isinstance(t, tuple) else t for t in taken])
        for hook in hooks:
            hook.remove()
        path, margin = list(ids), np.inf
        for _ in range(GREEDY_TOKENS):
            best = model(torch.tensor([path]), use_cache=False).logits[0, -1].topk(2)
            margin = min(margin, float(best.values[0] - best.values[1]))
            path.append(int(best.indices[0]))
    assert hidden.shape == (v.L + 1, v.T, v.D)
    assert margin > LEAST_MARGIN, f"{v.name}: greedy margin {margin}: choose another seed"
    greedy = np.array(path[v.T :], np.int32)
    assert greedy.min() >= 4, f"{v.name}: a special token on the greedy path: choose another seed"
    result = {"ids": np.array(ids, np.int32), "greedy": greedy}
    if v.positions:
        return result | {"logits": logits[-v.positions :].numpy()}
    return result | {"logits": logits.numpy(), "hidden": hidden.numpy()}


def make(v: Variant, folder: Path) -> None:
    seen = write_gguf(v, folder / f"{v.name}.gguf")
    golden = compute(v, seen)
    np.savez_compressed(folder / f"{v.name}.npz", **golden)
    sizes = ", ".join(f"{path.name} {path.stat().st_size:,} bytes" for path in sorted(folder.glob(f"{v.name}.*")))
    print(f"{sizes}; logits {golden['logits'].min():.2f} to {golden['logits'].max():.2f}")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for variant in VARIANTS:
        make(variant, folder)


if __name__ == "__main__":
    main()
