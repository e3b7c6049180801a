"""`gemlet rm`: a pulled model out of the cache, after a question."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """The name, and whether to ask."""
    parser.add_argument("name", metavar="NAME[:QUANT]", help="a pulled name as `gemlet list` shows it, or 'demo'")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def run(args: Namespace) -> int:
    """The bytes that became free."""
    from ..local import removal

    plan = removal.plan(args.name)
    what = f"{', '.join(plan.names)} ({output.size(plan.bytes)} in {plan.folder or plan.root})"
    if not args.yes and not _agreed(what):
        output.say("gemlet: nothing was removed")
        if args.json:
            output.print_json({"removed": [], "freed_bytes": 0})
        return 1
    freed = removal.carry_out(plan)
    if args.json:
        output.print_json({"removed": list(plan.names), "freed_bytes": freed})
    else:
        print(f"removed {', '.join(plan.names)}: {output.size(freed)} free")
    return 0


def _agreed(what: str) -> bool:
    from ..errors import GemletError

    if not sys.stdin.isatty():
        raise GemletError(f"rm: would remove {what}; nobody can be asked here: give --yes to do it")
    sys.stderr.write(f"remove {what}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
