"""Sizes: the family's table against the published counts, what files say of themselves, and what a mix weighs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gemlet
from gemlet import _core
from gemlet.errors import BadFile, UnsupportedModel
from gemlet.planning import estimates, headers, mixes
from gemlet.planning.headers import TensorEntry
from gemlet.planning.sizes import FAMILY, LayerSizes, Sizes
from gemma4_folder import write_folder
from test_reference4 import make_gemma4

GOLDEN = Path(__file__).parent / "golden"

# Published: millions of parameters (embedding, table of per-layer embeddings, other text, experts), and elements of
# keys and values that a token adds in full and in sliding layers.
PUBLISHED = {
    "E2B": ((402.7, 2348.8, 1877.1, 0), (3072, 6144)),
    "E4B": ((671.1, 2818.6, 3973.4, 0), (8192, 20480)),
    "12B": ((1006.6, 0, 10900.7, 0), (8192, 163840)),
    "26B-A4B": ((738.2, 0, 1657.0, 22838.0), (10240, 102400)),
    "31B": ((1409.3, 0, 29288.1, 0), (40960, 409600)),
}


@pytest.mark.parametrize("name", FAMILY)
def test_the_table_gives_the_published_counts(name):
    (embed, ple, text, experts), cache = PUBLISHED[name]
    counted = {part: round(count / 1e6, 1) for part, count in FAMILY[name].parameters().items()}
    assert counted == {"embed": embed, "ple": ple, "text": text, "experts": experts}
    assert FAMILY[name].kv_elements() == cache


def test_layers_are_full_and_shared_where_they_should_be():
    e2b, large = FAMILY["E2B"], FAMILY["31B"]
    assert [i for i, layer in enumerate(e2b.layers) if not layer.sliding] == [4, 9, 14, 19, 24, 29, 34]
    assert [i for i, layer in enumerate(e2b.layers) if not layer.owns_kv] == list(range(15, 35))
    assert (e2b.layers[14].ffn, e2b.layers[15].ffn) == (6144, 12288)
    assert large.layers[5] == LayerSizes(False, 32, 4, 512, 21504, True, False)
    assert large.layers[0] == LayerSizes(True, 32, 16, 256, 21504, True, True)


def test_a_mix_weighs_what_its_blocks_do():
    e2b = FAMILY["E2B"]
    types = {name: kind for name, _, kind, _ in mixes.tensors_of(e2b, "Q4_0")}
    assert types["per_layer_token_embd.weight"] == types["blk.3.ffn_down.weight"] == "Q4_0"
    assert types["token_embd.weight"] == "Q6_K"
    assert types["per_layer_model_proj.weight"] == "F16"
    assert types["rope_freqs.weight"] == types["blk.0.attn_norm.weight"] == "F32"
    assert round(mixes.file_bytes(e2b, "Q4_0") / 1e6) == 2728  # as files of these sizes weigh
    assert {kind for *_, kind, _ in mixes.tensors_of(e2b, "Q4_K_M")} == {"Q4_K", "Q6_K", "F16", "F32"}


def test_rows_that_blocks_do_not_divide_get_a_smaller_block():
    mixture = FAMILY["26B-A4B"]
    types = {name: kind for name, _, kind, _ in mixes.tensors_of(mixture, "Q4_K_M")}
    assert types["blk.5.ffn_gate_inp.weight"] == "F32"  # the router
    assert types["blk.5.ffn_gate.weight"] == "Q8_0"  # the dense branch
    assert types["blk.5.ffn_gate_up_exps.weight"] == "Q4_K"  # rows of 2816
    assert types["blk.4.ffn_down_exps.weight"] == "Q5_0"  # rows of 704
    assert types["blk.5.ffn_down_exps.weight"] == "Q8_0"  # the same where it would be Q6_K
    with pytest.raises(ValueError, match="rows of 704 are not whole blocks of 256"):
        mixes.block_bytes("Q4_K", (10, 704))


def read(path: Path) -> tuple[Sizes, list[TensorEntry], dict[str, object]]:
    file = _core.Gguf(path)
    metadata = file.metadata(headers.LAYERS_LIMIT)
    entries = [TensorEntry(t["name"], tuple(t["shape"]), t["type"], t["bytes"]) for t in file.tensors()]
    return headers.sizes_of_gguf(path.name, metadata, entries), entries, metadata


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("gemma*_tiny*.gguf")), ids=lambda path: path.stem)
def test_a_plan_counts_as_the_engine_does(path):
    """The same bytes and multiply-adds a token, and the same bytes of keys and values, for every kind of model."""
    sizes, entries, _ = read(path)
    load = estimates.work(sizes, entries)
    model = _core.Model(str(path), threads=1, kv_dtype="f16")
    info = model.info()
    assert load.madds_decode == info["madds_per_token"] + info["madds_head"]
    assert load.madds_prompt == info["madds_per_prompt_token"]
    matrices = sum(e.bytes for e in entries if len(e.shape) == 1)
    assert abs(load.active - info["bytes_per_token"]) <= matrices
    assert load.file == sum(entry.bytes for entry in entries)


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_a_folder_tells_what_the_gguf_file_of_it_tells(variant, tmp_path):
    script = make_gemma4()
    v = script.VARIANTS[variant]
    sizes, entries, _ = read(GOLDEN / f"{v.name}.gguf")
    config = script.hf_config(v)
    assert replace(headers.sizes_of_config("config.json", config), name=sizes.name) == sizes
    assert replace(headers.sizes_of_config("config.json", {"text_config": config}), name=sizes.name) == sizes
    assert dict(sizes.tensors()) == {entry.name: entry.shape for entry in entries}
    state = script.hf_state(script.weights(v), "model.language_model.")
    write_folder(tmp_path, config, {**state, "model.vision_tower.x.weight": np.zeros((4, 4), np.float32)}, shards=2)
    of_folder = estimates.work(sizes, headers.entries_of_folder(_core.Safetensors(str(tmp_path)).tensors()))
    rope = next(entry.bytes for entry in entries if entry.name == "rope_freqs.weight")
    of_file = estimates.work(sizes, entries)
    assert of_folder == of_file._replace(
        file=of_file.file - rope, resident=of_file.resident - rope, active=of_file.active - rope
    )


def test_dead_tensors_are_on_disk_and_not_in_memory(tmp_path):
    script = make_gemma4()
    v = next(v for v in script.MORE if v.dead)
    script.write_gguf(v, tmp_path / "dead.gguf")
    sizes, entries, _ = read(tmp_path / "dead.gguf")
    load = estimates.work(sizes, entries)
    dead = [e for e in entries if e.name.startswith(tuple(f"blk.{i}.attn_{x}" for i in range(4, 8) for x in "kv"))]
    assert len(dead) == 12
    assert load.resident == load.file - load.table - sum(entry.bytes for entry in dead)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("gemma4.block_count", None, "gemma4.block_count: expected a whole number from 1, got nothing"),
        ("gemma4.block_count", 10**9, "at most 1024"),
        ("gemma4.embedding_length", -4, "got -4"),
        ("gemma4.embedding_length", "many", "got 'many'"),
        ("gemma4.attention.sliding_window_pattern", [True], "a flag for each of 10 layers"),
        ("gemma4.feed_forward_length", [1, 2], "10 whole numbers from 1"),
        ("gemma4.attention.shared_kv_layers", 2**70, "from 0"),
    ],
)
def test_impossible_metadata_is_named(key, value, said):
    _, entries, metadata = read(GOLDEN / "gemma4_tiny_e2b.gguf")
    with pytest.raises(BadFile, match=said):
        headers.sizes_of_gguf("x.gguf", {**metadata, key: value}, entries)


def test_other_models_are_refused():
    _, entries, metadata = read(GOLDEN / "gemma4_tiny_e2b.gguf")
    with pytest.raises(UnsupportedModel, match="'llama'"):
        headers.sizes_of_gguf("x.gguf", {**metadata, "general.architecture": "llama"}, entries)
    with pytest.raises(BadFile, match=r"token_embd\.weight"):
        headers.sizes_of_gguf("x.gguf", metadata, entries[1:])
    for config in ({}, {"model_type": "llama"}, {"model_type": "gemma4_assistant"}, {"text_config": 3}):
        with pytest.raises(UnsupportedModel):
            headers.sizes_of_config("config.json", config)
    with pytest.raises(BadFile, match="hidden_size"):
        headers.sizes_of_config("config.json", {"model_type": "gemma4_text", "num_hidden_layers": 2, **_HEADS})


_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 8}


@pytest.mark.parametrize("kind", ["f16", "f32", "q8_0"])
@pytest.mark.parametrize("name", ["e2b", "31b", "26b"])
@pytest.mark.parametrize("tokens", [40, 200, 1000])
def test_bytes_of_keys_and_values_are_the_engines(name, kind, tokens):
    path = GOLDEN / f"gemma4_tiny_{name}.gguf"
    sizes, *_ = read(path)
    with gemlet.load(path, kv_dtype=kind, threads=1) as model:
        found = _core.testing.decode_filled(model._engine, tokens, 1)
    # A sliding layer may hold a page less or more, by where its window lies on the pages.
    sliding = replace(sizes, window=64, layers=tuple(layer for layer in sizes.layers if layer.sliding))
    slack = estimates.kv_bytes(sliding, 1, kind)
    assert abs(found["cache_bytes"] - estimates.kv_bytes(sizes, tokens + 1, kind, reading=False)) <= slack
    assert found["bytes_read"] == pytest.approx(estimates.kv_read(sizes, tokens + 1, kind))


def test_a_full_cache_of_e2b():
    e2b = FAMILY["E2B"]
    # 3 full layers of 2 x 512 channels; 12 sliding ones of 2 x 256 that hold a window and a block.
    assert estimates.kv_bytes(e2b, 131_072, "f16") == 2 * (3 * 1024 * 131_072 + 12 * 512 * 1024)
    # All 7 full layers read, 4 of them what another wrote.
    assert estimates.kv_read(e2b, 131_072, "f16") == 2 * (7 * 1024 * 131_072 + 28 * 512 * 512)
