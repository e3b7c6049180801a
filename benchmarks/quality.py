"""How near the quantised path is to float32: KL divergence, top-1 agreement and perplexity on English prose.

    python benchmarks/quality.py [MODEL] --tokens 1000 --json quality.json

The reference is transformers in float32 on the same file's weights, dequantised. gemlet (both computes) and llama.cpp
are compared with it in one run. Needs torch, transformers and llama-cpp-python.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import gemlet
from gemlet import _core
from gemlet.local.sources import resolve

PROSE = Path(__file__).with_name("prose.txt")

# GGUF's name -> transformers' name, inside a layer.
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def reference_config(file: _core.Gguf) -> Any:
    """The model's sizes, from the file's metadata, as transformers wants them."""
    from transformers import Gemma3TextConfig

    metadata = file.metadata()
    heads = int(metadata["gemma3.attention.head_count"])
    layers = int(metadata["gemma3.block_count"])
    full = {"rope_type": "default", "rope_theta": float(metadata["gemma3.rope.freq_base"])}
    return Gemma3TextConfig(
        vocab_size=next(t["shape"][0] for t in file.tensors() if t["name"] == "token_embd.weight"),
        hidden_size=int(metadata["gemma3.embedding_length"]),
        intermediate_size=int(metadata["gemma3.feed_forward_length"]),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=int(metadata["gemma3.attention.head_count_kv"]),
        head_dim=int(metadata["gemma3.attention.key_length"]),
        query_pre_attn_scalar=int(metadata["gemma3.attention.key_length"]),
        rms_norm_eps=float(metadata["gemma3.attention.layer_norm_rms_epsilon"]),
        sliding_window=int(metadata["gemma3.attention.sliding_window"]),
        layer_types=["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(layers)],
        rope_parameters={"full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0}},
        max_position_embeddings=int(metadata["gemma3.context_length"]),
        attn_implementation="eager",
    )


def reference_weights(file: _core.Gguf) -> dict[str, Any]:
    """Every tensor as float32 under transformers' name. GGUF stores norm weights plus one; transformers adds it."""
    import torch

    weights = {}
    for tensor in file.tensors():
        name = tensor["name"].removesuffix(".weight")
        value = file.tensor(tensor["name"])
        if name.endswith("_norm"):
            value = value - np.float32(1)
        if name.startswith("blk."):
            _, layer, part = name.split(".")
            target = f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"
        else:
            target = {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}[name]
        weights[target] = torch.from_numpy(np.ascontiguousarray(value))
    return weights


def reference_logits(path: str, ids: np.ndarray) -> np.ndarray:
    """(T, V) float32 from transformers."""
    import torch
    from transformers import Gemma3ForCausalLM
    from transformers.initialization import no_init_weights

    file = _core.Gguf(path)
    with torch.no_grad():
        with no_init_weights():  # drawing them takes longer than all the rest
            net = Gemma3ForCausalLM(reference_config(file)).float().eval()
        missing, unexpected = net.load_state_dict(reference_weights(file), strict=False)
        if unexpected or set(missing) - {"lm_head.weight"}:
            raise RuntimeError(f"weights do not match: missing {missing}, unexpected {unexpected}")
        net.tie_weights()
        return net(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].numpy()


def llama_logits(path: str, ids: np.ndarray, threads: int) -> np.ndarray:
    """(T, V) float32 from llama.cpp."""
    import llama_cpp

    llm = llama_cpp.Llama(path, n_ctx=len(ids) + 8, n_threads=threads, logits_all=True, verbose=False)
    llm.eval(ids.tolist())
    return np.array(llm.scores[: len(ids)], dtype=np.float32)


def log_softmax(rows: np.ndarray) -> np.ndarray:
    """In double precision, row by row."""
    rows = rows.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows


def compare(reference: np.ndarray, other: np.ndarray, ids: np.ndarray) -> dict[str, float]:
    """KL(reference || other) in nats, agreement of the likeliest token, and both perplexities of the text."""

    def of_block(begin: int) -> tuple[np.ndarray, ...]:
        block = slice(begin, begin + 25)
        p, q = log_softmax(reference[block]), log_softmax(other[block])
        same = p.argmax(axis=1) == q.argmax(axis=1)
        following = ids[begin + 1 : begin + 1 + len(p)]
        rows = np.arange(len(following))
        nll, reference_nll = -q[rows, following], -p[rows, following]
        q -= p
        return -(np.exp(p) * q).sum(axis=1), same, nll, reference_nll

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy computes on one processor each
        blocks = list(pool.map(of_block, range(0, len(ids), 25)))
    kl, same, nll, reference_nll = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return {
        "kl_mean": float(kl.mean()),
        "kl_p99": float(np.percentile(kl, 99)),
        "top1": float(same.mean()),
        "perplexity": float(np.exp(nll.mean())),
        "reference_perplexity": float(np.exp(reference_nll.mean())),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--text", type=Path, default=PROSE)
    parser.add_argument("--json", metavar="PATH", help="write the figures there")
    args = parser.parse_args()
    path = resolve(args.model)
    result: dict[str, Any] = {"model": os.path.basename(path)}
    with gemlet.load(path, threads=args.threads) as m:
        ids = m.tokenize(args.text.read_text(encoding="utf-8"))[: args.tokens]
        reference = reference_logits(path, ids)
        result |= {"tokens": len(ids), "isa": m.isa, "gemlet": compare(reference, m.logits(ids), ids)}
    with gemlet.load(path, threads=args.threads, compute="float32") as m:
        result["gemlet float32"] = compare(reference, m.logits(ids), ids)
    result["llama.cpp"] = compare(reference, llama_logits(path, ids, args.threads), ids)
    print(f"{result['model']}, {result['tokens']} tokens of prose, {result['isa']}, against transformers in float32\n")
    print("| | mean KL | 99th percentile | same top token | perplexity | reference |\n|---|---|---|---|---|---|")
    for name in ("gemlet", "gemlet float32", "llama.cpp"):
        r = result[name]
        print(
            f"| {name} | {r['kl_mean']:.2e} | {r['kl_p99']:.2e} | {r['top1']:.1%} | {r['perplexity']:.3f} "
            f"| {r['reference_perplexity']:.3f} |"
        )
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
