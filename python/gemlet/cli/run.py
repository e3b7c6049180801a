"""`gemlet run`: a prompt in, its continuation out as it is made."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..model.model import Model
    from ..results import Generation

_LONG_PROMPT = 1024  # tokens from which reading the prompt is worth a bar


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `Model.generate`, under the same names."""
    output.add_model(parser)
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", help="text; '-' or nothing reads standard input")
    add = parser.add_argument
    add("--image", action="append", default=[], metavar="FILE", help="an image before the prompt; may be given again")
    add("--video", action="append", default=[], metavar="FILE", help="a video before the prompt; may be given again")
    add("--audio", action="append", default=[], metavar="FILE", help="sound before the prompt; may be given again")
    add(
        "--image-tokens",
        type=budget,
        default=280,
        metavar="N",
        help="of an image: 70, 140, 280, 560, 1120 or auto (280)",
    )
    add("-n", "--max-tokens", type=int, default=256, metavar="N", help="new tokens at most (256)")
    add("--temperature", type=float, metavar="X", help="0 takes the likeliest token (1.0)")
    add("--top-k", type=int, metavar="N", help="draw from the N likeliest, 0: all (64)")
    add("--top-p", type=float, metavar="X", help="draw from the likeliest that add up to X (0.95)")
    add("--min-p", type=float, metavar="X", help="drop tokens below X times the likeliest (0)")
    add("--repeat-penalty", type=float, default=1.0, metavar="X", help="above 1: repeats get less likely (1)")
    add("--presence-penalty", type=float, default=0.0, metavar="X", help="subtracted from used tokens (0)")
    add("--frequency-penalty", type=float, default=0.0, metavar="X", help="subtracted for each use (0)")
    add("--seed", type=int, metavar="N", help="repeat a draw; without it a new seed is drawn and told")
    add("--stop", action="append", default=[], metavar="TEXT", help="end the answer before TEXT; may be given again")
    add("--ignore-eos", action="store_true", help="go on past the model's own end")
    add("--special", action="store_true", help="read control tokens written out in the prompt as such")
    add("--logprobs", type=int, metavar="K", help="with --json: log-probabilities and the K best a token")
    add(
        "--schema",
        metavar="JSON",
        help="the answer is JSON that meets this JSON schema; or the path of a file with one",
    )
    add("--regex", metavar="TEXT", help="the answer matches this regular expression")
    add("--grammar", metavar="FILE", help="the answer fits the Lark grammar in this file")
    add("--choices", action="append", metavar="TEXT", help="the answer is TEXT, or another one given the same way")
    add("--overflow", choices=("error", "truncate"), default="error", help="a prompt longer than the context")
    add("--timeout", type=float, metavar="S", help="stop after S seconds with what there is")
    add("-q", "--quiet", action="store_true", help="no figures at the end")


def _prompt(args: Namespace) -> str:
    if args.prompt is not None and args.prompt != "-":
        return str(args.prompt)
    if args.prompt is None and sys.stdin.isatty():
        raise ValueError("run: no prompt; give one after the model, or pipe one in")
    return output.read_text("-").removesuffix("\n")  # the newline that echo and editors add is not meant


def budget(text: str) -> int | str:
    """A number of tokens, or "auto"; `gemlet.Image` knows which there are."""
    return int(text) if text.isdecimal() else text


def _whole_prompt(model: Model, args: Namespace, text: str) -> Any:
    """The text, its ids, or with images and sound a `Prompt`."""
    ids = model.tokenize(text, parse_special=True) if args.special else None
    media = _media(args)
    if not media:
        return text if ids is None else ids
    from ..prompt import Prompt

    first = [] if ids is None else [ids[:1]]  # BOS comes before all
    return Prompt([*first, *media, text if ids is None else ids[1:]])


def _media(args: Namespace) -> list[Any]:
    if not (args.image or args.video or args.audio):
        return []
    from ..prompt import Audio, Image, Video

    images = [Image(path, image_tokens=args.image_tokens) for path in args.image]
    return [*images, *map(Video, args.video), *map(Audio, args.audio)]


def _schema(given: str | None) -> str | None:
    return given if given is None or given.lstrip().startswith("{") else output.read_text(given)


def run(args: Namespace) -> int:
    """Stream the text, or print the whole result as JSON."""
    if args.logprobs is not None and not args.json:
        raise ValueError("run: --logprobs needs --json, where the log-probabilities are shown")
    prompt = _prompt(args)
    with output.load(args) as model:
        bar = output.progress("reading the prompt", " tokens")
        stream = model.generate(
            _whole_prompt(model, args, prompt),
            stream=True,
            max_tokens=args.max_tokens,
            temperature=args.temperature,
            top_k=args.top_k,
            top_p=args.top_p,
            min_p=args.min_p,
            repeat_penalty=args.repeat_penalty,
            presence_penalty=args.presence_penalty,
            frequency_penalty=args.frequency_penalty,
            seed=args.seed,
            stop=args.stop,
            ignore_eos=args.ignore_eos,
            logprobs=args.logprobs,
            schema=_schema(args.schema),
            regex=args.regex,
            grammar=None if args.grammar is None else output.read_text(args.grammar),
            choices=args.choices,
            overflow=args.overflow,
            timeout=args.timeout,
            progress=lambda done, total: bar(done, total) if total >= _LONG_PROMPT else None,
        )
        with stream:
            for chunk in stream:
                if not args.json:
                    sys.stdout.write(chunk.text)
                    sys.stdout.flush()
            result = stream.result
        if args.json:
            output.print_json({"model": model.name, **result.as_dict()})
        else:
            sys.stdout.write("\n")
            _report(result, args.quiet)
    return 0


def _report(result: Generation, quiet: bool) -> None:
    for text in result.warnings:
        output.say(f"gemlet: warning: {text}")
    if quiet:
        return
    used, took = result.usage, result.timings
    output.say(
        f"gemlet: {used.completion_tokens} tokens at {took.decode_tok_s:.1f} tok/s ({result.finish_reason}), "
        f"prompt {used.prompt_tokens} at {took.prefill_tok_s:.0f} tok/s, seed {result.seed}"
    )
