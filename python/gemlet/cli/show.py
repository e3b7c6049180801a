"""`gemlet show`: what a model file or folder holds, without loading the model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

_TOKENIZERS = ("tokenizer.json", "tokenizer.model")


def add_arguments(parser: ArgumentParser) -> None:
    """One model, and whether to list every tensor."""
    parser.add_argument("model", metavar="MODEL", help="a file, a folder, a pulled name, or 'demo'")
    parser.add_argument("--tensors", action="store_true", help="list every tensor")


def run(args: Namespace) -> int:
    """Metadata and a table of tensor types."""
    from ..local.sources import resolve

    path = resolve(args.model)
    report, facts, tensors = _folder(Path(path)) if os.path.isdir(path) else _file(path)
    types = _types(tensors)
    total = sum(tensor["bytes"] for tensor in tensors)
    parameters = sum(_count(tensor["shape"]) for tensor in tensors)
    if args.json:
        report |= {"tensor_bytes": total, "parameters": parameters, "types": types}
        if args.tensors:
            report["tensors"] = [{**tensor, "shape": list(tensor["shape"])} for tensor in tensors]
        output.print_json(report)
        return 0
    print(output.colour(path, "1"))
    print(f"{parameters / 1e6:.1f} M parameters in {len(tensors)} tensors, {output.size(total)}\n")
    print(output.table((key, _short(value)) for key, value in facts.items()))
    rows = [("type", "tensors", "bytes", "bits/weight", "share")]
    rows += [
        (
            t["type"],
            str(t["tensors"]),
            output.size(t["bytes"]),
            f"{8 * t['bytes'] / max(t['parameters'], 1):.2f}",
            f"{t['bytes'] / max(total, 1):.1%}",
        )
        for t in types
    ]
    print("\n" + output.table(rows, right=[1, 2, 3, 4]))
    if args.tensors:
        listed = ((t["name"], t["type"], " x ".join(map(str, t["shape"])), output.size(t["bytes"])) for t in tensors)
        print("\n" + output.table(listed, right=[3]))
    return 0


def _file(path: str) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """A GGUF file: the JSON report's beginning, the table's rows, the tensors."""
    from .._core import Gguf

    file = Gguf(path)
    metadata, tensors = file.metadata(8), file.tensors()
    report = {
        "path": path,
        "format": "gguf",
        "file_bytes": _bytes_of({path, *(str(t["file"]) for t in tensors)}),
        "chat_template": "tokenizer.chat_template" in metadata,
        "metadata": metadata,
    }
    return report, metadata, tensors


def _folder(path: Path) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """A folder as transformers saves it: the same three."""
    from .._core import Safetensors
    from ..local.caches import read_json

    config, file = read_json(path / "config.json"), Safetensors(os.fspath(path))
    tensors = file.tensors()
    template = _template(path, read_json(path / "tokenizer_config.json"))
    tokenizer = next((name for name in _TOKENIZERS if (path / name).is_file()), None)
    report = {
        "path": os.fspath(path),
        "format": "safetensors",
        "file_bytes": _bytes_of({str(t["file"]) for t in tensors}),
        "chat_template": template is not None,
        "tokenizer": tokenizer,
        "metadata": config,
    }
    facts = dict(_flat(config))
    return report, {**facts, "tokenizer": tokenizer or "none", "chat template": template or "none"}, tensors


def _template(path: Path, tokenizer_config: dict[str, Any]) -> str | None:
    """The file that holds a chat template."""
    for name in ("chat_template.jinja", "chat_template.json"):
        if (path / name).is_file():
            return name
    return "tokenizer_config.json" if tokenizer_config.get("chat_template") else None


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return found


def _bytes_of(files: set[str]) -> int:
    return sum(os.path.getsize(name) for name in files)


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
