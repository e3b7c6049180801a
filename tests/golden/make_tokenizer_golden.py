"""Write tokenizer_gemma3.json.gz: strings and the ids that llama.cpp gives them with the demo model's vocabulary.

Run: python tests/golden/make_tokenizer_golden.py path/to/gemma-3-270m-q4_k_m.gguf   (needs llama-cpp-python)
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from llama_oracle import open_llama
from tokenizer_strings import strings

COUNTS = {
    "blocks": 250, "emoji": 150, "spaces": 600, "invalid": 300, "look_alikes": 450, "html": 300, "code": 120,
    "long_words": 130, "random_bytes": 100, "prose": 100,
}  # fmt: skip


def main(path: str) -> None:
    cases: dict[str, list[list[object]]] = {}
    with open_llama(path) as llama:
        for kind, texts in strings(COUNTS).items():
            cases[kind] = []
            for i, text in enumerate(texts):
                parse_special = i % 2 == 1
                # Latin-1 is bytes as characters, so JSON can hold what is not UTF-8.
                ids = llama.encode(text, parse_special=parse_special)
                cases[kind].append([text.decode("latin-1"), parse_special, ids])
    out = Path(__file__).with_name("tokenizer_gemma3.json.gz")
    body = json.dumps(cases, ensure_ascii=False, separators=(",", ":")).encode()
    out.write_bytes(gzip.compress(body, 9, mtime=0))
    print(f"{out}: {sum(map(len, cases.values()))} strings, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
