"""Seeds for the fuzz targets: python make_seeds.py FOLDER. Small sound files, one for each thing one may hold."""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tokenizer_json_files as tokenizer_files
import whisper_models
from tokenizer_json_files import document, newline_ids, tiny

TYPES = [
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
    "IQ4_NL", "IQ4_XS", "MXFP4", "I8", "I16", "I32", "I64", "F64",
]  # fmt: skip
NUMBERS = ["UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "UINT64", "INT64", "FLOAT32", "FLOAT64"]


def write(path: Path, fill: Callable[[gguf.GGUFWriter], None], split_max_tensors: int = 0) -> None:
    writer = gguf.GGUFWriter(path, "gemma3", split_max_tensors=split_max_tensors)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tensor(writer: gguf.GGUFWriter, name: str, type_name: str, blocks: int) -> None:
    kind = gguf.GGMLQuantizationType[type_name]
    data = np.random.default_rng(int(kind)).integers(
        0, 256, (2, blocks * gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8
    )
    writer.add_tensor(name, data, raw_dtype=kind)


def all_metadata(writer: gguf.GGUFWriter) -> None:
    for name in NUMBERS:
        kind = gguf.GGUFValueType[name]
        value = 1.5 if name.startswith("FLOAT") else 100
        writer.add_key_value(f"one.{name}", value, kind)
        writer.add_key_value(f"many.{name}", [value] * 3, gguf.GGUFValueType.ARRAY, kind)
    writer.add_bool("yes", True)
    writer.add_array("bools", [True, False])
    writer.add_string("text", "Grüße")
    writer.add_array("texts", ["a", "", "bc"])


def aligned(writer: gguf.GGUFWriter) -> None:
    writer.add_custom_alignment(8)
    add_tensor(writer, "a", "Q8_0", 1)
    add_tensor(writer, "b", "F32", 1)


def split(writer: gguf.GGUFWriter) -> None:
    add_tensor(writer, "a", "F32", 1)
    add_tensor(writer, "b", "F32", 1)


def write_gguf(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "metadata.gguf", all_metadata)
    write(folder / "aligned.gguf", aligned)
    write(folder / "split.gguf", split, split_max_tensors=1)
    for name in TYPES:
        write(folder / f"{name}.gguf", lambda writer, name=name: add_tensor(writer, f"blk.0.{name}", name, 1))
    version_2 = bytearray((folder / "F32.gguf").read_bytes())
    version_2[4] = 2
    (folder / "version2.gguf").write_bytes(version_2)


def write_safetensors(folder: Path) -> None:
    """The target reads the same bytes as a file and as an index."""
    folder.mkdir(parents=True, exist_ok=True)
    widths = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I8": 1, "I16": 2, "I32": 4, "I64": 8}
    tensors: dict[str, object] = {}
    at = 0
    for i, (dtype, width) in enumerate(widths.items()):
        shape = [2] * (i % 4)
        end = at + width * 2 ** (i % 4)
        tensors[f"{dtype}.é"] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    tensors["none"] = {"dtype": "F32", "shape": [0, 3], "data_offsets": [at, at]}
    metadata = {"__metadata__": {"format": "pt", "text": '\U0001f600 \\ " /\n\t'}}
    for ascii_only in (False, True):
        header = json.dumps(metadata | tensors, ensure_ascii=ascii_only).encode()
        raw = struct.pack("<Q", len(header)) + header + bytes(range(at))
        (folder / f"all-{ascii_only}.safetensors").write_bytes(raw)
    (folder / "empty.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    other = {"total_size": 80.5, "a": [1, -2e-3, True, False, None, {"b": []}]}
    index = {"metadata": other, "weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}
    (folder / "index.json").write_text(json.dumps(index))


def write_tokenizers(folder: Path) -> None:
    """A vocabulary without the bytes is short but refused late, so both kinds."""
    tokens, merges = tiny("the", " a", "\n\n")
    made = document(tokens, merges, added=newline_ids(tokens))
    made["added_tokens"][0] |= {"lstrip": True, "rstrip": True}
    tokenizer_files.write(folder / "whole", made, separators=(",", ":"))
    tokenizer_files.write(
        folder / "strings", document(tokens, merges, pairs=False), separators=(",", ":"), ensure_ascii=True
    )
    few = [token for token in tokens if not token[0].startswith("<0x")]
    tokenizer_files.write(folder / "few", document(few, merges), indent=1)


def write_ctranslate2(folder: Path) -> None:
    """One file a stored type and number of dimensions, one with second names, and what a Whisper has."""
    folder.mkdir(parents=True, exist_ok=True)
    one = whisper_models.variable

    def put(name: str, *parts: bytes, aliases: list[tuple[str, str]] | None = None) -> None:
        (folder / f"{name}.bin").write_bytes(whisper_models.model_bin(list(parts), aliases or []))

    for dimensions, kind in enumerate(whisper_models.TYPES):
        stored = "uint16" if kind == "bfloat16" else kind
        put(kind, one(f"a/{kind}", np.ones((2,) * dimensions, stored), kind))
    put("deep", one("deep", np.ones((1,) * 8, np.int8)), one("none", np.ones((0, 3), np.float32)))
    put("aliases", one("x", np.ones(3, np.float32)), one("y", np.array(2, np.int16)), aliases=[("é", "x"), ("z", "é")])
    weights = {f"encoder.{name}.weight": np.full((2, 4, 3), 0.5, np.float32) for name in ("conv1", "conv2")}
    for kind in ("int8", "int16", "float16", "bfloat16"):
        parts = [part for name, value in weights.items() for part in whisper_models.stored(name, value, kind)]
        put(f"whisper-{kind}", *parts, one("encoder/num_heads", np.array(2, np.int16)))
    (folder / "empty.bin").write_bytes(whisper_models.model_bin([], spec=""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    write_ctranslate2(folder / "ctranslate2")
    write_gguf(folder / "gguf")
    write_safetensors(folder / "safetensors")
    write_tokenizers(folder / "tokenizer")


if __name__ == "__main__":
    main()
