"""What the calls give back: plain, picklable records that print well. Holds no model and computes nothing but rates.

Named tuples where they will do: making a class of one costs a seventh of a frozen dataclass, which a start feels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Draft(NamedTuple):
    """Tokens guessed ahead and how many came true. Guesses change no token: each true one saves a step.

    kind: "assistant" (the model's drafter), "lookup" (from the text itself), or "off".
    """

    kind: str = "off"
    drafted: int = 0
    accepted: int = 0

    @property
    def rate(self) -> float:
        """The share of guesses that came true, 0 where none were made."""
        return self.accepted / self.drafted if self.drafted else 0.0

    def as_dict(self) -> dict[str, object]:
        """The three fields and the rate under their own names, for JSON."""
        return {**self._asdict(), "rate": self.rate}


class Usage(NamedTuple):
    """How many tokens a call read and wrote; `cached_tokens` of the prompt were not computed again.

    Of the prompt's, `image_tokens` were soft tokens of images and videos, `audio_tokens` of sound.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    draft: Draft = Draft()
    image_tokens: int = 0
    audio_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def as_dict(self) -> dict[str, object]:
        """The counts and the drafts under their own names, for JSON."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "cached_tokens": self.cached_tokens,
            "image_tokens": self.image_tokens,
            "audio_tokens": self.audio_tokens,
            "draft": self.draft.as_dict(),
        }


class Timings(NamedTuple):
    """Where the seconds went. Rates are tokens a second, 0 where nothing was measured."""

    prefill_s: float
    decode_s: float
    queue_s: float
    total_s: float
    prefill_tok_s: float
    decode_tok_s: float

    @classmethod
    def of(cls, usage: Usage, prefill_s: float, decode_s: float, queue_s: float, total_s: float) -> Timings:
        """Timings with their rates. The first new token comes out of the prefill, so decode made one token less."""
        prompt = usage.prompt_tokens - usage.cached_tokens
        steps = max(usage.completion_tokens - 1, 0)
        return cls(
            prefill_s=prefill_s,
            decode_s=decode_s,
            queue_s=queue_s,
            total_s=total_s,
            prefill_tok_s=prompt / prefill_s if prefill_s > 0 else 0.0,
            decode_tok_s=steps / decode_s if decode_s > 0 else 0.0,
        )

    def as_dict(self) -> dict[str, float]:
        """All six figures under their own names, for JSON."""
        return self._asdict()


class TopToken(NamedTuple):
    """One of the likeliest tokens at a position; `logprob` is natural and taken before any penalty or temperature."""

    id: int
    text: str
    logprob: float


class TokenLogprob(NamedTuple):
    """A generated token with its log-probability and the likeliest alternatives, best first."""

    id: int
    text: str
    logprob: float
    top: tuple[TopToken, ...] = ()


class ToolCall(NamedTuple):
    """A call that the model asks for: `arguments` as a JSON string, as OpenAI has it, and `args` as a dict."""

    id: str
    name: str
    arguments: str
    args: dict[str, Any]

    @property
    def type(self) -> str:
        """Always "function"."""
        return "function"

    @property
    def function(self) -> ToolCall:
        """This call, so that `call.function.name` reads the same as with OpenAI's objects."""
        return self

    def as_dict(self) -> dict[str, Any]:
        """The call in OpenAI's shape, for JSON and for messages."""
        return {"id": self.id, "type": self.type, "function": {"name": self.name, "arguments": self.arguments}}


class Chunk(NamedTuple):
    """A piece of a stream: whole UTF-8 characters and the tokens read since the last piece.

    In a chat, `kind` is "text", "thinking" or "tool_call"; a call comes once and whole, as `tool_call`.
    """

    text: str
    token_ids: tuple[int, ...]
    kind: str = "text"
    logprobs: tuple[TokenLogprob, ...] | None = None
    tool_call: ToolCall | None = None

    def __str__(self) -> str:
        return self.text


def escape(text: str) -> str:
    """`text` made safe for HTML, inside elements and inside quoted attributes."""
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        text = text.replace(char, entity)
    return text


def footer(answer: Any) -> str:
    """Tokens, reason and speed of an answer with usage and timings, in a line."""
    return (
        f"{answer.usage.completion_tokens} tokens, {answer.finish_reason}, "
        f"{answer.timings.decode_tok_s:.1f} tok/s after {answer.timings.prefill_s * 1000:.0f} ms of prefill"
    )


@dataclass(frozen=True, eq=False)
class Generation:
    """The answer of `Model.generate`; `str(r)` is `r.text`. `token_ids` (n,) int32 holds the new tokens only.

    `parsed`: the object that an answer under a schema stands for, or the text that met a regex, grammar or choice; None
    without a constraint, and where the answer was cut or refused, which `warnings` then tells.
    """

    text: str
    token_ids: NDArray[np.int32]
    finish_reason: str
    usage: Usage
    timings: Timings
    seed: int
    warnings: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] | None = None
    parsed: Any = None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        warned = f", {len(self.warnings)} warning{'s' * (len(self.warnings) > 1)}" if self.warnings else ""
        return f"<Generation {text!r}, {footer(self)}{warned}>"

    def _repr_html_(self) -> str:
        warned = "".join(f'<div style="color:#b45309">{escape(text)}</div>' for text in self.warnings)
        return (
            f'<div><div style="white-space:pre-wrap">{escape(self.text)}</div>{warned}'
            f'<div style="opacity:.6;font-size:85%">{escape(footer(self))}</div></div>'
        )

    def as_dict(self) -> dict[str, object]:
        """Everything as plain values, for JSON; `parsed` is left out, `text` holds it."""
        return {
            "text": self.text,
            "token_ids": [int(i) for i in self.token_ids],
            "finish_reason": self.finish_reason,
            "usage": self.usage.as_dict(),
            "timings": self.timings.as_dict(),
            "seed": self.seed,
            "warnings": list(self.warnings),
            "logprobs": None if self.logprobs is None else [logprob_dict(entry) for entry in self.logprobs],
        }


def logprob_dict(entry: TokenLogprob) -> dict[str, object]:
    """One entry as plain values."""
    return {"id": entry.id, "text": entry.text, "logprob": entry.logprob, "top": [t._asdict() for t in entry.top]}


class Routing(NamedTuple):
    """What a mixture chose: `experts` (L, T, k) int32, best first; `weights` (L, T, k) float32, summing to 1 over k."""

    experts: NDArray[np.int32]
    weights: NDArray[np.float32]


class Decision(NamedTuple):
    """What `Model.choose` decides: the likeliest option, its probability among the options, and the same of each.

    `logprobs`: natural log-probability of each option's tokens after the prompt, before they were made to sum to 1.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    logprobs: dict[str, float]
    warnings: list[str]

    def __str__(self) -> str:
        return self.label

    def as_dict(self) -> dict[str, object]:
        """All of it under its own names, for JSON."""
        return self._asdict()


class Perplexity(NamedTuple):
    """How well a model expects a text: `nll`, mean negative log-likelihood in nats, and `perplexity` = exp(nll).

    Standard errors treat tokens as independent draws, as is usual; `window` and `stride` tell how the text was cut.
    """

    perplexity: float
    nll: float
    tokens: int
    std_error: float
    nll_std_error: float
    window: int
    stride: int

    def __float__(self) -> float:
        return self.perplexity

    def __str__(self) -> str:
        cut = f"{self.tokens} tokens, window {self.window}, stride {self.stride}"
        return f"perplexity {self.perplexity:.4g} ± {self.std_error:.2g} ({cut})"

    def as_dict(self) -> dict[str, float | int]:
        """All figures under their own names, for JSON."""
        return self._asdict()


def size_text(count: float) -> str:
    """Bytes for people.

    >>> size_text(1536)
    '1.5 KiB'
    """
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


@dataclass(frozen=True)
class Plan:
    """What to expect of a model within `ram` bytes; `str(plan)` is the report, `as_dict()` the figures.

    memory: bytes by part at `context` tokens with keys and values as `kv_dtype`; `total` is their sum, `fits` whether
    that is within `ram`. largest_context: tokens that fit, by `kv_dtype`; 0 where not even the weights do.
    """

    model: str
    source: str
    ram: int
    fits: bool
    total: int
    memory: dict[str, int]
    on_disk: int
    context: int
    kv_dtype: str
    trained_context: int
    largest_context: dict[str, int]
    prompt: int
    decode_tok_s: float
    decode_full_tok_s: float
    prefill_tok_s: float | None
    bytes_per_token: int
    limits: dict[str, float]
    threads: int
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        word = "fits" if self.fits else "does not fit"
        return (
            f"<Plan {self.model}: {size_text(self.total)} {word} {size_text(self.ram)}, {self.decode_tok_s:.1f} tok/s>"
        )

    def __str__(self) -> str:
        word = "fits in" if self.fits else "does NOT fit in"
        parts = [(name, size_text(count)) for name, count in self.memory.items() if count]
        wide = max(len(name) for name, _ in parts)
        largest = ", ".join(
            f"{kind} {'none' if not tokens else format(tokens, ',')}" for kind, tokens in self.largest_context.items()
        )
        prefill = "not estimated" if self.prefill_tok_s is None else f"{self.prefill_tok_s:,.0f} tok/s"
        limits = f"{self.limits['read_gb_s']:.1f} GB/s read, {self.limits['int8_gops']:.0f} Gop/s int8"
        lines = [
            f"{self.model}: {size_text(self.total)}, {word} {size_text(self.ram)}",
            f"  context {self.context:,} tokens, keys and values as {self.kv_dtype}",
            *(f"    {name:<{wide}}  {count:>10}" for name, count in parts),
        ]
        if self.on_disk:
            lines.append(
                f"    {'on disk':<{wide}}  {size_text(self.on_disk):>10}  per-layer embeddings, read row by row"
            )
        lines += [
            f"  largest context by type: {largest} (trained for {self.trained_context:,})",
            f"  new tokens  {self.decode_tok_s:>8,.1f} tok/s, {self.decode_full_tok_s:,.1f} with the context full; "
            f"{self.bytes_per_token / 1e6:,.0f} MB read for each",
            f"  prompt      {prefill:>8}, {self.prompt:,} tokens",
            f"  measured    {limits}, {self.threads} threads",
            *(f"  - {reason}" for reason in self.reasons),
            *(f"  ! {warning}" for warning in self.warnings),
        ]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
