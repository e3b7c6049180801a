"""Whisper: what is said in up to 30 seconds of sound, one window at a time."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import ContextOverflow
from ..types import check_choice, check_float, check_int
from .vocabulary import WhisperText, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ..speech.reading import TranscriptStream
    from ..speech.results import Transcript

SECONDS = 30  # that a model hears at once
TIME_STEP = 0.02  # seconds from one timestamp to the next
_CALL = "decode"


@dataclass(frozen=True)
class Decoded:
    """A text that was heard.

    tokens: ids without the end, times among them (`timestamp_begin` is 0.00 s, 0.02 s a step).
    avg_logprob: mean logarithm of the tokens' probabilities, the end's among them.
    no_speech_prob: how likely it is that nobody speaks; 0.0 where the vocabulary has no word for that.
    language: as "en"; None for a model of English only.
    """

    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_prob: float
    language: str | None


class Encoded:
    """What a model heard in one window; `Whisper.encode` makes it. Keeps its model alive."""

    def __init__(self, heard: _core.WhisperHeard) -> None:
        self._heard = heard

    @property
    def features(self) -> NDArray[np.float32]:
        """The encoder's output (1500, D) float32, a copy: 50 places a second; fewer of a shorter window."""
        return self._heard.features()


class Whisper:
    """A Whisper model, tiny to large-v3 and turbo: a Hugging Face folder, or one of CTranslate2's.

    Many threads may use one; their calls take turns.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, threads: int | str | None = None, compute: str = "auto"
    ) -> None:
        """threads: None or "auto": GEMLET_THREADS, else the cores this process may use.

        compute: "auto" keeps matrices in 8 bits and quantises what they multiply; "float32" is exact, and slower.
        """
        self.path = os.fspath(path)
        self.name = os.path.basename(os.path.abspath(self.path))
        check_choice("Whisper", "compute", compute, ("auto", "float32"))
        count = 0 if threads in (None, "auto") else check_int("Whisper", "threads", threads, 1, 1024)
        self._engine = _core.Whisper(self.path, count, compute)
        self.info: dict[str, Any] = dict(self._engine.info)
        self._text = WhisperText(self.path, self.info["vocab_size"], read_settings(self.path))

    def __repr__(self) -> str:
        return f"Whisper({self.name!r})"

    def __enter__(self) -> Whisper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends running calls and the model's thread; later calls are errors."""
        self._engine.close()

    def cancel(self) -> None:
        """Ends the calls that are running, with `Cancelled`."""
        self._engine.cancel()

    # ---- vocabulary ------------------------------------------------------------------------------------------------

    @property
    def multilingual(self) -> bool:
        """Whether it knows languages other than English."""
        return self._text.multilingual

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages by their short names, as "en", in the model's order."""
        return tuple(self._text.languages) if self.multilingual else ("en",)

    @property
    def positions(self) -> int:
        """Tokens that prompt and text may have together: 448."""
        return int(self.info["positions"])

    @property
    def timestamp_begin(self) -> int:
        """The id of <|0.00|>; each id after it is 0.02 s later."""
        return self._text.timestamp_begin

    @property
    def sot(self) -> int:
        """The id of <|startoftranscript|>."""
        return self._text.sot

    @property
    def eot(self) -> int:
        """The id of <|endoftext|>; those of text are below it."""
        return self._text.eot

    @property
    def no_speech(self) -> int | None:
        """The id of <|nospeech|>, or <|nocaptions|>."""
        return self._text.no_speech

    @property
    def sot_prev(self) -> int | None:
        """The id of <|startofprev|>, before a prompt."""
        return self._text.sot_prev

    @property
    def no_timestamps(self) -> int:
        """The id of <|notimestamps|>."""
        return self._text.no_timestamps

    @property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Ids that -1 in `suppress_tokens` stands for: signs that nobody speaks, and tasks."""
        return self._text.non_speech

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text."""
        return self._text.encode(text)

    def decode_text(self, ids: Sequence[int]) -> str:
        """The text of ids; special tokens and times are left out."""
        return self._text.decode(ids)

    # ---- hearing ---------------------------------------------------------------------------------------------------

    def encode(self, samples: ArrayLike, *, seconds: float = SECONDS, blank: bool = False) -> Encoded:
        """What is heard in samples (n,) float32 at 16 kHz, at most 480000; silence follows them up to 30 s.

        seconds: a shorter window, which takes less time; it should be longer than the sound. blank: frames of zeros
        follow the sound instead of silence, as with faster-whisper; texts may differ in their last punctuation.
        """
        frames = 2 * round(50 * check_float("encode", "seconds", seconds, f"[0.02, {SECONDS}]"))
        return Encoded(self._engine.encode(np.asarray(samples, np.float32), frames, blank))

    def detect_language(self, encoded: Encoded) -> list[tuple[str, float]]:
        """(language, probability), likeliest first."""
        if not self.multilingual:
            return [("en", 1.0)]
        names = list(self._text.languages)
        row = self.logits(encoded, [self.sot])[0, list(self._text.languages.values())].astype(np.float64)
        weights = np.exp(row - row.max())
        return sorted(zip(names, (weights / weights.sum()).tolist(), strict=True), key=lambda pair: -pair[1])

    def logits(self, encoded: Encoded, tokens: Sequence[int]) -> NDArray[np.float32]:
        """(n, V) float32: what may follow each of n tokens, given those before it."""
        return self._engine.logits(encoded._heard, np.asarray(tokens))

    def decode(
        self,
        encoded: Encoded,
        *,
        language: str | None = None,
        task: str = "transcribe",
        prompt: Sequence[int] = (),
        prefix: Sequence[int] = (),
        beam_size: int = 1,
        patience: float = 1.0,
        length_penalty: float = 1.0,
        temperature: float = 0.0,
        seed: int = 0,
        timestamps: bool = True,
        max_initial_timestamp: float | None = 1.0,
        suppress_blank: bool = True,
        suppress_tokens: Sequence[int] = (-1,),
        max_tokens: int | None = None,
    ) -> Decoded:
        """What was said.

        language: None: the likeliest. task: "transcribe", or "translate" into English.
        prompt: ids of what was said before; its end counts where it is too long. prefix: ids that the text begins with;
            they are not part of the answer, and with times the first of them is one.
        temperature: above 0 draws, always the same for the same seed; 0 takes the likeliest of `beam_size` texts: of
            beam_size * patience that ended, the best by log probability / length ** length_penalty.
        max_initial_timestamp: seconds before which the text begins. suppress_tokens: ids that are never said; -1 stands
            for `non_speech_tokens`. max_tokens: None: 224, or what there is room for.
        """
        before, start, spoken = self._prompt(encoded, language, task, prompt, timestamps)
        tokens = [*before, *(int(i) for i in prefix)]
        room = min(self.positions // 2, self.positions - len(tokens))
        if room < 1:
            many = f"prompt and prefix have {len(tokens)} tokens"
            raise ContextOverflow(f"decode: {many}, and the model has room for {self.positions}; shorten them")
        latest = -1.0
        if max_initial_timestamp is not None:
            latest = check_float(_CALL, "max_initial_timestamp", max_initial_timestamp, "[0, 30]") / TIME_STEP
        options = _core.WhisperOptions(
            beams=check_int(_CALL, "beam_size", beam_size, 1, 64),
            patience=check_float(_CALL, "patience", patience, "(0, 100]"),
            length_penalty=check_float(_CALL, "length_penalty", length_penalty, "[0, 10]"),
            temperature=check_float(_CALL, "temperature", temperature, "[0, 100]"),
            seed=check_int(_CALL, "seed", seed, 0, 2**64 - 1),
            most_tokens=room if max_tokens is None else min(room, check_int(_CALL, "max_tokens", max_tokens, 1)),
            end=self.eot,
            no_timestamps=self._text.no_timestamps,
            first_timestamp=self.timestamp_begin,
            timestamps=timestamps,
            latest_start=round(latest),
            never=self._suppressed(suppress_tokens),
            not_first=list(self._text.blank) if suppress_blank else [],
        )
        silence = -1 if self.no_speech is None else self.no_speech
        ids, log_probability, no_speech = self._engine.decode(
            encoded._heard, tokens, start, silence, len(tokens) - len(before), options
        )
        mean = log_probability / (len(ids) + 1)
        return Decoded(
            ids, self.decode_text(ids).strip(), mean if math.isfinite(mean) else -math.inf, no_speech, spoken
        )

    def transcribe(self, src: Any, *, stream: bool | None = None, **options: Any) -> Transcript | TranscriptStream:
        """What is said in a sound of any length, with times; see `gemlet.transcribe`, which has the same options."""
        from ..speech.reading import started

        return started(self, src, options, stream)

    def _prompt(
        self, encoded: Encoded, language: str | None, task: str, prompt: Sequence[int], timestamps: bool
    ) -> tuple[list[int], int, str | None]:
        """The tokens before the text, where <|startoftranscript|> is among them, and the language."""
        check_choice(_CALL, "task", task, ("transcribe", "translate"))
        text = self._text
        tokens: list[int] = []
        if len(prompt) > 0 and text.sot_prev is not None:
            tokens = [text.sot_prev, *(int(i) for i in prompt[-(self.positions // 2 - 1) :])]
        start = len(tokens)
        tokens.append(text.sot)
        if not text.multilingual:
            if language not in (None, "en"):
                raise ValueError(f"decode: language must be 'en', not {language!r}: {self.name} knows English only")
            if task == "translate":
                raise ValueError(f"decode: task must be 'transcribe': {self.name} knows English only")
        else:
            if language is None:
                language = self.detect_language(encoded)[0][0]
            elif language not in text.languages:
                raise ValueError(f"decode: language must be one of {', '.join(text.languages)}, not {language!r}")
            chosen = text.transcribe if task == "transcribe" else text.translate
            assert chosen is not None  # a vocabulary with languages has both
            tokens += [text.languages[language], chosen]
        if not timestamps:
            tokens.append(text.no_timestamps)
        return tokens, start, language if text.multilingual else None

    def _suppressed(self, ids: Sequence[int]) -> list[int]:
        never: set[int] = set()
        for i in ids:
            never.update(self._text.non_speech if i == -1 else [check_int(_CALL, "suppress_tokens", i, 0)])
        return sorted(never)
