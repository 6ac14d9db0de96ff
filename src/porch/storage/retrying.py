"""Transactions that others got in the way of, done again: deadlocks and failures to serialise."""

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import asyncpg

from porch.contract.errors import DatabaseUnavailable

# Shares of a second between one attempt and the next, each taken at random up to it: those who met once part.
PAUSES = (0.02, 0.1, 0.3)

P = ParamSpec("P")
T = TypeVar("T")


class TransactionConflict(DatabaseUnavailable):
    """Raised when PostgreSQL undid a transaction so that others could go on; nothing of it was saved."""

    code = "write_conflict"


def is_conflict(error: BaseException) -> bool:
    """Whether PostgreSQL undid a transaction that would succeed if it were done again (classes 40001 and 40P01)."""
    return isinstance(error, (asyncpg.SerializationError, asyncpg.DeadlockDetectedError))


def retried(work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Do a function again whose transaction was undone by a conflict, three times at most.

    For functions that commit once and do nothing else that lasts. Raises TransactionConflict when it goes on.
    """

    @functools.wraps(work)
    async def again(*args: P.args, **kwargs: P.kwargs) -> T:
        for pause in PAUSES:
            try:
                return await work(*args, **kwargs)
            except TransactionConflict:
                await asyncio.sleep(pause * random.random())  # noqa: S311 - nothing secret hangs on it
        return await work(*args, **kwargs)

    return again
