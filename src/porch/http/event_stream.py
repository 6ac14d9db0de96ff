"""Events of a generator as one answer of `text/event-stream`, for one reader and no longer than it reads."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from porch.background import end
from porch.contract.events import Event
from porch.contract.frames import KEEP_ALIVE, Framer
from porch.http.scope import RAW_SEND

KEEP_ALIVE_SECONDS = 10.0
MAX_WAITING = 64
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


class EventResponse(Response):
    """Sends events as server-sent events, as they come. Their generator is closed as soon as nobody reads any more.

    For what ends with its one reader; a run, which does not, has a journal and a stream of its own.
    """

    def __init__(self, events: AsyncGenerator[Event]) -> None:
        super().__init__(status_code=200, headers=HEADERS)
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the events end or the reader leaves."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(scope.get(RAW_SEND, send)))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        finally:
            await end(sending, leaving)

    async def _send(self, send: Send) -> None:
        frames: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)
        making = asyncio.create_task(_frame(self._events, frames))
        try:
            while (body := await _next(frames)) is not None:
                await send({"type": "http.response.body", "body": body, "more_body": True})
            await making
        finally:
            await end(making)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _frame(events: AsyncGenerator[Event], frames: asyncio.Queue[bytes | None]) -> None:
    """Put each event's frame, and None behind the last, also where the generator fails."""
    framer = Framer(b"", 1)
    seq = 0
    try:
        async with aclosing(events):
            async for event in events:
                seq += 1
                await frames.put(framer.frame(event, seq, time.time_ns()))
    except Exception:
        await frames.put(None)
        raise
    await frames.put(None)


async def _next(frames: asyncio.Queue[bytes | None]) -> bytes | None:
    """The next frame, None at the end; a comment for a stretch of silence, so that no proxy takes it for one."""
    try:
        async with asyncio.timeout(KEEP_ALIVE_SECONDS):
            return await frames.get()
    except TimeoutError:
        return KEEP_ALIVE


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
