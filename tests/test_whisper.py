"""Whisper on small random models: mel, encoder and logits against numpy; search and rules by what they promise."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sounds
import whisper_models as models
from gemlet import errors
from gemlet._core import testing
from gemlet.whisper import Encoded, Whisper

SIZES = models.Sizes()
WEIGHTS = models.tensors(SIZES)
SOUND = sounds.speech_like(50000)
Arrays = tuple[np.ndarray, np.ndarray]
KINDS = ["float32", "float16", "bfloat16", "int8", "int16", "int8_float32", "int8_float16", "int8_bfloat16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return models.write_folder(tmp_path_factory.mktemp("whisper") / "small", SIZES, WEIGHTS)


@pytest.fixture(scope="module")
def w(folder: str) -> Iterator[Whisper]:
    with Whisper(folder, threads=2, compute="float32") as whisper:
        yield whisper


@pytest.fixture(scope="module")
def heard(w: Whisper) -> Encoded:
    return w.encode(SOUND)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# ---- front end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [80, 128])
@pytest.mark.parametrize("samples", [0, 1, 199, 200, 16001, 479999, 480000])
def test_mel_is_the_formula_s(samples: int, bands: int) -> None:
    sound = sounds.speech_like(samples) if samples else np.zeros(0, np.float32)
    np.testing.assert_allclose(testing.whisper_mel(sound, bands), models.mel(sound, bands), atol=1e-5)


# ---- the model -----------------------------------------------------------------------------------------------------

TOKENS = [267, 268, 273, 40, 41, 42, 300, 301, 7]


@pytest.fixture(scope="module")
def expected() -> Arrays:
    reference = models.Reference(SIZES, WEIGHTS)
    features = reference.encode(models.mel(SOUND, 80))
    return features, reference.logits(features, TOKENS)


def test_encoder_and_logits_are_numpys(w: Whisper, heard: Encoded, expected: Arrays) -> None:
    features, logits = expected
    np.testing.assert_allclose(heard.features, features, atol=1e-4)
    np.testing.assert_allclose(w.logits(heard, TOKENS), logits, atol=1e-4)


def test_eight_bits_are_near(folder: str, expected: Arrays) -> None:
    features, logits = expected
    with Whisper(folder, threads=2) as quick:
        made = quick.encode(SOUND)
        assert 0 < relative(made.features, features) < 0.03
        assert relative(quick.logits(made, TOKENS), logits) < 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_ctranslate2_folders_are_read(tmp_path: Path, w: Whisper, heard: Encoded, kind: str) -> None:
    path = models.write_ctranslate2(tmp_path, SIZES, WEIGHTS, kind)
    bound = {"float32": 1e-6, "float16": 2e-3, "int16": 0.02}.get(kind, 0.05)
    with Whisper(path, threads=2, compute="float32") as whisper:
        assert whisper.info["format"] == "ctranslate2"
        assert whisper.languages == models.LANGUAGES
        made = whisper.logits(whisper.encode(SOUND), TOKENS)
    assert relative(made, w.logits(heard, TOKENS)) < bound


def test_a_width_without_whole_blocks_stays_float(tmp_path: Path) -> None:
    sizes = models.Sizes(width=48, heads=2, ffn=64, encoder_layers=1, decoder_layers=1)
    path = models.write_folder(tmp_path / "m", sizes, models.tensors(sizes))
    with Whisper(path, threads=1) as quick, Whisper(path, threads=1, compute="float32") as exact:
        assert relative(quick.encode(SOUND).features, exact.encode(SOUND).features) < 0.03


def test_threads_change_nothing(folder: str, w: Whisper, heard: Encoded) -> None:
    with Whisper(folder, threads=1, compute="float32") as one:
        np.testing.assert_array_equal(one.encode(SOUND).features, heard.features)


# ---- text ----------------------------------------------------------------------------------------------------------


def test_decoding_is_the_logits_choice(w: Whisper, heard: Encoded) -> None:
    """Greedy text, its probability and that of silence, from teacher-forced logits and the rules written out here."""
    made = w.decode(heard, language="de", max_tokens=20)
    prompt = [w.sot, w._text.languages["de"], w._text.transcribe]
    total, said = 0.0, []
    for step in range(21):
        row = w.logits(heard, [*prompt, *said])[-1].astype(np.float64)
        allow(w, row, said)
        token = int(np.argmax(row))
        log = row[token] - row.max() - np.log(np.exp(row - row.max()).sum())
        if step < 20:
            total += log
        if token == w.eot or step == 20:
            break
        said.append(token)
    assert list(made.tokens) == said
    assert made.avg_logprob == pytest.approx(total / (len(said) + 1), rel=1e-4)
    first = w.logits(heard, [w.sot])[0].astype(np.float64)
    silence = np.exp(first - first.max()) / np.exp(first - first.max()).sum()
    assert made.no_speech_prob == pytest.approx(silence[w.no_speech], rel=1e-3)
    assert made.text == w.decode_text(said).strip()


def allow(w: Whisper, row: np.ndarray, said: list[int]) -> None:
    begin = w.timestamp_begin
    row[list(w.non_speech_tokens)] = -np.inf
    row[w.no_timestamps] = -np.inf
    if not said:
        row[:begin] = row[begin + 51 :] = -np.inf
        return
    times = [t for t in said if t >= begin]
    if said[-1] >= begin and (len(said) < 2 or said[-2] >= begin):
        row[begin:] = -np.inf
    elif said[-1] >= begin:
        row[: w.eot] = -np.inf
    if times:
        alone = said[-1] >= begin and not (len(said) < 2 or said[-2] >= begin)
        row[begin : times[-1] + (not alone)] = -np.inf
    text, time = row[:begin], row[begin:]
    if np.isfinite(time).any() and np.log(np.exp(time - time.max()).sum()) + time.max() > text.max():
        row[:begin] = -np.inf


@pytest.mark.parametrize("beams", [1, 4])
def test_times_come_in_pairs_and_never_go_back(w: Whisper, heard: Encoded, beams: int) -> None:
    for seed in range(4 if beams == 1 else 1):
        made = w.decode(heard, language="en", beam_size=beams, temperature=0.7 if beams == 1 else 0.0, seed=seed)
        times = [t for t in made.tokens if t >= w.timestamp_begin]
        assert made.tokens[0] >= w.timestamp_begin
        assert made.tokens[0] <= w.timestamp_begin + 50
        assert times == sorted(times)
        assert not set(made.tokens) & set(w.non_speech_tokens)


def test_a_beam_is_never_less_likely(w: Whisper, heard: Encoded) -> None:
    one = w.decode(heard, language="en", timestamps=False, length_penalty=0, max_tokens=12)
    five = w.decode(heard, language="en", timestamps=False, length_penalty=0, max_tokens=12, beam_size=5)
    assert five.avg_logprob * (len(five.tokens) + 1) >= one.avg_logprob * (len(one.tokens) + 1) - 1e-6


def test_beams_are_the_logits_sums(w: Whisper, heard: Encoded) -> None:
    """What the shared caches computed is what a fresh run of the chosen text gives."""
    made = w.decode(heard, language="en", timestamps=False, beam_size=5, max_tokens=90, suppress_tokens=())
    prompt = [w.sot, w._text.languages["en"], w._text.transcribe, w.no_timestamps]
    rows = w.logits(heard, [*prompt, *made.tokens])[len(prompt) - 1 :].astype(np.float64)
    rows[0, list(w._text.blank)] = -np.inf
    logs = rows - rows.max(1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(1, keepdims=True))
    ids = [*made.tokens] if len(made.tokens) == 90 else [*made.tokens, w.eot]
    total = sum(logs[i, token] for i, token in enumerate(ids))
    assert made.avg_logprob * (len(made.tokens) + 1) == pytest.approx(total, rel=1e-4)


def test_draws_repeat_by_seed(w: Whisper, heard: Encoded) -> None:
    draws = [w.decode(heard, language="en", temperature=1.0, seed=s, max_tokens=20).tokens for s in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_prefix_and_prompt(w: Whisper, heard: Encoded) -> None:
    free = w.decode(heard, language="en", max_tokens=10)
    given = w.decode(heard, language="en", prefix=free.tokens[:4], max_tokens=6)
    assert given.tokens == free.tokens[4:]
    assert w.decode(heard, language="en", prompt=[1, 2, 3], max_tokens=10).no_speech_prob != free.no_speech_prob
    many = list(range(30)) * 20
    assert w.decode(heard, language="en", prompt=many, max_tokens=3) == w.decode(
        heard, language="en", prompt=many[-223:], max_tokens=3
    )


def test_languages(w: Whisper, heard: Encoded) -> None:
    found = w.detect_language(heard)
    assert sorted(name for name, _ in found) == sorted(models.LANGUAGES)
    assert sum(p for _, p in found) == pytest.approx(1)
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)
    assert w.decode(heard, max_tokens=1).language == found[0][0]
    assert w.decode(heard, language="zh", task="translate", max_tokens=5) != w.decode(
        heard, language="zh", max_tokens=5
    )


def test_many_threads_may_call(w: Whisper, heard: Encoded) -> None:
    want = [w.decode(heard, language="en", temperature=1.0, seed=i, max_tokens=8) for i in range(4)]
    got: list[object] = [None] * 4

    def call(i: int) -> None:
        got[i] = w.decode(w.encode(SOUND), language="en", temperature=1.0, seed=i, max_tokens=8)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == want


# ---- vocabulary ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", " the thing", "a  b\n\n c", "it's 12½ x_y!?", "über 日本 ♪", "\x1c ok", "don't  "]
)
def test_text_comes_back(w: Whisper, text: str) -> None:
    ids = w.encode_text(text)
    assert w.decode_text(ids) == text
    assert all(0 <= i < w.eot for i in ids)
    assert w.decode_text([w.sot, *ids, w.timestamp_begin, w.eot]) == text


def test_pieces_are_merged_in_their_order(w: Whisper) -> None:
    pieces = models.pieces()
    assert [pieces[i] for i in w.encode_text(" the thing")] == ["Ġthe", "Ġt", "h", "ing"]
    assert pieces.index("âĻª") in w.non_speech_tokens or pieces.index("âĻ") in w.non_speech_tokens


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "part"),
    [
        ({"language": "xx"}, ValueError, "language must be one of en, zh, de, haw"),
        ({"task": "sing"}, ValueError, "task must be one of"),
        ({"beam_size": 0}, ValueError, "beam_size must be an int from 1 to 64"),
        ({"temperature": math.nan}, ValueError, "temperature"),
        ({"patience": 0}, ValueError, "patience"),
        ({"max_tokens": 0}, ValueError, "max_tokens"),
        ({"suppress_tokens": [5000]}, ValueError, "outside the vocabulary"),
        ({"prefix": [-5]}, ValueError, "outside the vocabulary"),
        ({"prefix": [5] * 446}, errors.ContextOverflow, "room for 448"),
    ],
)
def test_wrong_options(w: Whisper, heard: Encoded, options: dict, error: type, part: str) -> None:
    with pytest.raises(error, match=part):
        w.decode(heard, **{"language": "en", **options})


def test_wrong_sounds(w: Whisper) -> None:
    with pytest.raises(ValueError, match="at most 480000"):
        w.encode(np.zeros(480001, np.float32))
    with pytest.raises(ValueError, match=r"samples\[3\]: expected a finite number"):
        w.encode(np.array([0, 0, 0, np.nan], np.float32))
    with pytest.raises(ValueError, match="1 dimension"):
        w.encode(np.zeros((2, 2), np.float32))


def anonymous() -> float:
    """Own memory in MiB."""
    rows = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    kib = {row[0]: int(row[1]) for row in rows if row[0] in ("VmRSS:", "RssFile:")}
    return (kib["VmRSS:"] - kib["RssFile:"]) / 1024


def test_later_windows_take_no_more_than_the_second(tmp_path: Path) -> None:
    """Prompts and texts of all lengths: windows and texts go on with the memory of those before them."""
    sizes = models.Sizes(width=256, heads=4, ffn=256, encoder_layers=1, decoder_layers=8)
    path = models.write_folder(tmp_path / "wide", sizes, models.tensors(sizes))
    chance = np.random.default_rng(5)
    with Whisper(path, threads=1) as whisper:

        def window(prompt: int, most: int) -> None:
            made = whisper.encode(SOUND, seconds=16)
            before = chance.integers(0, 200, prompt).tolist()
            whisper.decode(made, language="en", prompt=before, beam_size=5, max_tokens=most)

        window(200, 70), window(64, 1)
        began = anonymous()
        for _ in range(6):
            window(int(chance.integers(0, 223)), int(chance.integers(1, 90)))
        assert anonymous() - began < 2


def test_long_prompts_are_read_in_pieces(w: Whisper, heard: Encoded) -> None:
    """With the bits of the whole, wherever the pieces end."""
    plain: dict[str, Any] = {"suppress_tokens": (), "suppress_blank": False}
    for count in (63, 64, 65, 127, 200):
        prompt = [i % 200 for i in range(count - 4)]
        made = w.decode(heard, language="en", prompt=prompt, max_tokens=1, timestamps=False, **plain)
        ids = [w.sot_prev, *prompt, w.sot, w._text.languages["en"], w._text.transcribe, w.no_timestamps]
        rows = w.logits(heard, ids).astype(np.float64)
        assert w.no_speech is not None
        start = rows[len(prompt) + 1]
        silence = np.exp(start[w.no_speech] - start.max()) / np.exp(start - start.max()).sum()
        assert made.no_speech_prob == pytest.approx(float(silence), rel=1e-6)
        row = rows[-1]
        row[w.no_timestamps] = -np.inf
        assert made.tokens == tuple(i for i in [int(row.argmax())] if i != w.eot)


def test_another_model_s_sound(folder: str, w: Whisper, heard: Encoded) -> None:
    with Whisper(folder, threads=1) as other, pytest.raises(ValueError, match="made by another model"):
        other.decode(heard, language="en")


def test_cancel_and_close(folder: str) -> None:
    whisper = Whisper(folder, threads=1)
    made = whisper.encode(SOUND)
    ended: list[BaseException] = []

    def call() -> None:
        try:
            while True:
                whisper.decode(made, language="en", temperature=1.0)
        except errors.GemletError as error:
            ended.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while not ended:
        whisper.cancel()
    thread.join()
    assert isinstance(ended[0], errors.Cancelled)
    whisper.close()
    with pytest.raises(errors.GemletError, match="the model is closed"):
        whisper.encode(SOUND)
