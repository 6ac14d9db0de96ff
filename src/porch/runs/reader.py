"""One reader of one stream: bytes go straight to its socket, and no further than its bounds."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any, Literal, Protocol
from uuid import UUID

from porch.background import Stepped
from porch.contract.frames import START, Cursor, resync_frame
from porch.http.scope import Write
from porch.runs.backlog import Backlog

Send = Callable[[MutableMapping[str, Any]], Coroutine[Any, Any, None]]
End = Literal["ended", "detached", "overflow", "disconnected"]


class Permit(Protocol):
    """What lets somebody read: asked again, it raises once it does so no longer. `ends` is by time.time()."""

    concerns: tuple[UUID, ...]
    ends: float | None

    async def __call__(self) -> None:
        """Raises Unauthenticated, Forbidden or NotFound."""
        ...


MAX_QUEUE_BYTES = 1024 * 1024
# What the server is handed at once: it keeps all of it until the socket has taken it.
PIECE_BYTES = 64 * 1024


class Reader:
    """Writes frames to an ASGI `send` without a task switch while the socket takes them.

    What `write` takes is written; else `send` is stepped by hand, and a task takes over only when it suspends. What
    comes meanwhile is queued, in bytes bounded: a reader that falls further behind is told to resynchronise and is
    closed. So is the one furthest behind when all together are more than their `backlog` holds; those of a `page`,
    which share one stream, come last. `cursor` is the last place handed to the server; `name` is the run's.
    """

    __slots__ = (
        "_backlog",
        "_drain",
        "_end",
        "_queue",
        "_queued",
        "_send",
        "_wake",
        "_write",
        "check_at",
        "cursor",
        "last_sent",
        "max_bytes",
        "name",
        "page",
        "permit",
    )

    def __init__(
        self,
        send: Send,
        cursor: Cursor = START,
        *,
        write: Write | None = None,
        max_bytes: int = MAX_QUEUE_BYTES,
        backlog: Backlog | None = None,
        page: bool = False,
        name: str = "",
    ) -> None:
        self.cursor = cursor
        self.page = page
        self.name = name
        self.permit: Permit | None = None
        self.check_at = 0.0
        self.last_sent = time.monotonic()
        self._send = send
        self._write = write
        self.max_bytes = max_bytes
        self._backlog = backlog or Backlog()
        self._queue: deque[tuple[bytes, Cursor | None]] | None = None  # most readers never have one
        self._queued = 0
        self._drain: asyncio.Task[None] | None = None
        self._end: End | None = None
        self._wake: asyncio.Future[None] | None = None

    @property
    def end(self) -> End | None:
        """Why this reader gets nothing more, None while it does."""
        return self._end

    @property
    def queued(self) -> int:
        """How many bytes wait for this reader."""
        return self._queued

    def is_concerned(self, changed: frozenset[UUID]) -> bool:
        """Whether one of these changes may end its permit."""
        return self.permit is not None and not changed.isdisjoint(self.permit.concerns)

    def is_due(self, moment: float, clock: float) -> bool:
        """Whether its permit is to be looked at, by time.monotonic() and by time.time()."""
        permit = self.permit
        return permit is not None and (
            self.check_at <= moment or (permit.ends is not None and permit.ends <= clock)
        )

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
        try:
            if self._write is not None and self._write(data):
                return
            step = self._send({"type": "http.response.body", "body": data, "more_body": True})
            waiting = step.send(None)
        except StopIteration:
            return
        except Exception:  # the server's way to say that the client has gone
            self.finish("disconnected")
            return
        self._drain = asyncio.get_running_loop().create_task(self._go_on(Stepped(step, waiting)))

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

    async def taken(self) -> None:
        """As `settle`, but no longer than the reader is there: one that must go is not waited for."""
        if self._drain is None or self._end is not None:
            return
        wake = self._wake = asyncio.get_running_loop().create_future()
        self._drain.add_done_callback(lambda _: wake.done() or wake.set_result(None))
        await wake

    def abandon(self) -> None:
        """Stop sending at once: the client is gone, whatever the reader waited for."""
        self._clear()
        self._lose()
        if self._drain is not None:
            self._drain.cancel()

    def _lose(self) -> None:
        self._end = None
        self.finish("disconnected")

    def overflow_frame(self) -> bytes:
        """What a reader that fell behind gets last: it keeps what it was sent and asks again from there."""
        return resync_frame("overflow", self.cursor.seq)

    def overflow(self) -> None:
        """Forget what waits: this reader is too far behind."""
        self._clear()
        self.finish("overflow")

    def hold(self, size: int) -> None:
        """Count bytes that are kept for this reader elsewhere, or with a negative size no longer."""
        self._queued += size
        self._backlog.add(self, size)

    def _enqueue(self, data: bytes, cursor: Cursor | None) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append((data, cursor))
        self.hold(len(data))
        if self._queued > self.max_bytes:
            self.overflow()

    def _clear(self) -> None:
        if self._queue:
            self.hold(-sum(len(data) for data, _ in self._queue))
            self._queue = None

    def _piece(self) -> bytes:
        """What is next, in one piece; the cursor goes with it."""
        size, taken = 0, list[bytes]()
        while self._queue and (not taken or size + len(self._queue[0][0]) <= PIECE_BYTES):
            data, cursor = self._queue.popleft()
            size += len(data)
            taken.append(data)
            if cursor is not None:
                self.cursor = cursor
        self.hold(-size)
        return b"".join(taken)

    async def _go_on(self, first: Stepped) -> None:
        try:
            await first
            while self._queue:
                data = self._piece()
                self.last_sent = time.monotonic()
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except Exception:
            self._clear()
            self._lose()
        finally:
            self._drain = None
