"""Gemma 3's turns, for files without a template of their own: no system role, no tools, no thinking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import TemplateError
from .pieces import Marker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def render(messages: Sequence[dict[str, Any]], *, add_generation_prompt: bool = True) -> list[str]:
    """The conversation as pieces; system text goes before the first user message.

    >>> "".join(render([{"role": "user", "content": "Hello"}]))
    '<bos><start_of_turn>user\\nHello<end_of_turn>\\n<start_of_turn>model\\n'
    """
    out: list[str] = [Marker("<bos>")]
    prefix: list[str] = []
    first = 0
    if messages[0]["role"] in ("system", "developer"):
        prefix, first = [_joined(messages[0]["content"]), "\n\n"], 1
    for i, message in enumerate(messages[first:]):
        wanted = "assistant" if i % 2 else "user"
        if message["role"] != wanted:
            raise TemplateError(
                f"chat: messages[{first + i}] has role {message['role']!r} where Gemma 3 needs {wanted!r}: "
                "after an optional system message, user and assistant take turns"
            )
        out += [Marker("<start_of_turn>"), "model\n" if i % 2 else "user\n", *prefix, *_content(message["content"])]
        out += [Marker("<end_of_turn>"), "\n"]
        prefix = []
    if prefix:
        raise TemplateError("chat: a system message alone; Gemma 3 needs a user message after it")
    return [*out, Marker("<start_of_turn>"), "model\n"] if add_generation_prompt else out


def _joined(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _content(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content.strip()
        return
    for part in content:
        yield part["text"].strip() if part["type"] == "text" else Marker("<start_of_image>")
