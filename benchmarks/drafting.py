"""What drafts are worth: tokens a second with and without them, on text that repeats itself and on text that does not.

    python benchmarks/drafting.py [--model demo] [--draft lookup] [--tokens 128] [--rounds 5]

Both ways run in turns, one call each, and the median of their ratios is told, so that a busy machine hurts both alike.
The answers of both are compared: drafts change no token.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import gemlet

CODE = """class Point:
    def __init__(self, x, y, z):
        self.x = x
        self.y = y
        self.z = z

    def scaled(self, factor):
        return Point(self.x * factor, self.y * factor, self.z * factor)

    def moved(self, x, y, z):
        return Point(self.x + x, self.y + y, self.z + z)
"""


def prompts() -> dict[str, str]:
    prose = (Path(__file__).parent / "prose.txt").read_text(encoding="utf-8")[:1200]
    return {
        "quoted text": f"{prose}\n\nThe same text once more, word for word:\n\n{prose[:200]}",
        "code": CODE + "\n\nclass Vector:\n    def __init__(self, x, y, z):\n",
        "new text": "Write a letter to an old friend about the garden.\n\nDear",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--draft", default="lookup", help="lookup, or the path of a drafter")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    threads = "auto" if args.threads is None else args.threads
    with (
        gemlet.load(args.model, threads=threads, draft=args.draft) as drafting,
        gemlet.load(args.model, threads=threads, draft="off") as plain,
    ):
        print(f"{plain.name} {plain.quantization}, {plain.isa}, {plain.threads} threads, {args.tokens} tokens, greedy")
        print(f"{'text':<14}{'off tok/s':>11}{'on tok/s':>11}{'ratio':>8}{'drafted':>9}{'accepted':>10}")
        for name, prompt in prompts().items():
            report(name, prompt, drafting, plain, args.tokens, args.rounds)


def report(name: str, prompt: str, drafting: gemlet.Model, plain: gemlet.Model, tokens: int, rounds: int) -> None:
    on, off, ratios = [], [], []
    for i in range(rounds + 1):
        made = [
            model.generate(prompt, max_tokens=tokens, temperature=0, ignore_eos=True)
            for model in ((drafting, plain) if i % 2 else (plain, drafting))
        ]
        with_drafts, without = made if i % 2 else reversed(made)
        if with_drafts.token_ids.tolist() != without.token_ids.tolist():
            raise SystemExit(f"{name}: drafts changed the text")
        if i == 0:
            continue  # the first call of each reads the file
        on.append(with_drafts.timings.decode_tok_s)
        off.append(without.timings.decode_tok_s)
        ratios.append(on[-1] / off[-1])
    draft = with_drafts.usage.draft
    print(
        f"{name:<14}{statistics.median(off):>11.1f}{statistics.median(on):>11.1f}{statistics.median(ratios):>8.2f}"
        f"{draft.drafted:>9}{draft.rate:>10.0%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
