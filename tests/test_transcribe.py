"""The walk over a sound, what comes back of it, and what is refused; Whisper itself says what the test tells it to."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import gemlet
import sounds
from gemlet.media import voice
from gemlet.media.audio import Sound
from gemlet.speech.options import SpeechOptions
from gemlet.speech.reading import TranscriptStream, WhisperReading
from gemlet.speech.results import Segment, Transcript
from gemlet.speech.windows import parts_of, without_circles
from listeners import TIME, Said, Scripted

RATE = 16000


def silence(seconds: float) -> tuple[np.ndarray, int]:
    return np.zeros(round(seconds * RATE), np.float32), RATE


def said(made: Any) -> list[tuple[float, float, str]]:
    return [(segment.start, segment.end, segment.text.strip()) for segment in made]


def test_windows_begin_where_the_last_time_was() -> None:
    script = iter(["<0> one <4> <4> two <9.5> <9.5> thr", "<0> three <20.5>", "<0> four"])
    listener = Scripted(lambda *_: next(script))
    made = gemlet.transcribe(silence(42), listener, vad=False)
    assert said(made) == [(0, 4, "one"), (4, 9.5, "two"), (9.5, 30, "three"), (39.5, 42, "four")]
    assert [size for size, _ in listener.windows] == [480_000, 480_000, 40_000]
    assert made.text == "one two three four"
    assert (made.language, made.language_probability) == ("de", 0.9)
    assert [call["language"] for call in listener.calls] == ["de"] * 3
    assert listener.calls[1]["prompt"] == tuple(listener.tokens("<0> one <4> <4> two <9.5>"))
    assert [segment.seek for segment in made] == [0, 0, 950, 3950]
    assert [segment.id for segment in made] == [0, 1, 2, 3]


@pytest.mark.parametrize(("text", "parts", "understood"), [
    ("<0> a <2> <2> b <4>", [(0, 2), (2, 4)], 3000),
    ("<0> a <2> <2> b", [(0, 2)], 200),
    ("<0> a <2>", [(0, 2)], 3000),
    ("a b", [(0, 30)], None),
    ("<0> a b", [(0, 30)], None),
    ("", [(0, 30)], None),
])  # fmt: skip
def test_tokens_are_cut_at_their_times(text: str, parts: list[tuple[float, float]], understood: int | None) -> None:
    made, step = parts_of(Scripted(None).tokens(text), TIME, 3000)
    assert [(part.start, part.end) for part in made] == parts
    assert step == understood


def test_a_window_without_times_is_heard_again_at_its_end() -> None:
    script = iter(["so we went down to the sea and", "the sea and swam until dark"])
    listener = Scripted(lambda *_: next(script))
    made = gemlet.transcribe(silence(40), listener, vad=False)
    assert made.text == "so we went down to the sea and swam until dark"
    assert said(made) == [(0, 25, "so we went down to the sea and"), (25, 40, "swam until dark")]
    assert [size for size, _ in listener.windows] == [480_000, 240_000]


def test_doubt_raises_the_temperature() -> None:
    answers = {0.0: (" hm", -2.0, 0.1), 0.5: (" la" * 60, -0.1, 0.1), 0.7: (" yes", -0.3, 0.1)}

    def script(_: Any, options: dict[str, Any]) -> Said:
        text, likely, silent = answers[options["temperature"]]
        return Said(listener.tokens(text), text, likely, silent)

    listener = Scripted(script)
    made = gemlet.transcribe(silence(5), listener, vad=False, temperature=(0.0, 0.5, 0.7), language="en")
    assert made.text == "yes"
    assert made.segments[0].temperature == 0.7
    assert [call["temperature"] for call in listener.calls] == [0.0, 0.5, 0.7]
    assert [call["beam_size"] for call in listener.calls] == [5, 1, 1]
    made = gemlet.transcribe(silence(5), listener, vad=False, temperature=(0.0, 0.5), language="en")
    assert made.text == "hm"  # unsure, but not in circles
    made = gemlet.transcribe(silence(5), listener, vad=False, temperature=0, logprob_threshold=None)
    assert made.text == "hm"


def test_circles_are_cut_and_told() -> None:
    listener = Scripted(lambda *_: "<0> so " + "and on " * 40)
    made = gemlet.transcribe(silence(40), listener, vad=False, temperature=0)
    assert made.segments[0].text == " so and on"
    assert made.warnings[0] == "'so and on' was said over and over again by the model, and is given once"
    assert all(call["prompt"] == () for call in listener.calls)  # what went wrong is not shown to the next window
    assert without_circles([1, 2, 1, 2], 100) == [1, 2, 1, 2]
    assert without_circles([5, 5, 5, 5], 100) == [5]


def test_silence_is_skipped() -> None:
    def script(samples: np.ndarray, _: Any) -> Any:
        if len(listener.windows) == 1:
            return Said(listener.tokens("thanks"), " thanks", -1.5, 0.9)
        return "<0> hello <2>"

    listener = Scripted(script)
    made = gemlet.transcribe(silence(33), listener, vad=False)
    assert said(made) == [(30, 32, "hello")]
    assert len(listener.calls) == 2  # silence is no reason for another temperature


def test_only_speech_reaches_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice, "find_spec", lambda name: None)
    voiced = sounds.speech_like(4 * RATE)
    sound = np.concatenate([np.zeros(20 * RATE), voiced, np.zeros(60 * RATE), voiced, np.zeros(9 * RATE)])
    listener = Scripted(lambda *_: "<0> here <4.4> <4.4> there <8.8>")
    made = gemlet.transcribe((sound.astype(np.float32), RATE), listener)
    assert len(listener.windows) == 1
    assert 9 * RATE < listener.windows[0][0] < 11 * RATE
    assert abs(made.segments[0].start - 19.6) < 0.3
    assert abs(made.segments[1].end - 88.4) < 1.0
    assert made.duration == pytest.approx(97)
    assert made.speech == pytest.approx(listener.windows[0][0] / RATE)
    made = gemlet.transcribe(silence(60), listener)
    assert (made.text, made.segments, made.language) == ("", (), None)
    assert made.warnings == ["audio: no speech was found; vad=False hears all of it"]


def test_options_reach_the_model() -> None:
    listener = Scripted(lambda *_: "<0> a <2>")
    seen: list[tuple[float, float | None]] = []
    options = {"task": "translate", "beam_size": 2, "patience": 2, "length_penalty": 0.6, "seed": 7,
               "max_initial_timestamp": 2, "suppress_blank": False, "suppress_tokens": [3]}  # fmt: skip
    made = gemlet.transcribe(silence(9), listener, vad=False, language="EN", initial_prompt="Names: Wye", start=2,
                             end=8, progress=lambda *given: seen.append(given), **options)  # fmt: skip
    call = listener.calls[0]
    assert {name: call[name] for name in options} == {**options, "suppress_tokens": (3,)}
    assert call["language"] == "en"
    assert listener.decode_text(list(call["prompt"])) == " Names: Wye"
    assert (made.duration, made.task, made.model) == (6.0, "translate", "scripted")
    assert seen[-1] == (6.0, 6.0)
    stream = gemlet.transcribe(silence(90), listener, vad=False, stream=True, condition_on_previous_text=False)
    with stream:
        assert next(stream).text == " a"
        assert len(stream.result) == 1
    assert list(stream) == []
    assert len(listener.windows) == 2  # closed after the first window


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"langage": "en"}, TypeError, "no option 'langage'; did you mean 'language'"),
    ({"language": "english"}, ValueError, "language 'english' is none that 'scripted' knows"),
    ({"language": 3}, TypeError, "language must be a string"),
    ({"task": "sing"}, ValueError, "task must be one of 'transcribe', 'translate'"),
    ({"words": True}, ValueError, "the times of words are not available"),
    ({"beam_size": 0}, ValueError, "beam_size must be an int from 1"),
    ({"temperature": ()}, ValueError, "temperature is empty"),
    ({"temperature": (0, -1)}, ValueError, r"temperature must be a finite number in \[0"),
    ({"vad": "yes"}, TypeError, "vad must be True or False"),
    ({"pause": 0}, ValueError, "pause must be"),
    ({"stream": 1}, TypeError, "stream must be True, False or None"),
    ({"start": 9, "end": 3}, gemlet.MediaError, "does not lie before"),
])  # fmt: skip
def test_wrong_options_are_named(options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        gemlet.transcribe(silence(1), Scripted(lambda *_: ""), **options)


@pytest.mark.parametrize(("source", "message"), [
    (b"", "no bytes"),
    (b"RIFF....WAVEfmt ", "no sound that can be read"),
    ((np.array([0.0, np.nan]), 16000), "sample 1 is no finite number"),
    ((np.zeros(0, np.float32), 16000), "expected samples"),
    ("/no/such.wav", "there is no file"),
    ("https://example.org/a.wav", "nothing is fetched"),
    (7, "expected a path, bytes"),
])  # fmt: skip
def test_what_is_no_sound(source: Any, message: str) -> None:
    with pytest.raises((gemlet.MediaError, gemlet.MissingExtra), match=message):
        gemlet.transcribe(source, Scripted(lambda *_: ""))


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (192_000, 2), (48_000, 8)])
def test_any_rate_and_channels(rate: int, channels: int) -> None:
    pytest.importorskip("soxr")
    listener = Scripted(lambda *_: "<0> a <1>")
    made = gemlet.transcribe((np.zeros((rate * 2, channels), np.int16), rate), listener, vad=False)
    assert abs(made.duration - 2) < 0.01
    assert made.warnings == ([f"audio: {channels} channels were mixed to one"] if channels > 1 else [])


def test_a_day_of_sound_is_read_as_it_is_needed() -> None:
    read = 0

    def day() -> Any:
        nonlocal read
        for _ in range(24 * 60):
            read += 60
            yield np.zeros(60 * RATE, np.float32)

    listener = Scripted(lambda *_: "<0> a <30>")
    options = SpeechOptions(vad=False)
    made = TranscriptStream(Sound((day(), RATE)), WhisperReading(listener, options, live=False), options)
    for _ in range(4):
        next(made)
    assert read <= 180
    assert len(listener.windows) == 4


def test_models_without_ears(m: gemlet.Model) -> None:
    with pytest.raises(gemlet.MediaError, match="has no part that hears"):
        gemlet.transcribe(silence(1), m)
    with pytest.raises(TypeError, match="model must be a path, a name"):
        gemlet.transcribe(silence(1), 3)
    with pytest.raises(gemlet.ModelNotFound):
        gemlet.transcribe(silence(1), "no-such-model")


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemlet.transcription.tiny_path", lambda: None)
    with pytest.raises(gemlet.MissingExtra, match=r"pip install 'gemlet\[speech\]'"):
        gemlet.transcribe(silence(1))


TWO = Transcript(
    (Segment(0, 0.0, 3661.25, " A <b> & c --> d, which is a long line that has to be broken somewhere."),
     Segment(1, 3662, 3663.5, " End.", (1, 2), 0.2, -0.5, 1.1, 0.03, 300)),
    "en", 4000.0, warnings=["<told>"],
)  # fmt: skip


def test_subtitles() -> None:
    assert TWO.to_srt() == (
        "1\n00:00:00,000 --> 01:01:01,250\nA <b> & c --> d, which is a long line that\nhas to be broken somewhere.\n\n"
        "2\n01:01:02,000 --> 01:01:03,500\nEnd.\n\n"
    )
    assert TWO.to_vtt(width=0) == (
        "WEBVTT\n\n00:00:00.000 --> 01:01:01.250\nA &lt;b&gt; &amp; c --&gt; d, which is a long line that has to be "
        "broken somewhere.\n\n01:01:02.000 --> 01:01:03.500\nEnd.\n\n"
    )


def test_json_is_openais() -> None:
    made = json.loads(TWO.to_json())
    assert set(made) == {"task", "language", "duration", "text", "segments", "warnings"}
    assert made["segments"][1] == {
        "id": 1, "seek": 300, "start": 3662, "end": 3663.5, "text": " End.", "tokens": [1, 2], "temperature": 0.2,
        "avg_logprob": -0.5, "compression_ratio": 1.1, "no_speech_prob": 0.03,
    }  # fmt: skip


def test_it_looks_well() -> None:
    assert str(TWO) == TWO.text
    assert repr(TWO).splitlines()[0] == "<gemlet.Transcript, en, 4000.0 s, 2 segments>"
    assert repr(TWO).splitlines()[2] == "[1:01:02.00 - 1:01:03.50] End."
    html = TWO._repr_html_()
    assert "A &lt;b&gt; &amp; c" in html
    assert "&lt;told&gt;" in html
    assert len(list(TWO)) == len(TWO) == 2
