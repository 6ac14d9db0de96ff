"""The one writer of this process: it gathers all runs' frames and commits them in batches.

Boundaries jump the queue and share commits; deltas wait at most the batching delay.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from uuid import UUID

from porch.background import end
from porch.contract.errors import DatabaseUnavailable
from porch.runs.live import LiveRun, Row
from porch.storage.connection import Connection, is_lost, is_refusal, shortage
from porch.storage.database import Database
from porch.telemetry.meters import Histogram

log = logging.getLogger(__name__)

DELAY_SECONDS = 0.2
WATCHED_DELAY_SECONDS = 0.05
TICK_SECONDS = 0.025
MAX_ROWS = 64
PATIENCE = 25
STOP_SECONDS = 3.0
WRITE = "SELECT * FROM porch.write_journal($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20)"


class Journal:
    """Appends frames through one connection and one SQL function, which checks lease and epoch row by row."""

    def __init__(self, database: Database, lag: Histogram | None = None) -> None:
        """`lag` is told how long events took from their making to their commit."""
        self.on_committed: Callable[[LiveRun], None] = lambda live: None
        """Told of a run that other processes watch when frames of it are in."""
        self._database = database
        self._lag = lag
        self._urgent: deque[LiveRun] = deque()
        self._due: deque[tuple[float, LiveRun]] = deque()
        self._watched: deque[tuple[float, LiveRun]] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self.waiting = 0
        self.trouble: str | None = None
        """Why the last batch could not be written; None when it could."""

    async def start(self) -> None:
        """Open the connection and begin writing. Raises DatabaseUnavailable."""
        self._connection = await self._database.dedicated()
        self._task = asyncio.create_task(self._run(), name="journal")

    async def stop(self) -> None:
        """Write what is there, then stop."""
        self._stopping = True
        self._wake.set()
        if self._task:
            # The batch under way is let through first: what lies behind it may not be there without it.
            await end(self._task, grace=STOP_SECONDS)
            if self._task.cancelled() or not self._task.done():
                log.warning("The last deltas could not be written in %g s.", STOP_SECONDS)
        if self._connection:
            self._connection.terminate()

    def wake(self, live: LiveRun, *, urgent: bool) -> None:
        """This run has frames to write, at once or within the batching delay."""
        if urgent:
            self._urgent.append(live)
            self._wake.set()
        elif not live.queued:
            live.queued = True
            due, delay = self._due, DELAY_SECONDS
            if live.watchers:
                due, delay = self._watched, WATCHED_DELAY_SECONDS
            due.append((time.monotonic() + delay, live))
            if len(due) == 1:
                self._wake.set()

    async def _run(self) -> None:
        while True:
            rows = self._gather()
            if rows:
                await self._write_surely(rows)
            elif self._stopping:
                return
            elif self._urgent or self._due or self._watched:
                await self._pause(TICK_SECONDS)
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _pause(self, seconds: float) -> None:
        """Wait a tick, or less when a boundary comes."""
        self._wake.clear()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, self._wake.set)
        await self._wake.wait()
        timer.cancel()

    def _gather(self) -> list[Row]:
        rows: list[Row] = []
        while self._urgent and len(rows) < MAX_ROWS:
            self._take(self._urgent.popleft(), rows)
        now = time.monotonic()
        for due in (self._watched, self._due):
            while due and len(rows) < MAX_ROWS and (self._stopping or due[0][0] <= now):
                live = due.popleft()[1]
                live.queued = False
                self._take(live, rows)
        return rows

    @staticmethod
    def _take(live: LiveRun, rows: list[Row]) -> None:
        if not live.lost and (row := live.take()):
            rows.append(row)

    async def _write_surely(self, rows: list[Row], failures: int = 0) -> None:
        """Write these very rows until it is known that they are in, or that they never will be.

        A lost connection is tried again for as long as the lease lasts; any other failure (a full disk) is
        given time to pass. A batch that is refused, or fails for too long, is split, so that one bad row costs
        its own run alone: that one is taken over from its last commit.
        """
        while rows := [row for row in rows if not row.live.lost]:
            try:
                stale = await self._write(await self._connected(), rows)
            except Exception as error:
                self._database.heed(error)
                self.trouble = shortage(error) or "The journal cannot be written."
                if self._is_lost(error):
                    await asyncio.sleep(TICK_SECONDS)
                elif failures < PATIENCE and not is_refusal(error):
                    failures += 1
                    log.warning("The journal could not be written, trying again: %s", error)
                    await asyncio.sleep(DELAY_SECONDS)
                elif len(rows) > 1:
                    for row in rows:
                        await self._write_surely([row], failures)
                    return
                else:
                    log.exception("The journal cannot take what %s says", rows[0].live.name)
                    rows[0].live.lose()
            else:
                _settle(rows, stale)
                self._measure(rows)
                self._tell(rows)
                break
        self.trouble = None

    def _tell(self, rows: list[Row]) -> None:
        for row in rows:
            if row.live.watchers and not row.live.lost:
                self.on_committed(row.live)

    def _measure(self, rows: list[Row]) -> None:
        if self._lag is not None:
            now = time.time_ns()
            for row in rows:
                self._lag.record((now - row.since) / 1e9)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.dedicated()
        return self._connection

    def _is_lost(self, error: Exception) -> bool:
        connection = self._connection
        lost = isinstance(error, DatabaseUnavailable) or (connection and is_lost(error, connection))
        if lost and connection is not None:
            connection.terminate()
            self._connection = None
        return bool(lost)

    async def _write(self, connection: Connection, rows: list[Row]) -> set[UUID]:
        ends = [(row.live, row.ending) for row in rows if row.ending]
        answer = await connection.fetch(
            WRITE,
            rows[0].live.process,
            [row.live.workspace for row in rows],
            [row.live.id for row in rows],
            [row.live.epoch for row in rows],
            [row.first for row in rows],
            [row.last for row in rows],
            [row.frames for row in rows],
            [row.tokens for row in rows],
            [live.workspace for live, _ in ends],
            [live.id for live, _ in ends],
            [live.epoch for live, _ in ends],
            [end.status for _, end in ends],
            [end.message for _, end in ends],
            [end.parts.decode() for _, end in ends],
            [end.usage.decode() if end.usage else None for _, end in ends],
            [end.error.decode() if end.error else None for _, end in ends],
            [end.pause for _, end in ends],
            [end.wake for _, end in ends],
            [end.approvals.decode() if end.approvals else None for _, end in ends],
            [end.denied_by for _, end in ends],
            timeout=10,
        )
        return {row[0] for row in answer}


def _settle(rows: list[Row], stale: set[UUID]) -> None:
    for row in rows:
        if row.live.id in stale:
            row.live.lose()
        else:
            row.live.committed(row.last)
