"""llama.cpp's tokenizer through its C interface: any bytes, no special tokens added, control pieces parsed or not.

And how far apart two engines' logits are.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

END_LOOK_ALIKES = (b"</s>", b"<|tool_response>")


class LlamaTokenizer:
    """The vocabulary of one open model, from `open_llama`."""

    def __init__(self, llama: Any, model: Any) -> None:
        self._llama = llama
        self._vocab = llama.llama_model_get_vocab(model)
        self._buffer = (ctypes.c_int32 * 4096)()
        # llama.cpp takes any piece with one of these names for an end marker and makes it a control piece, whatever the
        # file says. In Gemma's files they are user-defined: `encode` puts them back.
        special = {tag: self._raw(tag, parse_special=True) for tag in END_LOOK_ALIKES}
        self._tags = {t: i[0] for t, i in special.items() if len(i) == 1 and self._raw(t, parse_special=False) != i}

    def _raw(self, text: bytes, *, parse_special: bool) -> list[int]:
        need = len(text) * 3 + 8
        if need > len(self._buffer):
            self._buffer = (ctypes.c_int32 * need)()
        size = len(self._buffer)
        count = self._llama.llama_tokenize(self._vocab, text, len(text), self._buffer, size, False, parse_special)
        assert count >= 0
        return list(self._buffer[:count])

    def encode(self, text: bytes, *, parse_special: bool) -> list[int]:
        if parse_special or not self._tags:
            return self._raw(text, parse_special=parse_special)
        ids = []
        for part in re.split(b"(" + b"|".join(map(re.escape, self._tags)) + b")", text):
            ids += [self._tags[part]] if part in self._tags else self._raw(part, parse_special=False)
        return ids


# llama.cpp goes on calling a log callback after the test that set it: none may be collected.
KEPT: list[object] = []


@contextmanager
def open_llama(path: str) -> Iterator[LlamaTokenizer]:
    import llama_cpp as llama

    silent = llama.llama_log_callback(lambda level, text, data: None)
    KEPT.append(silent)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(path.encode(), params)
    assert model, f"llama.cpp cannot load {path}"
    try:
        yield LlamaTokenizer(llama, model)
    finally:
        llama.llama_model_free(model)


def kl(p_logits: np.ndarray, q_logits: np.ndarray) -> float:
    """Mean KL of rows (T, V)."""

    def log_softmax(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64) - x.max(axis=1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=1, keepdims=True))

    p, q = log_softmax(p_logits), log_softmax(q_logits)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())
