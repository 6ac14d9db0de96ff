"""This process's lease on its runs: renewed by the database's clock, given up early by our own."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from porch.background import end
from porch.contract.errors import DatabaseUnavailable, Unavailable
from porch.contract.ids import new_uuid
from porch.storage.connection import LOST, Connection
from porch.storage.database import Database

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.1
"""How soon a heartbeat that failed is tried again: the database may be back before half of the lease is over."""


class LeaseLost(Unavailable):
    """Raised when this process may no longer write the runs that it held; another takes them over."""

    code = "lease_lost"


class Lease:
    """Holds runs for this process while heartbeats come through.

    Only the database's clock judges a lease. The holder stops at half of it without a renewed heartbeat, by its
    monotonic clock, so it has always stopped before another may begin.
    """

    def __init__(self, database: Database, seconds: float) -> None:
        self.process = new_uuid()
        self._database = database
        self._seconds = seconds
        self._on_lost: Callable[[], None] = lambda: None
        self._on_cancel: Callable[[UUID, str], None] = lambda run, by: None
        self._deadline = 0.0
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    def watch(self, *, on_lost: Callable[[], None], on_cancel: Callable[[UUID, str], None]) -> None:
        """Whom to tell: `on_lost` when the lease is given up, `on_cancel` of a run and who asked to cancel it."""
        self._on_lost, self._on_cancel = on_lost, on_cancel

    @property
    def valid(self) -> bool:
        """Whether this process may still write and show what its runs produce."""
        return time.monotonic() < self._deadline

    def covers(self, process: UUID) -> bool:
        """Whether runs that were taken under this id may still be written: a lease that was lost covers none."""
        # The very same object nearly always; UUIDs are compared in Python.
        same = process is self.process or process == self.process
        return same and time.monotonic() < self._deadline

    async def start(self) -> None:
        """Take a first lease and keep it renewed. Raises DatabaseUnavailable."""
        await self._register()
        self._task = asyncio.create_task(self._keep(), name="lease")

    async def stop(self) -> None:
        """Give the lease back, so that another process may go on at once with what is left."""
        await end(self._task)
        self._deadline = 0.0
        try:
            async with asyncio.timeout(2), self._database.system() as connection:
                await connection.execute("SELECT porch.release_process($1)", self.process)
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("The lease could not be given back; it runs out in %g s. %r", self._seconds, error)
        if self._connection:
            self._connection.terminate()

    async def _register(self) -> None:
        process = new_uuid()
        before = time.monotonic()
        async with self._database.system() as connection:
            await connection.execute(
                "SELECT porch.register_process($1, $2, $3, $4)",
                process,
                socket.gethostname(),
                os.getpid(),
                timedelta(seconds=self._seconds),
            )
        self.process = process
        self._deadline = before + self._seconds / 2

    async def _keep(self) -> None:
        failed = hung = False
        while True:
            soon = failed and not hung and self.valid  # one that hung has had its time
            await asyncio.sleep(min(RETRY_SECONDS, self._seconds / 8) if soon else self._seconds / 8)
            kept = self.valid  # asked once: between two answers runs would be neither held nor given up
            if not kept:
                self._on_lost()
            try:
                async with asyncio.timeout(self._patience()):
                    await (self._beat() if kept else self._begin_again())
                failed = hung = False
            except Exception as error:
                self._drop_connection()
                if not failed:
                    known = isinstance(error, (DatabaseUnavailable, TimeoutError, *LOST))
                    # A timeout has no words, only a name.
                    log.warning("Heartbeat failed: %r", error, exc_info=not known)
                failed, hung = True, isinstance(error, TimeoutError)
            if not self.valid:
                self._on_lost()

    def _patience(self) -> float:
        """How long a heartbeat may take: not beyond the moment at which the holder has to stop."""
        left = self._deadline - time.monotonic()
        return min(left, self._seconds / 4) if left > 0 else self._seconds / 4

    async def _begin_again(self) -> None:
        await self._register()
        log.warning("This process lost its lease and has taken a new one; its runs are taken over.")

    async def _beat(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.dedicated()
        before = time.monotonic()
        row = await self._connection.fetchrow(
            "SELECT * FROM porch.heartbeat($1, $2)", self.process, timedelta(seconds=self._seconds)
        )
        if row is None or not row["alive"]:
            self._deadline = 0.0
            return
        self._deadline = before + self._seconds / 2
        for run, by in zip(row["cancel_runs"] or (), row["cancel_by"] or (), strict=True):
            self._on_cancel(run, by)

    def _drop_connection(self) -> None:
        if self._connection:
            self._connection.terminate()
            self._connection = None
