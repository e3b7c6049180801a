"""`gemlet chat`: a conversation in the terminal, or one turn a line from a pipe.

Reading is `chat_input`'s work, the conversation and its commands are `talk`'s, showing an answer is `chat_output`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import GemletError
from . import output
from .chat_input import Input
from .run import budget
from .talk import COMMANDS, Talk

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """How the conversation starts, and the options of its turns."""
    output.add_model(parser)
    add = parser.add_argument
    add("--system", metavar="TEXT", help="the system message")
    add(
        "--image-tokens",
        type=budget,
        default=280,
        metavar="N",
        help="of an image: 70, 140, 280, 560, 1120 or auto (280)",
    )
    add("--think", action="store_true", help="let the model think before it answers (Gemma 4)")
    add("--load", metavar="FILE", help="go on with a conversation that /save wrote")
    add("-n", "--max-tokens", type=int, metavar="N", help="new tokens of an answer at most (2048)")
    add("--temperature", type=float, metavar="X", help="0 takes the likeliest token (1.0)")
    add("--top-k", type=int, metavar="N", help="draw from the N likeliest, 0: all (64)")
    add("--top-p", type=float, metavar="X", help="draw from the likeliest that add up to X (0.95)")
    add("--min-p", type=float, metavar="X", help="drop tokens below X times the likeliest (0)")
    add("--repeat-penalty", type=float, metavar="X", help="above 1: repeats get less likely (1)")
    add("--seed", type=int, metavar="N", help="repeat the draws")
    add("--no-history", action="store_true", help="neither read nor keep typed lines (~/.local/state/gemlet)")
    add("-q", "--quiet", action="store_true", help="no figures after an answer")


def run(args: Namespace) -> int:
    """Turn after turn, until the input ends."""
    from ..types import GenerateOptions

    names = ("max_tokens", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed")
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    GenerateOptions(**options)  # a mistake is told before the model is loaded
    with output.load(args) as model:
        talk = Talk(model, options, args)
        if args.load is not None:
            talk.load(args.load)
        prompts = (output.prompt(">>> "), output.prompt("... "))
        source = Input([name.split()[0] for name in COMMANDS], prompts, history=not args.no_history)
        if source.is_terminal:
            output.say(f"{model.name}, context {model.context}; /help lists the commands, Ctrl-D leaves")
        try:
            return _turns(talk, source)
        finally:
            source.close()


def _turns(talk: Talk, source: Input) -> int:
    failed = False
    while True:
        try:
            text = source.turn()
            if not talk.take(text):
                return 0
        except EOFError:
            if source.is_terminal:
                print()
            return 1 if failed else 0
        except KeyboardInterrupt:
            if not source.is_terminal:
                raise
            output.say("\nCtrl-D or /exit leaves")
        except (GemletError, ValueError, TypeError, OSError) as error:
            failed = failed or not source.is_terminal  # a person sees it and goes on
            talk.tell(error)
