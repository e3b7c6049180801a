"""Makes tiny random drafters for the tiny Gemma 4 files, and what transformers computes from each pair.

    python tests/golden/make_assistant.py [folder]

Needs torch 2.13.0, transformers 5.23 and gguf. `weights`, `echo` and `write_gguf` need numpy and gguf only. The .gguf
files come out the same, byte for byte, on every machine.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

HERE = Path(__file__).parent


def load_make_gemma4():
    if "make_gemma4" not in sys.modules:
        spec = importlib.util.spec_from_file_location("make_gemma4", HERE / "make_gemma4.py")
        script = importlib.util.module_from_spec(spec)
        sys.modules["make_gemma4"] = script  # dataclasses look their module up
        spec.loader.exec_module(script)
    return sys.modules["make_gemma4"]


gemma4 = load_make_gemma4()


@dataclass(frozen=True)
class Assistant:
    """own: its layers' sizes, none of which has keys; target: whose it is; centroids 0: a plain head."""

    own: gemma4.Variant
    target: gemma4.Variant
    centroids: int = 0
    used: int = 0

    @property
    def name(self) -> str:
        return self.own.name


def of(target: gemma4.Variant, name: str, seed: int, D: int, F: int, centroids: int = 0, used: int = 0) -> Assistant:
    """Three sliding layers and a full one, with the target's heads of keys, channels and window."""
    own = dataclasses.replace(
        target, name=name, seed=seed, D=D, F=F, L=4, pattern=4, shared=4, wide=False, P=0, E=0, used=0, M=0, softcap=0.0
    )
    return Assistant(own, target, centroids, used)


TARGETS = {v.name: v for v in gemma4.VARIANTS}
ASSISTANTS = [
    # Like E2B's: 20 centroids of 14 ids each, of which 5 are looked at.
    of(TARGETS["gemma4_tiny_e2b"], "assistant_tiny_e2b", 11, D=12, F=18, centroids=20, used=5),
    # Like the 31B's: a plain head; one key head for four query heads in the full layer.
    of(TARGETS["gemma4_tiny_31b"], "assistant_tiny_31b", 12, D=14, F=22),
]
STEPS = 4  # drafts after each prompt
PROMPTS = (60, 5)  # lengths: past several windows, and within one
LEAST_MARGIN = 5e-3  # between the first and the second logit of every draft, and the last centroid taken and the next


def weights(a: Assistant) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(a.own.seed)
    D, B, V = a.own.D, a.target.D, a.own.V

    def matrix(*shape: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(shape[-1]), shape).astype(np.float32)

    w = {"token_embd.weight": matrix(V, D) * np.float32(2), "output_norm.weight": 2 * matrix(1, D)[0] * np.sqrt(D)}
    w["output_norm.weight"] = w["output_norm.weight"].astype(np.float32)
    w["nextn.pre_projection.weight"], w["nextn.post_projection.weight"] = matrix(D, 2 * B), matrix(B, D)
    if a.centroids:
        w["mtp.centroids.weight"] = matrix(a.centroids, D)
        w["mtp.token_ordering.weight"] = rng.permutation(V).astype(np.int32)
    for i in range(a.own.L):
        w |= {f"blk.{i}.{name}": array for name, array in gemma4.layer_weights(a.own, i, rng).items()}
    return w


def echo(a: Assistant, target: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A drafter of the target's own width that guesses as the target would, had that no layers: right where the
    target's layers do little."""
    w = weights(a)
    D = a.own.D
    assert a.target.D == D
    w |= {name: target[name] for name in ("token_embd.weight", "output_norm.weight")}
    w["nextn.pre_projection.weight"] = np.concatenate([np.eye(D), np.zeros((D, D))], axis=1).astype(np.float32)
    for i in range(a.own.L):
        for norm in ("post_attention_norm", "post_ffw_norm"):
            w[f"blk.{i}.{norm}.weight"] = np.zeros(D, np.float32)
        w[f"blk.{i}.layer_output_scale.weight"] = np.ones(1, np.float32)
    return w


OTHER_NAMES = {
    "nextn.pre_projection.weight": "mtp_pre_proj.weight",
    "nextn.post_projection.weight": "mtp_post_proj.weight",
    "mtp.centroids.weight": "mtp_centroids.weight",
    "mtp.token_ordering.weight": "mtp_token_ordering.weight",
}


def write_gguf(a: Assistant, path: Path, made: dict[str, np.ndarray] | None = None, dialect: str = "llama.cpp") -> None:
    """dialect: "llama.cpp", or "ik_llama.cpp", which has other names and tells each id's centroid."""
    other = dialect == "ik_llama.cpp"
    arch = "gemma4_mtp" if other else "gemma4-assistant"
    v, made = a.own, dict(weights(a) if made is None else made)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(v.name)
    writer.add_context_length(2048)
    writer.add_embedding_length(v.D)
    writer.add_uint32(f"{arch}.{'backbone_embedding_length' if other else 'embedding_length_out'}", a.target.D)
    writer.add_block_count(v.L)
    writer.add_feed_forward_length(v.F)
    writer.add_head_count(v.H)
    writer.add_head_count_kv(gemma4.scalar_or_array([v.kv_heads(i) for i in range(v.L)]))
    writer.add_key_length(v.C[1])
    writer.add_value_length(v.C[1])
    writer.add_key_length_swa(v.C[0])
    writer.add_value_length_swa(v.C[0])
    writer.add_sliding_window(v.window)
    writer.add_sliding_window_pattern([v.sliding(i) for i in range(v.L)])
    writer.add_shared_kv_layers(v.L)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_rope_freq_base_swa(1e4)
    if a.centroids:
        writer.add_uint32(f"{arch}.{'centroid_count' if other else 'n_centroids'}", a.centroids)
        writer.add_uint32(f"{arch}.centroid_top_k", a.used)
        if other:
            writer.add_bool(f"{arch}.use_ordered_embeddings", True)
            place = np.empty(v.V, np.int32)
            place[made["mtp.token_ordering.weight"]] = np.arange(v.V) // (v.V // a.centroids)
            made["mtp.token_ordering.weight"] = place
    for name, array in made.items():
        writer.add_tensor(OTHER_NAMES.get(name, name) if other else name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# --- Hugging Face ---


def hf_state(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = {
        "nextn.pre_projection.weight": "pre_projection.weight",
        "nextn.post_projection.weight": "post_projection.weight",
        "mtp.centroids.weight": "masked_embedding.centroids.weight",
        "mtp.token_ordering.weight": "masked_embedding.token_ordering",
    }
    state = gemma4.hf_state(made)
    for name, other in names.items():
        if name in made:
            state[other] = made[name].astype(np.int64) if name.endswith("ordering.weight") else made[name]
    return state


def hf_config(a: Assistant) -> dict[str, object]:
    text = gemma4.hf_config(a.own)
    text |= {"num_kv_shared_layers": a.own.L, "vocab_size_per_layer_input": 0, "hidden_size_per_layer_input": 0}
    return {
        "model_type": "gemma4_assistant",
        "architectures": ["Gemma4AssistantForCausalLM"],
        "backbone_hidden_size": a.target.D,
        "use_ordered_embeddings": a.centroids > 0,
        "num_centroids": a.centroids or 2048,
        "centroid_intermediate_top_k": a.used or 32,
        "tie_word_embeddings": True,
        "text_config": text,
    }


def transformers_assistant(a: Assistant, made: dict[str, np.ndarray]):
    import torch
    from transformers import Gemma4AssistantConfig, Gemma4AssistantForCausalLM, Gemma4TextConfig

    usual = Gemma4TextConfig.kv_sharing_modes

    def modes(self) -> list[str | None]:  # transformers 5.23 raises where every layer shares
        every = self.num_kv_shared_layers == self.num_hidden_layers
        return ["reuse"] * self.num_hidden_layers if every else usual.fget(self)

    Gemma4TextConfig.kv_sharing_modes = property(modes)
    try:
        config = Gemma4AssistantConfig(**hf_config(a), attn_implementation="eager")
        model = Gemma4AssistantForCausalLM(config).eval().float()
    finally:
        Gemma4TextConfig.kv_sharing_modes = usual
    state = {name: torch.from_numpy(array) for name, array in hf_state(made).items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    return model


def compute(a: Assistant, made: dict[str, np.ndarray], ids: np.ndarray) -> dict[str, np.ndarray]:
    """ids (T,): the drafts after the last one -> logits (STEPS, V) and the states (STEPS, B) that a step hands on."""
    import torch

    target = gemma4.transformers_model(a.target, gemma4.weights(a.target))
    last = {target.config.layer_types[i]: i for i in range(a.target.L - a.target.shared)}
    for i in last.values():
        target.model.layers[i].self_attn.store_full_length_kv = True  # without sharing, 5.23 stores none
    model = transformers_assistant(a, made)
    position = len(ids) - 1
    with torch.no_grad():
        out = target.model(torch.tensor(ids[None, :-1]), use_cache=False, return_shared_kv_states=True)
        kept = dict(out.shared_kv_states)
        near = max(0, position - a.target.window + 1)  # its mask lets one key more through than the target's own
        kept["sliding_attention"] = tuple(x[:, :, near:] for x in kept["sliding_attention"])
        state, token = out.last_hidden_state[:, -1:], torch.tensor([[int(ids[-1])]])
        logits, states = [], []
        for _ in range(STEPS):
            both = torch.cat([target.model.embed_tokens(token), state], dim=-1)
            step = model(inputs_embeds=both, position_ids=torch.tensor([[position]]), shared_kv_states=kept)
            state, token = step.last_hidden_state, step.logits.argmax(dim=-1)
            logits.append(step.logits[0, 0].numpy())
            states.append(state[0, 0].numpy())
    return {"logits": np.stack(logits), "states": np.stack(states)}


def make(a: Assistant, folder: Path) -> None:
    made = weights(a)
    write_gguf(a, folder / f"{a.name}.gguf", made)
    golden: dict[str, np.ndarray] = {}
    for length in PROMPTS:
        rng = np.random.default_rng(a.own.seed + length)
        ids = np.array([2, *rng.integers(4, a.own.V, length - 1)], np.int64)
        golden[f"ids_{length}"] = ids.astype(np.int32)
        for key, array in compute(a, made, ids).items():
            golden[f"{key}_{length}"] = array
        ranked = np.sort(golden[f"logits_{length}"], axis=1)
        margin = float((ranked[:, -1] - ranked[:, -2]).min())
        assert margin > LEAST_MARGIN, f"{a.name}: a draft's margin is {margin}: choose another seed"
        print(f"{a.name}: {length} ids; logits {ranked.min():.2f} to {ranked.max():.2f}; margin {margin:.3f}")
    np.savez_compressed(folder / f"{a.name}.npz", **golden)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for assistant in ASSISTANTS:
        make(assistant, folder)


if __name__ == "__main__":
    main()
