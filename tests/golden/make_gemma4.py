"""Makes the tiny random Gemma 4 checkpoints and what transformers computes from them.

    python tests/golden/make_gemma4.py [folder]

Needs torch 2.13.0, transformers 5.23 and gguf. `weights` and `write_gguf` need numpy and gguf only, so that tests make
further variants of any size while they run. Weights come from numpy's PCG64 with a fixed seed: the .gguf files come out
the same, byte for byte, on every machine.
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
    """Sizes: T ids, D width, H heads, C channels a head, F feed-forward, L layers, V vocabulary, P per-layer width.

    K, C: (sliding layers, full layers). E experts of M channels, `used` at a time; E 0: none.
    """

    name: str
    seed: int
    D: int
    H: int
    K: tuple[int, int]
    C: tuple[int, int]
    F: int
    L: int
    V: int
    window: int
    T: int
    pattern: int  # every so manyth layer is full; the last must be
    P: int = 0
    shared: int = 0  # so many layers at the end have no keys and values of their own
    wide: bool = False  # and a feed-forward twice as wide
    k_eq_v: bool = False  # full layers have no value matrix
    E: int = 0
    used: int = 0
    M: int = 0
    softcap: float = 30.0
    dead: bool = False  # layers that share still have (unused) key and value tensors, as in older files
    split: bool = False  # the experts' gate and up as two tensors

    def sliding(self, layer: int) -> bool:
        return (layer + 1) % self.pattern != 0

    def kv_heads(self, layer: int) -> int:
        return self.K[0 if self.sliding(layer) else 1]

    def channels(self, layer: int) -> int:
        return self.C[0 if self.sliding(layer) else 1]

    def shares(self, layer: int) -> bool:
        return layer >= self.L - self.shared

    def feed_forward(self, layer: int) -> int:
        return self.F * (2 if self.wide and self.shares(layer) else 1)


# fmt: off
VARIANTS = [
    # Like E2B: 4 sliding to 1 full, the second half shares (donors 3 and 4) and is twice as wide, per-layer embeddings.
    Variant("gemma4_tiny_e2b", 3, D=16, H=2, K=(1, 1), C=(8, 32), F=24, L=10, V=280, window=8, T=60, pattern=5, P=4,
            shared=5, wide=True),
    # Like the 12B and the 31B: K = V in the full layer, which has fewer key heads; no size a multiple of 16.
    Variant("gemma4_tiny_31b", 1, D=20, H=4, K=(2, 1), C=(10, 24), F=30, L=6, V=276, window=11, T=60, pattern=6,
            k_eq_v=True),
    # Like the 26B-A4B: two of eight experts beside the dense feed-forward.
    Variant("gemma4_tiny_26b", 23, D=16, H=4, K=(2, 1), C=(8, 16), F=20, L=4, V=272, window=8, T=60, pattern=4,
            k_eq_v=True, E=8, used=2, M=8),
]
# Not stored; tests make them and compare with the reference, and the parity tests with transformers.
MORE = [
    # Like E4B: 5 to 1, two key heads, no double width; the sliding donor (6) comes after the full donor (5).
    Variant("gemma4_more_e4b", 5, D=24, H=4, K=(2, 2), C=(16, 32), F=40, L=12, V=300, window=5, T=40, pattern=6, P=8,
            shared=5),
    # An older E2B file, with dead tensors in the layers that share.
    Variant("gemma4_more_dead", 1, D=18, H=3, K=(1, 1), C=(6, 20), F=14, L=8, V=270, window=7, T=40, pattern=4, P=6,
            shared=4, wide=True, dead=True),
    # Experts with every one in use, gate and up apart, no cap.
    Variant("gemma4_more_moe", 8, D=32, H=2, K=(1, 2), C=(16, 16), F=24, L=6, V=280, window=9, T=40, pattern=3,
            k_eq_v=True, E=5, used=5, M=12, softcap=0.0, split=True),
]
# fmt: on
GREEDY_TOKENS = 12
HIDDEN_POSITIONS = 16  # the hidden states of the last so many positions are kept
LEAST_MARGIN = 0.01  # between the first and the second logit on the greedy path: far above float32's noise
BRANCH = 0.4  # what a branch adds, next to a stream of about 2: more would let rounding grow from layer to layer
LEAST_GAP = 2e-4  # between the probabilities of the last expert taken and the first one left


# --- vocabulary: pieces that merge by rank, specials, bytes ---

CONTROL, USER_DEFINED, NORMAL, BYTE = 3, 4, 1, 6
MERGES = ["▁ ▁", "a n", "an d", "▁ and"]
MORE_MERGES = ["▁ t", "h e", "▁t he", "i n", "in g", "o n"]


def vocabulary(size: int) -> tuple[list[str], list[float], list[int], list[str]]:
    """Pieces, scores, kinds and merges of a vocabulary of `size`: the more room, the more pieces."""
    marks = [("<|turn>", CONTROL), ("<turn|>", CONTROL)]
    runs = [("\n", NORMAL), ("\n\n", NORMAL)]
    letters = [(piece, NORMAL) for piece in ("▁", "a", "n", "d", "an", "and")]
    late = [("▁▁", NORMAL), ("▁and", NORMAL), ("<|tool_response>", USER_DEFINED)]
    more = [(piece, NORMAL) for piece in (*"thigoe", "▁t", "he", "▁the", "in", "ing", "on", *"rsluyzbcfkmpqvwxjé中")]
    known = [*marks, *runs, *letters, *late, *more]
    known = known[: size - 260]
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [CONTROL] * 4 + [BYTE] * 256 + [kind for _, kind in known]
    pieces += [piece for piece, _ in known]
    if len(set(pieces)) != size or len(kinds) != size:
        raise ValueError(f"the vocabulary has {len(set(pieces))} pieces, {size} wanted")
    merges = [m for m in (*MERGES, *MORE_MERGES) if {*m.split(" "), m.replace(" ", "")} <= set(pieces)]
    return pieces, [-1000.0] * size, kinds, merges  # the scores of real files are as useless


# --- weights: name in the GGUF file -> float32 array; norms are stored as they are, nothing is added to them ---


def layer_weights(v: Variant, i: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    def matrix(*shape: int, gain: float = 1.0) -> np.ndarray:
        return rng.normal(0, gain / np.sqrt(shape[-1]), shape).astype(np.float32)

    def norm(size: int, mean: float = 1.0) -> np.ndarray:
        return (mean * (1 + rng.normal(0, 0.3, size))).astype(np.float32)

    C, K, F = v.channels(i), v.kv_heads(i), v.feed_forward(i)
    w = {
        "attn_norm.weight": norm(v.D),
        "attn_q.weight": matrix(v.H * C, v.D),
        # The scores are q . k, not divided by sqrt(C): the norms carry the temperature.
        "attn_q_norm.weight": norm(C, 1.2 / np.sqrt(C)),
        "attn_output.weight": matrix(v.D, v.H * C),
        "post_attention_norm.weight": norm(v.D, BRANCH),
        "ffn_norm.weight": norm(v.D),
        "ffn_gate.weight": matrix(F, v.D, gain=1.5),
        "ffn_up.weight": matrix(F, v.D),
        "ffn_down.weight": matrix(v.D, F),
        "post_ffw_norm.weight": norm(v.D, BRANCH),
        "layer_output_scale.weight": rng.uniform(0.7, 1.1, 1).astype(np.float32),
    }
    if v.dead or not v.shares(i):
        w["attn_k.weight"] = matrix(K * C, v.D)
        w["attn_k_norm.weight"] = norm(C)
        if v.sliding(i) or not v.k_eq_v:
            w["attn_v.weight"] = matrix(K * C, v.D)
    if v.P:
        # Small: were the gates of a token all far below zero, the norm after them would blow rounding up.
        w["inp_gate.weight"] = matrix(v.P, v.D, gain=0.4)
        w["proj.weight"] = matrix(v.D, v.P)
        w["post_norm.weight"] = norm(v.D, BRANCH)
    if v.E:
        w["ffn_gate_inp.weight"] = matrix(v.E, v.D, gain=3.0)  # the scores are divided by sqrt(D) once more
        w["ffn_gate_inp.scale"] = norm(v.D, np.sqrt(v.D) / 2)
        both = matrix(v.E, 2 * v.M, v.D, gain=1.5)
        if v.split:
            w["ffn_gate_exps.weight"], w["ffn_up_exps.weight"] = both[:, : v.M].copy(), both[:, v.M :].copy()
        else:
            w["ffn_gate_up_exps.weight"] = both
        w["ffn_down_exps.weight"] = matrix(v.E, v.D, v.M)
        w["ffn_down_exps.scale"] = norm(v.E)
        w["pre_ffw_norm_2.weight"] = norm(v.D)
        w["post_ffw_norm_1.weight"] = norm(v.D, 0.6)
        w["post_ffw_norm_2.weight"] = norm(v.D, 1.5)
    return w


def weights(v: Variant) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(v.seed)
    w = {"token_embd.weight": rng.normal(0, 2.5 / np.sqrt(v.D), (v.V, v.D)).astype(np.float32)}
    for i in range(v.L):
        w |= {f"blk.{i}.{name}": array for name, array in layer_weights(v, i, rng).items()}
    # Random signs: with a tied head, all-positive weights would make the model repeat the token it just read. Three-
    # fold, so that the best logits are bent by the cap.
    signs = rng.choice(np.array([-1, 1], np.float32), v.D)
    w["output_norm.weight"] = (signs * 3 * (1 + rng.normal(0, 0.3, v.D))).astype(np.float32)
    if v.P:
        w["per_layer_token_embd.weight"] = rng.normal(0, 1 / np.sqrt(v.P), (v.V, v.L * v.P)).astype(np.float32)
        w["per_layer_model_proj.weight"] = rng.normal(0, 1, (v.L * v.P, v.D)).astype(np.float32)
        w["per_layer_proj_norm.weight"] = (1 + rng.normal(0, 0.3, v.P)).astype(np.float32)
    pairs = v.C[1] // 2
    turning = int(0.25 * v.C[1] // 2)
    w["rope_freqs.weight"] = np.array([1.0] * turning + [1e30] * (pairs - turning), np.float32)
    return w


def scalar_or_array(values: list[int]) -> int | list[int]:
    return values[0] if len(set(values)) == 1 else values


def write_gguf(
    v: Variant,
    path: Path,
    words: tuple[list[str], list[float], list[int], list[str]] | None = None,
    template: str | list[dict[str, str]] | None = None,
) -> dict[str, np.ndarray]:
    """Writes the checkpoint and returns its weights.

    words: another vocabulary. template: a chat template, or several with names.
    """
    writer = gguf.GGUFWriter(path, "gemma4")
    writer.add_name(v.name)
    writer.add_context_length(2048)
    writer.add_embedding_length(v.D)
    writer.add_block_count(v.L)
    writer.add_feed_forward_length(scalar_or_array([v.feed_forward(i) for i in range(v.L)]))
    writer.add_embedding_length_per_layer_input(v.P)
    writer.add_head_count(v.H)
    writer.add_head_count_kv(scalar_or_array([v.kv_heads(i) for i in range(v.L)]))
    writer.add_key_length(v.C[1])
    writer.add_value_length(v.C[1])
    writer.add_key_length_swa(v.C[0])
    writer.add_value_length_swa(v.C[0])
    writer.add_sliding_window(v.window)
    writer.add_sliding_window_pattern([v.sliding(i) for i in range(v.L)])
    writer.add_shared_kv_layers(v.shared)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_rope_freq_base_swa(1e4)
    writer.add_rope_dimension_count(v.C[1])
    writer.add_rope_dimension_count_swa(v.C[0])
    writer.add_final_logit_softcapping(v.softcap)
    if v.E:
        writer.add_expert_count(v.E)
        writer.add_expert_used_count(v.used)
        writer.add_expert_feed_forward_length(v.M)
    pieces, scores, kinds, merges = words or vocabulary(v.V)
    writer.add_tokenizer_model("gemma4")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    if template is not None:
        writer.add_chat_template(template)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    made = weights(v)
    for name, array in made.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return made


# --- Hugging Face: names, configuration ---

HF_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
    "layer_output_scale.weight": "layer_scalar",
    "inp_gate.weight": "per_layer_input_gate.weight",
    "proj.weight": "per_layer_projection.weight",
    "post_norm.weight": "post_per_layer_input_norm.weight",
    "ffn_gate_inp.weight": "router.proj.weight",
    "ffn_gate_inp.scale": "router.scale",
    "ffn_gate_up_exps.weight": "experts.gate_up_proj",
    "ffn_down_exps.weight": "experts.down_proj",
    "ffn_down_exps.scale": "router.per_expert_scale",
    "pre_ffw_norm_2.weight": "pre_feedforward_layernorm_2.weight",
    "post_ffw_norm_1.weight": "post_feedforward_layernorm_1.weight",
    "post_ffw_norm_2.weight": "post_feedforward_layernorm_2.weight",
}
HF_TOP_NAMES = {
    "token_embd.weight": "embed_tokens.weight",
    "output_norm.weight": "norm.weight",
    "per_layer_token_embd.weight": "embed_tokens_per_layer.weight",
    "per_layer_model_proj.weight": "per_layer_model_projection.weight",
    "per_layer_proj_norm.weight": "per_layer_projection_norm.weight",
}


def hf_state(made: dict[str, np.ndarray], prefix: str = "model.") -> dict[str, np.ndarray]:
    """The weights under the names of Hugging Face's checkpoints, dead ones included; rope_freqs has no counterpart."""
    state: dict[str, np.ndarray] = {}
    for name, array in made.items():
        if name in HF_TOP_NAMES:
            state[prefix + HF_TOP_NAMES[name]] = array
        elif name.startswith("blk."):
            _, layer, part = name.split(".", 2)
            place = f"{prefix}layers.{layer}."
            if part == "ffn_gate_exps.weight":
                up = made[f"blk.{layer}.ffn_up_exps.weight"]
                state[f"{place}experts.gate_up_proj"] = np.concatenate([array, up], axis=1)
            elif part != "ffn_up_exps.weight":
                state[place + HF_NAMES[part]] = array
    return state


def hf_config(v: Variant) -> dict[str, object]:
    """What config.json says of the text decoder."""
    return {
        "model_type": "gemma4_text",
        "architectures": ["Gemma4ForCausalLM"],
        "vocab_size": v.V,
        "vocab_size_per_layer_input": v.V,
        "hidden_size": v.D,
        "hidden_size_per_layer_input": v.P,
        "intermediate_size": v.F,
        "num_hidden_layers": v.L,
        "num_attention_heads": v.H,
        "num_key_value_heads": v.K[0],
        "num_global_key_value_heads": v.K[1] if v.k_eq_v else None,
        "head_dim": v.C[0],
        "global_head_dim": v.C[1],
        "layer_types": ["sliding_attention" if v.sliding(i) else "full_attention" for i in range(v.L)],
        "sliding_window": v.window,
        "num_kv_shared_layers": v.shared,
        "use_double_wide_mlp": v.wide,
        "attention_k_eq_v": v.k_eq_v,
        "enable_moe_block": v.E > 0,
        "num_experts": v.E or None,
        "top_k_experts": v.used or None,
        "moe_intermediate_size": v.M or None,
        "final_logit_softcapping": v.softcap or None,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "rope_parameters": {
            "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    }


# --- transformers ---


def transformers_model(v: Variant, made: dict[str, np.ndarray]):
    """Gemma4ForCausalLM in float32 with plain attention and plain experts."""
    import torch
    from transformers import Gemma4ForCausalLM, Gemma4TextConfig

    config = Gemma4TextConfig(**hf_config(v), attn_implementation="eager", experts_implementation="eager")
    torch.set_num_threads(1)  # enough, and much faster than two on a busy machine
    model = Gemma4ForCausalLM(config).eval().float()
    state = {name: torch.from_numpy(array) for name, array in hf_state(made).items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    if v.dead:  # the model has no place for them
        state = {name: tensor for name, tensor in state.items() if name in model.state_dict()}
    model.load_state_dict(state, strict=True)
    return model


def compute(v: Variant, made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ids (T,) -> logits (T, V); hidden (L + 1, positions, D): after each layer, then after the last norm; greedy ids.

    With experts also: experts (L, T, used), best first, and their weights (L, T, used).
    """
    import torch

    model = transformers_model(v, made)
    taken: list[torch.Tensor] = []
    routes: list[tuple[torch.Tensor, ...]] = []
    hooks = [
        m.register_forward_hook(lambda _m, _i, out: taken.append(out)) for m in (*model.model.layers, model.model.norm)
    ]
    if v.E:
        hooks += [m.router.register_forward_hook(lambda _m, _i, out: routes.append(out)) for m in model.model.layers]
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
    greedy = np.array(path[v.T :], np.int32)
    result = {"ids": np.array(ids, np.int32), "logits": logits.numpy(), "greedy": greedy}
    result["hidden"] = hidden[:, -HIDDEN_POSITIONS:].numpy()
    result["margin"] = np.array(margin)
    if v.E:
        result["experts"] = torch.stack([index for _, _, index in routes]).numpy().astype(np.int32)
        result["expert_weights"] = torch.stack([weight for _, weight, _ in routes]).numpy()
        ranked = torch.stack([p for p, _, _ in routes]).sort(descending=True).values
        gaps = (ranked[..., :-1] - ranked[..., 1:])[..., : v.used]
        result["gap"] = gaps.min().numpy()
    return result


def make(v: Variant, folder: Path) -> None:
    golden = compute(v, write_gguf(v, folder / f"{v.name}.gguf"))
    margin, gap, greedy = float(golden.pop("margin")), float(golden.pop("gap", 1.0)), golden["greedy"]
    assert margin > LEAST_MARGIN, f"{v.name}: greedy margin {margin}: choose another seed"
    assert gap > LEAST_GAP, f"{v.name}: experts as close as {gap}: choose another seed"
    assert greedy.min() >= 4, f"{v.name}: a special token on the greedy path: choose another seed"
    assert len(set(greedy.tolist())) >= 8, f"{v.name}: the greedy path loops: choose another seed"
    np.savez_compressed(folder / f"{v.name}.npz", **golden)
    sizes = ", ".join(f"{path.name} {path.stat().st_size:,} bytes" for path in sorted(folder.glob(f"{v.name}.*")))
    print(f"{sizes}; logits {golden['logits'].min():.2f} to {golden['logits'].max():.2f}; margin {margin:.3f}")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for variant in VARIANTS:
        make(variant, folder)


if __name__ == "__main__":
    main()
