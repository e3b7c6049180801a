"""The side of `Model` that goes on with a prompt: `generate`, and the start of every answer, a conversation's too.

Docstrings, options and defaults; one generation under way is `generation`'s work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..generation.stream import GenerationStream
from ..types import GenerateOptions, unknown_option
from .opened import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Literal, overload

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from .. import _core
    from ..generation.grammar import Answer
    from ..results import Generation
    from ..types import GenerateArgs
    from .opened import Tokens


class Generating(Opened):
    """The methods of a model that generate."""

    if TYPE_CHECKING:

        @overload
        def generate(
            self, x: Tokens, *, stream: Literal[False] = ..., **options: Unpack[GenerateArgs]
        ) -> Generation: ...
        @overload
        def generate(
            self, x: Tokens, *, stream: Literal[True], **options: Unpack[GenerateArgs]
        ) -> GenerationStream: ...

    def generate(
        self,
        x: Tokens,
        *,
        stream: bool = False,
        max_tokens: int | None = 256,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repeat_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        penalty_window: int = 64,
        logit_bias: Mapping[int, float] | None = None,
        seed: int | None = None,
        stop: str | Iterable[str] = (),
        ignore_eos: bool = False,
        logprobs: int | None = None,
        schema: Any = None,
        regex: str | None = None,
        grammar: str | None = None,
        choices: Iterable[str] | None = None,
        overflow: str = "error",
        timeout: float | None = None,
        progress: Callable[[int, int], object] | None = None,
        **unknown: NoReturn,
    ) -> Generation | GenerationStream:
        """Continue a text, a row of token ids (T,) taken as they are, or a `Prompt` of text, images, sound and video.

        stream: give an iterator of chunks back instead of the whole answer.
        max_tokens: new tokens at most; None is as many as the context holds.
        temperature, top_k, top_p, min_p: None is the model's own, or Gemma's 1.0, 64, 0.95, 0; temperature=0 is greedy.
        repeat_penalty, penalty_window: divides the logits of the last penalty_window ids (-1: all); 1 is off.
        presence_penalty, frequency_penalty: subtracted from new ids seen, once or each time; 0 is off.
        logit_bias: token id -> number added to its logit; -inf bans it.
        seed: repeats a draw; None draws a new one, told as `.seed` of the answer.
        stop: string or strings that end the answer and are not part of it. ignore_eos: go on past the model's own end.
        logprobs: k, to get every new token's log-probability and the k best (`.logprobs`), before any constraint.
        schema: a JSON schema (dict or text) or a Python type (pydantic class, dataclass, TypedDict, Enum, hint): the
        answer is compact JSON that meets it, and `.parsed` the object. regex, grammar (Lark, as llguidance reads it),
        choices (strings): the answer fits, and `.parsed` is its text. One of the four; ask for the same in the prompt.
        overflow: "error" if the prompt does not fit the context, or "truncate" to cut its front (told in `.warnings`).
        timeout: seconds after which the answer so far is given back. progress: called with (done, total) prompt tokens.

        >>> answer = m.generate("One, two, three, four,", max_tokens=4, temperature=0)
        >>> answer.text, answer.finish_reason, answer.usage.completion_tokens
        (' five, six,', 'length', 4)
        >>> with m.generate("Once upon a", max_tokens=16, temperature=0, stop=",", stream=True) as chunks:
        ...     "".join(chunk.text for chunk in chunks)
        ' time'
        >>> m.generate("Is the sky blue? Answer:", choices=["yes", "no"], temperature=0).parsed in ("yes", "no")
        True
        """
        given = {name: value for name, value in locals().items() if name in GenerateOptions.__dataclass_fields__}
        if unknown:
            raise unknown_option("generate", unknown, (*given, "stream"))
        options = GenerateOptions(**given)
        ids, warnings = self._prompt(x)
        running = self._begin(ids, options, warnings)
        return running if stream else running.result

    def _begin(
        self,
        ids: NDArray[np.int32] | _core.Prompt,
        options: GenerateOptions,
        warnings: list[str],
        after: int | None = None,
        session: _core.Session | None = None,
    ) -> GenerationStream:
        """Starts a generation. after: the id behind which the answer proper begins, as one that ends a thought."""
        for token in options.logit_bias or ():
            if token >= self.vocab_size:
                last = self.vocab_size - 1
                raise ValueError(f"generate: logit_bias has token id {token}, outside the vocabulary, 0 to {last}")
        answer = self._answer(options, after)
        defaults = self._info["generation"]
        return GenerationStream(self._engine, ids, options, self.context, warnings, defaults, answer, session)

    def _answer(self, options: GenerateOptions, after: int | None = None) -> Answer | None:
        """What the answer must be, ready for one generation; None: anything. `after`: the id behind which it begins."""
        if not options.constrained:
            return None
        from ..generation import grammar

        wanted = grammar.compiled(options)
        with self._vocabulary_lock:
            if self._vocabulary is None:
                engine = self._engine
                self._vocabulary = grammar.Vocabulary(engine.tokenizer, self.vocab_size, self._info["end_ids"])
            vocabulary = self._vocabulary
        return grammar.Answer(vocabulary, wanted, after)
