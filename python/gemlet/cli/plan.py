"""`gemlet plan`: what a model will take and give, before it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """The model, the memory, and what it is to do."""
    add = parser.add_argument
    add("model", metavar="MODEL", help='a GGUF file, a Hugging Face folder, "demo", or a name such as E2B:Q4_0')
    add("--ram", metavar="SIZE", help="memory it may take, such as 8GiB (default: what is available now)")
    add("-c", "--context", type=int, metavar="N", help="tokens of prompt and answer together (default: what fits)")
    add("--kv-dtype", choices=("auto", "f32", "f16", "q8_0"), default="auto", help="how keys and values are kept")
    add("-p", "--prompt", type=int, default=512, metavar="N", help="prompt tokens that the speeds are for (512)")
    add("-t", "--threads", type=int, metavar="N", help="threads (default: what this process may use)")
    add("--quant", metavar="TYPE", help="quantisation of a name, or that a folder is to be loaded with")


def run(args: Namespace) -> int:
    """The report, or its figures as JSON."""
    from ..planning.plan import plan

    found = plan(
        args.model,
        ram=args.ram,
        context=args.context,
        kv_dtype=args.kv_dtype,
        threads="auto" if args.threads is None else args.threads,
        prompt=args.prompt,
        quant=args.quant,
    )
    if args.json:
        output.print_json(found.as_dict())
    else:
        title, rest = str(found).split("\n", 1)
        print(output.colour(title, "1"))
        print(rest)
    return 0
