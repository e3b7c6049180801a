"""Damaged folders of Whisper models: refused, by name and with the remedy, and never a crash."""

from __future__ import annotations

import json
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

import whisper_models as models
from gemlet import errors
from gemlet.whisper import Whisper

SIZES = models.Sizes(width=16, heads=2, ffn=16, encoder_layers=1, decoder_layers=1)
WEIGHTS = models.tensors(SIZES)
REFUSED = (errors.BadFile, errors.UnsupportedModel)


@pytest.fixture(scope="module")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "sound"
    models.write_ctranslate2(path, SIZES, WEIGHTS, "int8")
    return path


@pytest.fixture
def folder(sound_folder: Path, tmp_path: Path) -> Path:
    """One to damage; small enough to be copied each time."""
    return Path(shutil.copytree(sound_folder, tmp_path / "model"))


def load(folder: Path) -> Whisper:
    return Whisper(folder, threads=1, compute="float32")


def refused(folder: Path, raw: bytes, part: str, error: type = errors.BadFile) -> None:
    (folder / "model.bin").write_bytes(raw)
    with pytest.raises(error, match=part):
        load(folder)


def test_the_whole_one_loads(folder: Path) -> None:
    load(folder).close()


ONE = models.variable("x", np.zeros(4, np.float32))
NAME = models.text("x")


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "file ends at byte 0, needs 4"),
        (b"GGUF" + bytes(60), "no model.bin of CTranslate2"),
        (struct.pack("<IH", 6, 0), "a text that ends with a zero byte, got none"),
        (struct.pack("<IH", 6, 4) + b"abcd", "ends with a zero byte, got 'abcd'"),
        (struct.pack("<IH", 6, 5) + b"a\0cd\0", "ends with a zero byte"),
        (struct.pack("<IH", 6, 60000) + b"abc", "needs"),
        (models.model_bin([ONE])[:-20], "needs"),
        (models.model_bin([ONE]) + b"x", "1 more bytes"),
        (models.model_bin([ONE, ONE]), "comes twice"),
        (models.model_bin([NAME + struct.pack("<B", 9)]), "at most 8 dimensions, got 9"),
        (models.model_bin([NAME + struct.pack("<BIIBI", 2, 2**31, 2**31, 0, 0)]), "at most 2\\^32 values"),
        (models.model_bin([NAME + struct.pack("<BIBI", 1, 4, 6, 16)]), "a type of 0 to 5, got 6"),
        (
            models.model_bin([NAME + struct.pack("<BIBI", 1, 4, 0, 15)]),
            "expected 16 bytes for 4 values of float32, got 15",
        ),
        (models.model_bin([NAME + struct.pack("<BIBI", 1, 2**30, 1, 2**30)]), "needs"),
        (models.model_bin([ONE], [("a", "b")]), "'a' stands for 'b', which is no variable"),
        (models.model_bin([ONE], [("a", "x"), ("a", "x")]), "the name 'a' comes twice"),
        (models.model_bin([ONE]), "'encoder/conv1/weight': it is missing"),
    ],
)
def test_damaged_files_are_named(folder: Path, raw: bytes, part: str) -> None:
    refused(folder, raw, part)


def test_other_versions_and_models(folder: Path) -> None:
    refused(folder, struct.pack("<I", 5) + bytes(40), "version 5 .* expected 6", errors.UnsupportedModel)
    refused(folder, models.model_bin([ONE], spec="TransformerSpec"), "a Whisper model, got", errors.UnsupportedModel)


def changed(name: str, value: np.ndarray | None, kind: str = "int8") -> bytes:
    """The sound file with one variable replaced, or left out."""
    raw = models.ctranslate2_bytes(SIZES, WEIGHTS, kind)
    at = raw.index(models.text(name))
    head = at + len(models.text(name))
    dimensions = raw[head]
    size = struct.unpack_from("<I", raw, head + 1 + 4 * dimensions + 1)[0]
    end = head + 1 + 4 * dimensions + 5 + size
    new = b"" if value is None else models.variable(name, value)
    start = raw.index(struct.pack("<I", 3)) + 4  # after the revision: how many variables
    count = struct.unpack_from("<I", raw, start)[0] - (value is None)
    return raw[:start] + struct.pack("<I", count) + raw[start + 4 : at] + new + raw[end:]


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("encoder/num_heads", None, "it is missing"),
        ("encoder/num_heads", np.array(0, np.int16), "expected 1 to 4096, got 0"),
        ("decoder/num_heads", np.array(3, np.int16), "that 2 and 3 heads divide"),
        ("encoder/num_heads", np.array(1.5, np.float32), "a whole number, got float32"),
        ("encoder/num_heads", np.array([2], np.int16), "expected 0 dimensions, got 1"),
        ("encoder/conv1/weight", np.zeros((16, 80), np.float32), "expected 3 dimensions, got 2"),
        ("encoder/conv1/weight", np.zeros((16, 0, 3), np.float32), "expected 1 to 512"),
        ("encoder/layer_0/ffn/linear_0/bias", np.zeros(15, np.float32), r"expected \(16\), got \(15\)"),
        ("encoder/layer_0/ffn/linear_0/weight_scale", None, "it is missing, though"),
        ("encoder/layer_0/ffn/linear_0/weight_scale", np.zeros(16, np.float32), "expected scales above 0, got 0"),
        ("encoder/layer_0/ffn/linear_0/weight_scale", np.ones(7, np.float32), "one a row, or one, got 7"),
        ("encoder/layer_0/ffn/linear_0/weight_scale", np.ones(16, np.int32), "expected float32, got int32"),
        (
            "encoder/layer_0/self_attention/linear_0/weight",
            np.zeros((47, 16), np.int8),
            "3 parts of equal height|one a row",
        ),
        ("decoder/layer_0/attention/linear_1/bias", np.zeros((32, 1), np.float32), r"expected \(16\), got \(16, 1\)"),
        ("decoder/position_encodings/encodings", np.zeros((1, 16), np.int32), "expected weights, got int32"),
        ("decoder/embeddings/weight", np.zeros((300, 16), np.float32), "ids of 0 to 299|do not belong together"),
    ],
)
def test_wrong_variables_are_named(folder: Path, name: str, value: np.ndarray | None, part: str) -> None:
    refused(folder, changed(name, value), part)


def test_settings_that_are_not_run(folder: Path) -> None:
    for name, value in (("activation", 0), ("pre_norm", 0), ("alibi", 1), ("scale_embeddings", 1)):
        raw = changed(f"decoder/{name}", np.array(value, np.int8))
        refused(folder, raw, f"'decoder/{name}': expected", errors.UnsupportedModel)


def test_random_damage_never_crashes(folder: Path) -> None:
    """Flipped bytes and cuts: refused, or loaded with other numbers."""
    raw = models.ctranslate2_bytes(SIZES, WEIGHTS, "int8")
    chance = random.Random(7)
    loaded = 0
    for _ in range(150):
        damaged = bytearray(raw)
        for _ in range(chance.randint(1, 3)):
            # Names, shapes and lengths lie close to each other in the smaller variables.
            damaged[chance.randrange(chance.choice((64, 4096, len(raw))))] = chance.randrange(256)
        cut = chance.random() < 0.2
        (folder / "model.bin").write_bytes(damaged[: chance.randrange(len(raw))] if cut else damaged)
        try:
            load(folder).close()
            loaded += 1
        except REFUSED:
            assert True
    assert 0 < loaded < 150


@pytest.mark.parametrize(
    ("file", "content", "part"),
    [
        ("vocabulary.json", "[", "expected JSON"),
        ("vocabulary.json", "{}", "is missing"),
        ("vocabulary.json", '[1, 2, "a"]', "expected pieces with ids of 0 to"),
        ("config.json", "[]", "expected an object, got list"),
        ("config.json", "[" * 5000, "expected JSON"),
        ("tokenizer.json", "{}", "expected a tokenizer with a 'model'"),
        ("tokenizer.json", json.dumps({"model": {"vocab": {"a": -1}}}), "expected pieces with ids"),
        (
            "tokenizer.json",
            json.dumps({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 9**9}]}),
            "expected pieces",
        ),
    ],
)
def test_wrong_vocabularies_are_named(folder: Path, file: str, content: str, part: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(errors.BadFile, match=part):
        load(folder)


def test_what_is_no_folder_of_a_model(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFound, match="and there is none"):
        load(tmp_path / "nothing")
    with pytest.raises(errors.ModelNotFound, match="got a file"):
        load(folder / "model.bin")
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.ModelNotFound, match=r"expected 'model.bin' \(CTranslate2\)"):
        load(tmp_path / "empty")
    (folder / "vocabulary.json").unlink()
    with pytest.raises(errors.ModelNotFound, match=r"tokenizer.json, vocabulary.json"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "value", "error", "part"),
    [
        ("model_type", "bert", errors.UnsupportedModel, "expected 'whisper', got 'bert'"),
        ("d_model", 2**40, errors.BadFile, "d_model"),
        ("d_model", None, errors.BadFile, "d_model: .*missing"),
        (
            "decoder_layers",
            3,
            errors.BadFile,
            "'decoder.layers.1.self_attn_layer_norm.weight': it is missing|is missing",
        ),
        ("num_mel_bins", 81, errors.BadFile, r"expected \(16, 81, 3\), got \(16, 80, 3\)"),
        ("activation_function", "relu", errors.UnsupportedModel, "expected 'gelu'"),
        ("scale_embedding", True, errors.UnsupportedModel, "scale_embedding"),
        ("max_source_positions", 750, errors.UnsupportedModel, "an encoder of 1500 places, 30 seconds, got 750"),
    ],
)
def test_wrong_configurations(tmp_path: Path, key: str, value: object, error: type, part: str) -> None:
    path = Path(models.write_folder(tmp_path / "m", SIZES, WEIGHTS))
    settings = {**models.config(SIZES), key: value}
    (path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(error, match=part):
        load(path)
