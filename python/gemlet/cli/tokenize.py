"""`gemlet tokenize`: text to ids and pieces; needs the vocabulary only, so the model is not loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """The text and how to read it."""
    parser.add_argument("model", metavar="MODEL", help="a file, a folder, a pulled name, or 'demo'")
    parser.add_argument(
        "text", metavar="TEXT", nargs="?", default="-", help="text; '-' or nothing reads standard input"
    )
    parser.add_argument("--no-bos", action="store_true", help="without the begin token in front")
    parser.add_argument("--special", action="store_true", help="read control tokens written out in the text as such")
    parser.add_argument("--ids", action="store_true", help="the ids only, on one line")


def run(args: Namespace) -> int:
    """One token a line: id and piece."""
    from .._core import Tokenizer
    from ..local.sources import resolve

    tokenizer = Tokenizer(resolve(args.model))
    text = output.read_text("-") if args.text == "-" else args.text
    ids = tokenizer.encode(text, not args.no_bos, args.special).tolist()
    pieces = [tokenizer.piece(token, True).decode("utf-8", "backslashreplace") for token in ids]
    if args.json:
        output.print_json({"count": len(ids), "ids": ids, "pieces": pieces})
    elif args.ids:
        print(*ids)
    else:
        print(output.table([(str(token), repr(piece)) for token, piece in zip(ids, pieces, strict=True)], right=[0]))
        output.say(f"gemlet: {len(ids)} tokens, {len(text)} characters")
    return 0
