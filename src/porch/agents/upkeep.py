"""What conversations need in the background: new messages become searchable; what was
deleted, drafts that nobody goes on with, ephemeral conversations whose time has come, and guests who never said
anything and do not come back, go for good."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from porch.agents.conversation_store import (
    index_messages,
    purge_conversations,
    purge_drafts,
    purge_expired,
)
from porch.background import end
from porch.contract.errors import DatabaseUnavailable
from porch.identity.audit import purge_events
from porch.identity.guests import purge_guests
from porch.identity.lifecycle import purge_workspaces
from porch.storage.database import Database

log = logging.getLogger(__name__)

INDEX_SECONDS, PURGE_SECONDS = 2.0, 60.0
# Transactions' worth: few enough messages that nobody waits for one, few enough conversations, since one may
# take thousands of rows with it.
INDEX_BATCH, PURGE_BATCH, GUEST_BATCH = 50, 20, 500


class Upkeep:
    """Looks now and then while the process lives; several processes share the work."""

    def __init__(self, database: Database, *, audit_days: int = 400) -> None:
        self._database = database
        self._audit = timedelta(days=audit_days)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin looking."""
        self._tasks = [
            asyncio.create_task(self._repeat(self.index, INDEX_SECONDS), name="index"),
            asyncio.create_task(self._repeat(self.purge, PURGE_SECONDS), name="purge"),
        ]

    async def stop(self) -> None:
        """Stop looking."""
        await end(*self._tasks)

    async def index(self) -> int:
        """Make all new messages searchable; answers how many. Raises DatabaseUnavailable.

        What is said meanwhile is left for the next time: one by one, each would be a transaction.
        """
        total = done = await index_messages(self._database, INDEX_BATCH)
        while done >= INDEX_BATCH:
            done = await index_messages(self._database, INDEX_BATCH)
            total += done
        return total

    async def purge(self) -> int:
        """Remove all that can no longer be restored, deleted workspaces too, all drafts without activity for a week,
        and what has expired, guests who are not coming back and old events of the audit trail included.

        Answers how many rows. Raises DatabaseUnavailable.
        """
        total = 0
        for remove in (purge_conversations, purge_drafts, purge_expired, purge_workspaces):
            while gone := await remove(self._database, PURGE_BATCH):
                total += gone
        while await purge_guests(self._database, GUEST_BATCH):
            pass
        await purge_events(self._database, self._audit)
        return total

    async def _repeat(self, work: Callable[[], Awaitable[int]], every: float) -> None:
        while True:
            try:
                await work()
            except DatabaseUnavailable as error:
                log.info("The upkeep of conversations must wait: %s", error)
            except Exception:
                log.exception("The upkeep of conversations failed")
            await asyncio.sleep(every)
