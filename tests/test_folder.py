"""Hugging Face folders: the bits of the same model as GGUF, however it is laid out, and folders that are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemlet
from gemlet import _core
from gemlet.errors import BadFile, ModelNotFound, UnsupportedModel

pytest.importorskip("gguf")

from folder_models import NAMES, script, variant, write, write_gemma3
from gemma4_folder import as_bytes

E2B, DENSE, MOE = NAMES[:3]


def ids_for(name: str) -> np.ndarray:
    v = variant(name)
    return np.random.default_rng(v.seed + 1).integers(4, v.V, v.T).astype(np.int32)


@pytest.mark.parametrize("name", NAMES)
def test_same_bits_as_gguf(tmp_path: Path, name: str) -> None:
    file = tmp_path / "model.gguf"
    script("make_gemma4").write_gguf(variant(name), file)
    ids = ids_for(name)
    wanted = _core.Model(str(file)).logits(ids)
    found = _core.Model(write(tmp_path / "folder", name)).logits(ids)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "options",
    [
        {"shards": 3},
        {"prefix": "model.language_model."},
        {"prefix": "language_model.model.", "shards": 2},
        {"prefix": ""},
    ],
    ids=str,
)
def test_however_it_is_laid_out(tmp_path: Path, options: dict[str, Any]) -> None:
    ids = ids_for(E2B)
    wanted = _core.Model(write(tmp_path / "plain", E2B)).logits(ids)
    np.testing.assert_array_equal(_core.Model(write(tmp_path / "other", E2B, **options)).logits(ids), wanted)


def test_nested_sizes_and_media_tensors(tmp_path: Path) -> None:
    """The files of the whole model: sizes one level down, and towers that a text model leaves alone."""
    prefix = "model.language_model."
    towers = {
        "model.vision_tower.encoder.layers.0.mlp.up_proj.linear.weight": np.ones((4, 4), np.float32),
        "model.embed_vision.embedding_projection.weight": np.ones((4, 4), np.float32),
        "model.audio_tower.output_proj.bias": np.ones(3, np.float32),
        "lm_head.weight": np.zeros((2, 2), np.float32),  # tied: dead
    }
    folder = write(tmp_path / "nested", E2B, prefix=prefix, state=towers)
    path = Path(folder) / "config.json"
    flat = json.loads(path.read_text())
    path.write_text(json.dumps({"model_type": "gemma4", "text_config": flat, "vision_config": {"hidden_size": 4}}))
    ids = ids_for(E2B)
    wanted = _core.Model(write(tmp_path / "plain", E2B)).logits(ids)
    np.testing.assert_array_equal(_core.Model(folder).logits(ids), wanted)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
@pytest.mark.parametrize("name", [E2B, MOE])
def test_half_precision_is_read_in_place(tmp_path: Path, name: str, dtype: str) -> None:
    """The same as F32 weights that were rounded before."""
    made = script("make_gemma4")
    rounded = {}
    for key, array in made.hf_state(made.weights(variant(name))).items():
        raw = as_bytes(array, dtype)
        half = np.frombuffer(raw, np.float16 if dtype == "F16" else np.uint16)
        values = half.astype(np.float32) if dtype == "F16" else (half.astype(np.uint32) << 16).view(np.float32)
        rounded[key] = values.reshape(array.shape)
    ids = ids_for(name)
    wanted = _core.Model(write(tmp_path / "rounded", name, state=rounded), kv_dtype="f16").logits(ids)
    np.testing.assert_array_equal(_core.Model(write(tmp_path / "half", name, dtype=dtype)).logits(ids), wanted)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("name", [E2B, MOE])
def test_data_may_begin_anywhere(tmp_path: Path, name: str, dtype: str) -> None:
    folder = write(tmp_path / "even", name, dtype=dtype)
    wanted = _core.Model(folder).logits(ids_for(name))
    odd = tmp_path / "odd"
    shutil.copytree(folder, odd)
    raw = (odd / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + length].rstrip() + b" "
    header += b" " * (1 - len(header) % 2)  # an odd length
    (odd / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + raw[8 + length :])
    np.testing.assert_array_equal(_core.Model(str(odd)).logits(ids_for(name)), wanted)


@pytest.mark.parametrize("name", ["gemma3_tiny", "gemma3_tiny_linear"])
def test_gemma3_norms_get_their_one(tmp_path: Path, name: str) -> None:
    folder, gguf = write_gemma3(tmp_path / "gemma3", name)
    ids = np.random.default_rng(3).integers(4, 262, 60).astype(np.int32)
    found, wanted = (_core.Model(path) for path in (folder, gguf))
    assert found.info()["architecture"] == "gemma3"
    # w - 1 + 1 is w but for the last bit.
    assert np.abs(found.logits(ids) - wanted.logits(ids)).max() < 2e-4


def test_gemma3_newer_names(tmp_path: Path) -> None:
    """rope_parameters in place of rope_scaling, layer_types in place of the pattern."""
    old, _ = write_gemma3(tmp_path / "old", "gemma3_tiny_linear")
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    types = ["sliding_attention"] * 5 + ["full_attention"]
    gone = {"rope_scaling": None, "rope_theta": None, "rope_local_base_freq": None}
    new, _ = write_gemma3(tmp_path / "new", "gemma3_tiny_linear", rope_parameters=rope, layer_types=types, **gone)
    ids = np.arange(4, 60, dtype=np.int32)
    np.testing.assert_array_equal(_core.Model(new).logits(ids), _core.Model(old).logits(ids))
    capped, _ = write_gemma3(tmp_path / "capped", "gemma3_tiny_linear", final_logit_softcapping=2.0)
    assert np.abs(_core.Model(capped).logits(ids)).max() <= 2
    scaled, _ = write_gemma3(tmp_path / "scaled", "gemma3_tiny_linear", query_pre_attn_scalar=7)
    assert np.abs(_core.Model(scaled).logits(ids) - _core.Model(old).logits(ids)).max() > 1e-2


# What a file leaves out, and its older and newer spellings.

ROPE = {
    "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}


def differs(folder: str, other: str, name: str) -> float:
    ids = ids_for(name)
    return float(np.abs(_core.Model(folder).logits(ids) - _core.Model(other).logits(ids)).max())


def test_missing_settings_are_the_classes_own(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", MOE)
    same = dict.fromkeys(("rope_parameters", "use_double_wide_mlp", "rms_norm_eps", "hidden_activation"), ...)
    assert differs(plain, write(tmp_path / "same", MOE, config=same), MOE) == 0
    # No cap is none, although every released model has one.
    bare = write(tmp_path / "bare", MOE, config={"final_logit_softcapping": ...})
    assert _core.Model(plain).logits(ids_for(MOE)).max() <= 30 < _core.Model(bare).logits(ids_for(MOE)).max()
    # No width is 256, although this model has none.
    with pytest.raises(BadFile, match=r"tensor 'per_layer_token_embd.weight' \(272, 1024\) is missing"):
        _core.Model(write(tmp_path / "wide", MOE, config={"hidden_size_per_layer_input": ...}))
    unified = {"hidden_size_per_layer_input": ..., "model_type": "gemma4_unified_text"}
    assert _core.Model(write(tmp_path / "unified", DENSE, config=unified)).info()["window"] == 11


def test_names_that_others_use(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", MOE)
    others = {
        "top_k_experts": ...,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": ...,
        "expert_intermediate_size": 8,
    }
    assert differs(plain, write(tmp_path / "others", MOE, config=others), MOE) == 0
    layers = {"03": {"head_dim": 16, "num_key_value_heads": 1}}
    newer = {"per_layer_config": layers, "global_head_dim": ..., "num_global_key_value_heads": ...}
    assert differs(plain, write(tmp_path / "newer", MOE, config=newer), MOE) == 0


def test_heads_of_full_layers_are_their_own_only_where_keys_are_values(tmp_path: Path) -> None:
    """`num_global_key_value_heads` counts for nothing without attention_k_eq_v."""
    plain = write(tmp_path / "plain", E2B)
    assert differs(plain, write(tmp_path / "other", E2B, config={"num_global_key_value_heads": 2}), E2B) == 0


def test_the_last_layer_is_full_whatever_the_file_says(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", MOE)
    types = {"layer_types": ["sliding_attention"] * 4}
    assert differs(plain, write(tmp_path / "forced", MOE, config=types), MOE) == 0


def test_missing_layer_scalars_are_one(tmp_path: Path) -> None:
    keys = [f"model.layers.{i}.layer_scalar" for i in range(4)]
    ones = write(tmp_path / "ones", MOE, state={key: np.ones(1, np.float32) for key in keys})
    assert differs(ones, write(tmp_path / "none", MOE, state=dict.fromkeys(keys)), MOE) == 0


def test_an_untied_head(tmp_path: Path) -> None:
    head = np.random.default_rng(1).normal(0, 1, (272, 16)).astype(np.float32)
    untied = {"tie_word_embeddings": False}
    folder = write(tmp_path / "own", MOE, config=untied, state={"lm_head.weight": head})
    assert differs(write(tmp_path / "tied", MOE), folder, MOE) > 1
    with pytest.raises(BadFile, match=r"lm_head.weight.*tie_word_embeddings is false"):
        _core.Model(write(tmp_path / "missing", MOE, config=untied))


# Refusals.


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "another model": ({"model_type": "llama"}, UnsupportedModel, "model_type: expected 'gemma3', 'gemma4'.*'llama'"),
    "no kind": ({"model_type": ...}, UnsupportedModel, "model_type"),
    "a drafter": (
        {"model_type": "gemma4_assistant"},
        BadFile,
        "backbone_hidden_size: expected 1 to \\d+, and it is missing",
    ),
    "quantised": ({"quantization_config": {"quant_method": "gptq"}}, UnsupportedModel, "quantization_config.*gptq"),
    "silu": ({"hidden_activation": "silu"}, UnsupportedModel, "hidden_activation: expected 'gelu_pytorch_tanh'"),
    "biases": ({"attention_bias": True}, UnsupportedModel, "attention_bias: expected no biases"),
    "both ways": (
        {"use_bidirectional_attention": "all"},
        UnsupportedModel,
        "use_bidirectional_attention: expected none or 'vision'",
    ),
    "yarn": (
        {"rope_parameters": ROPE | {"full_attention": {"rope_type": "yarn", "factor": 2.0}}},
        UnsupportedModel,
        r"rope_parameters.full_attention: rope_type: expected 'default', 'linear' or 'proportional', got \"yarn\"",
    ),
    "partly turned": (
        {"rope_parameters": ROPE | {"full_attention": {"rope_type": "default", "partial_rotary_factor": 0.5}}},
        UnsupportedModel,
        "partial_rotary_factor: expected 1",
    ),
    "half a rope": (
        {"rope_parameters": {"full_attention": ROPE["full_attention"]}},
        BadFile,
        "rope_parameters.sliding_attention: expected an object, and it is missing",
    ),
    "linear without factor": (
        {"rope_parameters": ROPE | {"sliding_attention": {"rope_type": "linear"}}},
        BadFile,
        "factor: expected a positive number, and it is missing",
    ),
    "old rope": ({"rope_scaling": {"factor": 2.0}}, UnsupportedModel, "rope_scaling"),
    "types of layers": ({"layer_types": ["chunked_attention"] * 4}, UnsupportedModel, r"layer_types\[0\]"),
    "too few types": ({"layer_types": ["full_attention"]}, BadFile, "layer_types: expected a list of 4"),
    "no layers": ({"num_hidden_layers": 0}, BadFile, "num_hidden_layers: expected 1 to 1024, got 0"),
    "words": ({"hidden_size": "16"}, BadFile, 'hidden_size: expected 1 to 1048576, got "16"'),
    "a fraction": ({"head_dim": 8.5}, BadFile, "head_dim: expected 1 to 4096, got 8.5"),
    "a wide file": ({"hidden_size": 2**31}, BadFile, "hidden_size: expected 1 to 1048576, got 2147483648"),
    "a negative cap": ({"final_logit_softcapping": -3.0}, BadFile, "final_logit_softcapping: expected a positive"),
    "heads": ({"num_attention_heads": 3}, BadFile, "3 heads over 2 key heads"),
    "all shared": ({"num_kv_shared_layers": 4}, BadFile, "4 layers share keys and values"),
    "a layer too many": ({"per_layer_config": {"4": {"head_dim": 8}}}, BadFile, "expected layers 0 to 3"),
    "a layer's own": (
        {"per_layer_config": {"3": {"sliding_window": 8}}},
        UnsupportedModel,
        "per_layer_config.3: sliding_window: expected heads and widths only",
    ),
    "no experts": ({"num_experts": ...}, BadFile, "num_experts: expected 1 to 65536, and it is missing"),
    "too many used": ({"top_k_experts": 9}, BadFile, "9 experts used of 8"),
    "other weights": (
        {"num_attention_heads": 2},
        BadFile,
        r"tensor 'blk.0.attn_q.weight': expected \(16, 16\), got \(32, 16\); the file's sizes",
    ),
    "fewer layers": (
        {"num_hidden_layers": 3, "layer_types": ..., "per_layer_config": {}, "attention_k_eq_v": False},
        UnsupportedModel,
        "tensor 'blk.3.*has no place",
    ),
    "another vocabulary": ({"vocab_size": 300}, BadFile, r"'token_embd.weight': expected \(300, 16\)"),
    "another table": (
        {"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 100},
        UnsupportedModel,
        "vocab_size_per_layer_input: expected 272",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_sizes_that_are_refused(tmp_path: Path, name: str) -> None:
    config, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        _core.Model(write(tmp_path, MOE, config=config))


def test_gemma3_sizes_that_are_refused(tmp_path: Path) -> None:
    for i, (config, message) in enumerate(
        [
            ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
            ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping: expected none, got 50.0"),
            ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "rope_scaling: rope_type.*dynamic"),
        ]
    ):
        folder, _ = write_gemma3(tmp_path / str(i), "gemma3_tiny_linear", **config)
        with pytest.raises(UnsupportedModel, match=message):
            _core.Model(folder)
    folder, _ = write_gemma3(tmp_path / "flat", "gemma3_tiny_linear", rope_parameters={"rope_theta": 1e6})
    with pytest.raises(BadFile, match="rope_parameters: expected 'full_attention' and 'sliding_attention'"):
        _core.Model(folder)


def test_tensors_that_are_refused(tmp_path: Path) -> None:
    extra = {"model.layers.0.self_attn.q_proj.bias": np.ones(32, np.float32)}
    with pytest.raises(UnsupportedModel, match=r"'model.layers.0.self_attn.q_proj.bias' \(32\) has no place"):
        _core.Model(write(tmp_path / "extra", MOE, state=extra))
    with pytest.raises(BadFile, match=r"'blk.2.ffn_gate_inp.scale' \(16\) is missing"):
        _core.Model(write(tmp_path / "missing", MOE, state={"model.layers.2.router.scale": None}))
    no_table = dict.fromkeys(("model.embed_tokens.weight",))
    with pytest.raises(BadFile, match=r"expected the tensor 'model.embed_tokens.weight'"):
        _core.Model(write(tmp_path / "none", MOE, state=no_table))


def test_files_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(
        ModelNotFound, match=r"config.json.*whole Hugging Face model.*for a GGUF file give its own path"
    ):
        _core.Model(str(tmp_path))
    folder = Path(write(tmp_path / "cut", E2B, shards=3))
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelNotFound, match=r"model-00002-of-00003.safetensors', which is missing; put every shard"):
        gemlet.load(folder)
    folder = Path(write(tmp_path / "mute", E2B))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelNotFound, match="download the whole folder, with its tokenizer"):
        gemlet.load(folder)
    (folder / "config.json").write_text('{"model_type": "gemma4",}')
    with pytest.raises(BadFile, match="config"):
        gemlet.load(folder)


# What the makers say about generation.


def with_generation(folder: str, **values: Any) -> str:
    (Path(folder) / "generation_config.json").write_text(json.dumps(values))
    return folder


def test_generation_defaults(tmp_path: Path) -> None:
    folder = with_generation(
        write(tmp_path / "a", E2B), do_sample=True, temperature=0.7, top_k=5, top_p=0.9, eos_token_id=[1, 270, 260],
        suppress_tokens=[265],
    )  # fmt: skip
    with gemlet.load(folder) as model:
        assert model.info["generation"] == {"temperature": 0.7, "top_k": 5, "top_p": 0.9}
        assert {1, 270, 260} <= set(model.info["end_ids"])
        assert model.info["suppress_ids"] == [265]
        ids = ids_for(E2B)
        own = model.generate(ids, max_tokens=12, seed=3, ignore_eos=True)
        same = model.generate(ids, max_tokens=12, seed=3, ignore_eos=True, temperature=0.7, top_k=5, top_p=0.9)
        hot = model.generate(ids, max_tokens=12, seed=3, ignore_eos=True, temperature=9, top_k=0, top_p=1)
        assert own.token_ids.tolist() == same.token_ids.tolist() != hot.token_ids.tolist()
    with gemlet.load(with_generation(write(tmp_path / "b", E2B), do_sample=False)) as model:
        first, second = (model.generate(ids, max_tokens=8, ignore_eos=True).token_ids.tolist() for _ in range(2))
        assert first == second == model.generate(ids, max_tokens=8, temperature=0, ignore_eos=True).token_ids.tolist()


def test_end_tokens_of_the_sizes(tmp_path: Path) -> None:
    """Without generation_config.json those of config.json, whose outer list is the longer one."""
    folder = write(tmp_path / "a", E2B, config={"eos_token_id": [1, 271]})
    with gemlet.load(folder) as model:
        assert {1, 271} <= set(model.info["end_ids"])


def test_bad_generation_defaults(tmp_path: Path) -> None:
    folder = write(tmp_path, E2B)
    for values, message in [
        ({"eos_token_id": 280}, "generation_config.json.*eos_token_id: expected token ids from 0 to 279, got 280"),
        ({"eos_token_id": "</s>"}, "eos_token_id: expected token ids"),
        ({"suppress_tokens": [-1]}, "suppress_tokens: expected token ids"),
        ({"temperature": -1}, "temperature: expected a number from 0"),
        ({"top_p": 1.5}, "top_p: expected a number from 0 to 1"),
    ]:
        with pytest.raises(BadFile, match=message):
            _core.Model(with_generation(folder, **values))


def test_what_the_model_says_of_itself(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--google--gemma-4-tiny" / "snapshots" / "0123abcd"
    write(snapshot, E2B)
    with gemlet.load(str(snapshot)) as model:
        assert model.name == "google/gemma-4-tiny"
        assert model.quantization == "F32"
        assert model.path == str(snapshot)
        assert model.info["format"] == "safetensors"
        assert model.info["chat_template"] is None
        assert model.info["kv_dtype"] == "f32"
        assert model.tokenize("a and").tolist()[0] == 2
    (snapshot / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ bos_token }}"}))
    assert _core.Model(str(snapshot)).info()["chat_template"] == "{{ bos_token }}"
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "{{ messages[0] }}"}]
    (snapshot / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert _core.Model(str(snapshot)).info()["chat_template"] == "{{ messages[0] }}"
    (snapshot / "chat_template.json").write_text(json.dumps({"chat_template": "{{ older }}"}))
    assert _core.Model(str(snapshot)).info()["chat_template"] == "{{ older }}"
    (snapshot / "chat_template.jinja").write_text("{{ messages }}")
    assert _core.Model(str(snapshot)).info()["chat_template"] == "{{ messages }}"


def test_suppressed_ids_are_never_drawn(tmp_path: Path) -> None:
    """By the engine, so in `generate` as in `chat`; a bias of one's own has the last word."""
    ids = ids_for(E2B)
    with gemlet.load(write(tmp_path / "free", E2B)) as model:
        free = model.generate(ids, max_tokens=6, temperature=0, ignore_eos=True).token_ids.tolist()
    folder = with_generation(write(tmp_path / "held", E2B), suppress_tokens=free)
    with gemlet.load(folder) as model:
        held = model.generate(ids, max_tokens=30, temperature=0, ignore_eos=True)
        assert not set(free) & set(held.token_ids.tolist())
        drawn = model.generate(ids, max_tokens=30, temperature=2, seed=1, ignore_eos=True)
        assert not set(free) & set(drawn.token_ids.tolist())
        own = model.generate(ids, max_tokens=6, temperature=0, ignore_eos=True, logit_bias=dict.fromkeys(free, 0.0))
        assert own.token_ids.tolist() == free
