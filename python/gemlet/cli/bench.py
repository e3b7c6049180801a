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
    add("--profile", action="store_true", help="where the time goes, operation by operation")
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
        profile=args.profile,
        progress=output.progress("measuring", " samples"),
    )
    if args.json:
        output.print_json(report)
    else:
        _show(report)
        for phase, found in report.get("profile", {}).items():
            _show_profile(phase, found)
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


def _show_profile(phase: str, found: dict[str, Any]) -> None:
    """Where the time goes, the longest first; each operation beside the limit that it could reach."""
    steps, tokens = found["steps"], found["tokens"]
    per_token = found["seconds"] / tokens * 1e3 if tokens else 0.0
    counts = f"{tokens} tokens in {steps} step{'' if steps == 1 else 's'}, {found['seconds'] * 1e3:.1f} ms"
    print(f"\n{output.colour(phase, '1')}  {counts}, {per_token:.2f} ms a token")
    rows = [("operation", "calls", "ms", "of the time", "", "GB/s", "Gop/s", "of its limit")]
    for part in found["operations"]:
        known = part["limit"] is not None
        share = output.colour(output.bar(part["share"], 16), "36")
        rows.append(
            (
                part["name"],
                f"{part['calls']:,}",
                f"{part['seconds'] * 1e3:.2f}",
                f"{part['share']:.1%}",
                f"▕{share}▏",
                f"{part['gb_s']:.1f}" if known else "",
                f"{part['gops']:.0f}" if known else "",
                f"{part['limit_fraction']:.0%} {part['limit']}" if known else "",
            )
        )
    print(output.table(rows, right=[1, 2, 3, 5, 6, 7]))
