"""`gemlet show`: what a model file holds, without loading the model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..results import size_text
from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """One file, and whether to list every tensor."""
    parser.add_argument("model", metavar="MODEL", help="a GGUF file, or 'demo'")
    parser.add_argument("--tensors", action="store_true", help="list every tensor")


def run(args: Namespace) -> int:
    """Metadata and a table of tensor types."""
    from .._core import Gguf
    from ..sources import resolve

    path = resolve(args.model)
    file = Gguf(path)
    metadata, tensors = file.metadata(8), file.tensors()
    types = _types(tensors)
    total = sum(tensor["bytes"] for tensor in tensors)
    parameters = sum(_count(tensor["shape"]) for tensor in tensors)
    if args.json:
        report: dict[str, Any] = {
            "path": path,
            "file_bytes": sum(os.path.getsize(name) for name in {path, *(str(t["file"]) for t in tensors)}),
            "tensor_bytes": total,
            "parameters": parameters,
            "types": types,
            "metadata": metadata,
        }
        if args.tensors:
            report["tensors"] = [{**tensor, "shape": list(tensor["shape"])} for tensor in tensors]
        output.print_json(report)
        return 0
    print(output.colour(path, "1"))
    print(f"{parameters / 1e6:.1f} M parameters in {len(tensors)} tensors, {size_text(total)}\n")
    print(output.table((key, _short(value)) for key, value in metadata.items()))
    rows = [("type", "tensors", "bytes", "bits/weight", "share")]
    rows += [
        (
            t["type"],
            str(t["tensors"]),
            size_text(t["bytes"]),
            f"{8 * t['bytes'] / t['parameters']:.2f}",
            f"{t['bytes'] / total:.1%}",
        )
        for t in types
    ]
    print("\n" + output.table(rows, right=[1, 2, 3, 4]))
    if args.tensors:
        listed = ((t["name"], t["type"], " x ".join(map(str, t["shape"])), size_text(t["bytes"])) for t in tensors)
        print("\n" + output.table(listed, right=[3]))
    return 0


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count


def _types(tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a block type, most bytes first."""
    found: dict[str, dict[str, Any]] = {}
    for tensor in tensors:
        entry = found.setdefault(tensor["type"], {"type": tensor["type"], "tensors": 0, "parameters": 0, "bytes": 0})
        entry["tensors"] += 1
        entry["parameters"] += _count(tensor["shape"])
        entry["bytes"] += tensor["bytes"]
    return sorted(found.values(), key=lambda entry: -entry["bytes"])


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['count']} x {value['type']}: {', '.join(map(repr, value['first'][:4]))}, ..."
    text = value if isinstance(value, str) else repr(value)
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:77] + "..."
