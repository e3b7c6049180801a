"""`gemlet perplexity`: how well a model expects a text file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """The file and how to cut it."""
    output.add_model(parser)
    parser.add_argument("file", metavar="FILE", help="a UTF-8 text file; '-' reads standard input")
    parser.add_argument("--window", type=int, metavar="N", help="tokens read at a time (2048, or the context if less)")
    parser.add_argument("--stride", type=int, metavar="N", help="tokens between windows (half a window)")


def run(args: Namespace) -> int:
    """One figure with its standard error."""
    text = output.read_text(args.file)
    with output.load(args) as model:
        result = model.perplexity(
            text, window=args.window, stride=args.stride, progress=output.progress("scoring", " tokens")
        )
        if args.json:
            output.print_json({"model": model.name, **result.as_dict()})
        else:
            print(result)
    return 0
