"""A chat for asyncio: the same stream, read in a thread of its own and handed to the event loop.

The thread holds no reference to what the caller holds, so that dropping that cancels the generation.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from ..errors import ToolCallError
from ..results import Chunk
from .result import ChatResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .stream import ChatStream


class _Feed:
    """What the worker thread and the event loop share."""

    def __init__(self, start: Callable[[], ChatStream]) -> None:
        self.start = start
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.lock = threading.Lock()
        self.stream: ChatStream | None = None
        self.cancelled = False

    def post(self, item: object) -> None:
        try:
            self.loop.call_soon_threadsafe(self.queue.put_nowait, item)
        except RuntimeError:  # the loop has ended: nobody waits
            self.cancel()

    def work(self) -> None:
        try:
            stream = self.start()
            with self.lock:
                self.stream = stream
                if self.cancelled:
                    stream.cancel()
            for chunk in stream:
                self.post(chunk)
            self.post(stream.result)
        except BaseException as error:
            self.post(error)

    def cancel(self) -> None:
        with self.lock:
            self.cancelled = True
            if self.stream is not None:
                self.stream.cancel()


class AsyncChatStream:
    """The same as `ChatStream`, for `async for` and `async with`; `await stream.result` is the whole answer.

    The work is done in a thread of its own. Cancelling the task that waits cancels the generation.
    """

    def __init__(self, start: Callable[[], ChatStream]) -> None:
        self._start = start
        self._feed: _Feed | None = None
        self._end: ChatResult | BaseException | None = None
        self._dropped = False

    def __aiter__(self) -> AsyncChatStream:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await self._next()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def _next(self) -> Chunk | None:
        if self._end is not None:
            return None
        if self._feed is None:
            self._feed = _Feed(self._start)
            if self._dropped:
                self._feed.cancel()
            threading.Thread(target=self._feed.work, name="gemlet-chat", daemon=True).start()
        try:
            item = await self._feed.queue.get()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if isinstance(item, Chunk):
            return item
        self._end = item
        if isinstance(item, BaseException):
            raise item
        return None

    def cancel(self) -> None:
        """Ask the engine to stop, from any thread."""
        self._dropped = True
        if self._feed is not None:
            self._feed.cancel()

    @property
    def result(self) -> Awaitable[ChatResult]:
        """The whole answer, to be awaited; chunks not read by then are passed over."""
        return self._whole()

    async def _whole(self) -> ChatResult:
        while await self._next() is not None:
            pass
        if not isinstance(self._end, ChatResult):
            raise RuntimeError("this chat failed before it had a result; see the error that it raised")
        return self._end

    async def close(self) -> None:
        """Cancel if still running, and wait for the engine to let go."""
        if self._feed is None:
            return
        self.cancel()
        with contextlib.suppress(ToolCallError):  # of an answer that nobody wants any more
            while await self._next() is not None:
                pass

    async def __aenter__(self) -> AsyncChatStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __del__(self) -> None:
        self.cancel()


async def whole(start: Callable[[], ChatStream]) -> ChatResult:
    """One chat from start to end, in a thread; cancelled with the task that awaits it."""
    async with AsyncChatStream(start) as stream:
        return await stream.result
