"""A run's stream as an HTTP response: the journal behind the reader's cursor, then the live run, until the end."""

import asyncio
import time
from collections.abc import Coroutine, MutableMapping
from functools import partial
from typing import Any, Protocol, Self, cast
from uuid import UUID

from starlette.responses import Response
from starlette.types import Receive, Scope
from starlette.types import Send as AsgiSend

from porch.agents.together import Sight
from porch.contract.errors import DatabaseUnavailable
from porch.contract.frames import Cursor, resync_frame
from porch.contract.ids import format_id
from porch.http.scope import RAW_SEND, WatchDeparture, Write, find_stay
from porch.runs.backlog import Backlog
from porch.runs.live import LiveRun
from porch.runs.places import Place, Places
from porch.runs.reach import is_ahead, place_to_go_on
from porch.runs.reader import PIECE_BYTES, Permit, Reader, Send
from porch.runs.replay import Page, pieces
from porch.runs.store import ACTIVE
from porch.runs.succession import Succession
from porch.runs.tails import POLL_SECONDS, Tail, Tails

# Longer than a producer whose commits hang goes on; who is told too soon only reads some words again.
AHEAD_SECONDS = 2.5
QUEUED_SECONDS = 0.5
OVERFLOW_SECONDS = 60.0
WATCH_SECONDS = 0.1
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


class Source(Protocol):
    """Where streams come from: the service."""

    readers: set[Reader]
    backlog: Backlog
    places: Places
    succession: Succession

    @property
    def tails(self) -> Tails:
        """The runs of other processes that readers follow here."""
        ...

    def live(self, run: UUID) -> LiveRun | None:
        """The run's producer, if it is this process."""
        ...

    async def read(self, workspace: UUID, run: UUID, cursor: Cursor) -> Page | None:
        """The journal behind a cursor."""
        ...


class EventStream(Response):
    """Follows one run for one reader. Its going away changes nothing for the run.

    Set `permit` where the reader's right to read may end before the stream does.
    """

    permit: Permit | None = None
    found: Page | None = None
    """What lies behind the cursor, where it was read already."""

    def __init__(
        self,
        source: Source,
        workspace: UUID,
        run: UUID,
        cursor: Cursor,
        *,
        first: bytes = b"",
        place: Place | None = None,
        sight: Sight | None = None,
    ) -> None:
        """`first` are frames that the caller has at hand; `cursor` stands behind them. `place` is the reader's.

        `sight` is whose run it is.
        """
        super().__init__(status_code=200, headers={**HEADERS, "porch-run": format_id("run", run)})
        del self.headers["content-length"]
        self._source = source
        self._workspace = workspace
        self._run = run
        self._cursor = cursor
        self._first = first
        self._place = place
        self.sight = sight

    def waiting(self) -> Self:
        """The same, which says at once that its run has yet to begin."""
        self.headers["porch-status"] = "queued"
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        """Send until the run ends or pauses, or the client leaves."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if stay := find_stay(scope):
            self.raw_headers.clear()  # they are on their way, and the stream may be long
            stay.left = partial(self._serve, stay.receive, stay.send, stay.watch, stay.write)
        else:
            await self._serve(receive, scope.get(RAW_SEND, send))

    async def _serve(
        self,
        receive: Receive,
        send: AsgiSend,
        depart: WatchDeparture | None = None,
        write: Write | None = None,
    ) -> None:
        source, places = self._source, self._source.places
        reader = Reader(
            cast("Send", send),
            self._cursor,
            write=write,
            backlog=source.backlog,
            page=self._place is not None and self._place.page,
            name=format_id("run", self._run),
        )
        reader.permit = self.permit
        if self._first:
            reader.push(self._first)
            self._first = b""
        watch = _Watch(receive, reader, depart)
        source.readers.add(reader)
        places.take(self._place)
        try:
            await self._follow(reader)
            if reader.end == "overflow":
                await _settle(reader)
                reader_end: MutableMapping[str, Any] = {"body": reader.overflow_frame()}
            else:
                await reader.settle()
                reader_end = {"body": b""}
            if reader.end != "disconnected":
                await send({"type": "http.response.body", "more_body": False, **reader_end})
        finally:
            watch.end()
            reader.abandon()
            source.readers.discard(reader)
            places.leave(self._place)

    async def _follow(self, reader: Reader) -> None:
        ahead_since: float | None = None
        while reader.end is None:
            if await self._attend(reader):
                reader.reopen()
                continue
            try:
                page = await self._read(reader.cursor)
            except DatabaseUnavailable:
                # The answer has begun, so there is nobody to tell; it goes on when PostgreSQL is back.
                ahead_since = None
                await asyncio.sleep(POLL_SECONDS)
                continue
            if page is None:
                return
            if page.status == "queued":
                await self._source.succession.arrival(self._run, QUEUED_SECONDS)
                continue
            if not is_ahead(reader.cursor, page):
                ahead_since = None
            else:
                ahead_since = ahead_since or time.monotonic()
                if await self._set_back(reader, page, awaited=time.monotonic() > ahead_since + AHEAD_SECONDS):
                    continue
            held = sum(len(row.frames) for row in page.rows)
            reader.hold(held)
            try:
                if await self._replay(reader, page):
                    return
            finally:
                reader.hold(-held)
            if not page.rows:
                await self._rest(reader, page)

    async def _set_back(self, reader: Reader, page: Page, *, awaited: bool) -> bool:
        """Have a reader forget what the run never said, and go on behind that; False where it may yet say it."""
        place = place_to_go_on(reader.cursor, page, self._source.live(self._run), awaited=awaited)
        if place is None:
            return False
        reader.push(resync_frame("takeover", place.seq), place)
        await reader.taken()
        return True

    async def _read(self, cursor: Cursor) -> Page | None:
        found, self.found = self.found, None
        if found is not None and cursor == self._cursor:
            return found
        return await self._source.read(self._workspace, self._run, cursor)

    def _attend(self, reader: Reader) -> Coroutine[Any, Any, bool]:
        """Have the reader fed until it ends; False when it stands elsewhere and must read the journal first."""
        # Not a coroutine of its own: nearly all streams wait here, and each would have one more.
        producer = self._source.live(self._run)
        return self._attend_tail(reader) if producer is None else self._feed(reader, producer)

    async def _attend_tail(self, reader: Reader) -> bool:
        if self._source.tails.get(self._run) is None:
            return False
        with self._source.tails.held(self._workspace, self._run, reader.cursor) as tail:
            return await self._feed(reader, tail)

    @staticmethod
    async def _feed(reader: Reader, source: LiveRun | Tail, *, attached: bool = False) -> bool:
        if not attached and not source.attach(reader):
            return False
        try:
            await reader.wait()
        finally:
            source.detach(reader)
        return True

    async def _rest(self, reader: Reader, page: Page) -> None:
        """The journal has nothing more just now: follow with whoever reads it for all, or wait a little."""
        carried = self._source.live(self._run) is not None
        if carried or page.status != "running" or reader.cursor.epoch > page.epoch:
            await asyncio.sleep(POLL_SECONDS)
            return
        ahead = reader.cursor.seq > page.last
        start = Cursor(page.epoch, page.last) if ahead else reader.cursor
        with self._source.tails.held(self._workspace, self._run, start) as tail:
            if ahead or not tail.attach(reader, committed=True):
                await tail.moved(AHEAD_SECONDS / 10 if ahead else POLL_SECONDS)
                return
            await self._feed(reader, tail, attached=True)
            reader.reopen()

    async def _replay(self, reader: Reader, page: Page) -> bool:
        """Send a stretch of the journal; True when the stream is complete with it."""
        if page.newer is not None and reader.cursor.seq >= page.newer:
            keep = page.newer - 1
            reader.push(resync_frame("takeover", keep), Cursor(page.epoch, keep))
            await reader.taken()
        for row in page.rows:
            if reader.end is not None:
                return True
            for data, cursor in pieces(row, reader.cursor.seq, PIECE_BYTES):
                reader.push(data, cursor)
                await reader.taken()
                if reader.end is not None:
                    return True
        return (page.status not in ACTIVE and reader.cursor.seq >= page.last) or _pauses(page)


def _pauses(page: Page) -> bool:
    return page.status == "paused" and not page.rows


class _Watch:
    """Abandons a reader when its client leaves. Short answers are over before it begins."""

    __slots__ = ("_depart", "_reader", "_receive", "_task", "_timer")

    def __init__(self, receive: Receive, reader: Reader, depart: WatchDeparture | None) -> None:
        self._receive = receive
        self._reader = reader
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        # Where the server calls us there is no need of a task, which is 2 KB for each open stream.
        self._depart = depart if depart is not None and depart(receive, reader.abandon) else None
        if self._depart is None:
            self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._begin)

    def end(self) -> None:
        """Watch no more."""
        if self._depart is not None:
            self._depart(self._receive, None)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._reader.abandon()


async def _settle(reader: Reader) -> None:
    """Wait for a slow reader, but not for one that has stopped reading: that one is left."""
    try:
        async with asyncio.timeout(OVERFLOW_SECONDS):
            await reader.settle()
    except TimeoutError:
        reader.abandon()
