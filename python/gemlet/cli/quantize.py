"""`gemlet quantize`: a model in fewer bits, as a GGUF file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import quantization
from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """From where to where, and how."""
    parser.add_argument("source", metavar="MODEL", help="a Hugging Face folder, or a GGUF file in F32, F16 or BF16")
    parser.add_argument("file", metavar="FILE", help="the GGUF file to write")
    parser.add_argument("format", metavar="FORMAT", help=", ".join(quantization.FORMATS))
    parser.add_argument("--threads", type=int, metavar="N", help="threads that work (all this process may use)")


def run(args: Namespace) -> int:
    """The file, its size and what could not be kept."""
    threads = "auto" if args.threads is None else args.threads
    made = quantization.quantize(args.source, args.file, args.format, threads=threads)
    if args.json:
        output.print_json({"file": args.file, "format": args.format, **made})
        return 0
    bits = made["bytes"] * 8 / made["parameters"]
    print(f"{args.file}: {made['bytes'] / 1e6:.1f} MB, {made['parameters']:,} weights, {bits:.2f} bits each")
    for note in made["notes"]:
        output.say(f"note: {note}")
    return 0
