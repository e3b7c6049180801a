"""A Whisper that says what it is told to, for tests of what is around one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

TIME = 1000  # the token of 0.00 s
EOT = 999


class Said(NamedTuple):
    """One answer."""

    tokens: list[int]
    text: str
    avg_logprob: float = -0.2
    no_speech_prob: float = 0.01
    language: str | None = "en"


class Scripted:
    """Words are numbered as they come up. `script` is called with (samples, options) and gives a text, or `Said`."""

    name = "scripted"
    multilingual = True
    languages = ("en", "de")
    timestamp_begin = TIME
    eot = EOT

    def __init__(self, script: Any) -> None:
        self._script = script
        self._words: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.windows: list[tuple[int, float]] = []

    def encode(self, samples: np.ndarray, *, seconds: float = 30.0, blank: bool = False) -> np.ndarray:
        assert samples.dtype == np.float32
        assert len(samples) <= 480_000
        self.windows.append((len(samples), seconds))
        return samples

    def detect_language(self, encoded: np.ndarray) -> list[tuple[str, float]]:
        return [("de", 0.9), ("en", 0.1)]

    def decode(self, encoded: np.ndarray, **options: Any) -> Said:
        self.calls.append(options)
        made = self._script(encoded, options)
        if isinstance(made, Said):
            return made
        tokens = self.tokens(made)
        return Said(tokens, self.decode_text(tokens))

    def tokens(self, text: str) -> list[int]:
        """Of a text in which <1.5> stands for a time."""
        made = []
        for word in text.split():
            if word[0] == "<":
                made.append(TIME + round(float(word[1:-1]) / 0.02))
                continue
            if word not in self._words:
                self._words.append(word)
            made.append(self._words.index(word))
        return made

    def encode_text(self, text: str) -> list[int]:
        return self.tokens(text)

    def decode_text(self, ids: list[int]) -> str:
        return "".join(f" {self._words[i]}" for i in ids if i < EOT)
