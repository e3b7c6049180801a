"""A model that is open: its file, what is known of it, text to ids and back, memory, and closing it.

The part that every side of `Model` stands on. Asks the engine for no answer; that is what the sides do.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, quantization
from ..arrays import as_ids
from ..errors import GemletError
from ..local import sources
from ..types import check_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeGuard

    from numpy.typing import NDArray
    from typing_extensions import Self

    from ..chat.format import ChatFormat
    from ..generation.grammar import Vocabulary
    from ..prompt import Prompt
    from ..soft import Senses

    Tokens = str | Sequence[int] | NDArray[np.integer[Any]] | Prompt | Any

_PIECES = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<|turn>", "<turn|>")
_PLACEHOLDERS = ("<|image|>", "<|audio|>", "<|video|>")


class Opened:
    """The engine with a file in it; made by `gemlet.load`."""

    _format: ChatFormat | None = None  # how this model is talked to, found out when first used

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        facts = f"{self.isa}, {self.threads} threads, context {self.context}"
        if self._live is None:
            return f"<gemlet.Model {self.name!r}, closed>"
        parts = self._live.memory()
        own = sum(size for part, size in parts.items() if part != "weights_file")
        size = f"{parts['weights_file'] / 2**20:.0f} MiB mapped + {own / 2**20:.0f} MiB"
        return f"<gemlet.Model {self.name!r}, {self.quantization}, {facts}, {size}>"

    # ---- text and ids

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

    @property
    def _senses(self) -> Senses:
        from ..senses.towers import towers_of
        from ..soft import Senses

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


def _is_prompt(x: Any) -> TypeGuard[Prompt]:
    return hasattr(x, "joined")  # who has made none need not import it
