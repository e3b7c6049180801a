"""Chats under way: left streams, threads and asyncio. On the demo model where an answer must take its time."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator

import pytest

import gemlet
from chat_model import write_model


@pytest.fixture(scope="module")
def g4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gemlet.Model]:
    with gemlet.load(write_model(tmp_path_factory.mktemp("chat") / "tiny.gguf"), context=512) as model:
        yield model


def test_leaving_a_stream_cancels_it(m):
    with m.chat("Hello", stream=True, ignore_eos=True, max_tokens=900) as chunks:
        assert next(chunks).kind == "text"
    assert chunks.result.finish_reason == "cancelled"
    assert "ended" in repr(chunks)
    stream = m.chat("Hello", stream=True, ignore_eos=True, max_tokens=900)
    stream.cancel()
    assert stream.result.finish_reason == "cancelled"


def test_async_answers(g4):
    async def main() -> None:
        one, two = await asyncio.gather(g4.achat("Hi", max_tokens=4, seed=1), g4.achat("Hi", max_tokens=4, seed=1))
        assert one.text == two.text == g4.chat("Hi", max_tokens=4, seed=1).text
        chunks = [chunk async for chunk in g4.achat("Hi", max_tokens=4, seed=1, stream=True)]
        assert "".join(chunk.text for chunk in chunks) == one.text
        async with g4.achat("Hi", max_tokens=4, seed=1, stream=True) as stream:
            assert (await anext(stream)).kind == "text"
            assert (await stream.result).text == one.text
        assert [chunk async for chunk in stream] == []

    asyncio.run(main())


def test_the_loop_runs_on_while_a_model_answers(m):
    async def main() -> int:
        ticks = 0
        answer = asyncio.ensure_future(m.achat("Hello", max_tokens=12, ignore_eos=True))
        while not answer.done():
            await asyncio.sleep(0.005)
            ticks += 1
        assert (await answer).usage.completion_tokens == 12
        return ticks

    assert asyncio.run(main()) >= 5


def test_cancelling_the_task_stops_the_engine(m):
    async def main() -> None:
        task = asyncio.create_task(_awaited_long(m))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with m.achat("Hello", max_tokens=900, ignore_eos=True, stream=True) as stream:
            await anext(stream)
        dropped = m.achat("Hello", max_tokens=900, ignore_eos=True, stream=True)
        await anext(dropped)
        del dropped
        gc.collect()

    began = time.perf_counter()
    asyncio.run(main())
    assert m.chat("Hi", max_tokens=1).usage.completion_tokens == 1  # the engine is free again
    assert time.perf_counter() - began < 10
    deadline = time.monotonic() + 10
    while any(thread.name == "gemlet-chat" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def _awaited_long(model: gemlet.Model) -> None:
    await model.achat("Hello", max_tokens=900, ignore_eos=True)


def test_errors_cross_threads(g4):
    async def main() -> None:
        with pytest.raises(ValueError, match="role must be one of"):
            await g4.achat([{"role": "x", "content": ""}])
        stream = g4.achat("Hi " * 2000, stream=True)
        with pytest.raises(gemlet.ContextOverflow):
            await anext(stream)
        with pytest.raises(RuntimeError, match="failed before it had a result"):
            await stream.result

    asyncio.run(main())


def test_chats_from_several_threads_agree(g4):
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(g4.chat("Hi", max_tokens=6, seed=2).text)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [g4.chat("Hi", max_tokens=6, seed=2).text] * 4
