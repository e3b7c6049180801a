"""Files of this machine as media: no address is opened, and no file that could name others to open."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..errors import MediaError

if TYPE_CHECKING:
    from types import ModuleType

# What holds its own pictures and sounds. Playlists, descriptions of streams and lists of files are left out, because
# they name what is to be opened next: another file, or an address.
_CONTAINERS = (
    *("aac", "ac3", "aiff", "amr", "ape", "apng", "asf", "au", "av1", "avi", "caf", "dsf", "dts", "dv", "eac3", "flac"),
    *("flv", "gif", "gxf", "h263", "h264", "hevc", "ivf", "loas", "m4v", "matroska", "mjpeg", "mov", "mp3", "mpc"),
    *(
        "mpc8",
        "mpeg",
        "mpegts",
        "mpegvideo",
        "mxf",
        "nut",
        "nuv",
        "obu",
        "ogg",
        "rm",
        "swf",
        "tak",
        "tta",
        "voc",
        "vvc",
    ),
    *("w64", "wav", "wv"),
)


def local_path(source: str | os.PathLike[str], where: str) -> str:
    """The path of a file that is there and not empty; MediaError for an address."""
    path = os.fspath(source)
    if not isinstance(path, str):
        path = os.fsdecode(path)
    if "://" in path or path[:5].lower() in ("data:", "file:"):
        short = path if len(path) <= 60 else path[:57] + "..."
        raise MediaError(f"{where}: {short!r} is an address, and nothing is fetched; pass a path or bytes")
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise MediaError(f"{where}: there is no file {path!r}")
    if os.path.getsize(path) == 0:
        raise MediaError(f"{where}: the file {path!r} is empty")
    return path


def open_container(av: ModuleType, file: Any, where: str, what: str) -> Any:
    """A path or a binary file, opened by PyAV; `what` it is not, if it cannot be."""
    options = {"format_whitelist": ",".join(_CONTAINERS)}
    if isinstance(file, str):
        options["protocol_whitelist"] = "file"
    try:
        return av.open(file, options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{where}: this is no {what}, or it is damaged: {error}") from None
