"""Soft tokens of tiny models that hear, against what transformers makes of the same sound (golden/audio.npz)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import audio_models
import gemlet
import sounds
from audio_models import script
from gemlet import _core

GOLDEN = np.load(Path(__file__).parent / "golden" / "audio.npz")


def distance(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


def sound() -> np.ndarray:
    return sounds.speech_like(script("make_audio").SAMPLES)


@pytest.mark.parametrize("name", audio_models.NAMES)
@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_soft_tokens_are_the_reference_s(name: str, kind: str, tmp_path: Path) -> None:
    write = audio_models.write_folder if kind == "folder" else audio_models.write_gguf
    with gemlet.load(write(tmp_path / "m", name), threads=2) as model:
        made = model.encode_audio((sound(), 16000))
        assert model.hears
        assert model.warnings == []
    wanted = GOLDEN[name]
    assert made.dtype == np.float32
    assert made.shape == wanted.shape
    assert distance(made, wanted) < 2e-5


@pytest.mark.parametrize("name", audio_models.NAMES)
@pytest.mark.parametrize("seconds", [0.08, 0.3, 5.0])
def test_pieces_give_the_same_bits(name: str, seconds: float, tmp_path: Path) -> None:
    long = np.concatenate([sounds.speech_like(140_000, seed=i) for i in range(2)])
    step = round(16000 * seconds)
    blocks = [long[at : at + step] for at in range(0, len(long), step)]
    with gemlet.load(audio_models.write_folder(tmp_path / "m", name), threads=2) as model:
        whole = model.encode_audio((long, 16000))
        parts = list(model.listen((iter(blocks), 16000), every=0.04))
        assert len(parts) > 1
        assert np.array_equal(np.concatenate(parts), whole)


def own_memory() -> int:
    """KiB of this process that no file lies behind."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def test_memory_does_not_grow_with_the_sound(tmp_path: Path) -> None:
    minute = [sounds.speech_like(16000, seed=i) for i in range(60)]
    blocks = (block for _ in range(6) for block in minute)
    with gemlet.load(audio_models.write_folder(tmp_path / "m", "e2b"), threads=2) as model:
        used, rows = [], 0
        for made in model.listen((blocks, 16000), every=2.0):
            rows += len(made)
            used.append((rows, own_memory()))
    assert rows == 9000
    after_one = max(kib for n, kib in used if n <= 1500)
    assert max(kib for _, kib in used) < after_one + 2048


@pytest.mark.parametrize(("kind", "dtype", "bound"), [
    ("folder", "F16", 1e-2), ("folder", "BF16", 2e-2), ("gguf", "F16", 1e-2), ("gguf", "BF16", 2e-2),
    ("gguf", "Q8_0", 4e-2),
])  # fmt: skip
def test_weights_in_fewer_bits(kind: str, dtype: str, bound: float, tmp_path: Path) -> None:
    write = audio_models.write_folder if kind == "folder" else audio_models.write_gguf
    path = write(tmp_path / "m", "e2b", dtype)
    with gemlet.load(path, compute="float32") as model:
        exact = model.encode_audio((sound(), 16000))
    with gemlet.load(path, threads=1) as model:
        quick = model.encode_audio((sound(), 16000))
        pieces = list(model.listen((sound(), 16000), every=0.5))
    with gemlet.load(path, threads=3) as model:
        assert np.array_equal(model.encode_audio((sound(), 16000)), quick)
    assert np.array_equal(np.concatenate(pieces), quick)
    assert 0 < distance(exact, GOLDEN["e2b"]) < bound
    assert 0 < distance(quick, GOLDEN["e2b"]) < 2 * bound


def test_a_projector_is_found_by_what_it_says(tmp_path: Path) -> None:
    with gemlet.load(audio_models.write_gguf(tmp_path / "m", "e2b")) as model:
        assert _core.hearing(model._engine)["path"] == str(tmp_path / "m" / "other.gguf")


def test_a_projector_of_another_model_is_told(tmp_path: Path) -> None:
    path = audio_models.write_gguf(tmp_path / "m", "e2b")
    script("make_audio").write_projector(audio_models.variant("12b"), tmp_path / "m" / "other.gguf")
    with gemlet.load(path) as model:
        assert not model.hears
        assert "have 20 values, the model's 16" in model.warnings[0]
        with pytest.raises(gemlet.MediaError, match="has no part that hears"):
            model.encode_audio((sound(), 16000))


def test_a_text_model_refuses_sound(m: gemlet.Model) -> None:
    assert not m.hears
    for call in (m.encode_audio, m.listen):
        with pytest.raises(gemlet.MediaError, match=r"audio: the model .* has no part that hears"):
            call((sound(), 16000))


def test_too_short_a_sound(tmp_path: Path) -> None:
    with gemlet.load(audio_models.write_folder(tmp_path / "m", "e2b")) as model:
        assert len(model.encode_audio((sound()[:161], 16000))) == 1
        with pytest.raises(gemlet.MediaError, match=r"10\.0 ms are too short; at least 161 samples"):
            model.encode_audio((sound()[:160], 16000))


def test_a_sound_ends_once(tmp_path: Path) -> None:
    with gemlet.load(audio_models.write_folder(tmp_path / "m", "e2b")) as model:
        ear = _core.Ear(model._engine)
        ear.feed(sound(), True)
        with pytest.raises(ValueError, match="it has ended"):
            ear.feed(sound())
        with pytest.raises(ValueError, match=r"samples\[2\]: expected a finite number"):
            _core.Ear(model._engine).feed(np.array([0, 0, np.inf], np.float32))


@pytest.mark.parametrize(("change", "words"), [
    (lambda made: made.pop("audio_tower.layers.1.feed_forward2.ffw_layer_1.linear.weight"),
     "ffn_up_1.weight': it is missing"),
    (lambda made: made.update({"audio_tower.layers.0.norm_out.weight": np.ones(5, np.float32)}),
     r"ln2.weight': expected \(32\), got \(5\)"),
    (lambda made: made.update({"audio_tower.layers.0.self_attn.post.input_max": np.array(np.nan, np.float32)}),
     "input_max': expected a number, got NaN"),
])  # fmt: skip
def test_damaged_weights_are_named(change: object, words: str, tmp_path: Path) -> None:
    made = script("make_audio").weights(audio_models.variant("e2b"))
    change(made)  # type: ignore[operator]
    with gemlet.load(audio_models.write_folder(tmp_path / "m", "e2b", made=made)) as model:
        assert not model.hears
        assert re.search(words, model.warnings[0])
        assert len(model.generate([2, 5], max_tokens=1, ignore_eos=True).token_ids) == 1  # reading goes on


def test_settings_that_gemlet_does_not_run(tmp_path: Path) -> None:
    with gemlet.load(audio_models.write_folder(tmp_path / "m", "e2b", attention_context_right=1)) as model:
        assert not model.hears
        assert "sound will be refused" in model.warnings[0]
        assert "attention_context_right: expected 0" in model.warnings[0]
