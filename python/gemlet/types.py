"""Options of a call: their defaults, ranges and error texts. Knows no model; what a model limits is checked there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable

# Names that the design has and this version does not: a user who gives one gets a plain answer instead of a guess.
NOT_YET = {
    "load": ("memory_limit", "adapters", "seed", "progress", "revision", "cache_dir"),
    "generate": ("n", "adapter"),
    "chat": ("n", "adapter"),
}

OF_CHAT = ("tools", "tool_choice", "think", "preserve_thinking", "messages")
OF_PROMPT = ("images", "audio", "video", "image_tokens", "fps")
CONSTRAINTS = ("schema", "regex", "grammar", "choices")
OVERFLOW = ("error", "truncate")
_INT32 = 2**31 - 1  # what the engine's integers hold


class GenerateArgs(TypedDict, total=False):
    """The keyword arguments of `Model.generate`, for type checkers."""

    max_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    penalty_window: int
    logit_bias: Mapping[int, float] | None
    seed: int | None
    stop: str | Iterable[str]
    ignore_eos: bool
    logprobs: int | None
    schema: Any
    regex: str | None
    grammar: str | None
    choices: Iterable[str] | None
    overflow: str
    timeout: float | None
    progress: Callable[[int, int], object] | None


class ChatArgs(GenerateArgs, total=False):
    """The keyword arguments of `Model.chat`, for type checkers."""

    images: Any
    audio: Any
    video: Any
    image_tokens: int | str | None
    fps: float | None
    tools: Any
    tool_choice: Any
    think: bool
    preserve_thinking: bool


def unknown_option(call: str, given: Iterable[str], known: Iterable[str]) -> Exception:
    """The error for options that `call` does not have: TypeError with the nearest name, or what comes later."""
    name = next(iter(given))
    if call == "generate" and name in OF_CHAT:
        return TypeError(f"generate: '{name}' is an option of m.chat, which writes the prompt that it needs")
    if call == "generate" and name in OF_PROMPT:
        return TypeError(
            f"generate: '{name}' is an option of m.chat; here pass gemlet.Prompt([gemlet.Image(source), text])"
        )
    if name in NOT_YET.get(call, ()):
        return not_available(call, name)
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(sorted(known))}"
    return TypeError(f"{call}: no option '{name}'{hint}")


def not_available(call: str, name: str, value: object = None) -> ValueError:
    """The error for an option of the design that this version cannot carry out."""
    given = f"{name}={value!r}" if value is not None else f"the option '{name}'"
    return ValueError(f"{call}: {given} is not available in this version of gemlet; leave it out")


def check_int(call: str, name: str, value: object, low: int, high: int | None = None) -> int:
    """`value` as an int within [low, high], or an error that names the option, the range and the value."""
    import operator

    wanted = f"an int >= {low}" if high is None else f"an int from {low} to {high}"
    if isinstance(value, bool):
        raise TypeError(f"{call}: {name} must be {wanted}, not {value!r}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{call}: {name} must be {wanted}, not {value!r}") from None
    if number < low or (high is not None and number > high):
        raise ValueError(f"{call}: {name} must be {wanted}, not {number}")
    return number


def check_float(call: str, name: str, value: object, interval: str = "(-inf, inf)") -> float:
    """`value` as a finite float inside `interval`, written as in mathematics: "[0, inf)", "(0, 1]"."""
    wanted = f"a finite number in {interval}" if interval != "(-inf, inf)" else "a finite number"
    if isinstance(value, (bool, str, bytes)):
        raise TypeError(f"{call}: {name} must be {wanted}, not {value!r}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{call}: {name} must be {wanted}, not {value!r}") from None
    low, high = (float(end) for end in interval[1:-1].split(","))
    inside = low <= number <= high and (number != low or interval[0] == "[") and (number != high or interval[-1] == "]")
    if not math.isfinite(number) or not inside:
        raise ValueError(f"{call}: {name} must be {wanted}, not {number!r}")
    return number


_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def check_bytes(call: str, name: str, value: object) -> int:
    """A number of bytes, or text with a unit, as bytes.

    >>> check_bytes("plan", "ram", "1.5 GiB")
    1610612736
    """
    if not isinstance(value, str):
        return check_int(call, name, value, 1, 2**62)
    import re

    parts = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]+)\s*", value)
    unit = _UNITS.get(parts[2].upper()) if parts else None
    count = round(float(parts[1]) * unit) if parts and unit and len(parts[1]) < 20 else 0
    if not 1 <= count <= 2**62:
        raise ValueError(
            f"{call}: {name} must be a size with its unit, such as '8GiB', '16GB' or '512MiB', not {value!r}"
        )
    return count


def check_choice(call: str, name: str, value: object, choices: tuple[str, ...]) -> str:
    """`value` if it is one of the choices, or a ValueError that lists them."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{call}: {name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
    return value


def _check_bias(bias: object) -> dict[int, float]:
    if not isinstance(bias, Mapping):
        raise TypeError(f"generate: logit_bias must map token ids to numbers, not {type(bias).__name__}")
    checked = {}
    for key, value in bias.items():
        token = check_int("generate", "a logit_bias id", key, 0, _INT32)
        banned = isinstance(value, (float, int)) and value == -math.inf
        checked[token] = -math.inf if banned else check_float("generate", f"logit_bias[{token}]", value)
    return checked


def check_text(call: str, name: str, value: object) -> str:
    """`value` as a string that UTF-8 can hold, or an error that shows where it cannot."""
    if not isinstance(value, str):
        raise TypeError(f"{call}: {name} must be a string, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{call}: {name} has a lone surrogate at {error.start}, which is no character") from None
    return value


def _check_stop(stop: object) -> tuple[str, ...]:
    if isinstance(stop, str):
        stop = (stop,)
    if isinstance(stop, bytes) or not isinstance(stop, Iterable):
        raise TypeError(f"generate: stop must be a string or strings, not {stop!r}")
    strings = tuple(stop)
    for i, text in enumerate(strings):
        if not check_text("generate", f"stop[{i}]", text):
            raise ValueError(f"generate: stop[{i}] is empty; it would end every answer before its first token")
    return strings


def _check_constraint(options: GenerateOptions) -> tuple[str, ...] | None:
    """The choices, after a look at everything that constrains the answer."""
    given = [name for name in CONSTRAINTS if getattr(options, name) is not None]
    if len(given) > 1:
        raise ValueError(f"generate: {' and '.join(given)} exclude each other; pass one of them")
    if given and options.ignore_eos:
        raise ValueError(f"generate: ignore_eos=True contradicts {given[0]}=, which says where the answer ends")
    for name in ("regex", "grammar"):
        if getattr(options, name) is not None:
            check_text("generate", name, getattr(options, name))
    return None if options.choices is None else check_labels("generate", "choices", options.choices)


def check_labels(call: str, name: str, labels: object) -> tuple[str, ...]:
    """`labels` as different, non-empty strings, at least one of them."""
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise TypeError(f"{call}: {name} must be a list of strings, not {labels!r}")
    strings = tuple(labels)
    for i, text in enumerate(strings):
        if not check_text(call, f"{name}[{i}]", text):
            raise ValueError(f"{call}: {name}[{i}] is empty")
        if text in strings[:i]:
            raise ValueError(f"{call}: {name}[{i}] is {text!r} again; give each string once")
    if not strings:
        raise ValueError(f"{call}: {name} is empty; give at least one string")
    return strings


@dataclass(kw_only=True, eq=False)
class GenerateOptions:
    """Checked options of `Model.generate`; None stands for the model's own default.

    >>> GenerateOptions(temperature=0, stop="\\n").stop
    ('\\n',)
    """

    max_tokens: int | None = 256
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_window: int = 64
    logit_bias: Mapping[int, float] | None = None
    seed: int | None = None
    stop: str | Iterable[str] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    schema: Any = None
    regex: str | None = None
    grammar: str | None = None
    choices: Iterable[str] | None = None
    overflow: str = "error"
    timeout: float | None = None
    progress: Callable[[int, int], object] | None = None

    @property
    def constrained(self) -> bool:
        """Whether the answer must fit something."""
        return any(getattr(self, name) is not None for name in CONSTRAINTS)

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {}
        for name, low, high in (
            ("max_tokens", 1, _INT32),
            ("top_k", 0, _INT32),
            ("penalty_window", -1, _INT32),
            ("seed", 0, 2**64 - 1),
            ("logprobs", 0, _INT32),
        ):
            value = getattr(self, name)
            checked[name] = None if value is None else check_int("generate", name, value, low, high)
        for name, interval in (
            ("temperature", "[0, inf)"),
            ("top_p", "(0, 1]"),
            ("min_p", "[0, 1)"),
            ("repeat_penalty", "(0, inf)"),
            ("presence_penalty", "(-inf, inf)"),
            ("frequency_penalty", "(-inf, inf)"),
            ("timeout", "(0, inf)"),
        ):
            value = getattr(self, name)
            checked[name] = None if value is None else check_float("generate", name, value, interval)
        if not isinstance(self.ignore_eos, bool):
            raise TypeError(f"generate: ignore_eos must be True or False, not {self.ignore_eos!r}")
        if self.progress is not None and not callable(self.progress):
            raise TypeError(f"generate: progress must be a function of (done, total), not {self.progress!r}")
        checked["choices"] = _check_constraint(self)
        checked["overflow"] = check_choice("generate", "overflow", self.overflow, OVERFLOW)
        checked["logit_bias"] = _check_bias(self.logit_bias or {})
        checked["stop"] = _check_stop(self.stop)
        for name, value in checked.items():
            setattr(self, name, value)
