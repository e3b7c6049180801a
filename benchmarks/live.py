"""How soon after a word ends its text is shown and stays: Whisper on sound that is played in real time.

    python benchmarks/live.py SPEECH.wav SPEECH.TextGrid
    python benchmarks/live.py SPEECH.wav SPEECH.TextGrid --threads 2 --block 0.08 --runs 3 --json live.json

The TextGrid holds the words' labelled ends in a tier `words`. A word's time is that of the first showing, provisional
or final, in which it stands where the final text has it and from which on no showing is without it; case and
punctuation do not count. Words that the model writes otherwise than the labels are left out, and counted.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import gemlet
from gemlet.media.audio import RATE, load_audio
from gemlet.speech.stitching import plain

if TYPE_CHECKING:
    from collections.abc import Iterator


_AT_ONCE = 0.02


class Shown(NamedTuple):
    """Everything on the screen at a time."""

    seconds: float
    words: list[str]


def labels(path: str) -> list[tuple[str, float]]:
    """Words and their ends of the tier `words` of a TextGrid."""
    text = re.sub(r"\[\d*\]", "", Path(path).read_text(encoding="utf-8"))
    tokens = re.findall(r'"[^"]*"|\d+(?:\.\d+)?', text)  # the same in both forms of the format
    at = tokens.index('"words"') + 4
    count = int(tokens[at - 1])
    found = [(tokens[i + 1], tokens[i + 2].strip('"')) for i in range(at, at + 3 * count, 3)]
    return [(plain(word), float(end)) for end, word in found if plain(word) and word[0] not in "<["]


def played(samples: np.ndarray, block: float, began: list[float]) -> Iterator[np.ndarray]:
    """Blocks as a microphone gives them: each when its last sample was spoken."""
    size = round(block * RATE)
    began.append(time.perf_counter())
    for at in range(0, len(samples), size):
        wait = began[0] + min(at + size, len(samples)) / RATE - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        yield samples[at : at + size]


def watch(samples: np.ndarray, model: Any, block: float, options: dict[str, Any]) -> tuple[list[Shown], str]:
    """What was on the screen, and the final text."""
    began: list[float] = []
    final, shown = "", []
    for segment in gemlet.transcribe((played(samples, block, began), RATE), model, **options):
        text = final + segment.text
        if segment.final:
            final = text
        words = [word for word in map(plain, text.split()) if word]
        now = time.perf_counter() - began[0]
        if segment.final and shown and now - shown[-1].seconds < _AT_ONCE:
            shown.pop()  # parts of an utterance that come together are one showing
        shown.append(Shown(now, words))
    return shown, final


def settled(shown: list[Shown]) -> list[float]:
    """For each word of the last showing, when it came to stay."""
    last = shown[-1].words
    times = [shown[-1].seconds] * len(last)
    stays = [True] * len(last)
    for seconds, words in reversed(shown):
        there = [False] * len(last)
        for match in SequenceMatcher(None, last, words, autojunk=False).get_matching_blocks():
            there[match.a : match.a + match.size] = [True] * match.size
        stays = [was and now for was, now in zip(stays, there, strict=True)]
        times = [seconds if stay else at for stay, at in zip(stays, times, strict=True)]
    return times


def delays(shown: list[Shown], labelled: list[tuple[str, float]]) -> list[float]:
    """Seconds from the end of each labelled word that the final text has too."""
    times = settled(shown)
    names = [word for word, _ in labelled]
    found = SequenceMatcher(None, names, shown[-1].words, autojunk=False).get_matching_blocks()
    return [times[m.b + i] - labelled[m.a + i][1] for m in found for i in range(m.size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sound")
    parser.add_argument("grid")
    parser.add_argument("--model", default="whisper-tiny")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--block", type=float, default=0.08, help="seconds that come together")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", metavar="PATH")
    args = parser.parse_args()
    model = gemlet.load_whisper(args.model, threads=args.threads)
    samples = np.pad(load_audio(args.sound), (0, RATE))  # a moment of silence ends the last utterance
    labelled = labels(args.grid)
    model.decode(model.encode(samples[:RATE]), max_tokens=2)  # what is done once
    late: list[float] = []
    for _ in range(args.runs):
        shown, text = watch(samples, model, args.block, {"language": "en"})
        late += delays(shown, labelled)
    late.sort()
    figures = {
        "median_s": statistics.median(late),
        "p90_s": late[int(len(late) * 0.9)],
        "words": len(late) / args.runs,
        "labelled": len(labelled),
        "showings": len(shown),
        "text": text.strip(),
    }
    print(json.dumps(figures))
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
