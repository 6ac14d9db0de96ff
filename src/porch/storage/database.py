"""The pool of connections that serves, and the two ways to use it: for one workspace, or for none."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

from porch.contract.errors import DatabaseUnavailable, PorchError
from porch.storage.acting import begin
from porch.storage.connection import (
    FAULTS,
    SESSION,
    Connection,
    connect,
    describe,
    driver,
    drop,
    first_words,
    is_full,
    is_gone,
    is_lost,
    prepare,
    setup_errors,
    shortage,
)
from porch.storage.retrying import TransactionConflict, is_conflict

log = logging.getLogger(__name__)

ACQUIRE_SECONDS = 5.0
STATEMENT_SECONDS = 30.0
ROLLBACK_SECONDS = 1.0
FULL_SECONDS = 10.0


class Database:
    """PostgreSQL as the app role.

    A connection goes back to the pool as it is, without the query that would reset it: nothing here may set
    anything on the session (`SET`, `LISTEN`, session advisory locks); what needs that takes `dedicated()`.
    """

    def __init__(self, url: str, pool: Any, pool_size: int) -> None:
        self.url = url
        self.pool = pool
        self.pool_size = pool_size
        self._room = asyncio.Semaphore(pool_size)
        self._idle: list[Connection] = []
        self._closing = False
        self._full_until = 0.0

    @property
    def full(self) -> bool:
        """Whether PostgreSQL found no room on its disk a moment ago."""
        return time.monotonic() < self._full_until

    def heed(self, error: Exception) -> None:
        """Note what a statement failed by, where it tells something of the whole database."""
        if is_full(error):
            self._full_until = time.monotonic() + FULL_SECONDS

    @classmethod
    async def connect(cls, url: str, pool_size: int = 10) -> "Database":
        """Opens the pool: one connection now, up to `pool_size` as they are needed.

        Raises DatabaseUnavailable when nobody answers, SetupError when the server turns us away.
        """
        with setup_errors(url):
            pool: Any = await driver.create_pool(
                url,
                min_size=0,
                max_size=pool_size,
                max_queries=1_000_000,
                max_inactive_connection_lifetime=0,
                init=prepare,
                reset=_keep,
                command_timeout=STATEMENT_SECONDS + 5,
                timeout=ACQUIRE_SECONDS,
                server_settings=SESSION,
            )
            try:
                await pool.release(await pool.acquire())
            except BaseException:
                pool.terminate()
                raise
        return cls(url, pool, pool_size)

    async def close(self) -> None:
        """Closes the pool; connections still in use after five seconds are cut."""
        self._closing = True
        try:
            async with asyncio.timeout(5):
                while self._idle:
                    await self._give_back(self._idle.pop())
                await self.pool.close()
        except FAULTS:
            self.pool.terminate()

    @asynccontextmanager
    async def system(self) -> AsyncGenerator[Connection]:
        """A connection that sees no workspace's rows: for public tables and the SECURITY DEFINER functions.

        Each statement commits by itself. Raises DatabaseUnavailable.
        """
        connection = await self._acquire()
        clean = False
        try:
            yield connection
            clean = True
        except Exception as error:
            self._raise_if_lost(error, connection)
            raise
        finally:
            await self._release(connection, clean=clean)

    @asynccontextmanager
    async def tenant(self, workspace: UUID) -> AsyncGenerator[Connection]:
        """A transaction that sees the rows of this workspace; it commits when the block ends well.

        For a part that may fail alone use `SAVEPOINT`, not `transaction()`. Raises DatabaseUnavailable, and its
        kind TransactionConflict where doing all of it again would help (`retrying.retried`).
        """
        connection = await self._acquire()
        clean = False
        try:
            try:
                await connection.execute(begin(workspace))
                yield connection
            except BaseException as error:
                if not is_lost(error, connection):
                    await _roll_back(connection)
                raise
            await _commit(connection)
            clean = True
        except Exception as error:
            self._raise_if_lost(error, connection)
            raise
        finally:
            await self._release(connection, clean=clean)

    async def dedicated(self) -> Connection:
        """A connection outside the pool, for LISTEN or a long-lived writer; the caller closes it."""
        return await connect(self.url)

    async def ping(self) -> None:
        """Asks the server for an answer. Raises DatabaseUnavailable."""
        async with self.system() as connection:
            await connection.fetchval("SELECT 1")

    async def _acquire(self) -> Connection:
        """A connection in use by nobody else.

        Those that went back in order lie in `_idle`: the pool's own way out and in again costs more than many
        a query. The semaphore lets no more in than there are connections, so that the pool never waits.
        """
        if self._room.locked():
            await self._wait_for_room()
        else:
            await self._room.acquire()
        try:
            return await self._take()
        except BaseException:
            self._room.release()
            raise

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not is_gone(connection):
                return connection
            await self._give_back(connection)
        try:
            return cast("Connection", await self.pool.acquire(timeout=ACQUIRE_SECONDS))
        except TimeoutError as error:
            raise DatabaseUnavailable(
                f"PostgreSQL at {describe(self.url)} did not answer within {ACQUIRE_SECONDS:g} s. Try again."
            ) from error
        except FAULTS as error:
            raise DatabaseUnavailable(
                f"PostgreSQL at {describe(self.url)} cannot be reached just now: {first_words(error)}. Try again."
            ) from error

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                await self._room.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(
                f"All {self.pool_size} database connections were busy for {ACQUIRE_SECONDS:g} s. "
                "Try again; if it lasts, raise the pool's size."
            ) from error

    async def _release(self, connection: Connection, *, clean: bool) -> None:
        """Takes a connection back; `clean` when its last statement came to its end."""
        try:
            usable = clean and not is_gone(connection) and not connection.is_in_transaction()
            if usable and not self._closing:
                self._idle.append(connection)
            else:
                await self._give_back(connection)
        finally:
            self._room.release()

    async def _give_back(self, connection: Connection) -> None:
        try:
            await self.pool.release(connection, timeout=ROLLBACK_SECONDS)
        except FAULTS:
            # The pool has already thrown that connection away; the next one is fresh. An error from here would also
            # take the place of a cancel, and whoever looks again after errors would then never end.
            return

    def _raise_if_lost(self, error: Exception, connection: Connection) -> None:
        if is_lost(error, connection):
            drop(connection)
            raise DatabaseUnavailable(
                "The connection to PostgreSQL was lost in the middle. What was not acknowledged may not have "
                "been saved; try again."
            ) from error
        if is_conflict(error):
            raise TransactionConflict(
                "Others wrote at the same place at the same moment, and nothing of this was saved. Try again."
            ) from error
        if sentence := shortage(error):
            self.heed(error)
            log.error("%s", sentence)
            raise DatabaseUnavailable(sentence) from error


async def _roll_back(connection: Connection) -> None:
    # A request to cancel that overtakes its query is lost, and the rollback would wait for that query's end.
    try:
        async with asyncio.timeout(ROLLBACK_SECONDS):
            await connection.execute("ROLLBACK")
    except FAULTS:
        drop(connection)


async def _commit(connection: Connection) -> None:
    # PostgreSQL answers the COMMIT of a failed transaction with a ROLLBACK and no error.
    if await connection.execute("COMMIT") != "COMMIT":
        raise PorchError(
            "Nothing was saved: a statement of this transaction had failed, and its error was swallowed."
        )


async def _keep(_: object) -> None:
    """The pool's reset: none. asyncpg itself rolls an open transaction back before it."""
