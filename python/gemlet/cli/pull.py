"""`gemlet pull`: the one command that connects; it fetches a model into the hub's cache."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..hub.pull import Pulled


def add_arguments(parser: ArgumentParser) -> None:
    """The name, and how much to say."""
    parser.add_argument("name", metavar="NAME[:QUANT]", help="'org/name' on the hub, or its address; ':Q8_0' of many")
    parser.add_argument("--revision", metavar="REV", help="a branch, tag or commit (the default branch)")
    parser.add_argument("--mmproj", action="store_true", help="also the projector for images beside a GGUF model")
    parser.add_argument("-q", "--quiet", action="store_true", help="only the path, and errors")


def run(args: Namespace) -> int:
    """The path of what can now be loaded."""
    from ..hub.pull import pull

    bar = None if args.quiet else _Bar()
    try:
        done = pull(args.name, revision=args.revision, mmproj=args.mmproj, progress=bar)
    finally:
        if bar is not None:
            bar.close()
    if not args.quiet:
        _talk(done)
    if args.json:
        output.print_json(dict(done.__dict__))
    else:
        print(done.path)
    return 0


def _talk(done: Pulled) -> None:
    for text in done.warnings:
        output.say(f"gemlet: warning: {text}")
    left = [file["name"] for file in done.companions if not file["fetched"]]
    if left:
        output.say(f"gemlet: not fetched, for images and sound only: {', '.join(left)}; fetch one with --mmproj")
    came = f"{output.size(done.downloaded_bytes)} fetched and checked" if done.downloaded_bytes else "already here"
    output.say(f"gemlet: {done.name}: {output.size(done.bytes)}, {came}; use it by this name: gemlet run {done.name}")


class _Bar:
    """Bytes as they come: a bar on a terminal, else a line a file; nothing with HF_HUB_DISABLE_PROGRESS_BARS."""

    def __init__(self) -> None:
        off = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")
        self._live = sys.stderr.isatty() and not off
        self._silent = off
        self._file = ""
        self._drawn: Any = None
        self._told = 0.0

    def __call__(self, file: str, done: int, total: int) -> None:
        if self._silent:
            return
        if not self._live:
            if file != self._file:
                output.say(f"gemlet: fetching {file} ({output.size(done)} of {output.size(total)} here)")
            self._file = file
            return
        if self._drawn is None:
            self._drawn = _tqdm(total, done) or False
        if self._drawn:
            self._drawn.set_description(file if len(file) <= 40 else f"...{file[-37:]}", refresh=False)
            self._drawn.update(done - self._drawn.n)
        elif done == total or time.monotonic() - self._told > 0.2:
            self._told = time.monotonic()
            sys.stderr.write(f"\r\x1b[K{file}: {output.size(done)} of {output.size(total)}")
            sys.stderr.flush()

    def close(self) -> None:
        """End the line, so that what is said next has its own."""
        if self._drawn:
            self._drawn.close()
        elif self._drawn is False:
            sys.stderr.write("\n")


def _tqdm(total: int, done: int) -> Any:
    try:
        tqdm = import_module("tqdm").tqdm
    except ImportError:
        return None
    return tqdm(total=total, initial=done, unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr)
