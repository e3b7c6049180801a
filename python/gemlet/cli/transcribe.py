"""`gemlet transcribe`: a file of sound or film, or the microphone, to text, subtitles or JSON."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from ..speech.reading import TranscriptStream
    from ..speech.results import Segment

FORMATS = ("text", "srt", "vtt", "json")


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `gemlet.transcribe`, under the same names."""
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="sound or film; the sound of a film is taken")
    add("--mic", action="store_true", help="listen to the microphone until interrupted (Ctrl-C)")
    add("--model", default="whisper-tiny", help="whisper-tiny, or a folder or name of a Whisper or a Gemma that hears")
    add("--language", metavar="CODE", help="as 'en' (default: detected)")
    add("--task", choices=("transcribe", "translate"), default="transcribe", help="translate: into English")
    add("--format", choices=FORMATS, help="text, srt, vtt or json (default: by the name of --output, else text)")
    add("-o", "--output", metavar="FILE", help="write there instead of to standard output")
    add("--no-vad", dest="vad", action="store_false", help="let the model hear what is no speech too")
    add("--no-timestamps", dest="timestamps", action="store_false", help="do not let the model tell times")
    add("--beam-size", type=int, metavar="N", help="texts that are followed (5; live 1)")
    add("--temperature", type=float, metavar="X", help="only this one, instead of more and more while in doubt")
    add("--initial-prompt", metavar="TEXT", help="text to begin with, such as names")
    add("--start", type=float, default=0.0, metavar="S", help="from this second on")
    add("--end", type=float, metavar="S", help="up to this second")
    add("-t", "--threads", type=int, metavar="N", help="threads (default: what this process may use)")
    add("--compute", choices=("auto", "float32"), default="auto", help="float32: exact and slower")
    add("-q", "--quiet", action="store_true", help="no warnings and no figures")


def run(args: Namespace) -> int:
    """Write segments as they are ready, or one object."""
    if (args.file is None) == (not args.mic):
        raise ValueError("transcribe: give a file, or --mic")
    form = _format(args)
    from ..transcription import listener_of

    model = listener_of(args.model, threads=args.threads, compute=args.compute)
    # What was not said is left out: a Gemma tells which of Whisper's options it was given for nothing.
    names = ("language", "task", "vad", "timestamps", "beam_size", "temperature", "initial_prompt", "start", "end")
    given = {name: getattr(args, name) for name in names}
    options = {name: value for name, value in given.items() if value is not None and value is not True}
    source = microphone() if args.mic else args.file
    partial = f"{args.output}.{os.getpid()}.partial" if args.output else None
    try:
        if partial is None:
            _write(sys.stdout, model, source, options, form, args)
        else:
            with open(partial, "w", encoding="utf-8") as file:
                _write(file, model, source, options, form, args)
            os.replace(partial, args.output)
    finally:
        if partial is not None and os.path.exists(partial):
            os.unlink(partial)
    return 0


def _format(args: Namespace) -> str:
    if args.json and args.format not in (None, "json"):
        raise ValueError(f"transcribe: --json contradicts --format {args.format}")
    if args.json or args.format:
        return "json" if args.json else str(args.format)
    ending = os.path.splitext(args.output or "")[1].lower().removeprefix(".")
    return ending if ending in FORMATS else "text"


def _write(file: Any, model: Any, source: Any, options: dict[str, Any], form: str, args: Namespace) -> None:
    from ..speech.reading import TranscriptStream, started
    from ..speech.results import VTT_HEAD, clock

    bar = output.progress("transcribing", " s")

    def progress(done: float, total: float | None) -> None:
        if total is not None and not args.quiet:
            bar(min(int(done), int(total)), int(total))

    stream = started(model, source, {**options, "progress": progress}, True)
    assert isinstance(stream, TranscriptStream)
    if form == "vtt":
        file.write(VTT_HEAD)
    with stream:
        try:
            for number, segment in enumerate(_finals(stream, show=args.mic and not args.quiet), 1):
                _one(file, segment, number, form)
        except KeyboardInterrupt:
            if not args.mic:
                raise
    made = stream.result
    if form == "json":
        output.print_json(made.to_dict(), file)
    elif form == "text":
        file.write("\n" if made.segments else "")
    if not args.quiet:
        for text in made.warnings:
            output.say(f"gemlet: warning: {text}")
        known = made.language or "language unknown"
        output.say(f"gemlet: {clock(made.duration)} of sound, {clock(made.speech)} of speech, {known}, {made.model}")


def _one(file: Any, segment: Segment, number: int, form: str) -> None:
    from ..speech.results import srt_cue, vtt_cue

    if form == "text":
        file.write(segment.text if number > 1 else segment.text.lstrip())
    elif form == "srt":
        file.write(srt_cue(number, segment))
    elif form == "vtt":
        file.write(vtt_cue(segment))
    file.flush()


def _finals(stream: TranscriptStream, *, show: bool) -> Iterator[Segment]:
    """What is final; what is not is shown on a terminal, on one line."""
    shown = 0
    for segment in stream:
        if show and sys.stderr.isatty():
            text = "" if segment.final else segment.text.strip()[-100:]
            sys.stderr.write("\r" + text + " " * max(0, shown - len(text)) + ("\r" if not text else ""))
            sys.stderr.flush()
            shown = len(text)
        if segment.final:
            yield segment


def microphone(block: float = 0.08) -> tuple[Iterator[NDArray[np.float32]], int]:
    """The default input device as (blocks, rate); needs sounddevice."""
    from ..errors import MediaError, MissingExtra

    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: without the library that it wraps
        raise MissingExtra(
            f"transcribe: the microphone needs sounddevice and PortAudio ({error}): pip install 'gemlet[mic]'"
        ) from None
    import queue

    rate = 16000
    waiting: queue.SimpleQueue[NDArray[np.float32]] = queue.SimpleQueue()
    try:
        stream = sounddevice.InputStream(
            samplerate=rate,
            channels=1,
            dtype="float32",
            blocksize=round(rate * block),
            callback=lambda samples, frames, time, status: waiting.put(samples[:, 0].copy()),
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise MediaError(f"microphone: no input device can be opened: {error}") from None

    def blocks() -> Iterator[NDArray[np.float32]]:
        with stream:
            while True:
                try:
                    block = waiting.get()
                except KeyboardInterrupt:  # the end of the sound: what was said last is still written
                    return
                yield block

    return blocks(), rate
