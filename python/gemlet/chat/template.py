"""The model file's own Jinja template: compiled in jinja2's immutable sandbox, run on guarded text, cut into pieces.

Template text is trusted to place control tokens; message text is not: a character put behind every "<" of it keeps it
from ever reading as a marker, and is taken out again. A template is foreign code, so its loops and output are bounded.
"""

from __future__ import annotations

import json
import traceback
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra, TemplateError
from .pieces import MARKERS, Marker, split

if TYPE_CHECKING:
    from collections.abc import Mapping

OUTPUT_LIMIT = 1 << 26  # characters of one prompt; more than any context holds
STEP_LIMIT = 2_000_000  # steps of all `range` loops together
_GUARDS = [chr(code) for code in range(0xFDD0, 0xFDF0)]  # characters that Unicode sets aside for programs' own use


class ChatTemplate:
    """A compiled template; `render` may be called from several threads."""

    def __init__(self, source: str, family: str, origin: str) -> None:
        self._family, self._origin = family, origin
        try:
            import jinja2
        except ImportError as error:
            raise MissingExtra(
                "chat: the model's own template needs jinja2; run: pip install 'gemlet[chat]'"
            ) from error
        self._environment = _environment()
        try:
            self._template = self._environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise self._error(error.message or "syntax error", error.lineno) from None
        except (RecursionError, MemoryError, ValueError, OverflowError) as error:
            raise self._error(str(error) or type(error).__name__, None) from None

    def _error(self, message: str, line: int | None) -> TemplateError:
        at = f", line {line}" if line else ""
        return TemplateError(f"chat template of {self._origin}{at}: {message}")

    def render(self, variables: Mapping[str, Any], tokens: Mapping[str, str]) -> list[str]:
        """The prompt as pieces. tokens: bos_token and the like, which stay control tokens."""
        guard = _free_guard(variables)
        starts = {ord(name[0]) for name in MARKERS[self._family]}
        table = {code: chr(code) + guard for code in starts}
        given = {name: _translated(value, table) for name, value in variables.items()}
        text = self._run({**given, **tokens, "range": _Range()})
        pieces = split(text, self._family)
        escape = f"\\u{ord(guard):04x}"  # as an ASCII-only `tojson` writes it
        return [p if isinstance(p, Marker) else p.replace(guard, "").replace(escape, "") for p in pieces]

    def _run(self, variables: dict[str, Any]) -> str:
        parts: list[str] = []
        size = 0
        try:
            for part in self._template.generate(variables):
                parts.append(part)
                size += len(part)
                if size > OUTPUT_LIMIT:
                    raise TemplateError(f"it wrote more than {OUTPUT_LIMIT} characters")
        except Exception as error:  # whatever a foreign template does wrong is the template's error
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
            line = frames[-1].lineno if frames else None
            raise self._error(str(error) or type(error).__name__, line) from None
        return "".join(parts)


def _free_guard(variables: Mapping[str, Any]) -> str:
    """A character that occurs nowhere in the input, neither as itself nor as its JSON escape."""
    text = json.dumps(variables, ensure_ascii=False) + json.dumps(variables).lower()
    for guard in _GUARDS:
        if guard not in text and f"\\u{ord(guard):04x}" not in text:
            return guard
    raise TemplateError("chat: the messages use all of the characters U+FDD0 to U+FDEF, which belong to no text")


def _translated(value: Any, table: Mapping[int, str]) -> Any:
    if isinstance(value, str):
        return value.translate(table)
    if isinstance(value, dict):
        return {_translated(key, table): _translated(item, table) for key, item in value.items()}
    if isinstance(value, list):
        return [_translated(item, table) for item in value]
    return value


class _Range:
    """`range` with a budget of steps for one rendering."""

    def __init__(self) -> None:
        self._left = STEP_LIMIT

    def __call__(self, *bounds: int) -> range:
        made = range(*bounds)
        self._left -= len(made) + 1
        if self._left < 0:
            raise TemplateError(f"its loops take more than {STEP_LIMIT} steps")
        return made


def _environment() -> Any:
    from jinja2.compiler import CodeGenerator
    from jinja2.ext import Extension, loopcontrols
    from jinja2.nodes import Scope
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationTag(Extension):
        """{% generation %} marks what a model wrote, for training; here its body is simply rendered."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            return Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    class Generator(CodeGenerator):
        def visit_Concat(self, node: Any, frame: Any) -> None:
            """`~`, which the sandbox does not let one intercept."""
            self.write("environment.concatenated((")
            for part in node.nodes:
                self.visit(part, frame)
                self.write(", ")
            self.write("))")

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "**", "+"))
        code_generator_class = Generator

        def concatenated(self, parts: tuple[Any, ...]) -> str:
            texts = [str(part) for part in parts]
            if sum(map(len, texts)) > OUTPUT_LIMIT:
                raise TemplateError(f"~ makes something of more than {OUTPUT_LIMIT} characters")
            return "".join(texts)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "+":
                size = len(left) + len(right) if hasattr(left, "__len__") and hasattr(right, "__len__") else 0
            else:
                size = _product(operator, left, right)
            if size > OUTPUT_LIMIT:
                raise TemplateError(f"{operator} makes something of more than {OUTPUT_LIMIT} characters")
            return super().call_binop(context, operator, left, right)

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals.pop("lipsum")
    environment.globals["dict"] = _dict  # a function: a template needs the class for nothing else
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _product(operator: str, left: Any, right: Any) -> int:
    """About how long the result of * or ** would be: characters, items, or bits of a number."""
    for text, count in ((left, right), (right, left)):
        if hasattr(text, "__len__") and isinstance(count, int):
            return len(text) * max(count, 0)
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
        return bits * 64  # arithmetic on numbers of a megabyte is slow long before memory ends
    return 0


def _dict(*given: Any, **named: Any) -> dict[Any, Any]:
    return dict(*given, **named)


def _refuse(message: object) -> None:
    raise TemplateError(str(message))


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as transformers' templates expect it: nothing escaped for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
