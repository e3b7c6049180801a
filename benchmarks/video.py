"""A film of 1080p through a model that sees: where the time goes, and whether memory stays where it is.

    python benchmarks/real_shapes.py E2B Q4_0 e2b.gguf
    python benchmarks/video.py e2b.gguf                            # 200 frames, 70 tokens each, then the prompt of all
    python benchmarks/video.py e2b.gguf --frames 24 --json v.json  # quicker

Makes the film itself (PyAV, mpeg4, twice as many frames as are looked at) and a random tower of E2B's real size beside
a link to the model, as a projector in F16. Prints the seconds of decoding, resizing, the tower and the prefill, each
by itself, then of `encode_video` as a whole and the resident memory at each of its frames, then of one `chat`, whose
soft tokens must wait for the prefill: what it holds beyond them and the keys and values should not grow.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import vision
from vision import gemlet, resident, save, testing

SIZE = (1080, 1920)


def film(path: Path, frames: int) -> None:
    """Something moves over something still, with grain: 24 frames a second."""
    import av

    height, width = SIZE
    rng = np.random.default_rng(1)
    ground = vision.pictures.gradient(*SIZE) // 2
    grain = rng.integers(0, 40, (height + 64, width + 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.pix_fmt, stream.bit_rate, stream.height, stream.width = "yuv420p", 8_000_000, height, width
        for i in range(frames):
            y, x = rng.integers(0, 64, 2)
            pixels = ground + grain[y : y + height, x : x + width]
            left = (i * 16) % (width - 300)
            pixels[300:600, left : left + 300] = (200, 80, i % 256)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def beside(model: Path, folder: Path) -> str:
    """A link to the model, and a projector of its width next to it."""
    maker, v, _ = vision.tower()
    width = gemlet.load(model, context=64).info["width"]
    v = replace(v, D=width)
    weights = vision.loose(maker.weights(v))
    maker.write_projector(v, folder / "eyes.gguf", weights, "F16")
    (folder / "model.gguf").symlink_to(model.resolve())
    return str(folder / "model.gguf")


def apart(work: Callable[..., Any], *given: Any) -> Any:
    """In a process of its own, whose garbage would otherwise be room that the measured one does not have to ask for."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def each(model: gemlet.Model, path: str, count: int, tokens: int, threads: int) -> dict[str, float]:
    """Seconds a frame of the parts, one after the other; the tower's are of frames that need no resize."""
    from gemlet.media.video import sample

    start, kept = time.perf_counter(), []
    for i, frame in enumerate(sample(path, frames=count)):
        if i < 8:
            kept.append(frame.pixels)
    decode = (time.perf_counter() - start) / count
    size = testing.target_size(*SIZE, tokens)
    start = time.perf_counter()
    small = [testing.resize(pixels, *size, threads) for pixels in kept]
    resize = (time.perf_counter() - start) / len(kept)
    start = time.perf_counter()
    list(model.encode_video(small, image_tokens=tokens))
    return {"decode": decode, "resize": resize, "tower": (time.perf_counter() - start) / len(kept)}


def whole(model: gemlet.Model, path: str, count: int, tokens: int) -> dict[str, Any]:
    """Of encode_video: seconds a frame, and MiB at each eighth frame."""
    start, memory, rows = time.perf_counter(), [], 0
    for i, frame in enumerate(model.encode_video(path, frames=count, image_tokens=tokens)):
        rows += len(frame.tokens)
        if i % 8 == 7:
            memory.append(round(resident()[0], 1))
    seconds = time.perf_counter() - start
    return {"encode": seconds / count, "tokens": rows, "mib": memory, "growth_mib": max(memory[1:]) - memory[0]}


def own() -> float:
    """MiB of this process that are in no file: without the pages of the model that happen to be in memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon:"))) / 1024


def watched(model: gemlet.Model, call: Callable[[], Any]) -> tuple[Any, list[tuple[float, float]]]:
    """What a call returns, and (own MiB, MiB of kept soft tokens) at each half second of it."""
    seen, over = [], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            seen.append((own(), model.memory()["soft_tokens"] / 2**20))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        return call(), seen
    finally:
        over.set()
        thread.join()


def chat(model: gemlet.Model, path: Path, count: int, tokens: int) -> tuple[Any, dict[str, Any]]:
    """One question about all frames, and another: own MiB above those before, at each tenth of the encoding."""
    film_part = gemlet.Video(path, frames=count, image_tokens=tokens)

    def ask(question: str) -> Any:
        return model.chat(question, video=film_part, max_tokens=1, temperature=0)

    before = own()
    answer, seen = watched(model, lambda: ask("What happens?"))
    encoding = [mib - before for mib, soft in seen if soft == 0]  # they are kept when all are made
    prefill = [mib - before for mib, soft in seen if soft > 0]
    tenths = [encoding[i * (len(encoding) - 1) // 10] for i in range(11)]
    soft, kv = (model.memory()[name] / 2**20 for name in ("soft_tokens", "kv_cache"))
    after, start = own() - before, time.perf_counter()
    ask("And then?")
    return answer, {
        "encoding_mib": tenths,
        "encoding_growth_mib": tenths[9] - tenths[1],  # behind the first frames, and before the last are given back
        "due_mib": 0.8 * soft,  # of that growth: the soft tokens made meanwhile
        "soft_tokens_mib": soft,
        "kv_mib": kv,
        "prefill_most_mib": max(prefill, default=after),
        "after_mib": after,
        "second_s": time.perf_counter() - start,
        "second_mib": own() - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=70)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--film", type=Path, help="where the film lies, or is written to if there is none")
    parser.add_argument("--no-chat", action="store_true", help="without the prompt of all frames")
    parser.add_argument("--only-chat", action="store_true", help="nothing but that prompt, and its memory")
    parser.add_argument("--json", help="write the figures here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = given.film or Path(scratch) / "film.mp4"
        if not path.exists():
            apart(film, path, 2 * given.frames)
        figures: dict[str, Any] = {"frames": given.frames, "film_mib": path.stat().st_size / 2**20}
        with gemlet.load(apart(beside, given.model, Path(scratch)), threads=given.threads) as model:
            assert model.sees, model.warnings
            parts: dict[str, float] = {}
            if not given.only_chat:
                parts = each(model, str(path), given.frames, given.tokens, given.threads)
                figures |= {"seconds_a_frame": parts, **whole(model, str(path), given.frames, given.tokens)}
                print(json.dumps(figures), flush=True)
            if not given.no_chat:
                answer, memory = chat(model, path, given.frames, given.tokens)
                seconds = answer.timings.prefill_s / given.frames
                parts["prefill"] = seconds
                figures |= {"prompt": answer.usage.prompt_tokens, "chat": memory}
                if not given.only_chat:
                    figures["tower_and_prefill"] = (parts["tower"] + seconds) / sum(parts.values())
                figures["total_s"] = answer.timings.total_s
                print(json.dumps(figures), flush=True)
    save(figures, given.json)


if __name__ == "__main__":
    main()
