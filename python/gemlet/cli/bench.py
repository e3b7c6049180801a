"""`gemlet bench`: the figures of `gemlet.bench`, with a bar for how near each is to its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """What to measure, and how often."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a GGUF file, or 'demo'")
    add("-p", "--prompt", type=int, default=512, metavar="N", help="prompt tokens (512)")
    add("-n", "--generate", type=int, default=128, metavar="N", help="new tokens (128)")
    add("-t", "--threads", type=int, metavar="N", help="threads (default: what this process may use)")
    add("-r", "--repeat", type=int, default=5, metavar="N", help="samples of each; medians are told (5)")
    add("--compute", choices=("auto", "float32"), default="auto", help="float32: exact and slower")


def run(args: Namespace) -> int:
    """A table with bars, or exactly the JSON object of the interface."""
    from ..bench import measure

    report = measure(
        args.model,
        prompt=args.prompt,
        generate=args.generate,
        threads="auto" if args.threads is None else args.threads,
        repeat=args.repeat,
        compute=args.compute,
        progress=output.progress("measuring", " samples"),
    )
    if args.json:
        output.print_json(report)
    else:
        _show(report)
    return 0


def _show(report: dict[str, Any]) -> None:
    prefill, decode, limits, memory = report["prefill"], report["decode"], report["limits"], report["memory"]
    print(
        output.colour(report["model"], "1")
        + f"  {report['isa']}, {report['threads']} threads, loaded in {report['load_s']:.3f} s"
    )
    rows = []
    for name, part, limit in (
        ("prefill", prefill, f"{limits['int8_gops']:.0f} Gop/s int8"),
        ("decode", decode, f"{limits['read_gb_s']:.1f} GB/s read"),
    ):
        share = part["limit_fraction"]
        filled = f"▕{output.colour(output.bar(share), '32')}▏"
        rows.append((name, f"{part['tokens']} tokens", f"{part['tok_s']:.1f} tok/s", filled, f"{share:.0%} of {limit}"))
    print(output.table(rows, right=[1, 2]))
    print(
        f"memory   peak {memory['peak_rss_mib']:.0f} MiB resident: {memory['anon_mib']:.0f} anonymous, "
        f"{memory['file_mib']:.0f} mapped files"
    )
