"""Answers that must fit a schema, a regular expression, a grammar or a list: what may come next, by `llguidance`.

Owns the library's view of a vocabulary and one matcher a generation. The engine asks for masks and applies them; what a
finished answer becomes is `schemas`' business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MissingExtra, SchemaError
from . import schemas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .. import _core
    from ..types import GenerateOptions

_COMPACT = {"whitespace_flexible": False}  # JSON as json.dumps(..., separators=(",", ":")) writes it
_UNIMPLEMENTED = re.compile(r"Unimplemented keys: \[(.*)\]")


def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise MissingExtra(
            "schema, regex, grammar and choices need llguidance; install it with: pip install 'gemlet[grammar]'"
        ) from error
    return llguidance


class _Pieces:
    """A vocabulary as llguidance wants it: bytes an id, which ids are no text, and text to ids."""

    def __init__(self, tokenizer: _core.Tokenizer, vocab_size: int, end_ids: list[int]) -> None:
        count = tokenizer.vocab_size
        plain = [tokenizer.piece(i) for i in range(count)]
        self.special_token_ids = [i for i, piece in enumerate(plain) if not piece]
        for i in self.special_token_ids:
            plain[i] = tokenizer.piece(i, True)
        self.tokens = plain + [b""] * (vocab_size - count)  # rows of the embedding that have no name
        self.bos_token_id = tokenizer.bos
        self.eos_token_id = end_ids[0]
        self._encode = tokenizer.encode

    def __call__(self, text: bytes) -> list[int]:
        ids: list[int] = self._encode(text, False, False).tolist()
        return ids


class Vocabulary:
    """A model's tokens, made ready for grammars: about a second and 100 MB for 262,144 tokens, so once a model."""

    def __init__(self, tokenizer: _core.Tokenizer, vocab_size: int, end_ids: list[int]) -> None:
        self.library = _library()
        if not end_ids:
            raise SchemaError("generate: the model file names no end token, so a constrained answer could not end")
        self.tokenizer = tokenizer
        self.words = (vocab_size + 31) // 32
        pieces = _Pieces(tokenizer, vocab_size, end_ids)
        wrapper = self.library.TokenizerWrapper(pieces)
        self.tokens = self.library.LLTokenizer(wrapper, eos_token=list(end_ids))
        pieces.tokens = wrapper.tokens = []  # it has a copy, and keeps the wrapper for calls


class Matcher:
    """The constraint of one generation, as the engine calls it: mask, accept, finished."""

    def __init__(self, vocabulary: Vocabulary, compiled: Compiled) -> None:
        self._words = np.zeros(vocabulary.words, np.int32)
        limits = vocabulary.library.LLParserLimits(verbose_errors=False)  # no dump of its state in messages
        self._matcher = vocabulary.library.LLMatcher(vocabulary.tokens, compiled.text, log_level=0, limits=limits)
        self._kind = compiled.kind
        self._tokenizer = vocabulary.tokenizer
        self._ids: list[int] = []
        if self._matcher.is_error():
            raise compiled.refusal(self._matcher.get_error())
        self.warnings = list(self._matcher.get_grammar_warnings())

    def mask(self) -> NDArray[np.int32]:
        """What may come next, one bit an id."""
        self._matcher.unsafe_compute_mask_ptr(self._words.ctypes.data, self._words.nbytes)
        self._check()
        return self._words

    def accept(self, token: int) -> None:
        """The engine took `token`."""
        self._matcher.consume_token(token)
        self._check()
        self._ids.append(token)

    def finished(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._matcher.is_stopped())

    def _check(self) -> None:
        if not self._matcher.is_error():
            return
        reason = self._matcher.get_error().removesuffix("<non-verbose/>").strip()
        if reason.startswith("NoExtension"):
            raise SchemaError(f"{self._kind}: nothing can meet it from here on; does it demand itself without an end?")
        raise SchemaError(f"{self._kind}: the answer could not be kept to it ({reason}); make it simpler")

    @property
    def began(self) -> bool:
        """Whether any token was under the constraint."""
        return bool(self._ids)

    @property
    def text(self) -> str:
        """What was generated under the constraint."""
        return self._tokenizer.decode(np.array(self._ids, np.int32)) if self._ids else ""


class Compiled:
    """A constraint in llguidance's words, and what makes a result of the text that met it."""

    def __init__(
        self, kind: str, text: str, read: Callable[[str], Any], warnings: tuple[str, ...], schema: dict[str, Any] | None
    ) -> None:
        self.kind, self.text, self.read, self.warnings, self._schema = kind, text, read, warnings, schema

    def refusal(self, reason: str) -> SchemaError:
        """The error for a constraint that llguidance does not take, with what to do."""
        reason = reason.strip()
        found = _UNIMPLEMENTED.search(reason)
        if found:
            keys = [key.strip().strip('"') for key in found[1].split(",")]
            named = ", ".join(f"{key!r} at {self._place(key)}" for key in keys)
            return SchemaError(
                f"schema: {named} cannot be enforced while generating; leave it out and check the answer for it"
            )
        if reason.startswith("oneOf"):
            return SchemaError(
                f"schema: 'oneOf' at {self._place('oneOf')} has alternatives that no type or constant tells apart; "
                "write 'anyOf'"
            )
        if reason.startswith("Unknown format"):
            return SchemaError(
                f"schema: 'format': {reason.partition(': ')[2]!r} is not known; leave it out, or write a 'pattern'"
            )
        if reason.startswith("Unsatisfiable"):
            return SchemaError(f"schema: nothing can meet it: {reason.partition(': ')[2]}; correct the schema")
        if self.kind == "schema" and reason.startswith("regex"):
            return SchemaError(f"schema: 'pattern' at {self._place('pattern')}: {reason}")
        if self.kind == "schema" and reason.startswith(("Pointer", "Resource")):
            return SchemaError(f"schema: '$ref' at {self._place('$ref')}: {reason}; put what it names into '$defs'")
        return SchemaError(f"{self.kind}: {reason}")

    def _place(self, key: str) -> str:
        return next(iter(schemas.places(self._schema or {}, key)), "$")


def compiled(options: GenerateOptions) -> Compiled:
    """The one constraint that the options ask for."""
    matcher = _library().LLMatcher
    if options.schema is not None:
        try:
            shape = schemas.shape_of(options.schema)
            text = matcher.grammar_from_json_schema(json.dumps(shape.schema), overrides=_COMPACT)
        except ValueError as error:
            raise SchemaError(f"schema: {error}") from None
        except RecursionError:
            raise SchemaError(
                "schema: it is nested too deeply; put what repeats into '$defs' and name it by '$ref'"
            ) from None
        return Compiled("schema", text, shape.read, shape.warnings, shape.schema)
    if options.regex is not None:
        return Compiled("regex", matcher.grammar_from_regex(options.regex), str, (), None)
    if options.grammar is not None:
        return Compiled("grammar", matcher.grammar_from_lark(options.grammar), str, (), None)
    rules = " | ".join(json.dumps(choice) for choice in options.choices or ())
    return Compiled("choices", matcher.grammar_from_lark(f"start: {rules}"), str, (), None)


class Answer:
    """One constrained generation: the matcher for the engine, and afterwards what the text has become.

    `after`: the token id behind which the constraint begins (what comes before is free), None: at once.
    """

    def __init__(self, vocabulary: Vocabulary, compiled: Compiled, after: int | None = None) -> None:
        self._compiled = compiled
        self.after = after
        self.matcher = Matcher(vocabulary, compiled)
        self.warnings = [*compiled.warnings, *(f"{compiled.kind}: {text}" for text in self.matcher.warnings)]

    def parsed(self, complete: bool, why: str) -> tuple[Any, list[str]]:
        """The result, and what is to be told about it. `why`: what stopped an answer that is not complete."""
        kind, text = self._compiled.kind, self.matcher.text
        if not complete:
            begun = f"after {text[-40:]!r}" if self.matcher.began else "before it began"
            return None, [
                f"{kind}: the answer was cut {begun} ({why}), so it has no .parsed; {_REMEDIES.get(why, _ASK)}"
            ]
        try:
            return self._compiled.read(text), []
        except Exception as error:  # a class may refuse what its schema allows, in its own words
            return None, [f"{kind}: the answer meets the schema, but could not be made into an object: {error}"]


_ASK = "ask again"
_REMEDIES = {"length": "give more max_tokens, or limit lengths in the constraint"}
