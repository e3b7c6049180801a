"""`gemlet doctor`: the facts of `gemlet.doctor`, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Whether to measure."""
    parser.add_argument("--no-measure", action="store_true", help="skip the bandwidth and int8 measurement")


def run(args: Namespace) -> int:
    """A table, or the report as JSON."""
    from ..doctor import examine

    report = examine(measure=not args.no_measure)
    if args.json:
        output.print_json(report)
        return 0
    print(output.table(list(_rows(report))))
    return 0


def _rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    isa, threads, memory, demo = report["isa"], report["threads"], report["memory"], report["demo"]
    forced = " (forced by GEMLET_ISA)" if isa["forced"] else ""
    rows = [
        ("gemlet", f"{report['gemlet']}, Python {report['python']}, {report['system']}"),
        ("cpu", report["cpu"]),
        (
            "instruction sets",
            " ".join(f"[{name}]" if name == isa["chosen"] else name for name in isa["available"]) + forced,
        ),
        ("threads", f"{threads['chosen']}: {threads['why']}"),
    ]
    if memory["total"] is not None:
        limit = f", cgroup limit {output.size(memory['cgroup_limit'])}" if memory["cgroup_limit"] else ""
        rows.append(("memory", f"{output.size(memory['available'])} free of {output.size(memory['total'])}{limit}"))
    if limits := report.get("limits"):
        rows.append(("reads", f"{limits['read_gb_s']:.1f} GB/s with {threads['chosen']} threads"))
        rows.append(("int8", f"{limits['int8_gops']:.0f} Gop/s with {threads['chosen']} threads"))
    state = "ready" if demo["ready"] else "will be put together on first use" if demo["package"] else "not installed"
    rows.append(("demo model", f"{state}, in {demo['folder']}"))
    for name, extra in report["extras"].items():
        rows.append((f"extra {name}", "installed" if extra["installed"] else f"missing: {extra['install']}"))
    return rows
