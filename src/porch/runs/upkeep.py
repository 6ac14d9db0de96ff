"""What the journal needs in the background: ended runs are packed, and leave when their time is over."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

from porch.background import end
from porch.contract.errors import DatabaseUnavailable, Unavailable
from porch.contract.ids import format_id
from porch.runs.packing import BATCH_RUNS, find_unpacked, pack_runs
from porch.runs.packs import Damaged
from porch.runs.shelf import Shelf
from porch.storage.database import Database

log = logging.getLogger(__name__)

PACK_SECONDS, KEEP_SECONDS = 30.0, 60.0
# After that nobody's batch of an ended run can still be on its way, whatever was lost meanwhile.
PACK_DELAY = timedelta(minutes=5)
LOOK_RUNS = 512


class JournalUpkeep:
    """Looks now and then while the process lives; several processes share the work."""

    def __init__(self, database: Database, shelf: Shelf | None = None) -> None:
        self._database = database
        self._shelf = shelf or Shelf(database)
        self._tasks: list[asyncio.Task[None]] = []
        self._told: set[UUID] = set()

    def start(self) -> None:
        """Begin looking."""
        self._tasks = [
            asyncio.create_task(self._repeat(self.pack, PACK_SECONDS), name="pack"),
            asyncio.create_task(self._repeat(self.keep, KEEP_SECONDS), name="keep"),
        ]

    async def stop(self) -> None:
        """Stop looking."""
        await end(*self._tasks)

    async def pack(self, delay: timedelta = PACK_DELAY, *, rest: float = 1.0) -> int:
        """Pack all runs that ended before the delay; answers how many. Raises DatabaseUnavailable.

        Between batches it rests, by default as long as each took: those who write come first.
        """
        total, place = 0, UUID(int=0)
        while found := await find_unpacked(self._database, place, delay, LOOK_RUNS):
            place = found[-1][1]
            owned: dict[UUID, list[UUID]] = {}
            for workspace, run in found:
                owned.setdefault(workspace, []).append(run)
            for workspace, runs in owned.items():
                for at in range(0, len(runs), BATCH_RUNS):
                    total += await self._pack_all(workspace, runs[at : at + BATCH_RUNS], rest)
        return total

    async def keep(self) -> int:
        """Let go of what workspaces keep no longer, and clear the archive of deleted runs; answers how many left.

        Raises DatabaseUnavailable, ArchiveUnavailable.
        """
        total = 0
        while due := await self._shelf.find_overdue():
            random.shuffle(due)  # other processes have the same list
            done = 0
            for workspace, run in due:
                try:
                    done += await self._shelf.let_go(workspace, run)
                except Damaged as error:
                    self._tell("The journal of %s stays in the database", run, error)
            total += done
            if not done:
                break
        while await self._shelf.clear():
            pass
        return total

    async def _pack_all(self, workspace: UUID, runs: list[UUID], rest: float) -> int:
        """Pack these, in as many batches as their size takes; others may be at work on them, too."""
        left: list[UUID] = runs
        while left:
            began = time.monotonic()
            done: set[UUID] = set(await self._pack(workspace, left))
            await asyncio.sleep((time.monotonic() - began) * rest)
            if not done:
                break
            left = [each for each in left if each not in done]
        return len(runs) - len(left)

    async def _pack(self, workspace: UUID, runs: list[UUID]) -> list[UUID]:
        try:
            return await pack_runs(self._database, workspace, runs)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            if len(runs) == 1:
                self._tell("The journal of %s could not be packed", runs[0], error)
                return []
        # One that cannot be packed must not hold the others.
        return [done for run in runs for done in await self._pack(workspace, [run])]

    def _tell(self, what: str, run: UUID, error: Exception) -> None:
        """Why a journal is left as it is: once, though it is found again at every look."""
        if run not in self._told:
            self._told.add(run)
            log.error(what, format_id("run", run), exc_info=error)

    async def _repeat(self, work: Callable[[], Awaitable[int]], every: float) -> None:
        while True:
            try:
                await work()
            except Unavailable as error:
                log.info("The upkeep of the journal must wait: %s", error)
            except Exception:
                log.exception("The upkeep of the journal failed")
            await asyncio.sleep(every)
