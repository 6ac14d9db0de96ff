"""A run's stream as an HTTP response: the journal behind the reader's cursor, then the live run, until the end."""

import asyncio
from collections.abc import MutableMapping
from typing import Any, Protocol, cast
from uuid import UUID

from starlette.responses import Response
from starlette.types import Receive, Scope
from starlette.types import Send as AsgiSend

from porch.contract.errors import DatabaseUnavailable
from porch.contract.frames import Cursor, resync_frame
from porch.contract.ids import format_id
from porch.http.scope import RAW_SEND
from porch.runs.live import LiveRun
from porch.runs.reader import Reader, Recheck, Send
from porch.runs.store import ACTIVE, JournalRow, Page

KEEP_ALIVE_SECONDS = 10.0
POLL_SECONDS = 0.2
AHEAD_SECONDS = 10.0
OVERFLOW_SECONDS = 60.0
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


class Source(Protocol):
    """Where streams come from: the service."""

    readers: set[Reader]

    def live(self, run: UUID) -> LiveRun | None:
        """The run's producer, if it is this process."""
        ...

    async def read(self, workspace: UUID, run: UUID, cursor: Cursor) -> Page | None:
        """The journal behind a cursor."""
        ...


class EventStream(Response):
    """Follows one run for one reader. Its going away changes nothing for the run.

    Set `recheck` where the reader's right to read may end before the stream does.
    """

    recheck: Recheck | None = None

    def __init__(
        self, source: Source, workspace: UUID, run: UUID, cursor: Cursor, *, first: bytes = b""
    ) -> None:
        """`first` are frames that the caller has at hand; `cursor` stands behind them."""
        super().__init__(status_code=200, headers={**HEADERS, "porch-run": format_id("run", run)})
        del self.headers["content-length"]
        self._source = source
        self._workspace = workspace
        self._run = run
        self._cursor = cursor
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        """Send until the run ends or pauses, or the client leaves."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        send = scope.get(RAW_SEND, send)
        reader = Reader(cast("Send", send), self._cursor)
        reader.recheck = self.recheck
        if self._first:
            reader.push(self._first)
        watcher = asyncio.create_task(_watch(receive, reader))
        self._source.readers.add(reader)
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
            watcher.cancel()
            reader.abandon()
            self._source.readers.discard(reader)

    async def _follow(self, reader: Reader) -> None:
        ahead = 0.0
        while reader.end is None:
            live = self._source.live(self._run)
            if live is not None and live.attach(reader):
                try:
                    end = await reader.wait()
                finally:
                    live.detach(reader)
                if end != "detached":
                    return
                reader.reopen()
                continue
            try:
                page = await self._source.read(self._workspace, self._run, reader.cursor)
            except DatabaseUnavailable:
                # The answer has begun, so there is nobody to tell; it goes on when PostgreSQL is back.
                await asyncio.sleep(POLL_SECONDS)
                continue
            if page is None or await self._replay(reader, page):
                return
            if not page.rows:
                ahead = ahead + POLL_SECONDS if reader.cursor.seq > page.last else 0.0
                if ahead > AHEAD_SECONDS:
                    reader.push(resync_frame("takeover", page.last), Cursor(page.epoch, page.last))
                await asyncio.sleep(POLL_SECONDS)

    async def _replay(self, reader: Reader, page: Page) -> bool:
        """Send a stretch of the journal; True when the stream is complete with it."""
        if page.newer is not None and reader.cursor.seq >= page.newer:
            keep = page.newer - 1
            reader.push(resync_frame("takeover", keep), Cursor(page.epoch, keep))
            await reader.settle()
        for row in page.rows:
            if reader.end is not None:
                return True
            reader.push(behind(row, reader.cursor.seq), Cursor(row.epoch, row.last))
            await reader.settle()
        return (page.status not in ACTIVE and reader.cursor.seq >= page.last) or _pauses(page)


def _pauses(page: Page) -> bool:
    return page.status == "paused" and not page.rows


def behind(row: JournalRow, seq: int) -> bytes:
    """The frames of a row that lie behind `seq`: since seq is dense, found by counting."""
    if seq < row.first:
        return row.frames
    frames = row.frames.split(b"\n\n")[:-1]
    return b"".join(frame + b"\n\n" for frame in frames[seq - row.first + 1 :])


async def _watch(receive: Receive, reader: Reader) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            reader.abandon()
            return


async def _settle(reader: Reader) -> None:
    """Wait for a slow reader, but not for one that has stopped reading: that one is left."""
    try:
        async with asyncio.timeout(OVERFLOW_SECONDS):
            await reader.settle()
    except TimeoutError:
        reader.abandon()
