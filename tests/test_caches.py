"""Models in the caches, without the hub's package and without a network: what is found, listed and shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gemlet
from gemlet.cli import main
from gemlet.hub.pull import pull
from gemlet.local import caches, sources
from gemma4_folder import write_safetensors
from hub_cache import COMMIT, GOLDEN, OTHER, PACKAGE, TINY, only_this, write_repo


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return only_this(tmp_path, monkeypatch)


def model_folder(folder: Path, **config: object) -> dict[str, bytes]:
    """The files of a tiny folder; safetensors with one tensor."""
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", {"model.norm.weight": np.ones((4, 2), np.float32)}, "BF16")
    files = {"model.safetensors": (folder / "model.safetensors").read_bytes(), "tokenizer.json": b"{}"}
    config = {"model_type": "gemma4_text", "dtype": "bfloat16", "text": {"hidden_size": 2}, **config}
    return {**files, "config.json": json.dumps(config).encode(), "chat_template.jinja": b"{{ messages }}"}


# ---- finding


def test_a_cached_model_loads_with_sockets_forbidden(cache):
    """A process of its own: no package of the hub, no sockets, and a model found by name."""
    write_repo(cache, "org/tiny-gguf", {"tiny-Q8_0.gguf": TINY.read_bytes(), "config.json": b"{}"})
    code = """
import sys
def guard(event, args):
    if event.startswith(("socket.", "urllib.", "http.")):
        raise RuntimeError(f"network: {event} {args}")
sys.addaudithook(guard)
import gemlet
from gemlet.cli import main
for make in (gemlet.load, gemlet.Model.from_pretrained):
    with make("org/tiny-gguf", context=64) as m:
        print(len(m.generate([2, 3], max_tokens=3, ignore_eos=True).token_ids))
try:
    gemlet.load("org/tiny")
except gemlet.ModelNotFound as error:
    print(error)
assert main(["list"]) == 0 and main(["rm", "org/tiny-gguf", "--yes"]) == 0
assert "huggingface_hub" not in sys.modules
"""
    environment = {**os.environ, "PYTHONPATH": PACKAGE}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["3", "3"]
    assert "nearest: org/tiny-gguf:Q8_0; to fetch it: gemlet pull org/tiny" in lines[2]


def test_quants_revisions_and_snapshots(cache):
    old = write_repo(cache, "org/m", {"m-Q8_0.gguf": b"8", "m-Q4_K_M.gguf": b"4"}, COMMIT, "v1")
    new = write_repo(cache, "org/m", {"m-Q4_K_M.gguf": b"44"}, OTHER)
    assert sources.resolve("org/m") == str(new / "m-Q4_K_M.gguf")
    assert sources.resolve("hf.co/org/m:q4_k_m") == str(new / "m-Q4_K_M.gguf")
    assert sources.resolve("org/m:q8_0") == str(old / "m-Q8_0.gguf")  # only the older snapshot has it
    assert sources.resolve("org/m@v1") == str(old / "m-Q4_K_M.gguf")
    assert sources.resolve("org/m@aaaaaaa:Q8_0") == str(old / "m-Q8_0.gguf")
    for missing in ("org/m@v2", "org/m@ccccccc"):
        with pytest.raises(gemlet.ModelNotFound, match=f"gemlet pull {missing}"):
            sources.resolve(missing)
    with pytest.raises(gemlet.ModelNotFound, match="no model is 'Q8_0'; there is: Q4_K_M"):
        sources.resolve("org/m@main:Q8_0")


def test_from_pretrained_chooses_in_the_given_cache(cache, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    snapshot = write_repo(elsewhere, "org/m", {"m-Q8_0.gguf": b"8", "m-F16.gguf": b"16"})
    assert sources.pretrained("org/m", "f16", None, elsewhere) == (str(snapshot / "m-F16.gguf"), None)
    assert sources.pretrained("org/m:Q8_0", None, COMMIT, elsewhere)[0] == str(snapshot / "m-Q8_0.gguf")
    folder = write_repo(elsewhere, "org/folder", model_folder(tmp_path / "made"))
    assert sources.pretrained("org/folder", None, None, elsewhere) == (str(folder), None)
    assert sources.pretrained("org/folder", "q8_0", None, elsewhere) == (str(folder), "q8_0")
    with pytest.raises(gemlet.ModelNotFound, match="it is a folder of safetensors"):
        sources.pretrained("org/folder:q8_0", None, None, elsewhere)
    with pytest.raises(gemlet.ModelNotFound, match="to fetch it: gemlet pull org/m"):
        sources.pretrained("org/m")
    for wrong, options in (
        ("demo", {}),
        (3, {}),
        ("org/m", {"revision": "../x"}),
        ("org/m:Q8_0", {"quant": "Q4_0"}),
        ("org/m@v1", {"revision": "v2"}),
    ):
        with pytest.raises(ValueError, match="from_pretrained: "):
            sources.pretrained(wrong, **options)


def test_quant_picks_a_file_or_is_left_for_loading(cache, tmp_path):
    pulled = write_repo(cache, "org/m", {"m-Q8_0.gguf": b"8", "m-F16.gguf": b"16"})
    folder = write_repo(cache, "org/folder", model_folder(tmp_path / "made"))
    own = tmp_path / "models" / "several"
    own.mkdir(parents=True)
    for quant in ("Q8_0", "F16"):
        (own / f"m-{quant}.gguf").write_bytes(b"m")
    assert sources.choose("org/m", "f16") == (str(pulled / "m-F16.gguf"), None)
    for path in ("several", own):
        assert sources.choose(path, "f16") == (str(own / "m-F16.gguf"), None)
    for path in ("org/folder", folder):
        assert sources.choose(path, "q8_0") == (str(folder), "q8_0")
    assert sources.choose(TINY, "q8_0") == (str(TINY), "q8_0")
    with pytest.raises(gemlet.ModelNotFound, match="no model is 'Q5_0'; there is: F16, Q8_0"):
        sources.choose("several", "Q5_0")
    with pytest.raises(TypeError, match="quant must be a string"):
        gemlet.load("org/m", quant=8)
    (pulled / "m-Q8_0.gguf").unlink()
    (pulled / "m-Q8_0.gguf").symlink_to(TINY)
    with gemlet.load("org/m", quant="q8_0", context=32) as model:
        assert model.path == str(pulled / "m-Q8_0.gguf")


def test_own_models_by_their_stems(cache, tmp_path):
    models = tmp_path / "models"
    (models / "several").mkdir(parents=True)
    (models / "one.gguf").write_bytes(b"1")
    for i in (1, 2):
        (models / f"split-{i:05d}-of-00002.gguf").write_bytes(b"s")
    for quant in ("Q8_0", "F16"):
        (models / "several" / f"m-{quant}.gguf").write_bytes(b"m")
    for name, content in model_folder(models / "folder").items():
        (models / "folder" / name).write_bytes(content)
    assert sources.resolve("one") == sources.resolve("one.gguf") == str(models / "one.gguf")
    assert sources.resolve("split") == str(models / "split-00001-of-00002.gguf")
    assert sources.resolve("several:F16") == str(models / "several" / "m-F16.gguf")
    assert sources.resolve("folder") == str(models / "folder")
    assert sources.resolve(models / "folder") == str(models / "folder")
    with pytest.raises(gemlet.UnsupportedModel, match=r"folder of 2 models: m-F16\.gguf, m-Q8_0\.gguf"):
        sources.resolve(models / "several")
    with pytest.raises(gemlet.ModelNotFound, match=r"no such model in .*models \(GEMLET_MODELS\); nearest: folder"):
        sources.resolve("foldr")
    (models / "split-00002-of-00002.gguf").unlink()
    with pytest.raises(gemlet.BadFile, match=r"split is not complete: .*split-00002-of-00002\.gguf missing"):
        sources.resolve("split")


def test_a_file_here_comes_before_a_name(cache, tmp_path):
    write_repo(cache, "org/m.gguf", {"m.gguf": b"cached"})
    assert sources.resolve("org/m.gguf").startswith(str(cache))
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "m.gguf").write_bytes(b"here")
    assert sources.resolve("org/m.gguf") == "org/m.gguf"


def test_what_was_not_pulled_to_the_end_is_told(cache, tmp_path):
    snapshot = write_repo(cache, "org/m", model_folder(tmp_path / "made"))
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(gemlet.BadFile, match=r"model-2\.safetensors missing .*fetch it: gemlet pull org/m"):
        sources.resolve("org/m")
    (snapshot / "model.safetensors").resolve().unlink()  # a link to nothing is no weight
    with pytest.raises(gemlet.ModelNotFound, match="gemlet pull org/m"):
        sources.resolve("org/m")


@pytest.mark.parametrize("ref", ["", "../../etc", "c" * 40, "x" * 5000, "\xff"])
def test_a_strange_reference_is_passed_over(cache, ref):
    snapshot = write_repo(cache, "org/m", {"m.gguf": b"1"})
    (snapshot.parents[1] / "refs" / "main").write_text(ref, encoding="latin-1")
    assert sources.resolve("org/m") == str(snapshot / "m.gguf")
    (cache / "models--org--..").mkdir()
    (cache / "models--nonsense").write_text("a file")
    assert [model.name for model in caches.everything()] == ["org/m:m"]


def test_the_cache_is_where_the_hubs_tools_put_it(monkeypatch, tmp_path):
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caches.hub_cache() == tmp_path / ".cache/huggingface/hub"
    for name, value, expected in (
        ("XDG_CACHE_HOME", "/x", "/x/huggingface/hub"),
        ("HF_HOME", "~/hf", f"{tmp_path}/hf/hub"),
        ("HUGGINGFACE_HUB_CACHE", "/old", "/old"),
        ("HF_HUB_CACHE", "$HOME/new", f"{tmp_path}/new"),
    ):
        monkeypatch.setenv(name, value)
        assert str(caches.hub_cache()) == expected


# ---- the commands


def test_list_as_a_table_and_as_json(cache, tmp_path, capsys):
    assert main(["list"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "no models in" in said.err
    write_repo(cache, "org/m", {"m-Q8_0.gguf": bytes(2048), "m-F16.gguf": b"16"})
    write_repo(cache, "org/folder", model_folder(tmp_path / "made"))
    write_repo(cache, "org/words", {"README.md": b"no model"})
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine-Q4_0.gguf").write_bytes(b"m")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "format", "quant", "size", "modified"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["mine-Q4_0", "gguf", "Q4_0"],
        ["org/folder", "safetensors", "BF16"],
        ["org/m:F16", "gguf", "F16"],
        ["org/m:Q8_0", "gguf", "Q8_0"],
    ]
    assert "2.0 KiB" in lines[4]
    assert main(["list", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert [model["name"] for model in models] == ["mine-Q4_0", "org/folder", "org/m:F16", "org/m:Q8_0"]
    for model in models:
        assert sources.resolve(model["name"]) == model["path"]
    assert (models[3]["bytes"], models[3]["origin"], models[3]["revision"]) == (2048, "hub", COMMIT)


def test_list_knows_the_demo(cache, monkeypatch, capsys):
    monkeypatch.setattr("gemlet.local.demo.installed", lambda: True)
    assert main(["list"]) == 0
    assert "not put together yet" in capsys.readouterr().out


def test_show_a_folder_and_a_name(cache, tmp_path, capsys):
    write_repo(cache, "org/folder", model_folder(tmp_path / "made"))
    assert main(["show", "org/folder", "--tensors"]) == 0
    shown = capsys.readouterr().out
    rows = {line.split("  ")[0]: line.split()[-1] for line in shown.splitlines() if line}
    assert rows["model_type"] == "gemma4_text"
    assert rows["text.hidden_size"] == "2"
    assert rows["tokenizer"] == "tokenizer.json"
    assert rows["chat template"] == "chat_template.jinja"
    assert "model.norm.weight  BF16  4 x 2  16 B" in shown
    assert main(["show", "org/folder", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format"], facts["parameters"], facts["tensor_bytes"], facts["chat_template"]) == (
        "safetensors",
        8,
        16,
        True,
    )
    assert facts["types"] == [{"type": "BF16", "tensors": 1, "parameters": 8, "bytes": 16}]
    write_repo(cache, "org/m", {"m-Q8_0.gguf": TINY.read_bytes()})
    assert main(["show", "org/m", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format"], facts["file_bytes"], facts["chat_template"]) == ("gguf", TINY.stat().st_size, False)
    assert main(["show", str(GOLDEN), "--json"]) == 1


def test_without_the_extra_the_install_line_is_named(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(gemlet.MissingExtra, match=r"pip install 'gemlet\[hub\]'"):
        pull("org/m")
