"""Write tokenizer_gemma4.json.gz: a small vocabulary of Gemma 4's kind, strings, and their ids from `tokenizers`.

Run: python tests/golden/make_bpe_golden.py   (needs tokenizers)
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from bpe_vocabulary import MARK, all_merges, bpe_strings, document_order, open_tokenizers
from tokenizer_strings import CODE, SENTENCES

LEARN = 2000
PROSE = Path(__file__).parents[2] / "benchmarks" / "prose.txt"


def learn() -> tuple[list[str], list[str]]:
    """Pieces in the order in which they were learnt, and the letters."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    text = "\n".join([PROSE.read_text(), *CODE * 3, *SENTENCES * 3]).replace(" ", MARK)
    letters = sorted(set(text) - {"\n", "\t"})
    made = Tokenizer(models.BPE())
    # Words with the space before them, as in the real vocabulary; runs and letters are added by name.
    made.pre_tokenizer = pre_tokenizers.Split(Regex(f"{MARK}?[^{MARK}\\s]+"), "removed", invert=True)
    trainer = trainers.BpeTrainer(vocab_size=len(letters) + LEARN, show_progress=False, initial_alphabet=letters)
    made.train_from_iterator([text], trainer)
    order = sorted(made.get_vocab().items(), key=lambda item: item[1])
    learnt = [piece for piece, _ in order if len(piece) > 1]
    # The one piece of the real vocabulary with a space inside, and what it is made of.
    return [*learnt, "</", f"{MARK}</", f">{MARK}</"], letters


def main() -> None:
    tokens = document_order(*learn())
    merges = all_merges(tokens)
    cases: dict[str, list[list[object]]] = {}
    plain, special = (open_tokenizers(tokens, merges, special=s) for s in (False, True))
    for kind, texts in bpe_strings(250).items():
        items = [(text.decode(), i % 2 == 1) for i, text in enumerate(texts)]
        cases[kind] = [[text, parse, (special if parse else plain).encode(text).ids] for text, parse in items]
    out = Path(__file__).with_name("tokenizer_gemma4.json.gz")
    body = json.dumps({"tokens": tokens, "merges": merges, "cases": cases}, ensure_ascii=False, separators=(",", ":"))
    out.write_bytes(gzip.compress(body.encode(), 9, mtime=0))
    counts = f"{len(tokens)} pieces, {len(merges)} merges, {sum(map(len, cases.values()))} strings"
    print(f"{out}: {counts}, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
