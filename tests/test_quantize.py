"""Writing a model in fewer bits: the format and bits of every tensor, what the file says, and the cache of `load`."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemlet
from gemlet import _core, quantization
from gemlet.errors import BadFile, GemletError, UnsupportedModel

gguf = pytest.importorskip("gguf")

from folder_models import GOLDEN, script, variant, write, write_gemma3, write_tokenizer  # noqa: E402
from gemma4_folder import write_folder  # noqa: E402
from tokenizer_strings import strings  # noqa: E402

E2B, DENSE, MOE = "gemma4_tiny_e2b", "gemma4_tiny_31b", "gemma4_tiny_26b"
# Widths that are whole blocks, and in the mixture one that is not.
SIZES: dict[str, dict[str, Any]] = {
    E2B: {"D": 64, "C": (32, 64), "F": 96, "P": 32},
    MOE: {"D": 32, "C": (16, 32), "F": 40, "M": 32},
}
CAREFUL = {"token_embd.weight", "per_layer_model_proj.weight"}


def wide(folder: Path, name: str, dtype: str = "F32", **config: Any) -> tuple[str, dict[str, np.ndarray]]:
    """A folder of the variant's wider twin, and its weights by GGUF's names."""
    made = script("make_gemma4")
    v = dataclasses.replace(variant(name), **SIZES[name])
    weights = made.weights(v)
    write_folder(folder, made.hf_config(v) | config, made.hf_state(weights), dtype)
    write_tokenizer(folder, v.V)
    return str(folder), weights


def expected_type(name: str, shape: tuple[int, ...], form: str, experts: bool) -> str:
    if len(shape) < 2 or "ffn_gate_inp" in name:
        return "F32"
    if shape[-1] % 32:
        return "F16"
    dense = ".ffn_" in name and "_exps." not in name
    careful = name in CAREFUL or (experts and dense)
    return "Q8_0" if form == "q4_0" and careful else form.upper()


@pytest.mark.parametrize("form", ["q8_0", "q4_0", "f16"])
@pytest.mark.parametrize("name", SIZES)
def test_every_tensor(tmp_path: Path, name: str, form: str) -> None:
    folder, weights = wide(tmp_path / "folder", name)
    out = tmp_path / "out.gguf"
    made = gemlet.quantize(folder, out, form)
    file = _core.Gguf(str(out))
    found = {t["name"]: t for t in file.tensors()}
    assert set(found) == set(weights)
    seen = set()
    for key, array in weights.items():
        kind = expected_type(key, array.shape, form, name == MOE)
        seen.add(kind)
        assert (found[key]["type"], found[key]["shape"]) == (kind, array.shape), key
        number = gguf.GGMLQuantizationType[kind]
        with np.errstate(over="ignore"):
            wanted = gguf.quants.dequantize(gguf.quants.quantize(array, number), number)
        np.testing.assert_array_equal(file.tensor(key), wanted.reshape(array.shape), err_msg=key)
    assert {"F32", form.upper()} <= seen
    assert made["bytes"] == out.stat().st_size
    assert made["notes"] == []
    assert list(tmp_path.glob("*.partial")) == []


@pytest.mark.parametrize("name", SIZES)
def test_the_file_is_the_model(tmp_path: Path, name: str) -> None:
    folder, _ = wide(tmp_path / "folder", name)
    (tmp_path / "folder" / "chat_template.jinja").write_text("{{ bos_token }}hello")
    said = {"temperature": 0.5, "top_k": 7, "top_p": 0.75, "eos_token_id": [1, 262], "suppress_tokens": [265]}
    (tmp_path / "folder" / "generation_config.json").write_text(json.dumps(said))
    for form, nearness in (("f16", 0.1), ("q8_0", 1.0)):
        out = tmp_path / f"{form}.gguf"
        gemlet.quantize(folder, out, form)
        with gemlet.load(folder) as source, gemlet.load(out) as model:
            assert model.quantization == form.upper()
            assert model.name == "folder"
            for key in ("layers", "width", "vocab_size", "window", "heads", "ffn", "trained_context"):
                assert model.info[key] == source.info[key]
            for key in ("generation", "suppress_ids", "chat_template"):
                assert model.info[key] == source.info[key]
            assert set(model.info["end_ids"]) == set(source.info["end_ids"])
            ids = np.random.default_rng(1).integers(4, 270, 50).astype(np.int32)
            error = np.abs(model.logits(ids) - source.logits(ids))
            assert 0 < error.mean() < nearness
            for texts in strings({"prose": 20, "spaces": 20, "emoji": 20}).values():
                for text in texts:
                    given = text.decode().replace("\n", " ")  # this vocabulary has runs of newlines without merges
                    assert model.tokenize(given).tolist() == source.tokenize(given).tolist()


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_half_precision_sources(tmp_path: Path, dtype: str) -> None:
    """Rows that are no whole number of blocks stay BF16 where they are: nothing is lost, and the size is the same."""
    folder, _ = wide(tmp_path / "folder", MOE, dtype)
    gemlet.quantize(folder, tmp_path / "out.gguf", "q8_0")
    types = {t["name"]: t["type"] for t in _core.Gguf(str(tmp_path / "out.gguf")).tensors()}
    assert types["blk.0.ffn_down.weight"] == dtype
    assert types["blk.0.ffn_gate.weight"] == "Q8_0"


def test_any_number_of_threads_gives_the_same_file(tmp_path: Path) -> None:
    folder, _ = wide(tmp_path / "folder", MOE)
    files = []
    for threads in (1, 2, 5):
        gemlet.quantize(folder, tmp_path / "out.gguf", "q4_0", threads=threads)
        files.append((tmp_path / "out.gguf").read_bytes())
    assert files[0] == files[1] == files[2]


def test_dead_tensors_are_left_out(tmp_path: Path) -> None:
    gemlet.quantize(write(tmp_path / "folder", "gemma4_more_dead"), tmp_path / "out.gguf", "f16")
    names = {t["name"] for t in _core.Gguf(str(tmp_path / "out.gguf")).tensors()}
    assert "blk.3.attn_k.weight" in names
    assert "blk.4.attn_k.weight" not in names


@pytest.mark.parametrize("name", ["gemma3_tiny", "gemma3_tiny_linear"])
def test_gemma3(tmp_path: Path, name: str) -> None:
    folder, whole = write_gemma3(tmp_path / "folder", name)
    gemlet.quantize(folder, tmp_path / "out.gguf", "f16")
    ids = np.random.default_rng(3).integers(4, 262, 60).astype(np.int32)
    made, wanted = _core.Model(str(tmp_path / "out.gguf")), _core.Model(whole)
    assert np.abs(made.logits(ids) - wanted.logits(ids)).max() < 0.1
    text = "one  two\n\nthree"
    assert made.tokenizer.encode(text).tolist() == _core.Tokenizer(folder).encode(text).tolist()


def test_rows_without_a_piece_get_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", E2B)
    write_tokenizer(Path(folder), 276)
    gemlet.quantize(folder, tmp_path / "out.gguf", "f16")
    with gemlet.load(tmp_path / "out.gguf") as model:
        assert model.warnings == []
        assert model.detokenize([278]) == "[PAD278]"


def test_gguf_sources_keep_what_they_say(tmp_path: Path) -> None:
    source = str(GOLDEN / f"{E2B}.gguf")
    gemlet.quantize(source, tmp_path / "out.gguf", "f16")
    before, after = _core.Gguf(source).metadata(10**6), _core.Gguf(str(tmp_path / "out.gguf")).metadata(10**6)
    assert after.pop("general.file_type") == 1
    assert after.pop("general.quantization_version") == 2
    del before["general.file_type"]
    assert after == before
    ids = np.arange(4, 64, dtype=np.int32)
    assert np.abs(_core.Model(str(tmp_path / "out.gguf")).logits(ids) - _core.Model(source).logits(ids)).max() < 0.1


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    folder, weights = wide(tmp_path / "folder", MOE)
    seen: list[tuple[int, int]] = []
    gemlet.quantize(folder, tmp_path / "out.gguf", "q8_0", progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == sum(a.nbytes for k, a in weights.items() if k != "rope_freqs.weight")


# What cannot be done.


def test_what_is_begun_and_not_finished_leaves_nothing(tmp_path: Path) -> None:
    folder, _ = wide(tmp_path / "folder", MOE)
    out = tmp_path / "out.gguf"
    out.write_bytes(b"what was there")

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gemlet.quantize(folder, out, "q8_0", progress=stop)
    assert out.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "out.gguf"]


def test_formats(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", MOE)
    with pytest.raises(ValueError, match="reads q4_k_m but does not write it; use q8_0, q4_0 or f16"):
        gemlet.quantize(folder, tmp_path / "out.gguf", "q4_k_m")
    with pytest.raises(ValueError, match="expected the format q8_0, q4_0 or f16, got 'Q9'"):
        gemlet.quantize(folder, tmp_path / "out.gguf", "Q9")
    with pytest.raises(ValueError, match="quant must be one of"):
        gemlet.load(folder, quant="q4_k_m")


def test_weights_that_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    gemlet.quantize(write(tmp_path / "folder", MOE), tmp_path / "half.gguf", "f16")
    with pytest.raises(UnsupportedModel, match=r"expected F32, F16 or BF16, got Q8_0; quantising twice"):
        gemlet.quantize(GOLDEN / "gemma3_tiny_q8_0.gguf", out, "q4_0")
    for value, message in ((np.nan, "got nan; the file is damaged"), (1e6, "half precision does not hold it, use q8")):
        bad = np.ones((20, 16), np.float32)
        bad[3, 4] = value
        folder = write(tmp_path / str(value), MOE, state={"model.layers.1.mlp.gate_proj.weight": bad})
        with pytest.raises(BadFile, match=f"'blk.1.ffn_gate.weight': expected numbers up to .*{message}"):
            gemlet.quantize(folder, out, "f16")
    assert not out.exists()


def test_sizes_that_a_gguf_file_cannot_say(tmp_path: Path) -> None:
    rope = {
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 5e5, "factor": 2.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }
    folder = write(tmp_path / "said", MOE, config={"rope_parameters": rope})
    gemlet.quantize(folder, tmp_path / "said.gguf", "f16")
    ids = np.arange(4, 44, dtype=np.int32)
    both = [_core.Model(path).logits(ids) for path in (folder, str(tmp_path / "said.gguf"))]
    assert np.abs(both[0] - both[1]).max() < 0.1
    rope["sliding_attention"] = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}
    folder = write(tmp_path / "unsaid", MOE, config={"rope_parameters": rope})
    with pytest.raises(UnsupportedModel, match="cannot say the rotary frequencies as this model has it"):
        gemlet.quantize(folder, tmp_path / "out.gguf", "f16")
    for config, what in (
        ({"query_pre_attn_scalar": 7}, "the scale of the attention"),
        ({"final_logit_softcapping": 9.0}, "final_logit_softcapping"),
        ({"sliding_window_pattern": 2}, "which layers slide"),
    ):
        folder, _ = write_gemma3(tmp_path / what[:5], "gemma3_tiny_linear", **config)
        with pytest.raises(UnsupportedModel, match=f"cannot say {what}"):
            gemlet.quantize(folder, tmp_path / "out.gguf", "f16")
    assert not (tmp_path / "out.gguf").exists()


def test_where_it_goes(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", MOE)
    with pytest.raises(GemletError, match="cannot be created: No such file or directory; name a file in a folder that"):
        gemlet.quantize(folder, tmp_path / "none" / "out.gguf", "f16")
    with pytest.raises(ValueError, match="dst must be the name of a file"):
        gemlet.quantize(folder, tmp_path, "f16")
    gemlet.quantize(folder, tmp_path / "out.gguf", "f16")
    with pytest.raises(ValueError, match="dst is the source itself"):
        gemlet.quantize(tmp_path / "out.gguf", tmp_path / "out.gguf", "f16")


def test_added_tokens_with_rules_are_noted(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", MOE)
    path = Path(folder) / "tokenizer.json"
    document = json.loads(path.read_text())
    document["added_tokens"][0]["lstrip"] = True
    path.write_text(json.dumps(document))
    made = gemlet.quantize(folder, tmp_path / "out.gguf", "f16")
    assert len(made["notes"]) == 1
    assert "1 added tokens take white space along" in made["notes"][0]


# load(folder, quant=...)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEMLET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files_in(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.gguf"))


def test_load_writes_once(tmp_path: Path, cache: Path) -> None:
    folder, _ = wide(tmp_path / "tiny-model", E2B)
    with gemlet.load(folder, quant="q8_0") as first:
        (made,) = files_in(cache)
        assert made.name.startswith("tiny-model-q8_0-")
        assert first.warnings == [
            f"wrote the weights as q8_0 to {made} ({made.stat().st_size / 1e6:.0f} MB), once; remove it when not needed"
        ]
        assert first.quantization == "Q8_0"
        assert first.path == folder
        stamp = made.stat().st_mtime_ns
        copy = pickle.loads(pickle.dumps(first))
        assert copy.warnings == []
        assert copy.logits([2, 5, 6]).tolist() == first.logits([2, 5, 6]).tolist()
        copy.close()
    assert files_in(cache) == [made]
    assert made.stat().st_mtime_ns == stamp
    with gemlet.load(folder, quant="q4_0") as other:
        assert other.quantization == "Q4_0"
    assert len(files_in(cache)) == 2


def test_a_changed_source_is_written_anew(tmp_path: Path, cache: Path) -> None:
    folder, _ = wide(tmp_path / "folder", MOE)
    weights = Path(folder) / "model.safetensors"
    names = set()
    for change in (lambda: None, lambda: os.utime(weights), lambda: wide(tmp_path / "folder", MOE, sliding_window=5)):
        change()
        gemlet.load(folder, quant="f16").close()
        names = {path.name for path in files_in(cache)}
    assert len(names) == 3
    with gemlet.load(folder, quant="f16") as model:
        assert model.info["window"] == 5


def test_two_at_once_write_one_file(tmp_path: Path, cache: Path) -> None:
    folder, _ = wide(tmp_path / "folder", MOE)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: quantization.cached(folder, "q8_0"), range(4)))
    assert len({path for path, _ in made}) == 1
    assert sum(bool(notes) for _, notes in made) == 1
    assert [path.suffix for path in sorted(cache.iterdir())] == [".gguf", ".lock"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path, cache: Path) -> None:
    folder, _ = wide(tmp_path / "folder", MOE)
    target = Path(quantization.cached(folder, "q8_0")[0])
    target.unlink()
    stale = Path(f"{target}.999.0.partial")
    stale.write_bytes(b"half")
    quantization.cached(folder, "q8_0")
    assert target.exists()
    assert not stale.exists()


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = wide(tmp_path / "folder", MOE)
    (tmp_path / "file").touch()
    monkeypatch.setenv("GEMLET_CACHE", str(tmp_path / "file"))
    with pytest.raises(GemletError, match="set GEMLET_CACHE to a folder that can be written"):
        gemlet.load(folder, quant="q8_0")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GEMLET_CACHE", raising=False)
    monkeypatch.setenv("GEMLET_MODELS", str(tmp_path))
    assert quantization.cache_folder() == tmp_path / "quantized"
    monkeypatch.delenv("GEMLET_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert quantization.cache_folder() == tmp_path / "xdg" / "gemlet" / "quantized"


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gemlet.cli import main

    folder, _ = wide(tmp_path / "folder", MOE)
    out = tmp_path / "out.gguf"
    assert main(["quantize", folder, str(out), "q8_0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == out.stat().st_size
    assert main(["quantize", folder, str(out), "q8_0"]) == 0
    assert "weights, " in capsys.readouterr().out
    assert main(["quantize", folder, str(out), "q3_k"]) == 2
    assert "does not write it" in capsys.readouterr().err
