"""The public `Model` and `load`: options checked, names to files, and all sides of a model in one class.

The sides are the other files of this folder, one for each thing that a model is asked for; they hold the docstrings.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

from .. import quantization
from ..local import sources
from ..types import check_choice, check_int, not_available, unknown_option
from .listening import Hearing
from .questions import Questions
from .seeing import Sight
from .sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from .mapping import Map

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


class Model(Sessions, Questions, Sight, Hearing):
    """A model ready to run; made by `gemlet.load`. Several threads may call one model at once.

    Pickles as the way it was loaded. Close it with `close()` or a `with` block to give its memory back at once.
    """

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

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reload, (self._path, self._spec))


def _reload(path: str, spec: dict[str, Any]) -> Model:
    return Model(path, **spec)
