"""Pictures of every kind that Pillow reads become pixels (H, W, 3); what is none is refused by name."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pictures
from gemlet import MediaError
from gemlet.media.images import image_size, load_image

Image = pytest.importorskip("PIL.Image")


def encoded(array: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    return saved(Image.fromarray(array), kind, **options)


def saved(image: Any, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is large and has hardly any bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


PIXELS = pictures.gradient(9, 14)


def test_one_picture_in_every_wrapping(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(PIXELS))
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), Image.open(path), PIXELS):
        made = load_image(source)
        assert np.array_equal(made.pixels, PIXELS)
        assert made.pixels.flags.c_contiguous
        assert made.notes == []


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_formats(kind: str) -> None:
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    made = load_image(encoded(flat, kind)).pixels
    assert made.shape == (16, 16, 3)
    assert np.abs(made.astype(int) - flat).max() <= 6


@pytest.mark.parametrize(("orientation", "turn"), [(3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)),
                                                   (8, lambda a: np.rot90(a))])  # fmt: skip
def test_cameras_say_which_way_is_up(orientation: int, turn: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(load_image(encoded(PIXELS, exif=exif.tobytes())).pixels, turn(PIXELS))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_the_head_tells_the_size(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = encoded(PIXELS, kind, exif=exif)
    assert image_size(source) == load_image(source).pixels.shape[:2]


def test_sizes_of_other_sources(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(PIXELS))
    for source in (tmp_path / "a.png", PIXELS, PIXELS[:, :, 0], Image.fromarray(PIXELS)):
        assert image_size(source) == (9, 14)
    for source in (bomb(20_000, 20_000), b"", b"hello", "https://example.org/a.png", np.zeros((5, 0, 3), np.uint8)):
        with pytest.raises(MediaError, match="image: "):
            image_size(source)


def test_transparency_shows_white() -> None:
    colours = np.zeros((2, 2, 4), np.uint8)
    colours[0, 0] = (10, 20, 30, 255)
    colours[0, 1] = (10, 20, 30, 0)
    colours[1, 0] = (0, 0, 0, 128)
    for source in (colours, encoded(colours)):
        made = load_image(source)
        assert made.pixels[0, 0].tolist() == [10, 20, 30]
        assert made.pixels[0, 1].tolist() == [255, 255, 255]
        assert made.pixels[1, 0].tolist() == [127, 127, 127]
        assert "put on white" in made.notes[0]
    opaque = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    assert load_image(opaque) == (pytest.approx(PIXELS), [])


def test_palettes_with_a_transparent_colour() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    assert load_image(saved(image, transparency=1)).pixels.tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_grey_of_any_depth() -> None:
    grey = np.array([[0, 100, 255]], np.uint8)
    wanted = np.repeat(grey[:, :, None], 3, axis=2)
    assert np.array_equal(load_image(grey).pixels, wanted)
    assert np.array_equal(load_image(encoded(grey)).pixels, wanted)
    made = load_image(encoded(grey.astype(np.uint16) * 257))
    assert np.array_equal(made.pixels, wanted)
    assert "rounded to 8 bits" in made.notes[0]
    assert load_image(saved(Image.new("1", (2, 2), 1))).pixels.tolist() == [[[255] * 3] * 2] * 2


def test_printers_colours() -> None:
    made = load_image(saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG")).pixels
    assert made[0, 0, 0] > 200
    assert made[0, 0, 1:].max() < 60


def test_of_a_moving_picture_the_first() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    made = load_image(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), where="images[2]")
    assert made.pixels[0, 0].tolist() == [255, 0, 0]
    assert made.notes == ["images[2]: the first of its 2 frames was taken; pass it as a video for all of them"]


@pytest.mark.parametrize(("source", "words"), [
    (b"", "no bytes"),
    (b"hello", "no picture that can be read"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture that can be read"),
    (encoded(pictures.noise(50, 50))[:3000], "damaged or cut off"),
    (encoded(pictures.noise(50, 50), "JPEG")[:700], "damaged or cut off"),
    (bomb(20_000, 20_000), "more than the limit"),
    (bomb(12_000, 1), "no picture"),
    (bomb(30, 30), "damaged or cut off"),
    ("file:///etc/hostname", "nothing is fetched"),
    ("https://example.org/a.png", "nothing is fetched"),
    ("/nowhere/a.png", "there is no file"),
    (np.zeros((0, 5, 3), np.uint8), "no pixels"),
    (np.zeros((5, 5, 3), np.float32), "expected an array of uint8, got float32"),
    (np.zeros((5, 5, 2), np.uint8), r"got shape \(5, 5, 2\)"),
    (7, "got int"),
])  # fmt: skip
def test_what_is_no_picture_is_refused_by_name(source: Any, words: str) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        load_image(source, where="messages[0].content[1]")
    assert str(caught.value).startswith("messages[0].content[1]: ")


def test_the_limit_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_image(encoded(PIXELS), max_pixels=126).pixels.shape == (9, 14, 3)
    with pytest.raises(MediaError, match="14 x 9 pixels are more than the limit of 125"):
        load_image(encoded(PIXELS), max_pixels=125)
    monkeypatch.setenv("GEMLET_MAX_PIXELS", "100")
    with pytest.raises(MediaError, match="the limit of 100"):
        load_image(PIXELS)
    monkeypatch.setenv("GEMLET_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="expected a number of pixels"):
        load_image(PIXELS)


def told(source: bytes) -> str:
    """What is said of a broken file; nothing if it could be read."""
    try:
        load_image(source)
    except MediaError as error:
        return str(error)
    return ""


def test_every_cut_of_a_file_is_an_error_or_a_picture() -> None:
    whole = encoded(PIXELS, "WEBP")
    said = [told(whole[:end]) for end in range(0, len(whole), max(1, len(whole) // 40))]
    assert said[0] == "image: no bytes"
    assert all(text == "" or text.startswith("image: ") for text in said)


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from gemlet import MissingExtra

    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert load_image(PIXELS).pixels.shape == (9, 14, 3)
    with pytest.raises(MissingExtra, match=r"pip install 'gemlet\[media\]'"):
        load_image(os.fspath(__file__))
