"""The `gemlet` command: finds the verb's file, runs it, and turns every error into one line and an exit code.

One file a verb, imported only when it is used. A verb module has `add_arguments(parser)` and `run(args) -> int`.
Its name is the verb's, but for `list`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = {
    "run": "continue a prompt with a model",
    "chat": "talk with a model",
    "transcribe": "what is said in a file of sound or film, or before the microphone",
    "bench": "measure speed and memory against this machine's own limits",
    "pull": "fetch a model from the hub",
    "list": "the models on this machine",
    "show": "what a model holds",
    "rm": "remove a pulled model",
    "plan": "what a model needs, what fits and how fast it will be, before it is loaded",
    "quantize": "write a model in fewer bits, as a GGUF file",
    "tokenize": "text to token ids and pieces",
    "perplexity": "how well a model expects a text file",
    "doctor": "what this machine offers and what is installed",
}

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_EPILOG = """exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted
results go to standard output, everything else to standard error; with --json an error is also an object on
standard output: {"error": {"type": ..., "message": ...}}
environment: GEMLET_MODELS and GEMLET_CACHE (folders), GEMLET_THREADS, GEMLET_ISA, NO_COLOR; for pulled models
also HF_HOME, HF_HUB_CACHE, and for pull HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_DISABLE_PROGRESS_BARS"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; gives the exit code back.

    >>> main(["--version"]).bit_length()
    gemlet ...
    0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 must not end a generation
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has what it wanted
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        return _explain(error, as_json="--json" in words)


def _dispatch(words: list[str]) -> int:
    from importlib import import_module

    verb = words[0] if words else ""
    if verb in ("-V", "--version"):
        from .._core import __version__

        print(f"gemlet {__version__}")
        return OK
    if verb not in VERBS:
        return _overview(verb)
    from .arguments import Parser

    # A module `list` would become an attribute of this package and hide the built-in here.
    module = import_module(".listing" if verb == "list" else f".{verb}", __name__)
    parser = Parser(verb, VERBS[verb], _EPILOG)
    module.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    try:
        args = parser.parse(words[1:])
    except SystemExit:  # --help
        return OK
    code: int = module.run(args)
    sys.stdout.flush()
    return code


def _overview(verb: str) -> int:
    asked = verb in ("-h", "--help", "help")
    if verb and not asked:
        import difflib

        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "see gemlet --help"
        print(f"gemlet: no command '{verb}'; {hint}", file=sys.stderr)
        return USAGE
    lines = ["usage: gemlet COMMAND ... | --help | --version", "", "commands (each has --help and --json):"]
    lines += [f"  {name:<12}{text}" for name, text in VERBS.items()]
    print("\n".join([*lines, "", _EPILOG]), file=sys.stdout if asked else sys.stderr)
    return OK if asked else USAGE


def _explain(error: Exception, *, as_json: bool) -> int:
    from ..errors import GemletError

    expected = isinstance(error, (GemletError, ValueError, TypeError, OSError, MemoryError))
    if not expected:
        raise error
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.filename}: {error.strerror}"
    else:
        message = " ".join(str(error).split()) or type(error).__name__
    if as_json:
        import json

        print(json.dumps({"error": {"type": type(error).__name__, "message": message}}))
    print(f"gemlet: {message}", file=sys.stderr)
    usage = isinstance(error, (ValueError, TypeError)) and not isinstance(error, (GemletError, UnicodeError))
    return USAGE if usage else FAILED
