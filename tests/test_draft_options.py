"""`load(draft=...)`: where a drafter is looked for, what is told of it, and what an answer says of its drafts."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

import gemlet
from gemlet.local import sources

pytest.importorskip("gguf")

from test_drafter import make_assistant

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of its own folder, with files beside it that are no drafters."""
    shutil.copy(GOLDEN / "gemma4_tiny_e2b.gguf", tmp_path / "model.gguf")
    shutil.copy(GOLDEN / "gemma3_tiny.gguf", tmp_path / "another.gguf")
    (tmp_path / "notes.txt").write_text("gemma4-assistant")
    (tmp_path / "half.gguf").write_bytes(b"GGUF")
    return tmp_path


def put(name: str, path: Path, dialect: str = "llama.cpp") -> None:
    script = make_assistant()
    script.write_gguf(next(a for a in script.ASSISTANTS if a.name == name), path, dialect=dialect)


def answer(model: gemlet.Model, **options) -> gemlet.Generation:
    return model.generate([2, *[20, 21, 22] * 5], max_tokens=40, temperature=0, ignore_eos=True, **options)


def test_without_a_drafter_the_text_is_looked_up(folder):
    with gemlet.load(folder / "model.gguf") as model:
        made = answer(model, logit_bias={20: 50.0, 21: 50.0})
    assert (model.info["draft"], model.info["draft_path"], model.warnings) == ("lookup", None, [])
    assert isinstance(made.usage.draft, gemlet.Draft)
    assert made.usage.draft.kind == "lookup"
    assert made.as_dict()["usage"]["draft"]["drafted"] == made.usage.draft.drafted


@pytest.mark.parametrize("dialect", ["llama.cpp", "ik_llama.cpp"])
def test_the_drafter_beside_the_model_is_taken(folder, dialect):
    put("assistant_tiny_e2b", folder / "zz.gguf", dialect)
    with gemlet.load(folder / "model.gguf") as model:
        assert (model.info["draft"], model.info["draft_path"]) == ("assistant", str(folder / "zz.gguf"))
        assert model.warnings == []
        made = answer(model)
    assert made.usage.draft.kind == "assistant"
    with gemlet.load(folder / "model.gguf", draft=None) as plain:
        assert plain.info["draft"] == "off"
        other = answer(plain)
    assert other.usage.draft == gemlet.Draft("off", 0, 0)
    assert other.token_ids.tolist() == made.token_ids.tolist()


def test_a_drafter_of_another_model_is_left_with_a_warning(folder):
    put("assistant_tiny_31b", folder / "other.gguf")
    with gemlet.load(folder / "model.gguf") as model:
        assert model.info["draft"] == "lookup"
        assert "cannot be used, so drafts come from the text: " in model.warnings[0]
    with pytest.raises(gemlet.BadFile, match="the drafter was made for another model than"):
        gemlet.load(folder / "model.gguf", draft=folder / "other.gguf")
    for draft in ("lookup", "off", None):
        with gemlet.load(folder / "model.gguf", draft=draft) as model:
            assert model.warnings == []


def test_a_named_drafter_survives_a_pickle(folder, tmp_path):
    put("assistant_tiny_e2b", tmp_path / "mine.gguf")
    with (
        gemlet.load(folder / "model.gguf", draft=str(tmp_path / "mine.gguf")) as model,
        pickle.loads(pickle.dumps(model)) as copy,
    ):
        assert copy.info["draft_path"] == str(tmp_path / "mine.gguf")


def test_folders_beside_and_inside_a_folder(tmp_path):
    model = tmp_path / "tiny-it"
    for name, kind in (
        ("tiny-it", "gemma4"),
        ("tiny-it-assistant", "gemma4_assistant"),
        ("tiny-it/mtp", "gemma4_assistant"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": kind}))
    (model / "empty").mkdir()
    (model / "broken").mkdir()
    (model / "broken" / "config.json").write_text("{")
    assert sources.drafters_beside(str(model)) == [str(model / "mtp"), str(tmp_path / "tiny-it-assistant")]
