"""The options of a transcription, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from ..types import check_choice, check_float, check_int, check_text, unknown_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

TASKS = ("transcribe", "translate")
_CALL = "transcribe"


class SpeechArgs(TypedDict, total=False):
    """The keyword arguments of `gemlet.transcribe`, for type checkers."""

    language: str | None
    task: str
    words: bool
    beam_size: int | None
    patience: float
    length_penalty: float
    temperature: float | Sequence[float]
    seed: int
    timestamps: bool
    condition_on_previous_text: bool
    initial_prompt: str | None
    compression_ratio_threshold: float | None
    logprob_threshold: float | None
    no_speech_threshold: float | None
    suppress_blank: bool
    suppress_tokens: Iterable[int]
    max_initial_timestamp: float
    vad: bool
    start: float
    end: float | None
    every: float
    pause: float
    progress: Callable[[float, float | None], object] | None


@dataclass(kw_only=True)
class SpeechOptions:
    """What `gemlet.transcribe` can be told; see there.

    >>> SpeechOptions.of({"temperature": 0}).temperature
    (0.0,)
    """

    language: str | None = None
    task: str = "transcribe"
    words: bool = False
    beam_size: int | None = None
    patience: float = 1.0
    length_penalty: float = 1.0
    temperature: Any = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    seed: int = 0
    timestamps: bool = True
    condition_on_previous_text: bool = True
    initial_prompt: str | None = None
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    suppress_blank: bool = True
    suppress_tokens: Iterable[int] = (-1,)
    max_initial_timestamp: float = 1.0
    vad: bool = True
    start: float = 0.0
    end: float | None = None
    every: float = 0.3
    pause: float = 0.6
    progress: Callable[[float, float | None], object] | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> SpeechOptions:
        """The options in `given`; TypeError for one that is none."""
        unknown = [name for name in given if name not in cls.__dataclass_fields__]
        if unknown:
            raise unknown_option(_CALL, unknown, cls.__dataclass_fields__)
        return cls(**given)

    def __post_init__(self) -> None:
        if self.words:
            raise ValueError(
                "transcribe: words=True: the times of words are not available in this version of gemlet; segments have "
                "theirs"
            )
        check_choice(_CALL, "task", self.task, TASKS)
        for name in ("timestamps", "condition_on_previous_text", "suppress_blank", "vad", "words"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{_CALL}: {name} must be True or False, not {getattr(self, name)!r}")
        for name in ("language", "initial_prompt"):
            if getattr(self, name) is not None:
                check_text(_CALL, name, getattr(self, name))
        if self.beam_size is not None:
            self.beam_size = check_int(_CALL, "beam_size", self.beam_size, 1, 32)
        self.seed = check_int(_CALL, "seed", self.seed, 0, 2**64 - 1)
        for name, interval in (
            ("patience", "(0, 16]"),
            ("length_penalty", "(-inf, inf)"),
            ("compression_ratio_threshold", "(0, inf)"),
            ("logprob_threshold", "(-inf, inf)"),
            ("no_speech_threshold", "[0, 1]"),
            ("max_initial_timestamp", "[0, 30]"),
            ("every", "(0, 30]"),
            ("pause", "[0.1, 10]"),
        ):
            value = getattr(self, name)
            if value is not None or name in ("patience", "length_penalty", "max_initial_timestamp", "every", "pause"):
                setattr(self, name, check_float(_CALL, name, value, interval))
        self.temperature = _temperatures(self.temperature)
        self.suppress_tokens = tuple(
            check_int(_CALL, "a suppress_tokens id", i, -1, 2**31 - 1) for i in self.suppress_tokens
        )
        if self.progress is not None and not callable(self.progress):
            raise TypeError(f"{_CALL}: progress must be a function of (done, total) seconds, not {self.progress!r}")


def _temperatures(given: Any) -> tuple[float, ...]:
    several = given if isinstance(given, (tuple, list)) else (given,)
    if not several:
        raise ValueError(f"{_CALL}: temperature is empty; give at least one")
    return tuple(check_float(_CALL, "temperature", value, "[0, inf)") for value in several)
