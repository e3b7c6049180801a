"""The public `Model` and `load`: arguments checked, text and arrays to ids, the engine called, records given back.

Holds the docstrings and the defaults; the work is done in C++ (`_core`), in `generation` and in `measures`.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .. import _core, quantization
from ..arrays import as_ids
from ..errors import GemletError
from ..generation.stream import GenerationStream
from ..local import sources
from ..types import GenerateOptions, check_choice, check_int, check_text, not_available, unknown_option
from .chatting import ChatMethods
from .listening import Hearing
from .questions import Questions
from .seeing import Sight
from .sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Literal, TypeGuard, overload

    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from ..generation.grammar import Answer, Vocabulary
    from ..prompt import Prompt
    from ..results import Generation
    from ..soft import Senses
    from ..types import GenerateArgs
    from .mapping import Map

    Tokens = str | Sequence[int] | NDArray[np.integer[Any]] | Prompt | Any

_PIECES = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<|turn>", "<turn|>")
_PLACEHOLDERS = ("<|image|>", "<|audio|>", "<|video|>")
_LOAD_OPTIONS = ("threads", "context", "kv_dtype", "compute", "expert_cache", "quant", "draft")


def load(
    path: str | os.PathLike[str],
    *,
    threads: int | str = "auto",
    context: int | str = "auto",
    kv_dtype: str = "auto",
    compute: str = "auto",
    expert_cache: str = "auto",
    quant: str | None = None,
    draft: str | os.PathLike[str] | None = "auto",
    **unknown: NoReturn,
) -> Model:
    """Open a model: a GGUF file, a model folder, a pulled name, or "demo" (the extra of that name). Never connects.

    threads: "auto" (GEMLET_THREADS, else the cores this process may use) or an int.
    context: tokens that prompt and answer may have together; "auto" is what the model was trained for.
    kv_dtype: how keys and values are kept: "f16", "f32", or "q8_0", about half the memory of "f16" and faster over a
    long context; "auto" is "f32" for weights in float32, else "f16".
    compute: "auto" quantises activations as the weights ask, "float32" keeps them as they are (slower, exact).
    quant: "q8_0", "q4_0" or "f16": a folder's weights in fewer bits, written to the cache once (see `.warnings`); or
        which GGUF file of a pulled repository or a folder that has several, as "Q8_0".
    draft: guess tokens ahead and check several in one step, which changes no token: "auto" takes the drafter (Gemma 4's
        "assistant") that lies beside the model, else "lookup" (what followed the same words before), and stops while it
        does not pay; None or "off"; or the path of a drafter. What came of it: `.usage.draft` of an answer.
    expert_cache: reserved; only its default is available in this version.

    >>> with load("demo", threads=1, context=2048) as small:
    ...     small.context, small.threads
    (2048, 1)
    """
    if unknown:
        raise unknown_option("load", unknown, _LOAD_OPTIONS)
    if quant is not None:
        path, quant = sources.choose(path, quant)
    if expert_cache != "auto":
        raise not_available("load", "expert_cache", expert_cache)
    options = {
        "threads": threads if threads == "auto" else check_int("load", "threads", threads, 1, 1024),
        "context": context if context == "auto" else check_int("load", "context", context, 1, 2**31 - 1),
        "kv_dtype": check_choice("load", "kv_dtype", kv_dtype, ("auto", "f32", "f16", "q8_0")),
        "compute": check_choice("load", "compute", compute, ("auto", "float32")),
        "draft": sources.drafter(draft),
        "quant": None if quant is None else check_choice("load", "quant", quant.lower(), quantization.FORMATS),
    }
    return _reload(sources.resolve(path), options)


class Model(ChatMethods, Questions, Sessions, Sight, Hearing):
    """A model ready to run; made by `gemlet.load`. Several threads may call one model at once.

    Pickles as the way it was loaded. Close it with `close()` or a `with` block to give its memory back at once.
    """

    def __init__(
        self,
        path: str,
        *,
        threads: int | str,
        context: int | str,
        kv_dtype: str,
        compute: str,
        draft: str = "auto",
        quant: str | None = None,
    ) -> None:
        self._spec: dict[str, Any] = {
            "threads": threads,
            "context": context,
            "kv_dtype": kv_dtype,
            "compute": compute,
            "draft": draft,
            "quant": quant,
        }
        self._path = path
        file, self._notes = quantization.cached(path, quant)
        self._live: _core.Model | None = _core.Model(
            file,
            threads=0 if threads == "auto" else int(threads),
            context=0 if context == "auto" else int(context),
            kv_dtype=kv_dtype,
            compute=compute,
            draft=draft,
            drafters=sources.drafters_beside(path) if draft == "auto" else [],
            projectors=sources.projectors_beside(path),
        )
        self._info = self._live.info()
        self._vocabulary: Vocabulary | None = None  # for grammars, made when first used
        self._vocabulary_lock = threading.Lock()
        self._own_senses: Senses | None = None
        if self.warnings:
            import logging

            log = logging.getLogger("gemlet")
            log.addHandler(logging.NullHandler())  # silent unless the program that uses us wants a log
            for text in self.warnings:
                log.warning("%s", text)

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        quant: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Model:
        """Open a model that `gemlet pull`, or another tool of the hub, put into the hub's cache. Never connects.

        name: "org/name" or "org/name:quant". quant: which GGUF file of several; for a folder, what `load` makes of it.
        revision: a branch, tag or commit. cache_dir: another cache than HF_HUB_CACHE. options: as for `gemlet.load`.

        >>> Model.from_pretrained("google/no-such-model")
        Traceback (most recent call last):
        gemlet.errors.ModelNotFound: ... to fetch it: gemlet pull google/no-such-model
        """
        path, left = sources.pretrained(name, quant, revision, cache_dir)
        return load(path, quant=left, **options)

    # ---- generation

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

    def map(
        self,
        rows: Any,
        prompt: Any,
        *,
        together: int = 8,
        progress: Callable[[int, int | None], object] | None = None,
        **options: Any,
    ) -> Map:
        """Answer one prompt for many rows: an iterator of `ChatResult`s in the rows' order.

        rows: any iterable, or a pandas or polars DataFrame. prompt: a string with {name} for the values of a dict and
        {row} for any other row, or a function from a row to messages. Calls share the model's steps, `together` at a
        time, and what all prompts begin with is read once. options: those of `chat`.

        >>> with m.map(["one", "two"], "Count on from {row}:", max_tokens=3, temperature=0) as answers:
        ...     [len(answer.token_ids) for answer in answers]
        [3, 3]
        """
        from .mapping import Map

        return Map(self, rows, prompt, check_int("map", "together", together, 1, 256), progress, options)

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

    @property
    def _senses(self) -> Senses:
        from ..soft import Senses
        from .towers import towers_of

        with self._vocabulary_lock:
            if self._own_senses is None:
                towers = towers_of(self._engine, self.name)
                self._own_senses = Senses(self.name, int(self._info["width"]), towers)
            return self._own_senses

    def _ids(self, x: Tokens, name: str = "x") -> NDArray[np.int32] | _core.Prompt:
        if isinstance(x, str):
            return self.tokenize(x)
        return as_ids(x, self.vocab_size, name) if not _is_prompt(x) else self._joined(x, name)[0]

    def _joined(self, x: Prompt, name: str) -> tuple[_core.Prompt, list[str]]:
        return x.joined(self._engine.tokenizer, self.vocab_size, self._senses, name)

    def _prompt(self, x: Tokens) -> tuple[NDArray[np.int32] | _core.Prompt, list[str]]:
        if _is_prompt(x):
            return self._joined(x, "generate")
        if not isinstance(x, str):
            ids = as_ids(x, self.vocab_size)
            count = sum(int((ids == self._engine.tokenizer.find(mark)).sum()) for mark in _PLACEHOLDERS)
            told = f"the ids have {count} placeholders of images or sound, and nothing to put there"
            return ids, [f"{told}; use m.chat or gemlet.Prompt"] if count else []
        warnings = [
            f"the prompt has {piece!r} as plain text; use m.chat for conversations, or for the control token "
            "m.tokenize(text, parse_special=True)"
            for piece in _PIECES
            if piece in x and self._engine.tokenizer.find(piece) >= 0
        ]
        return self.tokenize(x), warnings

    # ---- looking inside

    def tokenize(self, text: str, *, add_bos: bool = True, parse_special: bool = False) -> NDArray[np.int32]:
        """Token ids (T,) int32 of a text. parse_special: control tokens written out in it become their ids.

        >>> m.tokenize("Hello world")
        array([   2, 9259, 1902], dtype=int32)
        """
        return self._engine.tokenizer.encode(check_text("tokenize", "text", text), add_bos, parse_special)

    def detokenize(self, ids: Tokens, *, special: bool = False) -> str:
        """The text of token ids (T,); control tokens are left out unless `special`. Broken UTF-8 becomes U+FFFD.

        >>> m.detokenize([2, 9259, 1902])
        'Hello world'
        """
        if hasattr(ids, "__len__") and len(ids) == 0:
            return ""
        return self._engine.tokenizer.decode(as_ids(ids, self.vocab_size, "ids"), special)

    # ---- the model itself

    @property
    def _engine(self) -> _core.Model:
        if self._live is None:
            raise GemletError(f"model: {self._path} was closed; load it again with gemlet.load")
        return self._live

    @property
    def path(self) -> str:
        """The file or folder."""
        return self._path

    @property
    def info(self) -> dict[str, Any]:
        """Sizes, instruction set and settings, as a new dict."""
        return dict(self._info)

    @property
    def warnings(self) -> list[str]:
        """What loading did that was not asked for; also told to the logger "gemlet"."""
        return [*self._notes, *self._info["warnings"]]

    @property
    def name(self) -> str:
        """What the file calls the model."""
        return str(self._info["name"])

    @property
    def quantization(self) -> str:
        """How the file's weights are quantised, as it says itself: "Q4_K_M", or "unknown"."""
        return sources.FILE_TYPES.get(self._info["file_type"], "unknown")

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may have together."""
        return int(self._info["context"])

    @property
    def threads(self) -> int:
        """Threads that work for this model."""
        return int(self._info["threads"])

    @property
    def isa(self) -> str:
        """The instruction set in use."""
        return str(self._info["isa"])

    @property
    def vocab_size(self) -> int:
        """Number of token ids, V."""
        return int(self._info["vocab_size"])

    def memory(self) -> dict[str, int]:
        """Bytes by part; "weights_file" is the mapped file, which the system can take back and share.

        >>> sorted(m.memory())
        ['activations', 'kv_cache', 'soft_tokens', 'weights_file']
        """
        soft = 0 if self._own_senses is None else self._own_senses.cache.nbytes
        return {**self._engine.memory(), "soft_tokens": soft}

    def forget(self) -> None:
        """Give back the keys and values kept of what was read before, and the soft tokens of images and sounds.

        They are kept, up to 256 MiB, so that a prompt that begins like an earlier one is read from where they part
        (`usage.cached_tokens`); answers are the same, bit for bit.

        >>> first = m.generate("The cat sat on", max_tokens=4, temperature=0)
        >>> again = m.generate("The cat sat on", max_tokens=4, temperature=0)
        >>> again.text == first.text, again.usage.cached_tokens > 0
        (True, True)
        >>> m.forget()
        >>> m.generate("The cat sat on", max_tokens=4, temperature=0).usage.cached_tokens
        0
        """
        self._engine.forget()
        if self._own_senses is not None:
            self._own_senses.cache.clear()

    def close(self) -> None:
        """Stop what runs and give the memory back; further calls raise. Closing twice is fine."""
        live, self._live = self._live, None
        self._vocabulary = self._own_senses = self._format = None  # what else holds the engine, or its memory
        if live is not None:
            live.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reload, (self._path, self._spec))

    def __repr__(self) -> str:
        facts = f"{self.isa}, {self.threads} threads, context {self.context}"
        if self._live is None:
            return f"<gemlet.Model {self.name!r}, closed>"
        parts = self._live.memory()
        own = sum(size for part, size in parts.items() if part != "weights_file")
        size = f"{parts['weights_file'] / 2**20:.0f} MiB mapped + {own / 2**20:.0f} MiB"
        return f"<gemlet.Model {self.name!r}, {self.quantization}, {facts}, {size}>"


def _is_prompt(x: Any) -> TypeGuard[Prompt]:
    return hasattr(x, "joined")  # who has made none need not import it


def _reload(path: str, spec: dict[str, Any]) -> Model:
    return Model(path, **spec)
