"""How one model's conversations are written: its own template if the file has one, else gemlet's form of its family.

Made once a model, when it first chats; everything in it may be used from several threads.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import BadFile, ContextOverflow, MissingExtra, UnsupportedModel
from . import gemma3, gemma4
from .attachments import NOTHING, Given, bare, expanded, placed
from .messages import check_messages
from .parser import AnswerTokens
from .pieces import MARKERS, Marker, to_prompt
from .template import ChatTemplate
from .tools import check_tools

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from .. import _core
    from ..soft import Senses
    from .pieces import SoftSpan

_TEMPLATE_LIMIT = 4 << 20  # bytes of a template file or a tokenizer_config.json


class Prompt(NamedTuple):
    """A rendered conversation. in_thinking: it ends inside an open thought, so that the answer begins in one."""

    pieces: list[str]
    ids: NDArray[np.int32]
    in_thinking: bool
    warnings: list[str]
    spans: list[SoftSpan]

    @property
    def core(self) -> NDArray[np.int32] | _core.Prompt:
        """What the engine takes."""
        from .. import _core

        return _core.Prompt(self.ids, self.spans) if self.spans else self.ids

    @property
    def text(self) -> str:
        """The same as one string; in it, markers can no longer be told from text that looks like them."""
        return "".join(self.pieces)


class ChatFormat:
    """Renders the conversations of one model."""

    def __init__(self, path: str, tokenizer: _core.Tokenizer, architecture: str, senses: Senses) -> None:
        families = [family for family in MARKERS if architecture.startswith(family)]
        if not families:
            raise UnsupportedModel(f"chat: no conversation format for the architecture {architecture!r}")
        self.family = families[0]
        self.tokenizer = tokenizer
        self.senses = senses
        self.tokens = AnswerTokens.of(tokenizer, self.family)
        self._origin = os.path.basename(path)
        self._templates, large = read_templates(path)
        self._empty_thought = large and self.tokens.opens_channel >= 0
        self._compiled: dict[str, ChatTemplate] = {}

    def render(
        self,
        messages: Any,
        *,
        tools: Any = None,
        think: bool = False,
        preserve_thinking: bool = False,
        add_generation_prompt: bool = True,
        media: Given = NOTHING,
        sized: bool = False,
    ) -> Prompt:
        """Messages, tools, and images, sound and video, checked and written out.

        sized: nothing is encoded; the prompt has the right ids, but no soft tokens.
        """
        declared = check_tools(tools)
        for option, what, given in (("think", "thinking", think), ("tools", "tools", declared)):
            if given and self.family != "gemma4":
                raise UnsupportedModel(
                    f"chat: {option}: this model is of the {self.family} family, which has no {what}; "
                    "leave the option out, or load a Gemma 4"
                )
        checked, warnings = check_messages(messages)
        checked = placed(checked, media)
        options = {"preserve_thinking": preserve_thinking, "add_generation_prompt": add_generation_prompt}
        pieces = self._pieces([bare(message) for message in checked], declared, think, options, warnings)
        look = self.senses.sizes if sized else self.senses.tokens
        pieces = expanded(pieces, checked, look, self.tokenizer, warnings)
        return self._prompt(pieces, self._in_thinking(pieces), warnings)

    def _prompt(self, pieces: list[str], in_thinking: bool, warnings: list[str]) -> Prompt:
        ids, spans = to_prompt(self.tokenizer, pieces, self.family)
        return Prompt(pieces, ids, in_thinking, warnings, spans)

    def render_recent(self, messages: Any, room: int, **options: Any) -> Prompt:
        """The same, without as many of the oldest turns as it takes to fit `room` tokens; what was left out is told.

        A turn begins with a message of the user. The system message and the last turn always stay.
        """
        prompt = self.render(messages, **options)
        if len(prompt.ids) <= room:
            return prompt
        checked = placed(check_messages(messages)[0], options.pop("media", NOTHING))
        system = checked[:1] if checked[0]["role"] in ("system", "developer") else []
        starts = [i for i, message in enumerate(checked) if message["role"] == "user" and i > len(system)]

        def shorter(start: int) -> Prompt:
            return self.render([*system, *checked[start:]], **options)

        first = bisect_left(starts, True, key=lambda start: len(shorter(start).ids) <= room)
        if first == len(starts):
            least = len(shorter(starts[-1]).ids) if starts else len(prompt.ids)
            raise ContextOverflow(
                f"chat: the last turn alone has {least} tokens, and there is room for {room} besides the answer; "
                "shorten it, lower max_tokens, or load with a larger context="
            )
        prompt = shorter(starts[first])
        prompt.warnings.append(
            f"messages {len(system)} to {starts[first] - 1} were left out to fit the context (overflow='truncate')"
        )
        return prompt

    def with_open_thought(self, prompt: Prompt) -> Prompt:
        """The prompt with a thought begun, so that the answer proper surely comes behind the end of one."""
        pieces = [*prompt.pieces, Marker("<|channel>"), "thought\n"]
        return self._prompt(pieces, True, prompt.warnings)

    def with_open_call(self, prompt: Prompt, call: str) -> Prompt:
        """The prompt with a call begun, which the model can only go on with."""
        pieces = [*prompt.pieces, Marker("<|tool_call>"), call]
        return self._prompt(pieces, prompt.in_thinking, prompt.warnings)

    def _pieces(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        think: bool,
        options: dict[str, bool],
        warnings: list[str],
    ) -> list[str]:
        name = "tool_use" if tools and "tool_use" in self._templates else "default"
        source = self._templates.get(name)
        if source is None:
            warnings.append(
                f"{self._origin} has no chat template (a base model?); the usual form of its family is used"
            )
        else:
            try:
                return self._from_template(name, source, messages, tools, think, options)
            except MissingExtra:
                warnings.append(
                    "jinja2 is not installed, so the model's own chat template was not used but the usual form of its "
                    "family; pip install 'gemlet[chat]'"
                )
        if self.family == "gemma3":
            return gemma3.render(messages, add_generation_prompt=options["add_generation_prompt"])
        return gemma4.render(messages, tools=tools, think=think, empty_thought=self._empty_thought, **options)

    def _from_template(
        self,
        name: str,
        source: str,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        think: bool,
        options: dict[str, bool],
    ) -> list[str]:
        template = self._compiled.get(name)
        if template is None:
            template = self._compiled[name] = ChatTemplate(source, self.family, self._origin)
        if self.family == "gemma4":
            messages = [stripped(message) for message in messages]
            if "tool_responses" in source:
                messages = with_responses(messages)
        return template.render(
            {
                "messages": messages,
                "tools": tools or None,
                "documents": None,
                "enable_thinking": think,
                **options,
            },
            self._special_tokens(),
        )

    def _special_tokens(self) -> dict[str, str]:
        names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
        return {name: piece for name, piece in names.items() if self.tokenizer.find(piece) >= 0}

    def _in_thinking(self, pieces: list[str]) -> bool:
        for piece in reversed(pieces):
            if isinstance(piece, Marker) and piece in ("<|channel>", "<channel|>"):
                return piece == "<|channel>"
        return False


def stripped(message: dict[str, Any]) -> dict[str, Any]:
    """An assistant's raw text without thought blocks: the template's own stripping would not see guarded markers."""
    if message["role"] != "assistant":
        return message
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": gemma4.without_thoughts(content)}
    parts = [{**p, "text": gemma4.without_thoughts(p["text"])} if p["type"] == "text" else p for p in content]
    return {**message, "content": parts}


def with_responses(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results that are objects, as `tool_responses` of the message with the calls: where Google's template takes them.

    In a tool message it would read an object as a list of parts, and fail.
    """
    made: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        answers = []
        for answer in messages[i + 1 :]:
            if answer["role"] != "tool":
                break
            answers.append(answer)
        if "tool_calls" in message and any(isinstance(answer["content"], dict) for answer in answers):
            names = {call["id"]: call["function"]["name"] for call in message["tool_calls"]}
            responses = [
                {"name": names.get(a.get("tool_call_id"), a.get("name") or "unknown"), "response": _body(a["content"])}
                for a in answers
            ]
            message = {**message, "tool_responses": responses}
        made.append(message)
    return made


def _body(content: Any) -> Any:
    return "".join(part.get("text", "") for part in content) if isinstance(content, list) else content


def read_templates(path: str) -> tuple[dict[str, str], bool]:
    """The templates by name ("default", "tool_use"), and whether the model is one of the large Gemma 4s."""
    return _from_folder(path) if os.path.isdir(path) else _from_gguf(path)


def _from_gguf(path: str) -> tuple[dict[str, str], bool]:
    from .. import _core

    metadata = _core.Gguf(path).metadata(1)
    prefix = "tokenizer.chat_template"
    found: dict[str, str] = {}
    for key, value in metadata.items():
        if isinstance(value, str) and (key == prefix or key.startswith(prefix + ".")):
            found[key.removeprefix(prefix).removeprefix(".") or "default"] = value
    # Per-layer embeddings are what the E models have; only the others open with an empty thought.
    return found, not metadata.get(f"{metadata.get('general.architecture')}.embedding_length_per_layer_input", 0)


def _from_folder(path: str) -> tuple[dict[str, str], bool]:
    config = _json(os.path.join(path, "config.json"))
    text = config.get("text_config", config)
    # Where config.json says nothing, transformers' default holds: 256, but none in the unified models.
    usual = 0 if "unified" in str(config.get("model_type")) else 256
    large = isinstance(text, dict) and not text.get("hidden_size_per_layer_input", usual)
    own = os.path.join(path, "chat_template.jinja")
    if os.path.exists(own):
        return {"default": _read(own)}, large
    source = _json(os.path.join(path, "tokenizer_config.json")).get("chat_template")
    if isinstance(source, str):
        return {"default": source}, large
    named = source if isinstance(source, list) else []
    return {str(entry["name"]): str(entry["template"]) for entry in named if isinstance(entry, dict)}, large


def _read(path: str) -> str:
    if os.path.getsize(path) > _TEMPLATE_LIMIT:
        raise BadFile(f"{path}: more than {_TEMPLATE_LIMIT >> 20} MiB, too much for a chat template or its settings")
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: not UTF-8 at byte {error.start}") from None


def _json(path: str) -> Mapping[str, Any]:
    if not os.path.exists(path):
        return {}
    try:
        value = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path}: not JSON: {error}") from None
    return value if isinstance(value, dict) else {}
