"""Frames of short films that the test writes itself: which ones, when, from broken files, and in constant memory."""

from __future__ import annotations

import contextlib
import io
import itertools
import mmap
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import folder_models
import gemlet
import pictures
import vision_models
from gemlet import MediaError, _core
from gemlet.media.video import count, sample

av = pytest.importorskip("av")


def film(frames: Any, rate: int = 10, kind: str = "mp4", codec: str = "mpeg4", gop: int = 12) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.pix_fmt, stream.bit_rate, stream.codec_context.gop_size = "yuv420p", 2_000_000, gop
        for i, pixels in enumerate(frames):
            if i == 0:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


def numbered(count: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Frame i is grey of level 2 i."""
    return [np.full((*size, 3), 2 * i, np.uint8) for i in range(count)]


def numbers(frames: Any) -> list[int]:
    return [round(float(frame.pixels.mean()) / 2) for frame in frames]


FILM = film(numbered(100))


@pytest.mark.parametrize("frames", [1, 7, 32, 99])
def test_frames_are_those_of_the_reference(frames: int) -> None:
    made = list(sample(FILM, frames=frames))
    wanted = [k * 100 // frames for k in range(frames)]
    assert len(made) == frames
    assert max(abs(a - b) for a, b in zip(numbers(made), wanted, strict=True)) <= 1  # levels, after a lossy codec
    assert [frame.seconds for frame in made] == pytest.approx([i / 10 for i in wanted])
    assert made[-1].stamp == f"00:{wanted[-1] // 10:02d}"


def test_thirty_two_by_default_and_all_of_a_short_film() -> None:
    assert len(list(sample(FILM))) == 32
    assert len(list(sample(film(numbered(5))))) == 5


def test_frames_a_second() -> None:
    made = list(sample(FILM, fps=2))
    assert [frame.stamp for frame in made] == [f"00:{k // 2:02d}" for k in range(20)]
    assert max(abs(a - b) for a, b in zip(numbers(made), range(0, 100, 5), strict=True)) <= 1
    assert len(list(sample(FILM, fps=2, frames=3))) == 3


def test_scenes_go_where_something_changes() -> None:
    still = [np.zeros((48, 64, 3), np.uint8)] * 80
    busy = [pictures.noise(6, 8, seed=i).repeat(8, 0).repeat(8, 1) for i in range(20)]
    made = list(sample(film(still + busy), frames=8, scenes=True))
    assert sum(frame.seconds >= 8 for frame in made) >= 6
    assert [frame.seconds for frame in made] == sorted(frame.seconds for frame in made)


def test_a_film_from_a_path_and_from_pictures(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(film(numbered(30), kind="matroska"))
    assert len(list(sample(tmp_path / "film", frames=4))) == 4
    assert numbers(sample(np.stack(numbered(10)), frames=5)) == [0, 2, 4, 6, 8]
    assert numbers(sample(iter(numbered(10)), frames=3)) == [0, 1, 2]
    assert [frame.stamp for frame in sample(numbered(49))][::24] == ["00:00", "00:01", "00:02"]


@pytest.mark.parametrize(("source", "words"), [
    (b"", "no film that can be read"),
    (b"not a film", "no film that can be read"),
    ("file:///etc/hostname", "nothing is fetched"),
    (["https://example.org/a.png"], "nothing is fetched"),
    ([np.zeros((0, 4, 3), np.uint8)], "no pixels"),
    (FILM[:200], "damaged|no film that can be read"),
    ("https://example.org/a.mp4", "nothing is fetched"),
    ("/nowhere/a.mp4", "there is no file"),
    ([], "no frames"),
    (7, "got int"),
])  # fmt: skip
def test_what_is_no_film_is_refused_by_name(source: Any, words: str) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        list(sample(source, where="video[1]"))
    assert str(caught.value).startswith("video[1]")


def test_a_film_cut_off_gives_what_is_there_or_an_error() -> None:
    whole = film(numbered(60), kind="matroska")
    said = []
    for end in range(300, len(whole), len(whole) // 12):
        with contextlib.suppress(MediaError):
            said.append(len(list(sample(whole[:end]))))
    assert min(said) >= 1
    assert max(said) > 8


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"")
    with pytest.raises(MediaError, match=r"video\[1\]: the file .* is empty"):
        list(sample(tmp_path / "film.mp4", where="video[1]"))


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2.0,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n{}",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("target", ["{}", "{}/other.ts", "http://127.0.0.1:9/other.ts"])
def test_no_file_opens_another(kind: str, target: str, tmp_path: Path) -> None:
    (tmp_path / "other.ts").write_bytes(film(numbered(20), kind="mpegts", codec="mpeg2video"))
    assert len(list(sample(tmp_path / "other.ts", frames=3))) == 3
    target = "other.ts" if target == "{}" else target.format(tmp_path)
    text = PLAYLISTS[kind].format(target).encode()
    for source in (text, *(tmp_path / name for name in ("list.m3u8", "list.ffconcat", "list.mp4"))):
        if isinstance(source, Path):
            source.write_bytes(text)
        with pytest.raises(MediaError, match="no film that can be read"):
            list(sample(source))


def test_films_have_the_limits_of_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMLET_MAX_PIXELS", "3071")
    with pytest.raises(MediaError, match="video: 64 x 48 pixels are more than the limit of 3071"):
        list(sample(FILM))


def test_so_many_frames_are_a_mistake() -> None:
    assert count(FILM) == 32
    assert count(FILM, fps=2) == 20
    assert count(iter(numbered(3))) is None
    with pytest.raises(MediaError, match=r"video: \d+ frames at fps=1000, and 100000 are the most"):
        count(film(itertools.repeat(numbered(1, (16, 16))[0], 101), rate=1), fps=1000)


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": 2000}, {"frames": 0}, {"frames": True}, {"frames": 10**6}])
def test_impossible_wishes(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"video: (fps|frames) must be a number"):
        sample(FILM, **options)


def test_sound_alone_is_no_film() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(MediaError, match="it has no pictures"):
        list(sample(out.getvalue()))


@pytest.fixture(scope="module")
def large() -> bytes:
    return film(itertools.repeat(pictures.gradient(1080, 1920), 200), gop=50)


def test_two_hundred_large_frames_take_the_memory_of_a_few(large: bytes) -> None:
    frames = sample(large, frames=200)
    next(frames)
    for _ in range(20):
        next(frames)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in frames) == 179
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024  # KiB; a frame has 6 MiB


def test_a_model_sees_a_film_frame_by_frame(tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []
    with gemlet.load(vision_models.write_folder(tmp_path / "m", "12b")) as model:
        made = list(model.encode_video(FILM, frames=11, progress=lambda done, seconds: told.append((done, seconds))))
        last = list(sample(FILM, frames=11))[-1]
        assert np.array_equal(made[-1].tokens, model.encode_image(last.pixels, image_tokens=70))
    assert [frame.stamp for frame in made] == [f"00:{k * 100 // 11 // 10:02d}" for k in range(11)]
    assert [done for done, _ in told] == list(range(1, 12))
    assert all(frame.tokens.dtype == np.float32 for frame in made)


def test_frames_wait_at_the_size_at_which_they_are_seen(tmp_path: Path) -> None:
    picture = pictures.gradient(200, 300)
    with gemlet.load(vision_models.write_folder(tmp_path / "m", "e2b")) as model:
        engine = model._engine
        small = _core.fit(engine, picture, 70)
        assert np.array_equal(small, _core.testing.resize(picture, *small.shape[:2], 1))
        ((expected, size, _),) = _core.see(engine, [picture], 70)
        assert size == small.shape[:2]
        ((fitted, _, _),) = _core.see(engine, [small], 70, fitted=True)
        assert np.array_equal(fitted, expected)
        (frame,) = model.encode_video([picture], image_tokens=70)
        assert np.array_equal(frame.tokens, expected)
        with pytest.raises(ValueError, match="whole squares of 48 pixels, got 300 x 200"):
            _core.see(engine, [picture], 70, fitted=True)
        with pytest.raises(ValueError, match=r"expected \(H, W, 3\), got 4 channels"):
            _core.fit(engine, np.zeros((9, 9, 4), np.uint8), 70)


def test_pixels_of_a_film_lie_apart_from_the_heap() -> None:
    first, second = sample(FILM, frames=2)
    for frame in (first, second):
        assert isinstance(frame.pixels.base, mmap.mmap)
        assert frame.pixels.flags.c_contiguous


def own_mib() -> float:
    """MiB of this process that are in no file."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon:"))) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_kept_soft_tokens_take_their_own_memory_and_no_more(large: bytes, tmp_path: Path) -> None:
    text, maker = folder_models.script("make_gemma4"), folder_models.script("make_vision")
    text.write_gguf(replace(folder_models.variant("gemma4_tiny_e2b"), D=1536), tmp_path / "model.gguf")
    maker.write_projector(replace(vision_models.variant("e2b"), D=1536, L=1), tmp_path / "eyes.gguf")
    with gemlet.load(tmp_path / "model.gguf") as model:
        frames = model.encode_video(large, frames=120)
        kept = [next(frames) for _ in range(24)]
        before, first = own_mib(), len(kept)
        kept += frames
    assert len(kept) == 120
    due = sum(frame.tokens.nbytes for frame in kept[first:]) / 2**20
    assert own_mib() - before < due + 30  # a decoded frame has 6 MiB
