"""Whisper in the same engine: `whisper` hears a window of 30 seconds, `vocabulary` is its text and ids.

Whole recordings are cut into windows by `speech`.
"""

from .whisper import Encoded, Whisper

__all__ = ["Encoded", "Whisper"]
