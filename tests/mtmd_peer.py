"""llama.cpp's part that sees (libmtmd), through its C interface: pixels in, soft tokens out.

It wants a text model beside the projector, of the same width; any tiny one will do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# llama.cpp goes on calling a log callback after whoever set it: none may be collected.
KEPT: list[object] = []


class Mtmd:
    """An open projector, from `open_mtmd`."""

    def __init__(self, mtmd: Any, context: Any, width: int) -> None:
        self._mtmd, self._context, self._width = mtmd, context, width

    def chunks(self, pixels: np.ndarray) -> Any:
        """The picture (H, W, 3) resized and cut, as a list of chunks to encode; to be given back with `free`."""
        pixels = np.ascontiguousarray(pixels, np.uint8)
        data = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        bitmap = self._mtmd.mtmd_bitmap_init(pixels.shape[1], pixels.shape[0], data)
        made = self._mtmd.mtmd_input_chunks_init()
        marker = self._mtmd.mtmd_default_marker()
        text = self._mtmd.mtmd_input_text(marker, len(marker), False, True)
        bitmaps = (ctypes.c_void_p * 1)(bitmap)
        failed = self._mtmd.mtmd_tokenize(self._context, made, ctypes.byref(text), bitmaps, 1)
        self._mtmd.mtmd_bitmap_free(bitmap)
        assert failed == 0, f"llama.cpp cannot take a picture of {pixels.shape}"
        return made

    def free(self, chunks: Any) -> None:
        self._mtmd.mtmd_input_chunks_free(chunks)

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Soft tokens (n, D) float32."""
        chunks = self.chunks(pixels)
        try:
            for i in range(self._mtmd.mtmd_input_chunks_size(chunks)):
                chunk = self._mtmd.mtmd_input_chunks_get(chunks, i)
                if self._mtmd.mtmd_input_chunk_get_type(chunk) != self._mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE:
                    continue
                assert self._mtmd.mtmd_encode_chunk(self._context, chunk) == 0
                count = self._mtmd.mtmd_input_chunk_get_n_tokens(chunk)
                rows = self._mtmd.mtmd_get_output_embd(self._context)
                return np.ctypeslib.as_array(rows, (count, self._width)).copy()
            raise AssertionError("llama.cpp made no chunk of the picture")
        finally:
            self.free(chunks)


@contextmanager
def open_mtmd(model: str, projector: str, *, width: int, tokens: int, threads: int = 1) -> Iterator[Mtmd]:
    """tokens: the most that a picture may have, and the least, so that it is resized as the budget asks."""
    import llama_cpp as llama
    from llama_cpp import mtmd_cpp as mtmd

    silent = llama.llama_log_callback(lambda level, text, data: None)
    KEPT.append(silent)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    mtmd.mtmd_helper_log_set(silent, ctypes.c_void_p(0))
    text = llama.llama_model_load_from_file(model.encode(), llama.llama_model_default_params())
    assert text, f"llama.cpp cannot load {model}"
    params = mtmd.mtmd_context_params_default()
    params.use_gpu, params.print_timings, params.warmup, params.n_threads = False, False, False, threads
    params.image_min_tokens = params.image_max_tokens = tokens
    context = mtmd.mtmd_init_from_file(projector.encode(), text, params)
    assert context, f"llama.cpp cannot load {projector}"
    try:
        yield Mtmd(mtmd, context, width)
    finally:
        mtmd.mtmd_free(context)
        llama.llama_model_free(text)
