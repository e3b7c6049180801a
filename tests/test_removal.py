"""Removing models: what goes, what stays, and nothing outside the caches."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import gemlet
from gemlet.cli import main
from gemlet.local import removal, sources
from hub_cache import COMMIT, OTHER, everything_below, only_this, write_repo


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return only_this(tmp_path, monkeypatch)


def test_rm_takes_a_quant_and_leaves_the_others(cache, capsys):
    shared = b"the same in both"
    one = write_repo(
        cache, "org/m", {"m-Q8_0.gguf": bytes(5000), "README.md": b"r", "m-F16.gguf": shared}, COMMIT, "v1"
    )
    two = write_repo(cache, "org/m", {"m-Q8_0.gguf": bytes(5000), "m-Q4_0.gguf": shared}, OTHER)
    other = write_repo(cache, "org/other", {"o-Q8_0.gguf": bytes(5000)})
    assert main(["rm", "org/m:q8_0", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": ["org/m:Q8_0"], "freed_bytes": 5000}
    assert sorted(path.name for path in one.iterdir()) == ["README.md", "m-F16.gguf"]
    assert sorted(path.name for path in two.iterdir()) == ["m-Q4_0.gguf"]
    assert len(list((one.parents[1] / "blobs").iterdir())) == 2
    assert (other / "o-Q8_0.gguf").read_bytes() == bytes(5000)
    assert main(["rm", "org/m:F16", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed_bytes"] == 0  # the other snapshot's file has the same content
    assert sources.resolve("org/m:Q4_0") == str(two / "m-Q4_0.gguf")
    assert main(["rm", f"org/m@{OTHER}", "--yes"]) == 0
    assert not (cache / "models--org--m").exists()  # nothing that is a model was left
    assert sorted(path.name for path in cache.iterdir()) == ["models--org--other"]


def test_rm_leaves_what_another_tool_put_there(cache):
    files = {"m-Q8_0.gguf": b"1", "mmproj-m-F16.gguf": b"2", "pytorch_model.bin": b"3", "config.json": b"{}"}
    snapshot = write_repo(cache, "org/m", files)
    assert removal.carry_out(removal.plan("org/m:Q8_0")) == 1
    assert sorted(path.name for path in snapshot.iterdir()) == sorted(set(files) - {"m-Q8_0.gguf"})
    (snapshot / "pytorch_model.bin").unlink()
    (snapshot / "m-Q4_0.gguf").write_bytes(b"4444")
    assert removal.carry_out(removal.plan("org/m:Q4_0")) == 4 + 1 + 2 + 1  # the rest is of no use by itself
    assert list(cache.iterdir()) == []


def test_rm_of_one_revision_drops_its_reference(cache):
    write_repo(cache, "org/m", {"m-Q8_0.gguf": b"1"}, COMMIT, "v1")
    new = write_repo(cache, "org/m", {"m-Q8_0.gguf": b"22"}, OTHER)
    assert main(["rm", "org/m@v1", "--yes"]) == 0
    folder = new.parents[1]
    assert [path.name for path in (folder / "refs").iterdir()] == ["main"]
    assert [path.name for path in (folder / "snapshots").iterdir()] == [OTHER]
    assert (new / "m-Q8_0.gguf").read_bytes() == b"22"


def test_rm_asks_and_refuses_where_it_cannot(cache, monkeypatch, capsys):
    snapshot = write_repo(cache, "org/m", {"m-Q8_0.gguf": bytes(100)})
    before = everything_below(cache)
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert main(["rm", "org/m"]) == 1
    said = capsys.readouterr().err
    assert "would remove org/m:Q8_0 (100 B in " in said
    assert "give --yes" in said

    class Person:
        def __init__(self, answer: str) -> None:
            self._answer = answer

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return self._answer

    for answer in ("", "n\n", "\n", "nein\n"):
        monkeypatch.setattr("sys.stdin", Person(answer))
        assert main(["rm", "org/m"]) == 1
        assert "nothing was removed" in capsys.readouterr().err
    assert everything_below(cache) == before
    monkeypatch.setattr("sys.stdin", Person("y\n"))
    assert main(["rm", "org/m"]) == 0
    assert "removed org/m:Q8_0: 100 B free" in capsys.readouterr().out
    assert not snapshot.exists()


def test_rm_says_what_is_not_its_own(cache, tmp_path, capsys):
    write_repo(cache, "org/m", {"m-Q8_0.gguf": b"1", "m-F16.gguf": b"2"})
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.gguf").write_bytes(b"m")
    before = everything_below(tmp_path)
    for name, message in (
        ("mine", "a file of your own"),
        (str(tmp_path / "models"), "is a path"),
        ("nothing", "no name of a pulled model"),
        ("org/other", "there is: org/m"),
        ("org/m:Q4_0", "there is: F16, Q8_0"),
        ("org/m@v9", "no revision 'v9'"),
        ("../m", "no name of a pulled model"),
        ("demo", "the demo is not in"),
    ):
        assert main(["rm", name, "--yes"]) == 1, name
        assert message in capsys.readouterr().err, name
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("part", ["", "snapshots", "blobs", "refs", f"snapshots/{COMMIT}", f"snapshots/{COMMIT}/sub"])
def test_rm_follows_no_linked_folder(cache, tmp_path, part):
    write_repo(cache, "org/m", {"m-Q8_0.gguf": b"1", "sub/m-F16.gguf": b"2"})
    place = cache / "models--org--m" / part
    outside = tmp_path / "outside"
    place.rename(outside)
    place.symlink_to(outside, target_is_directory=True)
    before = everything_below(tmp_path)
    for name in ("org/m", "org/m:Q8_0"):
        with pytest.raises(gemlet.BadFile, match="not a plain folder"):
            removal.plan(name)
    assert everything_below(tmp_path) == before


def test_rm_removes_links_but_not_what_lies_elsewhere(cache, tmp_path):
    snapshot = write_repo(cache, "org/m", {"m-Q8_0.gguf": b"1", "m-F16.gguf": b"22"})
    precious = tmp_path / "precious.gguf"
    precious.write_bytes(b"precious")
    (snapshot / "m-Q4_0.gguf").symlink_to(precious)
    (snapshot / "m-Q5_0.gguf").symlink_to("../../../../../precious.gguf")
    assert removal.carry_out(removal.plan("org/m:Q4_0")) == 0
    assert removal.carry_out(removal.plan("org/m:Q5_0")) == 0
    assert removal.carry_out(removal.plan("org/m:F16")) == 2
    assert removal.carry_out(removal.plan("org/m")) == 1
    assert precious.read_bytes() == b"precious"
    assert list(cache.iterdir()) == []


def test_rm_of_a_folder_that_turns_into_a_link_meanwhile(cache, tmp_path):
    snapshot = write_repo(cache, "org/m", {"m-Q8_0.gguf": b"1", "m-F16.gguf": b"2"})
    plan = removal.plan("org/m:Q8_0")
    outside = tmp_path / "outside"
    snapshot.rename(outside)
    snapshot.symlink_to(outside, target_is_directory=True)
    with pytest.raises(gemlet.BadFile, match="one of its folders is a link"):
        removal.carry_out(plan)
    assert sorted(path.name for path in outside.iterdir()) == ["m-F16.gguf", "m-Q8_0.gguf"]


def test_rm_of_what_an_interrupted_pull_left(cache):
    blobs = cache / "models--org--m" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.incomplete").write_bytes(bytes(70))
    assert removal.carry_out(removal.plan("org/m")) == 70
    assert list(cache.iterdir()) == []


def test_rm_of_shared_contents_waits_for_the_last_that_uses_them(cache):
    """Version 2 of the hub's library keeps contents once for all repositories, and links each repository's to them."""
    content = "f" * 64
    store = cache / "blobs"
    (store / content[:2]).mkdir(parents=True)
    (store / ".huggingface-shared-blobs").write_text("1\n")
    (store / content[:2] / content).write_bytes(bytes(900))
    (store / content[:2] / f"{content}.refs").write_text("")
    for repo in ("org/one", "org/two"):
        snapshot = write_repo(cache, repo, {"m-Q8_0.gguf": b"x"})
        (blob,) = (snapshot.parents[1] / "blobs").iterdir()
        blob.unlink()
        blob.symlink_to(f"../../blobs/{content[:2]}/{content}")
    assert removal.carry_out(removal.plan("org/one:Q8_0")) == 0
    assert (store / content[:2] / content).exists()
    assert removal.carry_out(removal.plan("org/two")) == 900
    assert list((store / content[:2]).iterdir()) == []


def test_rm_of_the_demo_takes_its_file_only(cache, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    for name in ("gemma-3-270m-q4_k_m.gguf", "gemma-3-270m-q4_k_m.gguf.checked", "mine.gguf"):
        (models / name).write_bytes(bytes(10))
    assert removal.carry_out(removal.plan("demo")) == 20
    assert [path.name for path in models.iterdir()] == ["mine.gguf"]
