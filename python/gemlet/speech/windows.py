"""Whisper's walk over a tape: 30 seconds at a time, from where the last time that it told ended.

One window's decoding with its ways out of trouble, the cutting of tokens at their times, and the walk itself.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..media.audio import RATE
from .results import Segment
from .stitching import joint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .options import SpeechOptions
    from .tape import Tape

HOP = 160  # samples of a frame
WINDOW = 3000  # frames
FRAMES_OF_TIME = 2  # frames that one step of a time token stands for, 20 ms
_STEP = 0.02
_PROMPT = 223  # tokens of earlier text that a window is shown at most
_RESET = 0.5  # above this temperature the text is no help to the next window
_SURE = 0.5  # that this is the language; until then every window is asked
_OVERLAP = 500  # frames heard twice where no time says how far a window was understood


class Decoded(Protocol):
    """What a window said: tokens with their times, and how sure that is."""

    tokens: Sequence[int]
    text: str
    avg_logprob: float
    no_speech_prob: float
    language: str | None


class Listener(Protocol):
    """A Whisper."""

    name: str
    multilingual: bool
    languages: tuple[str, ...]
    timestamp_begin: int
    eot: int

    def encode(self, samples: NDArray[np.float32], *, seconds: float, blank: bool) -> Any:
        """A window, ready for decoding."""
        ...

    def detect_language(self, encoded: Any) -> list[tuple[str, float]]:
        """Languages with their likelihoods, the likeliest first."""
        ...

    def decode(self, encoded: Any, **options: Any) -> Decoded:
        """What a window says."""
        ...

    def encode_text(self, text: str) -> list[int]:
        """Tokens of a text."""
        ...

    def decode_text(self, ids: list[int]) -> str:
        """Text of tokens; times are left out."""
        ...


class Heard(NamedTuple):
    """What was taken of a window's decodings."""

    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    cut: bool = False  # it went in circles, and what was repeated is left out


class Part(NamedTuple):
    """Tokens between two times of a window, in seconds."""

    start: float
    end: float
    tokens: list[int]


def compression_ratio(text: str) -> float:
    """How many bytes of a text its compressed form's one byte stands for; text in circles has a high one.

    >>> compression_ratio("la " * 100) > 2.4 > compression_ratio("Once upon a time.")
    True
    """
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))


def without_circles(tokens: list[int], text_end: int) -> list[int]:
    """Tokens up to the end of the first round where they end in repetitions of themselves.

    >>> without_circles([7, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3], 100)
    [7, 1, 2, 3]
    """
    words = [i for i, token in enumerate(tokens) if token < text_end]  # times count up: they do not repeat
    plain = [tokens[i] for i in words]
    best = len(plain)
    for length in range(1, len(plain) // 3 + 1):
        rounds = 1
        while plain[len(plain) - length * (rounds + 1) : len(plain) - length * rounds] == plain[-length:]:
            rounds += 1
            if length * (rounds + 1) > len(plain):
                break
        if rounds >= 3:
            best = min(best, len(plain) - length * (rounds - 1))
    return tokens if best == len(plain) else tokens[: words[best]]


def parts_of(tokens: list[int], time: int, size: int) -> tuple[list[Part], int | None]:
    """A window's tokens cut at their times, and how many of its `size` frames were understood; None: no time tells.

    Two times side by side end one part and begin the next; what begins and does not end is left for the next window.
    """
    cuts = [i for i in range(1, len(tokens)) if tokens[i] >= time and tokens[i - 1] >= time]
    ends_once = len(tokens) >= 2 and tokens[-2] < time <= tokens[-1]
    seconds = size * HOP / RATE
    if not cuts:
        times = [token for token in tokens if token >= time]
        told = bool(times) and times[-1] != time
        return [Part(0.0, (times[-1] - time) * _STEP if told else seconds, tokens)], size if told else None
    if ends_once:
        cuts.append(len(tokens))
    parts = []
    for first, last in zip([0, *cuts], cuts, strict=False):
        piece = tokens[first:last]
        parts.append(Part((piece[0] - time) * _STEP, (piece[-1] - time) * _STEP, piece))
    if ends_once:
        return parts, size
    return parts, min(size, (tokens[cuts[-1] - 1] - time) * FRAMES_OF_TIME)


class Walk:
    """Goes over a tape window by window and keeps what was said, for the next one to go on from."""

    def __init__(self, listener: Listener, options: SpeechOptions, *, beam_size: int = 1) -> None:
        self._listener = listener
        self.options = options
        self._beam = options.beam_size or beam_size
        self.language = _language(listener, options.language)
        self.language_probability: float | None = None if self.language is None else 1.0
        self.warnings: list[str] = []
        self.count = 0
        text = options.initial_prompt
        self._said: list[int] = listener.encode_text(f" {text.strip()}") if text else []

    @property
    def prompt(self) -> tuple[int, ...]:
        """The tokens that the next window is shown."""
        return tuple(self._said[-_PROMPT:])

    def segments(self, tape: Tape) -> Iterator[Segment]:
        """What a tape says, as far as it comes."""
        seek, before = 0, ""  # before: text whose end may be heard again
        while True:
            tape.reach(seek * HOP + WINDOW * HOP)
            left = tape.end // HOP - seek
            if left <= 0:
                return
            size = min(WINDOW, left)
            more = size == WINDOW and not (tape.ended and left == size)
            encoded = self.encode(tape.samples(seek * HOP, min(tape.end, (seek + WINDOW) * HOP)))
            self.settle_language(encoded)
            heard = self.hear(encoded)
            del encoded  # its memory serves the next window
            if self.is_silence(heard):
                seek, before = seek + size, ""
                tape.drop(seek * HOP)
                continue
            parts, understood = parts_of(heard.tokens, self._listener.timestamp_begin, size)
            step = size if understood is None else understood
            if understood is None and more:
                step -= _OVERLAP
                parts = [parts[0]._replace(end=step * HOP / RATE)]
            if step <= 0:  # a time of zero again: go on, or the walk would stand still
                step = size
            yield from self._kept(tape, heard, parts, seek, before)
            before = self.text(heard) if understood is None and more else ""
            seek += step
            tape.drop(seek * HOP)

    def _kept(self, tape: Tape, heard: Heard, parts: list[Part], seek: int, before: str) -> Iterator[Segment]:
        offset, last = seek * HOP / RATE, tape.end / RATE  # the model may tell a time behind the end
        for part in parts:
            tokens = part.tokens
            text = self._listener.decode_text(tokens)
            if before:
                text, before = joint(before, text), ""
            if part.start == part.end or not text.strip():
                continue
            self._said = [*self._said, *tokens][-2 * _PROMPT :]
            yield Segment(
                self.count,
                tape.original(min(last, offset + part.start)),
                tape.original(min(last, offset + part.end), is_end=True),
                text,
                tuple(tokens),
                heard.temperature,
                heard.avg_logprob,
                heard.compression_ratio,
                heard.no_speech_prob,
                seek,
            )
            self.count += 1
        if not self.options.condition_on_previous_text or heard.temperature > _RESET or heard.cut:
            self._said = []

    def settle_language(self, encoded: Any) -> None:
        """Detect the language, as long as it is not known or more likely another."""
        self.language, self.language_probability = self.language_of(encoded)

    def language_of(self, encoded: Any) -> tuple[str | None, float | None]:
        """The language that is settled, or that of a window; and how likely it is."""
        if self.language_probability is not None and self.language_probability >= _SURE:
            return self.language, self.language_probability
        return self._listener.detect_language(encoded)[0]

    def is_silence(self, heard: Heard) -> bool:
        """Whether a window that was decoded holds no speech."""
        limit, sure = self.options.no_speech_threshold, self.options.logprob_threshold
        if limit is None or heard.no_speech_prob <= limit:
            return False
        return sure is None or heard.avg_logprob <= sure

    def hear(self, encoded: Any) -> Heard:
        """A window decoded, with the next temperature as long as the text goes in circles or is too unsure."""
        tries: list[Heard] = []
        for temperature in self.options.temperature:
            heard = self.decoded(encoded, temperature)
            tries.append(heard)
            if not self._doubtful(heard):
                return heard
        straight = [heard for heard in tries if not self.in_circles(heard)]
        best = max(straight or tries, key=lambda heard: heard.avg_logprob)
        if not straight:
            best = self._cut(best)
        return best._replace(temperature=self.options.temperature[-1])

    def encode(self, samples: NDArray[np.float32], seconds: float = WINDOW * HOP / RATE) -> Any:
        """At most a window's samples, ready for decoding; a window of fewer seconds takes less time."""
        return self._listener.encode(samples[: WINDOW * HOP], seconds=seconds, blank=True)

    def text(self, heard: Heard) -> str:
        """Of a whole window."""
        return self._listener.decode_text(heard.tokens)

    def decoded(
        self,
        encoded: Any,
        temperature: float,
        *,
        beam_size: int | None = None,
        max_tokens: int | None = None,
        language: str | None = None,
    ) -> Heard:
        """A window decoded once."""
        options = self.options
        made = self._listener.decode(
            encoded,
            language=language or self.language,
            task=options.task,
            prompt=self.prompt,
            beam_size=1 if temperature > 0 else beam_size or self._beam,
            patience=options.patience,
            length_penalty=options.length_penalty,
            temperature=temperature,
            seed=options.seed,
            timestamps=options.timestamps,
            max_initial_timestamp=options.max_initial_timestamp,
            suppress_blank=options.suppress_blank,
            suppress_tokens=options.suppress_tokens,
            max_tokens=max_tokens,
        )
        ratio = compression_ratio(made.text.strip())
        return Heard(list(made.tokens), temperature, made.avg_logprob, ratio, made.no_speech_prob)

    def in_circles(self, heard: Heard) -> bool:
        """Whether a window's text repeats itself too much."""
        limit = self.options.compression_ratio_threshold
        return limit is not None and heard.compression_ratio > limit

    def _doubtful(self, heard: Heard) -> bool:
        limit = self.options.logprob_threshold
        unsure = limit is not None and heard.avg_logprob < limit
        quiet = self.options.no_speech_threshold
        if unsure and quiet is not None and heard.no_speech_prob > quiet:
            return False  # silence
        return unsure or self.in_circles(heard)

    def _cut(self, heard: Heard) -> Heard:
        tokens = without_circles(heard.tokens, self._listener.eot)
        if len(tokens) < len(heard.tokens):
            end = self._listener.decode_text(tokens).strip()[-40:]
            self.warnings.append(f"{end!r} was said over and over again by the model, and is given once")
        return heard._replace(tokens=tokens, cut=True)


def _language(listener: Listener, given: str | None) -> str | None:
    if given is None:
        return None if listener.multilingual else "en"
    code = given.strip().lower()
    if code not in listener.languages:
        from difflib import get_close_matches

        near = get_close_matches(code, listener.languages, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it knows {', '.join(listener.languages[:8])} ..."
        raise ValueError(f"transcribe: language {given!r} is none that {listener.name!r} knows{hint}")
    return code
