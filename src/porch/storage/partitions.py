"""The journal's partitions, one for each month of runs: made ahead, and removed when nothing is in them any more.

Nothing depends on them: what has no month of its own goes to the partition `_rest`. There rows of the journal stay
until their run is packed, and packs for good.
"""

import asyncio
import logging
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from porch.background import is_cancelled
from porch.contract.errors import PorchError
from porch.storage.connection import Connection, connected

log = logging.getLogger(__name__)

PARENTS = ("journal", "journal_packs")
AHEAD = 2
LOOK_SECONDS, AGAIN_SECONDS = 6 * 3600.0, 600.0
LOCK = 0x706F726369
# While we wait for a lock, as behind a backup, everybody else waits behind us: not for longer than a word takes.
PATIENCE = "SET LOCAL lock_timeout = '100ms'"
BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)

_OWNED = """
    SELECT bool_and(pg_has_role(current_user, c.relowner, 'USAGE')) FROM pg_class c
    WHERE c.oid = ANY (ARRAY[to_regclass('porch.journal'), to_regclass('porch.journal_packs')])
"""

_PARTITIONS = """
    SELECT c.relname::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass('porch.' || $1::text)
"""


@dataclass(frozen=True, slots=True)
class Change:
    """What one look did, and what it left to the next one since others were at work there."""

    made: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])
    busy: list[str] = field(default_factory=list[str])


def lowest_id(moment: datetime) -> UUID:
    """The lowest UUIDv7 of a moment, as `porch.lowest_id` tells it."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


async def keep_partitions(owner_url: str) -> None:
    """Look now and then, for as long as the task lives."""
    while True:
        rest = LOOK_SECONDS
        try:
            change = await tend_partitions(owner_url)
            if change.made or change.removed:
                made, removed = (", ".join(names) or "none" for names in (change.made, change.removed))
                log.debug("The journal's partitions were tended. Made: %s. Removed: %s.", made, removed)
            if change.busy:
                rest = AGAIN_SECONDS
        except PorchError as error:
            log.info("The journal's partitions must wait: %s", error)
        except Exception:
            if is_cancelled():
                return
            log.exception("The journal's partitions could not be tended")
        await asyncio.sleep(rest)


async def tend_partitions(owner_url: str, *, now: datetime | None = None, ahead: int = AHEAD) -> Change:
    """Make the partitions of this month and some ahead, and remove old ones that are empty.

    Does nothing for a role that does not own the tables, or while another process does it.
    """
    change = Change()
    now = now or datetime.now(UTC)
    async with connected(owner_url) as connection:
        if not await connection.fetchval(_OWNED):
            return change
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            return change
        for parent in PARENTS:
            await _extend(connection, parent, now, ahead, change)
        await _prune(connection, now, change)
    return change


async def _extend(connection: Connection, parent: str, now: datetime, ahead: int, change: Change) -> None:
    reach = max((high for _, _, high in await _bounds(connection, parent)), default=UUID(int=0))
    for distance in range(ahead + 1):
        begin, end = _month(now, distance), _month(now, distance + 1)
        low, high = lowest_id(begin), lowest_id(end)
        if low >= reach:
            name = f"{parent}_{begin:%Y_%m}"
            try:
                if await _make(connection, parent, name, low, high):
                    change.made.append(name)
            except BUSY as error:
                _leave(name, error, change)


async def _make(connection: Connection, parent: str, name: str, low: UUID, high: UUID) -> bool:
    """Attached rather than made in place, which would lock the parent for everybody. False where it cannot be.

    Raises BUSY: it takes moments, but must have the partition of the rest and the runs' own table for them.
    """
    try:
        async with connection.transaction():
            await connection.execute(PATIENCE)
            await connection.execute(
                f"CREATE TABLE porch.{name} (LIKE porch.{parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
                " INCLUDING STORAGE)"
            )
            await connection.execute("SELECT porch.wall_partition($1)", name)
            await connection.execute(
                f"ALTER TABLE porch.{parent} ATTACH PARTITION porch.{name}"
                f" FOR VALUES FROM ('{low}') TO ('{high}')"
            )
    except asyncpg.CheckViolationError:
        return False  # rows of that month are in the rest already, where they are as well
    return True


def _leave(name: str, error: Exception, change: Change) -> None:
    log.info("The partition %s must wait: %s", name, error)
    change.busy.append(name)


async def _prune(connection: Connection, now: datetime, change: Change) -> None:
    """Remove partitions of the journal whose runs are all packed: their files go back to the disk as a whole."""
    old = lowest_id(_month(now, -1))
    for name, low, high in await _bounds(connection, "journal"):
        if high > old or await _holds(connection, low, high):
            continue
        try:
            async with connection.transaction():
                await connection.execute(PATIENCE)
                await connection.execute(f"LOCK TABLE porch.{name} IN ACCESS EXCLUSIVE MODE")
                if not await _holds(connection, low, high):
                    await connection.execute(f"DROP TABLE porch.{name}")
                    change.removed.append(name)
        except BUSY as error:
            _leave(name, error, change)


async def _holds(connection: Connection, low: UUID, high: UUID) -> bool:
    """Whether the journal has rows of these runs, which the owner may not see by itself."""
    async with connection.transaction():
        role = await connection.fetchval("SELECT quote_ident(current_user)")
        await connection.execute("SET LOCAL ROLE porch_definer")
        found = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM porch.journal WHERE run_id >= $1 AND run_id < $2)", low, high
        )
        await connection.execute(f"SET LOCAL ROLE {role}")
    return bool(found)


async def _bounds(connection: Connection, parent: str) -> list[tuple[str, UUID, UUID]]:
    """Name and bounds of the partitions that have some, the oldest first."""
    found: list[tuple[str, UUID, UUID]] = []
    for row in await connection.fetch(_PARTITIONS, parent):
        if match := re.fullmatch(r"FOR VALUES FROM \((MINVALUE|'.+')\) TO \('(.+)'\)", row["bound"]):
            low = UUID(int=0) if match[1] == "MINVALUE" else UUID(match[1].strip("'"))
            found.append((row["name"], low, UUID(match[2])))
    return sorted(found, key=lambda each: each[2])


def _month(now: datetime, distance: int) -> datetime:
    """The beginning of the month so many behind this one, in UTC."""
    year, month = divmod(now.astimezone(UTC).year * 12 + now.astimezone(UTC).month - 1 + distance, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)
