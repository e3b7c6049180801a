"""How commands talk: JSON, tables, colour, bars, and the model arguments that several of them share."""

from __future__ import annotations

import math
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..results import size_text

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterable, Sequence

    from ..model.model import Model

size = size_text
_BLOCKS = " ▏▎▍▌▋▊▉█"


def add_model(parser: ArgumentParser) -> None:
    """The model and how to load it."""
    parser.add_argument("model", metavar="MODEL", help="a file, a folder, a pulled name, or 'demo'")
    parser.add_argument("-t", "--threads", type=int, metavar="N", help="threads (default: what this process may use)")
    parser.add_argument("-c", "--context", type=int, metavar="N", help="tokens of prompt and answer together")
    parser.add_argument(
        "--kv-dtype", choices=("auto", "f32", "f16", "q8_0"), default="auto", help="how keys and values are kept"
    )
    parser.add_argument("--compute", choices=("auto", "float32"), default="auto", help="float32: exact and slower")


def load(args: Namespace) -> Model:
    """The model of `add_model`'s arguments."""
    from ..model.model import load as load_model

    model = load_model(
        args.model,
        threads="auto" if args.threads is None else args.threads,
        context="auto" if args.context is None else args.context,
        kv_dtype=args.kv_dtype,
        compute=args.compute,
    )
    for text in model.warnings:
        say(f"gemlet: warning: {text}")
    return model


def read_text(name: str) -> str:
    """A UTF-8 text file, or standard input for "-"."""
    if name == "-":
        raw = sys.stdin.buffer.read()
    else:
        with open(name, "rb") as file:
            raw = file.read()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        label = "standard input" if name == "-" else name
        raise ValueError(f"{label} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def print_json(value: dict[str, Any], file: Any = None) -> None:
    """One object, one line, on standard output or to `file`; numbers that JSON lacks (inf, nan) become null."""
    import json

    print(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False), file=file)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(text: str) -> None:
    """A line for the person, on standard error."""
    print(text, file=sys.stderr)


def colour(text: str, code: str) -> str:
    """`text` in an ANSI colour if standard output is a terminal that wants it."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def dim(text: str) -> str:
    """`text` made faint if standard error is a terminal that wants it."""
    if os.environ.get("NO_COLOR") or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[2m{text}\x1b[0m"


def prompt(text: str) -> str:
    """A prompt in colour, with the colour marked as taking no room, as line editing must know."""
    plain = colour(text, "1;36")
    return text if plain == text else plain.replace("\x1b", "\x01\x1b").replace("m", "m\x02")


def table(rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Rows as aligned columns; columns in `right` are aligned to the right.

    >>> print(table([("Q4_K", "7"), ("F32", "120")], right=[1]))
    Q4_K    7
    F32   120
    """
    cells = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    lines = (
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def bar(fraction: float, width: int = 24) -> str:
    """A bar of `width` characters, filled to `fraction`.

    >>> bar(0.5, 4)
    '██  '
    """
    eighths = round(min(max(fraction, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return (_BLOCKS[8] * full + (_BLOCKS[rest] if rest else "")).ljust(width)


def progress(label: str, unit: str) -> Callable[[int, int], None]:
    """A function of (done, total) that draws on standard error, if that is a terminal; with tqdm if installed."""
    if not sys.stderr.isatty():
        return lambda done, total: None
    try:
        tqdm = import_module("tqdm").tqdm
    except ImportError:
        return _line(label, unit)
    drawn: Any = None

    def show(done: int, total: int) -> None:
        nonlocal drawn
        if drawn is None:
            drawn = tqdm(total=total, desc=label, unit=unit, leave=False, file=sys.stderr)
        drawn.update(done - drawn.n)
        if done >= total:
            drawn.close()

    return show


def _line(label: str, unit: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        text = f"{label}: {done} of {total} {unit}"
        sys.stderr.write(f"\r{text}" if done < total else "\r" + " " * len(text) + "\r")
        sys.stderr.flush()

    return show
