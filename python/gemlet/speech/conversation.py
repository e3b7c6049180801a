"""Speech to text by a Gemma that hears: pieces of sound, cut at pauses, each a question to the model.

The times of a segment are those of its piece: such a model tells no times itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..media.audio import RATE
from ..media.voice import detector, frames
from ..soft import SoftTokens
from .results import Segment
from .utterances import Utterances
from .windows import compression_ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from ..media.voice import Run
    from .options import SpeechOptions

_LONGEST = 28.0  # seconds of a piece; the model was trained on 30
_PAUSE = 0.4  # seconds at which a file is cut
_TOKENS = 12  # a second of speech that an answer may have at most; people say four or five
_OF_WHISPER = (
    "beam_size",
    "patience",
    "length_penalty",
    "timestamps",
    "condition_on_previous_text",
    "logprob_threshold",
    "no_speech_threshold",
    "suppress_blank",
    "suppress_tokens",
    "max_initial_timestamp",
    "every",
)


class ConversationReading:
    """Asks a model that hears what is said, piece by piece."""

    def __init__(self, model: Any, options: SpeechOptions, given: Mapping[str, Any], *, live: bool) -> None:
        self._model, self._options = model, options
        self._pause = options.pause if live or "pause" in given else _PAUSE
        self.model: str = model.name
        self.language = options.language
        self.language_probability = None if options.language is None else 1.0
        self.speech = 0.0
        self.warnings = ["the times of segments are those of the pieces that the sound was cut into at pauses"]
        unused = [name for name in _OF_WHISPER if name in given]
        if unused:
            self.warnings.append(f"{', '.join(unused)}: of Whisper models only, and of no effect here")

    def segments(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[Segment]:
        """What is said."""
        pieces = Utterances(detector() if self._options.vad else None, pause=self._pause, longest=_LONGEST)
        count = 0
        for run in self._joined(blocks, pieces):
            self.speech += len(run.samples) / RATE
            segment = self._heard(run, count)
            if segment is not None:
                count += 1
                yield segment

    def _joined(self, blocks: Iterator[NDArray[np.float32]], pieces: Utterances) -> Iterator[Run]:
        for frame in frames(blocks):
            run = pieces.feed(frame)
            if run is not None:
                yield run
        run = pieces.finish()
        if run is not None:
            yield run

    def _heard(self, run: Run, count: int) -> Segment | None:
        seconds = len(run.samples) / RATE
        start = run.at / RATE
        # Soft tokens are passed, which nobody keeps: a sound would stay in the cache of those.
        sound = SoftTokens(self._model.encode_audio((run.samples, RATE)), "audio")
        limit = 32 + round(_TOKENS * seconds)
        for temperature in self._options.temperature:
            answer = self._model.chat(
                self._question(), audio=sound, max_tokens=limit, temperature=temperature, seed=self._options.seed,
                logprobs=0,
            )  # fmt: skip
            text = " ".join(answer.text.split())
            ratio = compression_ratio(text) if text else 0.0
            highest = self._options.compression_ratio_threshold
            if highest is None or ratio <= highest:
                break
        if answer.finish_reason == "length":
            self.warnings.append(f"at {start:.1f} s: the answer was cut off after {limit} tokens")
        if highest is not None and ratio > highest:
            self.warnings.append(f"at {start:.1f} s: the answer goes in circles")
        if not text:
            return None
        logprobs = [token.logprob for token in answer.logprobs or ()]
        likely = sum(logprobs) / len(logprobs) if logprobs else None
        tokens = tuple(int(i) for i in answer.token_ids)
        end = round(start + seconds, 3)
        return Segment(count, start, end, f" {text}", tokens, temperature, likely, ratio, None, round(start * 100))

    def _question(self) -> str:
        options = self._options
        spoken = f", which is in the language {options.language!r}," if options.language else ""
        if options.task == "translate":
            wanted = f"Translate what is said in this recording{spoken} into English. Answer with the translation only."
        else:
            wanted = (
                f"Write down what is said in this recording{spoken} word by word, in the language that is spoken. "
                "Answer with these words only, and with nothing if nobody speaks."
            )
        return (
            f"{wanted} Names and words that may occur: {options.initial_prompt}" if options.initial_prompt else wanted
        )
