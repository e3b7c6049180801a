"""Sounds from files, bytes and arrays: one channel at 16 kHz, and words about what cannot be heard."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

import gemlet
import sounds
from gemlet.media.audio import Sound, load_audio


def wav(samples: np.ndarray, rate: int, kind: str = "WAV", subtype: str | None = None) -> bytes:
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def aac(samples: np.ndarray, rate: int) -> bytes:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()


def near(made: np.ndarray, wanted: np.ndarray, bound: float) -> None:
    n = min(len(made), len(wanted))
    assert abs(len(made) - len(wanted)) < 2500
    assert np.linalg.norm(made[2000 : n - 2000] - wanted[2000 : n - 2000]) < bound * np.linalg.norm(wanted)


def test_arrays_of_every_kind() -> None:
    sound = sounds.tone(4000)
    assert np.array_equal(load_audio((sound, 16000)), sound)
    assert np.array_equal(load_audio((np.stack([sound, sound], 1), 16000)), sound)
    assert np.array_equal(load_audio((np.stack([sound] * 8), 16000)), sound)
    for dtype, full in ((np.int16, 2**15), (np.int32, 2**31)):
        np.testing.assert_allclose(load_audio(((sound * full).astype(dtype), 16000)), sound, atol=4e-5)
    np.testing.assert_allclose(load_audio(((sound * 128 + 128).astype(np.uint8), 16000)), sound, atol=1e-2)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 192000])
def test_rates(rate: int) -> None:
    pytest.importorskip("soxr")
    source = (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.float32)
    made = load_audio((source, rate))
    assert abs(len(made) - 16000) <= 1
    near(made, sounds.tone(16000, 440), 2e-3)


@pytest.mark.parametrize("step", [37, 1000, 100_000])
def test_blocks_change_nothing(step: int) -> None:
    pytest.importorskip("soxr")
    source = sounds.speech_like(50_000)
    blocks = (source[at : at + step] for at in range(0, len(source), step))
    assert np.array_equal(np.concatenate(list(Sound((blocks, 44100)))), load_audio((source, 44100)))


@pytest.mark.parametrize(("kind", "subtype", "bound"), [
    ("WAV", "PCM_16", 1e-3), ("WAV", "FLOAT", 1e-6), ("FLAC", "PCM_24", 1e-4), ("OGG", "VORBIS", 0.1),
    ("OGG", "OPUS", 0.2), ("MP3", None, 0.1),
])  # fmt: skip
def test_files(kind: str, subtype: str | None, bound: float, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    if kind not in soundfile.available_formats() or (subtype and subtype not in soundfile.available_subtypes(kind)):
        pytest.skip("this libsndfile cannot write it")
    sound = sounds.tone(32000, 440)
    content = wav(sound, 16000, kind, subtype)
    (tmp_path / "sound").write_bytes(content)
    made = load_audio(content)
    near(made, sound, bound)
    assert np.array_equal(load_audio(tmp_path / "sound"), made)
    assert np.array_equal(load_audio(str(tmp_path / "sound")), made)


def test_blocks_of_a_file_are_seamless() -> None:
    soundfile = pytest.importorskip("soundfile")
    if "MP3" not in soundfile.available_formats():
        pytest.skip("this libsndfile cannot write it")
    content = wav(sounds.tone(100_000, 440), 16000, "MP3")
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        whole = file.read(dtype="float32")  # at once
    assert np.array_equal(load_audio(content), whole)


def test_files_that_only_pyav_reads() -> None:
    made = load_audio(aac(sounds.tone(32000, 440), 16000))
    assert 31000 < len(made) < 35000
    assert 0.3 < np.sqrt(np.mean(made[4000:28000] ** 2)) < 0.4


def test_what_was_done_is_told() -> None:
    sound = Sound((2 * np.ones((100, 3), np.float32), 16000))
    list(sound)
    assert sound.notes == [
        "audio: 3 channels were mixed to one",
        "audio: samples reach 2, and full scale is 1; was it scaled?",
    ]
    cut = Sound(wav(sounds.tone(16000), 16000)[:20_000])
    assert sum(map(len, cut)) < 10_000
    assert cut.notes == ["audio: the file is cut off; what there is of it was taken"]


@pytest.mark.parametrize(("source", "words"), [
    (b"", "no bytes"),
    (b"no sound at all", "no sound that can be read"),
    ("/no/such/file.wav", "there is no file"),
    ("https://example.org/a.wav", "nothing is fetched"),
    ("file:///etc/hostname", "nothing is fetched"),
    (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2.0,\nother.wav\n#EXT-X-ENDLIST\n", "no sound that can be read"),
    (np.zeros(100, np.float32), r"expected a path, bytes, \(samples, rate\)"),
    ((np.zeros(0, np.float32), 16000), r"got shape \(0,\)"),
    ((np.zeros((3, 3, 3), np.float32), 16000), r"got shape \(3, 3, 3\)"),
    ((np.zeros(100, np.complex64), 16000), "got complex64"),
    ((np.zeros(100, np.float32), 0), "a rate of 0"),
    ((np.zeros(100, np.float32), "fast"), "got 'fast'"),
    ((np.array([0.0, 0.0, np.nan]), 16000), "sample 2 is no finite number"),
    ((np.array([0.0, np.inf]), 16000), "sample 1 is no finite number"),
    ((iter([]), 16000), "it has no samples"),
    ((iter([np.zeros((9, 2)), np.zeros((9, 1))]), 16000), "blocks of 2 and of 1 channels"),
])  # fmt: skip
def test_what_is_no_sound(source: object, words: str) -> None:
    with pytest.raises(gemlet.MediaError, match=rf"^audio: .*{words}"):
        load_audio(source)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(gemlet.MediaError, match=r"part 3: the file .* is empty"):
        load_audio(tmp_path / "empty.wav", where="part 3")
    content = wav(sounds.speech_like(64000), 16000, "FLAC")
    with pytest.raises(gemlet.MediaError, match="part 3: "):
        load_audio(content[:30], where="part 3")
