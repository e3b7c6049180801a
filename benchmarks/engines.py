"""gemlet, llama.cpp (llama-cpp-python) and the machine's limits as processes of their own, asked in turns.

Not a script: `speed.py` asks through it. A process that is not asked is stopped (SIGSTOP), so that threads which spin
after their work take nothing from the one that is measured. Both engines get the same ids, and draft nothing: every
token costs a step.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

GEMLET, LLAMA, LIMITS = "gemlet", "llama.cpp", "limits"
ENGINES = (GEMLET, LLAMA)
MIB = 2**20
READY = 600  # seconds that loading may take


def ids_for(count: int, vocabulary: int, start: int = 0) -> list[int]:
    """The same ordinary ids for both: a fixed walk through the vocabulary's words."""
    first = min(1000, vocabulary // 2)
    return [first + ((start + i) * 7919) % min(100_000, vocabulary - first) for i in range(count)]


def anonymous_mib() -> float:
    """What of this process's memory is no mapped file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return float("nan")


# ---- inside the processes: each answers requests by name


class Gemlet:
    """The public API, and the profile behind `gemlet bench --profile`."""

    def __init__(self, path: str, threads: int, context: int) -> None:
        from gemlet.model.model import load

        began = time.perf_counter()
        self._model = load(path, threads=threads, context=context, draft="off")
        self._load_s = time.perf_counter() - began
        self._room: Any = None  # of logits

    def loaded(self) -> dict[str, float]:
        return {"seconds": self._load_s, "anon_mib": anonymous_mib()}

    def info(self) -> dict[str, Any]:
        keep = (
            "bytes_per_token",
            "madds_per_token",
            "madds_per_prompt_token",
            "madds_head",
            "isa",
            "threads",
            "window",
        )
        return {name: self._model.info[name] for name in keep}

    def _ids(self, tokens: int, start: int = 0) -> list[int]:
        return ids_for(tokens, self._model.vocab_size, start)

    def prompt(self, tokens: int) -> float:
        """Seconds from the call to the first new token."""
        self._model.forget()  # the same prompt again would cost nothing
        began = time.perf_counter()
        self._model.generate(self._ids(tokens), max_tokens=1, temperature=0, ignore_eos=True)
        return time.perf_counter() - began

    def logits(self, tokens: int) -> float:
        """Seconds of the logits of every position, into memory that is kept, as llama.cpp keeps its own."""
        if self._room is None or len(self._room) != tokens:
            self._room = self._model.logits(self._ids(tokens))
        self._model.forget()
        began = time.perf_counter()
        self._model.logits(self._ids(tokens), out=self._room)
        return time.perf_counter() - began

    def decode(self, tokens: int) -> float:
        """Seconds a new token."""
        self._model.forget()
        found = self._model.generate(self._ids(8), max_tokens=tokens, temperature=0, ignore_eos=True)
        return 1 / found.timings.decode_tok_s

    def together(self, tokens: int, streams: int) -> float:
        """Seconds a new token of all streams, from the first call to the last answer: their prompts are in it."""
        self._model.forget()
        gate = threading.Barrier(streams + 1)

        def one(index: int) -> None:
            gate.wait()
            self._model.generate(self._ids(8, 1000 * index), max_tokens=tokens, temperature=0, ignore_eos=True)

        callers = [threading.Thread(target=one, args=(i,)) for i in range(streams)]
        for caller in callers:
            caller.start()
        gate.wait()
        began = time.perf_counter()
        for caller in callers:
            caller.join()
        return (time.perf_counter() - began) / (streams * tokens)

    def profile(self, tokens: int) -> dict[str, Any]:
        """Seconds of a prompt: all of it, and attention's part with the operations it executed."""
        from gemlet.bench import profiled

        found = profiled(self._model, "prefill", lambda: self.prompt(tokens))
        attention = next(part for part in found["operations"] if part["name"] == "attention")
        return {
            "seconds": found["seconds"],
            "attention_s": attention["seconds"],
            "attention_ops": attention["gops"] * 1e9 * attention["seconds"],
        }

    def memory(self) -> dict[str, float]:
        """Anonymous MiB of the process, and what of it holds keys and values."""
        return {"anon_mib": anonymous_mib(), "kv_mib": self._model.memory()["kv_cache"] / MIB}


class Llama:
    """The thinnest calls of llama-cpp-python: decode a batch, look at the last row of logits."""

    def __init__(self, path: str, threads: int, context: int) -> None:
        import llama_cpp

        self._lib = llama_cpp
        began = time.perf_counter()
        self._llm = llama_cpp.Llama(
            path, n_ctx=context, n_batch=512, n_ubatch=512, n_threads=threads, n_threads_batch=threads, verbose=False
        )
        self._load_s = time.perf_counter() - began

    def loaded(self) -> dict[str, float]:
        return {"seconds": self._load_s, "anon_mib": anonymous_mib()}

    def _last(self) -> int:
        import numpy as np

        row = self._lib.llama_get_logits_ith(self._llm._ctx.ctx, -1)
        return int(np.ctypeslib.as_array(row, (self._llm.n_vocab(),)).argmax())

    def _ids(self, tokens: int) -> list[int]:
        return ids_for(tokens, self._llm.n_vocab())

    def _clear(self) -> None:
        self._llm.reset()
        self._llm._ctx.kv_cache_clear()

    def prompt(self, tokens: int) -> float:
        self._clear()
        began = time.perf_counter()
        self._llm.eval(self._ids(tokens))
        self._last()
        return time.perf_counter() - began

    def logits(self, tokens: int) -> float:
        """Logits of every position, left where llama.cpp puts them: no copy is counted."""
        self._clear()
        batch = self._llm._batch
        began = time.perf_counter()
        batch.set_batch(batch=self._ids(tokens), n_past=0, logits_all=True)
        self._llm._ctx.decode(batch)
        self._last()
        return time.perf_counter() - began

    def decode(self, tokens: int) -> float:
        self._clear()
        self._llm.eval(self._ids(8))
        token = self._last()
        began = time.perf_counter()
        for _ in range(tokens - 1):
            self._llm.eval([token])
            token = self._last()
        return (time.perf_counter() - began) / (tokens - 1)

    def memory(self) -> dict[str, float]:
        return {"anon_mib": anonymous_mib(), "kv_mib": float("nan")}


class Limits:
    """Read bandwidth and int8 peak of this moment."""

    def __init__(self, path: str, threads: int, context: int) -> None:
        self._threads = threads

    def measure(self) -> dict[str, float]:
        from gemlet import _core

        return dict(_core.measure_limits(self._threads))


def serve(kind: str, path: str, threads: int, context: int) -> None:
    """Answer one JSON line a request; the loop of such a process."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: stopped, it would outlive whoever asked
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        subject = {GEMLET: Gemlet, LLAMA: Llama, LIMITS: Limits}[kind](path, threads, context)
        print(json.dumps({"value": "ready"}), file=out, flush=True)
        for line in sys.stdin:
            name, arguments = json.loads(line)
            print(json.dumps({"value": getattr(subject, name)(*arguments)}), file=out, flush=True)
    except Exception as error:  # told to whoever asks
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=out, flush=True)


# ---- outside


class Process:
    """One engine, or the limits, in a process of its own; stopped while it is not asked."""

    def __init__(self, kind: str, path: str = "", *, threads: int = 2, context: int = 1024) -> None:
        self.kind = kind
        command = [sys.executable, __file__, kind, path, str(threads), str(context)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = json.loads(line) if line else {}
        if "value" not in found:  # it has ended, or is about to
            self.close()
            why = found.get("error", f"the process ended with {self._process.returncode}")
            raise RuntimeError(f"{self.kind}: {why}")
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # it takes a moment
        return found["value"]

    def ask(self, name: str, *arguments: int) -> Any:
        """Let it go on, send a request, wait for the answer, and stop it."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process by closing its input."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.stdin.closed:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def warm(path: str) -> None:
    """The file into the page cache, so that nobody reads the disk."""
    with open(path, "rb", buffering=0) as file:
        block = bytearray(16 * MIB)
        while file.readinto(block):
            pass


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
