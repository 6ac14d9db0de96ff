"""One reader of one stream: bytes go straight to its socket, and no further than its bounds."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator, MutableMapping
from typing import Any, Literal

from porch.contract.frames import START, Cursor, resync_frame

Recheck = Callable[[], Coroutine[Any, Any, object]]
"""Raises Unauthenticated or Forbidden once whoever reads may do so no longer."""
Send = Callable[[MutableMapping[str, Any]], Coroutine[Any, Any, None]]
End = Literal["ended", "detached", "overflow", "disconnected"]

MAX_QUEUE_BYTES = 1024 * 1024


class Reader:
    """Writes frames to an ASGI `send` without a task switch while the socket takes them.

    `send` is stepped by hand; a task takes over only when it suspends. What comes meanwhile is queued, in bytes
    bounded: a reader that falls further behind is told to resynchronise and is closed. `cursor` is the last
    place handed to the server.
    """

    def __init__(self, send: Send, cursor: Cursor = START, *, max_bytes: int = MAX_QUEUE_BYTES) -> None:
        self.cursor = cursor
        self.recheck: Recheck | None = None
        self.last_sent = time.monotonic()
        self._send = send
        self.max_bytes = max_bytes
        self._queue: list[bytes] = []
        self._queued = 0
        self._queued_to = cursor
        self._drain: asyncio.Task[None] | None = None
        self._end: End | None = None
        self._wake: asyncio.Future[None] | None = None

    @property
    def end(self) -> End | None:
        """Why this reader gets nothing more, None while it does."""
        return self._end

    def push(self, data: bytes, cursor: Cursor | None = None) -> None:
        """Frames for this reader, now; `cursor` is where it stands after them."""
        if self._end is not None:
            return
        if self._drain is not None:
            self._enqueue(data, cursor)
            return
        self.last_sent = time.monotonic()
        if cursor is not None:
            self.cursor = cursor
        step = self._send({"type": "http.response.body", "body": data, "more_body": True})
        try:
            waiting = step.send(None)
        except StopIteration:
            return
        except Exception:  # the server's way to say that the client has gone
            self.finish("disconnected")
            return
        self._drain = asyncio.get_running_loop().create_task(self._go_on(_Stepped(step, waiting)))

    def finish(self, end: End) -> None:
        """Nothing more comes for this reader."""
        if self._end is None:
            self._end = end
            if self._wake and not self._wake.done():
                self._wake.set_result(None)

    def reopen(self) -> None:
        """Let a reader whose producer went away be fed again."""
        if self._end == "detached":
            self._end = None

    async def wait(self) -> End:
        """Why the reader ended, once it has and, unless it fell behind, all that was queued is sent."""
        if self._end is None:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        if self._end not in ("disconnected", "overflow"):
            await self.settle()
        return self._end or "disconnected"

    async def settle(self) -> None:
        """Wait until everything queued is with the server: a replay goes no faster than its reader."""
        if self._drain is not None:
            await asyncio.wait([self._drain])

    def abandon(self) -> None:
        """Stop sending at once: the client is gone, whatever the reader waited for."""
        self._lose()
        if self._drain is not None:
            self._drain.cancel()

    def _lose(self) -> None:
        self._end = None
        self.finish("disconnected")

    def overflow_frame(self) -> bytes:
        """What a reader that fell behind gets last: it keeps what it was sent and asks again from there."""
        return resync_frame("overflow", self.cursor.seq)

    def _enqueue(self, data: bytes, cursor: Cursor | None) -> None:
        self._queue.append(data)
        self._queued += len(data)
        if cursor is not None:
            self._queued_to = cursor
        if self._queued > self.max_bytes:
            self._queue.clear()
            self.finish("overflow")

    async def _go_on(self, first: "_Stepped") -> None:
        try:
            await first
            while self._queue:
                data, self._queue, self._queued = b"".join(self._queue), [], 0
                self.cursor = max(self.cursor, self._queued_to)
                self.last_sent = time.monotonic()
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except Exception:
            self._lose()
        finally:
            self._drain = None


class _Stepped:
    """The rest of a coroutine that was stepped by hand up to its first suspension."""

    def __init__(self, step: Coroutine[Any, Any, None], waiting: Any) -> None:
        self._step = step
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, None]:
        waiting = self._waiting
        while True:
            try:
                sent = yield waiting
            except BaseException as error:
                resume, value = self._step.throw, error
            else:
                resume, value = self._step.send, sent
            try:
                waiting = resume(value)
            except StopIteration:
                return
