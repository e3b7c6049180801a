"""One picture, whatever it comes as -> uint8 (H, W, 3). Files are decoded by Pillow; addresses are never opened."""

from __future__ import annotations

import io
import os
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from ..errors import MediaError, MissingExtra
from .files import local_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from numpy.typing import NDArray

_Read = TypeVar("_Read")
# A file can say it holds far more pixels than its bytes could; this many are decoded at most (240 MB).
MAX_PIXELS = 80_000_000
LONGEST = 10_000  # times longer than wide, or wider than long: no picture, but a damaged size
# Rasters only: what Pillow hands to other programs (PostScript) is refused.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "ICO", "JPEG2000", "AVIF", "PCX")


class Picture(NamedTuple):
    """Pixels (H, W, 3) uint8, and what was done to them that was not asked for."""

    pixels: NDArray[np.uint8]
    notes: list[str]


def pillow() -> ModuleType:
    """PIL.Image, or an error with the line that installs it."""
    try:
        import PIL.Image
    except ImportError:
        raise MissingExtra("pictures need Pillow: pip install 'gemlet[media]'") from None
    module: ModuleType = PIL.Image
    return module


def pixel_limit() -> int:
    """GEMLET_MAX_PIXELS, or `MAX_PIXELS`."""
    text = os.environ.get("GEMLET_MAX_PIXELS", "")
    if not text:
        return MAX_PIXELS
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"GEMLET_MAX_PIXELS: expected a number of pixels of 1 or more, got {text!r}")
    return int(text)


def load_image(source: Any, *, where: str = "image", max_pixels: int | None = None) -> Picture:
    """A picture as pixels (H, W, 3) uint8, upright, on white where it is transparent.

    source: a path, bytes, a PIL image, or a uint8 array (H, W, 3), (H, W, 4) or (H, W). where: opens every message.
    max_pixels: how many pixels a file may say it has; None is GEMLET_MAX_PIXELS, or 80 million.

    >>> import numpy as np
    >>> load_image(np.zeros((2, 3), np.uint8)).pixels.shape
    (2, 3, 3)
    """
    limit = pixel_limit() if max_pixels is None else max_pixels
    if isinstance(source, np.ndarray):
        return _from_array(source, where, limit)
    if isinstance(source, (str, os.PathLike)):
        return _from_file(local_path(source, where), where, limit)
    if isinstance(source, (bytes, bytearray, memoryview)):
        if len(source) == 0:
            raise MediaError(f"{where}: no bytes")
        return _from_file(io.BytesIO(source), where, limit)
    if hasattr(source, "convert") and hasattr(source, "getbands"):
        return _from_pillow(source, where, limit)
    if hasattr(source, "__array__"):
        return _from_array(np.asarray(source), where, limit)
    raise MediaError(
        f"{where}: expected a path, bytes, a PIL image or a uint8 array (H, W, 3), got {type(source).__name__}"
    )


def image_size(source: Any, *, where: str = "image") -> tuple[int, int]:
    """(height, width) of the pixels that `load_image` would give; of a file only its head is read, where that tells.

    >>> import numpy as np
    >>> image_size(np.zeros((2, 3), np.uint8))
    (2, 3)
    """
    limit = pixel_limit()
    if isinstance(source, (str, os.PathLike)):
        return _opened(local_path(source, where), where, limit, _size_of)
    if isinstance(source, (bytes, bytearray, memoryview)) and len(source):
        return _opened(io.BytesIO(source), where, limit, _size_of)
    if isinstance(source, np.ndarray) and source.ndim in (2, 3):
        check_size(source.shape[1], source.shape[0], where, limit)
        return source.shape[0], source.shape[1]
    height, width = load_image(source, where=where).pixels.shape[:2]
    return height, width


def _size_of(opened: Any, where: str, limit: int) -> tuple[int, int]:
    width, height = opened.size
    check_size(width, height, where, limit)
    # A TIFF's size is turned already or not, as its reader's version likes.
    if opened.format == "TIFF":
        height, width = _from_pillow(opened, where, limit).pixels.shape[:2]
        return height, width
    return (width, height) if opened.getexif().get(0x0112, 1) in (5, 6, 7, 8) else (height, width)


def check_size(width: int, height: int, where: str, limit: int) -> None:
    """MediaError for what is empty, too large, or no picture."""
    if width < 1 or height < 1:
        raise MediaError(f"{where}: it has no pixels ({width} x {height})")
    if width * height > limit:
        raise MediaError(
            f"{where}: {width} x {height} pixels are more than the limit of {limit}; shrink it, or set "
            "GEMLET_MAX_PIXELS"
        )
    if max(width, height) > LONGEST * min(width, height):
        raise MediaError(f"{where}: {width} x {height} pixels are no picture; cut it into parts")


def _from_array(array: NDArray[Any], where: str, limit: int) -> Picture:
    if array.dtype != np.uint8:
        raise MediaError(f"{where}: expected an array of uint8, got {array.dtype}; convert it to 0 to 255")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise MediaError(f"{where}: expected an array (H, W, 3), (H, W, 4) or (H, W), got shape {array.shape}")
    check_size(array.shape[1], array.shape[0], where, limit)
    if array.ndim == 2:
        return Picture(np.ascontiguousarray(np.broadcast_to(array[:, :, None], (*array.shape, 3))), [])
    if array.shape[2] == 3:
        return Picture(np.ascontiguousarray(array), [])
    return _on_white(np.ascontiguousarray(array), where)


def _on_white(array: NDArray[np.uint8], where: str) -> Picture:
    """Colours (H, W, 4) as a page shows them: behind a transparent pixel lies white, not the colour nobody sees."""
    pixels = np.ascontiguousarray(array[:, :, :3])
    if np.all(array[:, :, 3] == 255):
        return Picture(pixels, [])
    for first in range(0, len(pixels), 256):  # in bands: the products take four times the room of the pixels
        band = array[first : first + 256]
        alpha = band[:, :, 3:].astype(np.uint32)
        mixed = band[:, :, :3] * alpha + 255 * (255 - alpha)
        pixels[first : first + 256] = ((mixed + 127) // 255).astype(np.uint8)
    return Picture(pixels, [f"{where}: transparent parts were put on white"])


def _from_file(file: Any, where: str, limit: int) -> Picture:
    return _opened(file, where, limit, _from_pillow)


def _opened(file: Any, where: str, limit: int, read: Callable[[Any, str, int], _Read]) -> _Read:
    """What `read` makes of an open file; whatever it meets in a damaged one is a MediaError."""
    image = pillow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks about sizes, which are checked here, and about odd files
        try:
            image.init()
            formats = [name for name in _FORMATS if name in image.OPEN]  # as this Pillow was built
            with image.open(file, formats=formats) as opened:
                return read(opened, where, limit)
        except image.DecompressionBombError as error:
            raise MediaError(f"{where}: its pixels are more than the limit of {limit}: {error}") from None
        except image.UnidentifiedImageError:
            raise MediaError(
                f"{where}: this is no picture that can be read (PNG, JPEG, WebP, GIF, TIFF, BMP and others can)"
            ) from None
        # Pillow's readers raise whatever their parsers meet in a damaged file.
        except (OSError, SyntaxError, ValueError, EOFError, OverflowError, IndexError, KeyError, TypeError) as error:
            raise MediaError(f"{where}: the file is damaged or cut off: {error}") from None


def _from_pillow(source: Any, where: str, limit: int) -> Picture:
    from PIL import ImageOps

    width, height = source.size
    check_size(width, height, where, limit)
    notes = []
    frames = getattr(source, "n_frames", 1)
    if frames > 1 and getattr(source, "is_animated", True) and source.format != "MPO":
        notes.append(f"{where}: the first of its {frames} frames was taken; pass it as a video for all of them")
        source.seek(0)
    source.load()
    turned = ImageOps.exif_transpose(source)
    image = source if turned is None else turned
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N", "F"):
        return Picture(_deep_grey(image, where), [*notes, f"{where}: its grey levels were rounded to 8 bits"])
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        made = _on_white(np.array(image.convert("RGBA")), where)
        return Picture(made.pixels, notes + made.notes)
    return Picture(np.array(image.convert("RGB")), notes)


def _deep_grey(image: Any, where: str) -> NDArray[np.uint8]:
    """Grey of more than 8 bits: 16 where they are in use. Pillow's own conversion would cut at 255."""
    levels = np.asarray(image)
    low, high = float(levels.min()), float(levels.max())
    if not (low >= 0 and high <= 65535):
        raise MediaError(
            f"{where}: grey levels from {low:g} to {high:g} have no meaning as a picture; scale them to 8 bits"
        )
    if image.mode == "F":
        grey = np.rint(levels * 255) if high <= 1 else np.rint(np.minimum(levels, 255)) if high <= 255 else levels / 257
    else:
        grey = (levels.astype(np.uint32) + 128) // 257 if high > 255 or image.mode != "I" else levels
    rounded = np.rint(grey).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(rounded[:, :, None], (*rounded.shape, 3)))
