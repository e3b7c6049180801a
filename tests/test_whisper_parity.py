"""Whisper on small random models, live beside transformers and CTranslate2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sounds
import whisper_models as models
from gemlet._core import testing
from gemlet.whisper import Whisper

pytestmark = pytest.mark.parity
TOKENS = [267, 268, 273, 40, 41, 42, 300, 301, 7, 1700]
VARIANTS = [
    models.Sizes(),
    models.Sizes(mels=128, width=96, heads=3, ffn=128, encoder_layers=3, decoder_layers=1),  # as large-v3 and turbo are
    models.Sizes(width=48, heads=2, ffn=72, encoder_layers=1, decoder_layers=2),
]


@pytest.mark.parametrize("bands", [80, 128])
def test_mel(bands: int) -> None:
    transformers = pytest.importorskip("transformers")
    extractor = transformers.WhisperFeatureExtractor(feature_size=bands)
    for samples in (800, 5001, 16000, 160001, 479900, 480000):
        sound = sounds.speech_like(samples)
        theirs = extractor(sound, sampling_rate=16000, return_tensors="np").input_features[0].T
        np.testing.assert_allclose(testing.whisper_mel(sound, bands), theirs, atol=1e-4)


@pytest.mark.parametrize("sizes", VARIANTS, ids=lambda s: f"{s.mels}-{s.width}")
def test_encoder_and_logits(tmp_path: Path, sizes: models.Sizes) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    path = models.write_folder(tmp_path / "m", sizes, models.tensors(sizes, 5))
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(path, attn_implementation="eager").eval()
    with Whisper(path, threads=2, compute="float32") as w:
        for samples in (800, 160001, 480000):
            sound = sounds.speech_like(samples)
            heard = w.encode(sound)
            frames = torch.from_numpy(testing.whisper_mel(sound, sizes.mels).T[None].copy())
            with torch.no_grad():
                out = theirs(input_features=frames, decoder_input_ids=torch.tensor([TOKENS]))
            np.testing.assert_allclose(heard.features, out.encoder_last_hidden_state[0].numpy(), atol=2e-4)
            np.testing.assert_allclose(w.logits(heard, TOKENS), out.logits[0].numpy(), atol=2e-4)


def test_greedy_text_is_that_of_transformers(tmp_path: Path) -> None:
    """Without times; a random model's choices are far enough from each other."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    path = models.write_folder(tmp_path / "m", VARIANTS[0], models.tensors(VARIANTS[0], 5))
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(path).eval()
    with Whisper(path, threads=2, compute="float32") as w:
        heard = w.encode(sounds.speech_like(48000))
        made = w.decode(heard, language="en", timestamps=False, suppress_tokens=(), suppress_blank=False, max_tokens=40)
        tokens = [w.sot, w._text.languages["en"], w._text.transcribe, w.no_timestamps]
        encoded = transformers.modeling_outputs.BaseModelOutput(torch.from_numpy(heard.features[None].copy()))
        for _ in range(40):
            with torch.no_grad():
                row = theirs(encoder_outputs=encoded, decoder_input_ids=torch.tensor([tokens])).logits[0, -1]
            if int(row.argmax()) == w.eot:
                break
            tokens.append(int(row.argmax()))
        assert list(made.tokens) == tokens[4:]


@pytest.mark.parametrize("kind", ["float32", "int8", "float16", "int16"])
def test_ctranslate2_reads_and_says_the_same(tmp_path: Path, kind: str) -> None:
    """The test's own writer makes what CTranslate2 reads; encoder, texts, scores and languages are its."""
    ctranslate2 = pytest.importorskip("ctranslate2")
    sizes = models.Sizes()
    path = models.write_ctranslate2(tmp_path / "m", sizes, models.tensors(sizes, 5), kind)
    theirs = ctranslate2.models.Whisper(path, compute_type="float32", intra_threads=2)
    sound = sounds.speech_like(48000)
    frames = testing.whisper_mel(sound, 80)
    encoded = theirs.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(frames.T[None])))
    with Whisper(path, threads=2, compute="float32") as w:
        heard = w.encode(sound)
        np.testing.assert_allclose(heard.features, np.array(encoded)[0], atol=1e-3)
        prompt = [w.sot, w._text.languages["de"], w._text.transcribe]
        for beams in (1, 4):
            want = theirs.generate(
                encoded,
                [prompt],
                beam_size=beams,
                max_length=64,
                max_initial_timestamp_index=50,
                suppress_tokens=list(w.non_speech_tokens),
                suppress_blank=False,
                return_scores=True,
                return_no_speech_prob=True,
            )[0]
            made = w.decode(heard, language="de", beam_size=beams, suppress_blank=False, max_tokens=32)
            assert list(made.tokens) == want.sequences_ids[0]
            count = len(made.tokens)
            assert made.avg_logprob * (count + 1) == pytest.approx(want.scores[0] * count, rel=1e-3)
            assert made.no_speech_prob == pytest.approx(want.no_speech_prob, rel=1e-2, abs=1e-6)
