"""A Gemma 4 folder made by hand, whose one head looks for red, then green, then blue, and names each as it finds it.

Everything in it is a few numbers that can be followed: a soft token says what colour its square has, a word says what
to look for next. It shows that a map lies where the colour is. Needs numpy.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gemma4_folder import write_folder

D, C, F = 32, 16, 4  # width, channels of the head, feed-forward
COLOUR, GROUND, SEEK, NAME = 0, 4, 8, 16  # dimensions: what a square shows; what to look for next; what to say
WORDS = (" red", " green", " blue")
MARKS = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>", "<turn|>", "<|image>", "<|image|>", "<image|>")
BYTES = tuple(f"<0x{i:02X}>" for i in range(256))
PIECES = (*MARKS, *BYTES, "\n", *WORDS, "a", "s", "as")  # the last three for the one merge that there must be


def write(folder: Path) -> str:
    """The whole folder; its path."""
    state = {f"model.{name}": array for name, array in (decoder() | eyes()).items()}
    write_folder(folder, config(), state)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<bos>", "eos_token": "<eos>"}))
    return str(folder)


def embeddings() -> np.ndarray:
    """A word looks for the next colour; the end of the prompt looks for the first, the last word for the end."""
    table = np.zeros((len(PIECES), D), np.float32)
    table[:, D - 1] = 0.1
    steps = ("\n", *WORDS)
    for i, piece in enumerate(steps):
        table[PIECES.index(piece), SEEK + i] = 1
    for i, piece in enumerate((*WORDS, "<turn|>")):
        table[PIECES.index(piece), NAME + i] = 1
    return table


def decoder() -> dict[str, np.ndarray]:
    p = "language_model.layers.0."
    one = np.ones(D, np.float32)
    q, k = np.zeros((C, D), np.float32), np.zeros((C, D), np.float32)
    up, down = np.zeros((F, D), np.float32), np.zeros((D, F), np.float32)
    for i in range(3):  # channels 2 to 4: those that do not turn with the position
        q[2 + i, SEEK + i] = 1
        k[2 + i, COLOUR + i] = 8
    k[5, GROUND] = 1
    for i in range(F):
        up[i, SEEK + i], down[NAME + i, i] = 1, 1
    nothing = np.zeros((D, C), np.float32)
    return {
        "language_model.embed_tokens.weight": embeddings(),
        "language_model.norm.weight": one,
        **{f"{p}{name}_layernorm.weight": one for name in ("input", "post_attention", "pre_feedforward")},
        f"{p}post_feedforward_layernorm.weight": 10 * one,
        f"{p}self_attn.q_proj.weight": q,
        f"{p}self_attn.k_proj.weight": k,
        f"{p}self_attn.v_proj.weight": k,
        f"{p}self_attn.o_proj.weight": nothing,
        f"{p}self_attn.q_norm.weight": np.full(C, 0.5, np.float32),
        f"{p}self_attn.k_norm.weight": np.ones(C, np.float32),
        f"{p}mlp.gate_proj.weight": up,
        f"{p}mlp.up_proj.weight": up,
        f"{p}mlp.down_proj.weight": down,
        f"{p}layer_scalar": np.ones(1, np.float32),
    }


def eyes() -> dict[str, np.ndarray]:
    """Squares of 48 x 48 pixels without an encoder: the mean of each colour, and a ground that norms keep in place."""
    dense, bias = np.zeros((D, 48, 48, 3), np.float32), np.zeros(D, np.float32)
    for i in range(3):
        dense[COLOUR + i, :, :, i] = 1 / 48**2
    bias[GROUND], bias[GROUND + 1] = 10, -10
    p = "vision_embedder."
    made = {p + "patch_dense.weight": dense.reshape(D, -1), p + "patch_dense.bias": bias,
            p + "pos_embedding": np.zeros((64, 2, D), np.float32),
            "embed_vision.embedding_projection.weight": np.eye(D, dtype=np.float32)}  # fmt: skip
    for name, size in (("patch_ln1", 6912), ("patch_ln2", D), ("pos_norm", D)):
        made |= {f"{p}{name}.weight": np.ones(size, np.float32), f"{p}{name}.bias": np.zeros(size, np.float32)}
    return made


def config() -> dict[str, object]:
    return {
        "model_type": "gemma4_text", "architectures": ["Gemma4ForCausalLM"], "vocab_size": len(PIECES),
        "hidden_size": D, "hidden_size_per_layer_input": 0, "intermediate_size": F, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": C, "global_head_dim": C,
        "layer_types": ["full_attention"], "sliding_window": 16, "num_kv_shared_layers": 0,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh",
        "tie_word_embeddings": True, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
        "rope_parameters": {
            "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
        "vision_config": {"model_type": "gemma4_unified_vision", "patch_size": 16, "pooling_kernel_size": 3,
                          "mm_embed_dim": D, "mm_posemb_size": 64, "output_proj_dims": D, "rms_norm_eps": 1e-6},
    }  # fmt: skip


def tokenizer() -> dict[str, object]:
    whole = [i for i, piece in enumerate(PIECES) if piece in (*MARKS, *WORDS)]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0", "truncation": None, "padding": None, "post_processor": None,
        "added_tokens": [{"id": i, "content": PIECES[i], **flags, "special": i < len(MARKS)} for i in whole],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                          "invert": False},
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {piece: i for i, piece in enumerate(PIECES)}, "merges": [["a", "s"]]},
    }  # fmt: skip
