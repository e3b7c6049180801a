"""What a plan is for: a GGUF file, a Hugging Face folder, or a name of the family. Headers only, no weights."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

from .. import _core
from ..errors import BadFile, ModelNotFound
from ..local import sources
from ..types import check_choice
from . import estimates, headers, mixes, sizes
from .headers import TensorEntry

DEFAULT_MIX = "Q4_0"


@dataclass(frozen=True)
class Subject:
    """Sizes and tensors of what is planned for, and how they are known."""

    name: str
    source: str  # "file", "folder" or "table"
    path: str | None
    sizes: sizes.Sizes
    work: estimates.Work
    header: int  # bytes of metadata that stay mapped
    merges: int
    float_weights: bool


def subject_of(model: str | os.PathLike[str], quant: str | None) -> Subject:
    """The file, folder or name, with the quantisation asked for; ModelNotFound names what there is."""
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"plan: model must be a string or a path, not {model!r}")
    name = os.path.expanduser(os.fspath(model))
    try:
        path, left = (name, None) if quant is None else sources.choose(name, quant)
        path = sources.resolve(path)
    except ModelNotFound as error:
        known = _of_family(name, quant)
        if known is not None:
            return known
        family = ", ".join(sizes.FAMILY)
        raise ModelNotFound(f'{error}. Without a file, plan knows {family}, as in "E2B:Q4_0"') from None
    mix = None if left is None else check_choice("plan", "quant", left.upper(), tuple(mixes.MIXES))
    if os.path.isdir(path):
        return _folder(path, mix)
    if mix is not None:
        raise ValueError("plan: quant is for folders and for names without a file; a GGUF file has its types")
    return _file(path)


def _file(path: str) -> Subject:
    file = _core.Gguf(path)
    metadata = file.metadata(headers.LAYERS_LIMIT)
    listed = file.tensors()
    entries = [TensorEntry(t["name"], tuple(t["shape"]), t["type"], t["bytes"]) for t in listed]
    found = headers.sizes_of_gguf(path, metadata, entries)
    whole = sum(os.path.getsize(part) for part in {path, *(str(t["file"]) for t in listed)})
    merges = metadata.get("tokenizer.ggml.merges", ())
    return Subject(
        name=os.path.basename(path),
        source="file",
        path=path,
        sizes=found,
        work=estimates.work(found, entries),
        header=whole - sum(entry.bytes for entry in entries),
        merges=merges["count"] if isinstance(merges, dict) else len(merges),
        float_weights=_float_weights(entries),
    )


def _float_weights(entries: list[TensorEntry]) -> bool:
    return next((e.kind == "F32" for e in entries if e.name.startswith("blk.0.") and len(e.shape) > 1), False)


def _folder(path: str, mix: str | None) -> Subject:
    try:
        with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
    except FileNotFoundError:
        raise ModelNotFound(f"plan: {path} has no config.json; give a GGUF file or a Hugging Face folder") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadFile(f"plan: {path}/config.json is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise BadFile(f"plan: {path}/config.json: expected an object, got {type(config).__name__}")
    found = headers.sizes_of_config(f"{path}/config.json", config)
    name = os.path.basename(os.path.normpath(path))
    if mix is not None:
        return hypothetical(f"{name} as {mix}", "folder", found, mix)
    entries = headers.entries_of_folder(_core.Safetensors(path).tensors())
    merges = 2 * found.vocabulary if found.architecture == "gemma4" else 0
    load = estimates.work(found, entries)
    return Subject(name, "folder", path, found, load, 0, merges, _float_weights(entries))


def _of_family(name: str, quant: str | None) -> Subject | None:
    """A member of the family by name: "E2B", "gemma-4-E2B-it:Q4_K_M", "google/gemma-4-31B"; None if it is none."""
    base, _, tag = name.partition(":")
    short = re.sub(r"^(google/)?(gemma-?4-)?|-it$", "", base, flags=re.IGNORECASE).upper()
    if short not in sizes.FAMILY:
        return None
    mix = check_choice("plan", "quant", (quant or tag or DEFAULT_MIX).upper(), tuple(mixes.MIXES))
    return hypothetical(f"{short}:{mix}", "table", sizes.FAMILY[short], mix)


def hypothetical(name: str, source: str, found: sizes.Sizes, mix: str) -> Subject:
    """A file that does not exist: these sizes in this quantisation."""
    entries = [TensorEntry(*entry) for entry in mixes.tensors_of(found, mix)]
    header = estimates.HEADER_BYTES_PER_PIECE * found.vocabulary
    work = estimates.work(found, entries)
    return Subject(name, source, None, found, work, header, 2 * found.vocabulary, _float_weights(entries))
