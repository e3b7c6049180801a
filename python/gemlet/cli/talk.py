"""The conversation of `gemlet chat`: its messages and settings, and what the commands that begin with a slash do."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from . import output
from .chat_output import Show, stopping

if TYPE_CHECKING:
    from argparse import Namespace

    from ..chat.result import ChatResult
    from ..model.model import Model

# Options of a turn that /set can change, with how to read them.
SETTINGS = {
    **dict.fromkeys(("max_tokens", "top_k", "seed", "penalty_window"), int),
    **dict.fromkeys(("temperature", "top_p", "min_p", "repeat_penalty", "timeout"), float),
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), float),
}
COMMANDS = {
    "/help": "this list",
    "/system [TEXT]": "show or set the system message; '/system -' takes it away",
    "/image FILE": "show the model an image with the next message",
    "/video FILE": "show it a video",
    "/audio FILE": "let it hear sound",
    "/think [on|off]": "let the model think before it answers",
    "/set [NAME VALUE]": f"show or set an option: {', '.join(SETTINGS)}; VALUE '-' is its default",
    "/retry": "answer the last message anew",
    "/undo": "forget the last message and its answer",
    "/clear": "forget the conversation, not the system message",
    "/save FILE": "write the conversation as JSON",
    "/load FILE": "go on with a saved one",
    "/exit": "leave; so does Ctrl-D",
}
_HELP = """  Ctrl-C                stop the answer
  \"\"\" ... \"\"\"           a message of several lines; or end lines with a backslash
  //text                a message that begins with a slash"""


class Talk:
    """A conversation: its messages, its settings, and what commands do to them."""

    def __init__(self, model: Model, options: dict[str, Any], args: Namespace) -> None:
        self._model, self._options = model, options
        self._think, self._system = False, args.system
        self._set_thinking(args.think)
        self._json, self._quiet = args.json, args.quiet
        self._messages: list[dict[str, Any]] = []
        self._image_tokens = args.image_tokens
        self._waiting: list[dict[str, Any]] = []  # parts that go out with the next message
        self._told: set[str] = set()

    def take(self, text: str) -> bool:
        """One turn or command; False if it says to leave."""
        if text.startswith("//"):
            self._answer(text[1:])
        elif text.startswith("/"):
            return self._command(text)
        elif text.strip():
            self._answer(text)
        return True

    def tell(self, error: Exception) -> None:
        """An error of one turn; the conversation goes on."""
        message = " ".join(str(error).split()) or type(error).__name__
        if self._json:
            output.print_json({"error": {"type": type(error).__name__, "message": message}})
            sys.stdout.flush()
        output.say(f"gemlet: {message}")

    # ---- answers

    def _answer(self, content: str | list[dict[str, Any]]) -> None:
        if self._waiting and isinstance(content, str):
            content = [*self._waiting, {"type": "text", "text": content}]
            self._waiting = []
        self._messages.append({"role": "user", "content": content})
        try:
            result = self._stream()
        except BaseException:
            self._messages.pop()
            raise
        if result.text or result.thinking:
            # Thoughts are kept out: the templates drop those of earlier turns, and a saved talk need not have them.
            self._messages.append({"role": "assistant", "content": result.text})
        else:
            self._messages.pop()  # nothing came, and the roles must take turns
        self._report(result)

    def _stream(self) -> ChatResult:
        system = [{"role": "system", "content": self._system}] if self._system else []
        stream = self._model.chat(
            [*system, *self._messages], think=self._think, stream=True, overflow="truncate", **self._options
        )
        show = Show(self._json)
        with stream, stopping(stream):
            for chunk in stream:
                show.add(chunk.kind, chunk.text)
            result = stream.result
        show.end()
        return result

    def _report(self, result: ChatResult) -> None:
        if self._json:
            output.print_json({"model": self._model.name, **result.as_dict()})
            sys.stdout.flush()
        for text in result.warnings:
            if text not in self._told:
                self._told.add(text)
                output.say(f"gemlet: warning: {text}")
        if not self._quiet and not self._json:
            used, took = result.usage, result.timings
            kept = f" ({used.cached_tokens} of them kept)" if used.cached_tokens else ""
            thought = f", {result.thinking_tokens} of them thinking" if result.thinking_tokens else ""
            output.say(
                output.dim(
                    f"{used.completion_tokens} tokens{thought} at {took.decode_tok_s:.1f} tok/s "
                    f"({result.finish_reason}), prompt {used.prompt_tokens}{kept} at {took.prefill_tok_s:.0f} tok/s"
                )
            )

    # ---- commands

    def _command(self, text: str) -> bool:
        name, _, rest = text.partition(" ")
        rest = rest.strip()
        if name in ("/exit", "/quit", "/bye"):
            return False
        does = getattr(self, f"_do_{name[1:]}", None)
        if does is None:
            import difflib

            near = difflib.get_close_matches(name, [command.split()[0] for command in COMMANDS], n=1)
            hint = f"did you mean {near[0]}?" if near else "/help lists them"
            raise ValueError(f"no command {name!r}; {hint} (//... sends a message that begins with a slash)")
        does(rest)
        return True

    def _do_help(self, rest: str) -> None:
        output.say("\n".join([*(f"  {name:<22}{text}" for name, text in COMMANDS.items()), _HELP]))

    def _do_system(self, rest: str) -> None:
        if rest:
            self._system = None if rest == "-" else rest
        output.say(f"system: {self._system or 'none'}")

    def _do_image(self, rest: str) -> None:
        self._attach("image", rest, {"image_tokens": self._image_tokens})

    def _do_video(self, rest: str) -> None:
        self._attach("video", rest, {})

    def _do_audio(self, rest: str) -> None:
        self._attach("audio", rest, {})

    def _attach(self, kind: str, path: str, options: dict[str, Any]) -> None:
        """Encoded at once, so that what is wrong with it is told now and not with the message."""
        from ..prompt import PARTS, local

        if not path:
            raise ValueError(f"/{kind} needs a file name")
        local(path, f"/{kind}")  # before it is taken for the name of a file
        path = os.path.abspath(os.path.expanduser(path))  # a saved conversation may be gone on with elsewhere
        soft = self._model._senses.tokens(PARTS[kind](path, **options), f"/{kind}")
        self._waiting.append({"type": kind, kind: path, **options})
        notes = "".join(f"; {note}" for note in soft.notes)
        output.say(f"{kind}: {path}, {len(soft)} tokens, with the next message{notes}")

    def _do_think(self, rest: str) -> None:
        if rest not in ("", "on", "off"):
            raise ValueError(f"/think takes 'on' or 'off', not {rest!r}")
        self._set_thinking(rest == "on" if rest else not self._think)
        output.say(f"thinking: {'on' if self._think else 'off'}")

    def _set_thinking(self, wanted: bool) -> None:
        if wanted and not str(self._model.info["architecture"]).startswith("gemma4"):
            raise ValueError("chat: thinking needs a Gemma 4; this model has not learnt it")
        self._think = wanted

    def _do_set(self, rest: str) -> None:
        from ..types import GenerateOptions

        name, _, value = rest.replace("=", " ").partition(" ")
        if name and name not in SETTINGS:
            raise ValueError(f"/set knows {', '.join(SETTINGS)}; not {name!r}")
        value = value.strip()
        changed = {key: item for key, item in self._options.items() if key != name or not value}
        if value and value != "-":
            try:
                changed[name] = SETTINGS[name](value)
            except ValueError:
                raise ValueError(f"/set: {name} must be a number, not {value!r}") from None
            GenerateOptions(**changed)
        self._options = changed
        shown = {key: item for key, item in changed.items() if not name or key == name}
        output.say(
            ", ".join(f"{key}: {item}" for key, item in shown.items()) or f"{name or 'all'}: the model's default"
        )

    def _do_clear(self, rest: str) -> None:
        self._messages.clear()
        self._waiting.clear()
        output.say("forgotten")

    def _do_undo(self, rest: str) -> None:
        output.say(f"forgotten: {_text_of(self._forget_last())}")

    def _do_retry(self, rest: str) -> None:
        before = list(self._messages)
        content = self._forget_last()
        try:
            self._answer(content)
        except BaseException:
            self._messages = before
            raise

    def _forget_last(self) -> Any:
        """Takes the last message of the user away with what came after; gives its content."""
        last = max((i for i, message in enumerate(self._messages) if message["role"] == "user"), default=-1)
        if last < 0:
            raise ValueError("there is no message yet")
        content = self._messages[last]["content"]
        del self._messages[last:]
        return content

    def _do_save(self, path: str) -> None:
        if not path:
            raise ValueError("/save needs a file name")
        system = [{"role": "system", "content": self._system}] if self._system else []
        text = json.dumps(
            {"model": self._model.name, "messages": [*system, *self._messages]}, ensure_ascii=False, indent=1
        )
        path = os.path.expanduser(path)
        partial = f"{path}.{os.getpid()}.partial"
        try:
            with open(partial, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            os.replace(partial, path)
        finally:
            if os.path.exists(partial):
                os.unlink(partial)
        output.say(f"saved: {path}, {len(self._messages)} messages")

    def _do_load(self, path: str) -> None:
        if not path:
            raise ValueError("/load needs a file name")
        self.load(path)

    def load(self, path: str) -> None:
        """Take the messages of a file instead of the present ones; its system message too, if it has one."""
        from ..chat.messages import check_messages

        try:
            saved = json.loads(output.read_text(os.path.expanduser(path)))
        except ValueError as error:
            raise ValueError(f"{path}: no saved conversation: {error}") from None
        given = saved.get("messages") if isinstance(saved, dict) else saved
        messages, _ = check_messages(given)
        # Parts stay as they are written: a file's path, or a data URL.
        messages = [
            {**message, "content": raw["content"]} if isinstance(message["content"], list) else message
            for message, raw in zip(messages, given if isinstance(given, list) else messages, strict=True)
        ]
        if messages[0]["role"] in ("system", "developer") and isinstance(messages[0]["content"], str):
            self._system = messages.pop(0)["content"]
        self._messages = messages
        output.say(f"loaded: {path}, {len(messages)} messages")


def _text_of(content: Any) -> str:
    """What was written, and the names of what was shown."""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", part.get(part["type"]))) for part in content)
