"""What `Model.chat` gives back; apart from the other records, so that a start without a chat does not pay for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..results import escape, footer, logprob_dict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..results import Timings, TokenLogprob, ToolCall, Usage


@dataclass(frozen=True, eq=False)
class ChatResult:
    """The answer of `Model.chat`; `str(r)` is `r.text`. `thinking` is "" where there was none.

    token_ids (n,) int32 and `logprobs` are of all new tokens, those of thoughts and calls too. `parsed` is what `text`
    stands for under a schema, or the text itself under a regex, grammar or choices; else None.
    """

    text: str
    thinking: str
    tool_calls: list[ToolCall]
    finish_reason: str
    token_ids: NDArray[np.int32]
    usage: Usage
    timings: Timings
    seed: int
    thinking_tokens: int = 0
    warnings: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] | None = None
    parsed: Any = None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        calls = f", calls {', '.join(call.name for call in self.tool_calls)}" if self.tool_calls else ""
        warned = f", {len(self.warnings)} warning{'s' * (len(self.warnings) > 1)}" if self.warnings else ""
        return f"<ChatResult {text!r}{calls}, {footer(self)}{warned}>"

    def _repr_html_(self) -> str:
        parts = []
        if self.thinking:
            parts.append(
                f'<details style="opacity:.6"><summary>thinking, {self.thinking_tokens} tokens</summary>'
                f'<div style="white-space:pre-wrap">{escape(self.thinking)}</div></details>'
            )
        if self.text or not self.tool_calls:
            parts.append(f'<div style="white-space:pre-wrap">{escape(self.text)}</div>')
        parts += [f"<div><code>{escape(call.name)}({escape(call.arguments)})</code></div>" for call in self.tool_calls]
        parts += [f'<div style="color:#b45309">{escape(text)}</div>' for text in self.warnings]
        return f'<div>{"".join(parts)}<div style="opacity:.6;font-size:85%">{escape(footer(self))}</div></div>'

    @property
    def message(self) -> dict[str, Any]:
        """The answer as a message, to put behind the others before the next turn."""
        made: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.thinking:
            made["reasoning"] = self.thinking
        if self.tool_calls:
            made["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        return made

    def as_dict(self) -> dict[str, object]:
        """Everything as plain values, for JSON; `parsed` is left out, `text` holds it."""
        return {
            "text": self.text,
            "thinking": self.thinking,
            "tool_calls": [call.as_dict() for call in self.tool_calls],
            "finish_reason": self.finish_reason,
            "token_ids": [int(i) for i in self.token_ids],
            "usage": self.usage.as_dict(),
            "timings": self.timings.as_dict(),
            "seed": self.seed,
            "thinking_tokens": self.thinking_tokens,
            "warnings": list(self.warnings),
            "logprobs": None if self.logprobs is None else [logprob_dict(entry) for entry in self.logprobs],
        }
