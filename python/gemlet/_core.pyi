# Draft of the compiled module's surface (replaced by the generated stub once the module is complete).
from typing import Any
import numpy as np
from numpy.typing import NDArray

__version__: str

# Exceptions, created in C++ under gemlet.errors' classes: the module looks up gemlet.errors and raises those.

class Gguf:
    """A GGUF file (or split set), opened and checked; for looking at, not for running."""
    def __init__(self, path: str) -> None: ...
    path: str
    def metadata(
        self, max_array: int = 16
    ) -> dict[str, Any]: ...  # arrays longer than max_array: {"type", "count", "first": [...]}
    def tensors(self) -> list[dict[str, Any]]: ...  # name, type ("Q4_K"), shape (out, in), bytes, file
    def tensor(self, name: str) -> NDArray[np.float32]: ...  # dequantised copy

class Tokenizer:
    def __init__(self, path: str) -> None: ...  # from a GGUF file's vocabulary
    vocab_size: int
    bos: int
    eos: int
    add_bos: bool
    def encode(self, text: str | bytes, add_bos: bool = True, parse_special: bool = False) -> NDArray[np.int32]: ...
    def decode(self, ids: NDArray[np.int32], special: bool = False) -> str: ...
    def decode_bytes(self, ids: NDArray[np.int32], special: bool = False) -> bytes: ...
    def piece(self, id: int, special: bool = False) -> bytes: ...
    def find(self, piece: str) -> int: ...

class Utf8Stream:
    def __init__(self) -> None: ...
    def push(self, data: bytes) -> str: ...
    def finish(self) -> str: ...

class GenerateOptions:
    max_tokens: int
    ignore_eos: bool
    stop: list[str]
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    penalty_window: int
    logit_bias: list[tuple[int, float]]
    seed: int
    logprobs: int
    def __init__(self) -> None: ...

class Stream:
    """One generation under way. Every call releases the GIL."""
    def next(self, timeout_ms: int) -> dict[str, Any] | None: ...
    # None: nothing within the timeout. Otherwise a step:
    #   {"kind": "prefill", "done": int, "total": int}                       progress of a long prompt
    #   {"kind": "tokens", "text": str, "ids": list[int], "logprobs": [...]}  new tokens; text is valid UTF-8 and never includes a stop string
    #      logprobs: one entry a token, {"id", "logprob", "top": [(id, logprob), ...]}, absent when not asked
    #   {"kind": "end", "text": str, "finish_reason": "stop"|"length"|"cancelled", "stop": str|None,
    #    "prompt_tokens": int, "completion_tokens": int, "prefill_s": float, "decode_s": float, "queue_s": float}
    # An error inside the engine is raised here. After "end", next() raises StopIteration-like RuntimeError; do not call it.
    def cancel(self) -> None: ...

class Model:
    def __init__(
        self, path: str, threads: int = 0, context: int = 0, kv_dtype: str = "auto", compute: str = "auto"
    ) -> None: ...
    # threads 0: all this process may use; context 0: the model's own; kv_dtype auto|f32|f16; compute auto|float32
    def info(self) -> dict[str, Any]: ...
    # architecture, name, path, layers, width, heads, kv_heads, head_dim, ffn, vocab_size, window, context, trained_context,
    # isa, threads, kv_dtype, compute, file_bytes, parameters, warnings (list[str]),
    # quantization ("Q4_K_M", or the commonest block type), bytes_per_token (weights read by one decode step),
    # madds_per_token (multiply-adds of one token, without the head), madds_head (of the head, once an output row)
    @property
    def tokenizer(self) -> Tokenizer: ...
    def logits(
        self, ids: NDArray[np.int32], positions: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]: ...  # (n, V)
    def hidden(
        self, ids: NDArray[np.int32], layers: list[int]
    ) -> NDArray[np.float32]: ...  # (len(layers), T, D); layer == L: after the final norm
    def score(
        self, ids: NDArray[np.int32], first: int = 1
    ) -> NDArray[np.float32]: ...  # (T - first): log p(ids[i] | ids[:i])
    def generate(self, ids: NDArray[np.int32], options: GenerateOptions) -> Stream: ...
    def memory(self) -> dict[str, int]: ...  # bytes by part: weights_file, kv_cache, activations, tokenizer
    def cancel_all(self) -> None: ...
    def close(self) -> None: ...

def isas() -> list[str]: ...  # what this CPU has, best last: ["scalar", "avx2", ...]
def isa() -> str: ...  # the one in use (GEMLET_ISA or the best); ValueError if the forced one is absent
def cpu() -> dict[str, Any]: ...  # brand, cores, affinity, cgroup_quota, threads
def measure_limits(threads: int) -> dict[str, float]: ...  # read_gb_s, int8_gops, on the isa in use
