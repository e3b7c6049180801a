"""An hour of sound, fed as blocks, through what hears it: the memory above the model, minute by minute.

    python benchmarks/hour.py whisper --sound SPEECH.wav      # Whisper tiny: VAD, windows, segments handed on
    python benchmarks/hour.py live --sound SPEECH.wav         # the same as live source, a final segment an utterance
    python benchmarks/hour.py tower                           # the tower of E2B's size, rows handed on (listen)
    python benchmarks/hour.py whisper --minutes 60 --bar 150 --json hour.json

The sound is the file and as much silence, in turns (without --sound: noises like speech). Memory is the process's own,
sampled every 20 ms by a thread; weights that are mapped from a file do not count, everything else does. Fails if the
peak is above --bar (MiB), or if it rises after the first minute by more than a tenth of the bar.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import audio
import gemlet
import sounds
from gemlet.media.audio import RATE, load_audio

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE_S = 0.02


class Watch:
    """The largest own memory, in MiB above what it was at the start, of each minute of sound."""

    def __init__(self, minutes: int) -> None:
        self.by_minute = [0.0] * minutes
        self.minute = 0
        self._before = audio.resident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            now, at = audio.resident() - self._before, min(self.minute, len(self.by_minute) - 1)
            self.by_minute[at] = max(self.by_minute[at], now)

    def again(self) -> Watch:
        """From the memory that is taken now."""
        self.stop()
        return Watch(len(self.by_minute))

    def at(self, seconds: float, _: float | None) -> None:
        """So much of the sound was read."""
        self.minute = int(seconds) // 60

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def blocks(sound: np.ndarray, minutes: int, watch: Watch | None = None) -> Iterator[np.ndarray]:
    """A second at a time: the sound, and as much silence, over and over."""
    both = np.concatenate([sound, np.zeros_like(sound)])
    for second in range(60 * minutes):
        if watch is not None:
            watch.at(second, None)
        yield np.take(both, np.arange(second * RATE, (second + 1) * RATE), mode="wrap")


def hear(what: str, sound: np.ndarray, args: argparse.Namespace) -> dict[str, Any]:
    """Figures of one run."""
    with tempfile.TemporaryDirectory() as scratch:
        model: Any
        if what == "tower":
            model = gemlet.load(audio.written(Path(args.folder or scratch), args.weights), threads=args.threads)
        else:
            model = gemlet.load_whisper(threads=args.threads)
        watch = Watch(args.minutes)
        began, count, size = time.perf_counter(), 0, 0
        if what == "tower":
            for rows in model.listen((blocks(sound, args.minutes, watch), RATE), every=5.0):
                count, size = count + 1, size + len(rows)
        else:
            path = file_of(sound, args.minutes, scratch) if what == "whisper" else None
            watch = watch.again()
            options: dict[str, Any] = {"language": "en", "progress": watch.at}
            source: Any = path or (blocks(sound, args.minutes), RATE)
            stream = model.transcribe(source, stream=True, **options)
            for segment in stream:
                count, size = count + 1, size + len(segment.text)
        watch.stop()
        took = time.perf_counter() - began
    first, later = watch.by_minute[0], max(watch.by_minute[1:], default=0.0)
    return {
        "what": what,
        "minutes": args.minutes,
        "peak_mib": round(max(first, later), 1),
        "first_minute_mib": round(first, 1),
        "by_minute": [round(value, 1) for value in watch.by_minute],
        "handed_on": count,
        "rows_or_letters": size,
        "times_real_time": round(60 * args.minutes / took, 1),
    }


def file_of(sound: np.ndarray, minutes: int, scratch: str) -> str:
    """The same sound as a file."""
    import soundfile

    path = str(Path(scratch) / "hour.flac")
    with soundfile.SoundFile(path, "w", samplerate=RATE, channels=1) as file:
        for block in blocks(sound, minutes):
            file.write(block)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("whisper", "live", "tower"))
    parser.add_argument("--sound", metavar="FILE")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", choices=("bf16", "q8_0"), default="q8_0", help="of the tower")
    parser.add_argument("--folder", help="where the tower lies, or is written to if there is none")
    parser.add_argument("--bar", type=float, default=150.0, metavar="MIB")
    parser.add_argument("--json", metavar="PATH")
    args = parser.parse_args()
    sound = load_audio(args.sound) if args.sound else sounds.speech_like(30 * RATE)
    figures = hear(args.what, sound, args)
    print(json.dumps(figures))
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    grown = max(figures["by_minute"][2:], default=0.0) - max(figures["by_minute"][:2])
    return 0 if figures["peak_mib"] <= args.bar and grown <= args.bar / 10 else 1


if __name__ == "__main__":
    sys.exit(main())
