"""A stream ends with the right to read it: with its credential, its reader's role, or the conversation's being open."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from uuid import UUID

from porch.background import end
from porch.contract.errors import Forbidden, NotFound, PorchError, Unauthenticated
from porch.contract.frames import KEEP_ALIVE
from porch.identity.access import AccessChanges
from porch.runs.reader import Reader
from porch.runs.replicas import Replicas
from porch.storage.database import Database

# How long a change may go unnoticed where nobody tells of it, and how often each is looked at for what no change tells.
LOOK_SECONDS = 0.5
RECHECK_SECONDS = 10.0
# Of those that nothing has happened to, as many at once: changes are looked at again before the rest.
AT_ONCE, MOST_DUE = 8, 512
KEEP_ALIVE_SECONDS = 10.0
TURN = 16  # readers, before others have theirs: a word must not wait for a look at thousands

log = logging.getLogger(__name__)


class Guard:
    """Lets go of readers who may read no more: at once where the database has noted why, else when their turn comes.

    The replicas say when there is something to look for, and are told what was found before anybody is asked again.
    A reader who is new is looked at with the next look: its right may have ended while it came. Those who hear
    nothing get a sign of life.
    """

    def __init__(self, readers: set[Reader], database: Database, replicas: Replicas) -> None:
        self._readers = readers
        self._changes = AccessChanges(database)
        self._replicas = replicas
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look."""
        self._tasks = [
            asyncio.create_task(send_keep_alives(self._readers), name="keep-alive"),
            asyncio.create_task(self._watch(), name="guard"),
        ]

    async def stop(self) -> None:
        """Look no more."""
        await end(*self._tasks)

    async def _watch(self) -> None:
        hurry = self._replicas.recheck
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await hurry.wait()
            hurry.clear()
            if self._readers:
                await self._look()

    async def _look(self) -> None:
        try:
            changed = await self._changes.look()
        except PorchError:
            changed = frozenset[UUID]()  # the next look tells of it
        if changed:
            self._replicas.on_revoked()
            await self._check([each for each in self._readers if each.is_concerned(changed)])
        moment, clock = time.monotonic(), time.time()
        due = [reader for reader in self._readers if reader.is_due(moment, clock)]
        await self._check(due[:MOST_DUE])

    async def _check(self, readers: list[Reader]) -> None:
        waiting = iter(readers)
        await asyncio.gather(*(self._check_all(waiting) for _ in range(min(AT_ONCE, len(readers)))))

    async def _check_all(self, readers: Iterator[Reader]) -> None:
        for number, reader in enumerate(readers, 1):
            await _check(reader)
            if number % TURN == 0:
                await asyncio.sleep(0)


async def _check(reader: Reader) -> None:
    if reader.permit is None or reader.end is not None:
        return
    try:
        await reader.permit()
    except (Unauthenticated, Forbidden, NotFound):
        reader.finish("ended")
    except Exception as error:  # a fault is no verdict: it is asked again
        log.warning("Whether a stream's reader may still read could not be found out: %s", error)
    else:
        reader.check_at = time.monotonic() + RECHECK_SECONDS


async def send_keep_alives(readers: set[Reader]) -> None:
    """Send a sign of life to readers that have heard nothing for a while; runs until it is cancelled.

    One whose socket is full has words before it, and behind them it would only be nearer to its bounds.
    """
    while True:
        await asyncio.sleep(KEEP_ALIVE_SECONDS / 3)
        quiet_since = time.monotonic() - KEEP_ALIVE_SECONDS
        async for reader in _in_turns(readers):
            if reader.last_sent < quiet_since and not reader.queued:
                reader.push(KEEP_ALIVE)


async def _in_turns(readers: set[Reader]) -> AsyncGenerator[Reader]:
    """Those of now, with turns for others between them."""
    for number, reader in enumerate(tuple(readers), 1):
        yield reader
        if number % TURN == 0:
            await asyncio.sleep(0)
