"""A run's stream for clients of another protocol, and for answers that are given as a whole."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, MutableMapping
from typing import Any
from uuid import UUID

from fastapi import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from porch.background import end
from porch.contract.events import (
    TERMINAL,
    AnyEvent,
    Notice,
    RunCancelled,
    RunFailed,
    RunStarted,
    StepDiscarded,
    StepFinished,
    StepStarted,
    UsageReported,
)
from porch.contract.frames import START, Cursor
from porch.contract.principal import Principal
from porch.faces.projection import Projection, Resync, project, read_frames
from porch.http.scope import RAW_SEND
from porch.runs.permit import admit
from porch.runs.service import Runs
from porch.runs.stream import EventStream

log = logging.getLogger(__name__)

AHEAD_CHUNKS = 64
QUIET = (RunStarted, StepStarted, UsageReported, StepFinished, StepDiscarded, Notice)
"""What comes before anything has come of a run."""

Explain = Callable[[RunFailed | RunCancelled | None], Response]


class ProjectedStream(Response):
    """Follows a run as an EventStream does, and says it in the projection's protocol.

    The reader's bounds, takeovers and keep-alives are the EventStream's; it begins at the run's first event.
    """

    def __init__(self, stream: EventStream, projection: Projection) -> None:
        """Takes the stream over, and its headers."""
        super().__init__(status_code=stream.status_code)
        stream.headers["content-type"] = projection.media_type
        stream.headers.update(projection.headers)
        self.raw_headers = stream.raw_headers
        self._stream = stream
        self._projection = projection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the run ends or pauses, or the client leaves."""
        await self._serve(self._projection, scope, receive, send)

    async def _serve(self, projection: Projection, scope: Scope, receive: Receive, send: Send) -> None:
        raw: Send = scope.get(RAW_SEND, send)

        async def send_projected(message: Message) -> None:
            ends = not message["more_body"]
            try:
                body = project(projection, message["body"]) + (projection.cut() if ends else b"")
            except Exception:
                # The reader takes whatever is raised here for a client that left.
                log.exception("A run could not be shown by %s", type(projection).__name__)
                raise
            if body or ends:
                await raw({"type": "http.response.body", "body": body, "more_body": not ends})

        await self._stream({**scope, RAW_SEND: send_projected}, receive, send)


class HeldStream(ProjectedStream):
    """A ProjectedStream for clients that read an HTTP status better than an error within a stream.

    The status is told with the model's first event, or a keep-alive. For a run that ends before, `explain` makes
    the whole answer, from the event that ended it, or from None where the stream was cut.
    """

    def __init__(self, stream: EventStream, projection: Projection, explain: Explain) -> None:
        """Takes the stream over, and its headers."""
        super().__init__(stream, projection)
        self._explain = explain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the run ends or pauses, or the client leaves."""
        watch = Watch(self._projection)
        raw: Send = scope.get(RAW_SEND, send)
        held: list[Message] = []
        failed = False

        async def send_held(message: Message) -> None:
            nonlocal failed
            if failed:
                return
            if watch.released:
                await raw(message)
                return
            held.append(message)
            ends = message["type"] == "http.response.body" and not message["more_body"]
            if not (watch.moved or ends):
                return
            watch.release()
            failed = not watch.moved or watch.end is not None
            if failed:
                await self._explain(watch.end)(scope, receive, send)
                return
            await send(held[0])
            for body in held[1:]:
                await raw(body)

        await self._serve(watch, {**scope, RAW_SEND: send_held}, receive, send_held)


class Watch:
    """A projection that notes whether anything has come of its run yet, and how it ended if nothing has."""

    def __init__(self, of: Projection) -> None:
        self.media_type, self.headers = of.media_type, of.headers
        self.forget, self.cut = of.forget, of.cut
        self.moved = self.released = False
        self.end: RunFailed | RunCancelled | None = None
        self._of = of

    def feed(self, event: AnyEvent) -> bytes:
        """What this event is in the protocol."""
        told = self._of.feed(event)
        if self.moved or isinstance(event, QUIET):
            return told
        self.moved = True
        self.end = event if isinstance(event, RunFailed | RunCancelled) else None
        # The status need not wait for the first event that has bytes here.
        return told or self._of.keep_alive()

    def keep_alive(self) -> bytes:
        """What shows that the stream lives, for which it must have begun."""
        self.moved = True
        return self._of.keep_alive()

    def release(self) -> None:
        """Nothing is left to note."""
        self.released = True
        self.feed, self.keep_alive = self._of.feed, self._of.keep_alive


def projected(
    request: Request, stream: EventStream, projection: Projection, explain: Explain | None = None
) -> ProjectedStream:
    """The stream in another protocol, a HeldStream with `explain`; it ends when the request's credential does."""
    admit(request, stream)
    if explain is None:
        return ProjectedStream(stream, projection)
    return HeldStream(stream, projection, explain)


def whole_stream(projection: Projection, told: Iterable[AnyEvent]) -> Response:
    """What the projection makes of events that are all there."""
    body = b"".join(projection.feed(event) for event in told)
    return Response(body, media_type=projection.media_type, headers={"cache-control": "no-store"})


async def events(stream: EventStream) -> AsyncGenerator[AnyEvent | Resync]:
    """What a stream says, decoded, until it ends.

    After Resync("takeover", n) what came behind seq n is void. Resync("overflow", n) is the last item: the
    consumer fell too far behind. Without one, and without a terminal event or a pause, the stream was cut.
    """
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD_CHUNKS)

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            await chunks.put(message["body"])

    async def follow() -> None:
        try:
            await stream({"type": "http"}, _stay, send)
        except Exception:
            await chunks.put(None)
            raise
        await chunks.put(None)  # not when this is cancelled: who reads no more makes no room for it either

    task = asyncio.create_task(follow(), name="events")
    try:
        while (chunk := await chunks.get()) is not None:
            for item in read_frames(chunk):
                if item is not None:
                    yield item
        await task
    finally:
        await end(task)


async def events_of(
    runs: Runs,
    principal: Principal,
    run: UUID,
    cursor: Cursor = START,
    *,
    admitted: Callable[[EventStream], EventStream],
) -> AsyncGenerator[AnyEvent | Resync]:
    """A run's events behind a cursor, live, until its end or a pause; of resyncs only takeovers.

    A consumer may be as slow as it likes: it goes on from the journal. Each stream that this reads is `admitted`
    first. Raises NotFound. Ends without a terminal event or a pause when the server stops, or a permit ends.
    """
    behind = True
    while behind:
        behind = False
        stream = await runs.follow(principal, run, cursor)
        if stream is None:
            return
        async with contextlib.aclosing(events(admitted(stream))) as items:
            async for item in items:
                if isinstance(item, Resync):
                    if item.reason == "overflow":
                        behind = True
                        break
                    yield item
                    continue
                cursor = Cursor(item.epoch, item.seq)
                yield item
                if isinstance(item, TERMINAL):
                    return


async def _stay() -> Message:
    """An ASGI receive of a client that stays until it is cancelled."""
    return await asyncio.get_running_loop().create_future()
