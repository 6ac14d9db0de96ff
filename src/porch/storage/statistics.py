"""What PostgreSQL knows of young tables: it plans for one that it never looked at as if it were empty.

Any index that begins with the workspace is as good then as the primary key, and each check of a foreign key may read
all that the workspace has, until autovacuum comes by: 15 to 60 seconds. So tables are looked at as they grow.
"""

import asyncio
import logging

from porch.background import is_cancelled
from porch.contract.errors import PorchError
from porch.storage.connection import FAULTS, Connection, connected

log = logging.getLogger(__name__)

LOOK_SECONDS, REST_SECONDS = 2.0, 15.0
LEAST_ROWS = 8
MOST_ROWS = 50_000  # autovacuum comes soon enough to what is larger

_OWNED = """
    SELECT coalesce(bool_or(pg_has_role(current_user, c.relowner, 'USAGE')), false) FROM pg_class c
    WHERE c.relnamespace = to_regnamespace('porch') AND c.relkind = 'r'
"""

# Those that have twice the rows they had when they were last looked at.
_YOUNG = """
    SELECT c.oid::regclass::text AS name FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
    WHERE s.schemaname = 'porch' AND pg_has_role(current_user, c.relowner, 'USAGE')
      AND s.n_live_tup BETWEEN greatest(2 * c.reltuples, $1) AND $2
    ORDER BY 1
"""


async def keep_statistics(owner_url: str) -> None:
    """Look now and then, for as long as the task lives; more often while there is something to do.

    Ends at once for a role that owns none of the tables: then they are left to autovacuum.
    """
    rest = LOOK_SECONDS
    while True:
        await asyncio.sleep(rest)
        rest = min(2 * rest, REST_SECONDS)
        try:
            async with connected(owner_url) as connection:
                if not await connection.fetchval(_OWNED):
                    return
                if await analyze_young(connection):
                    rest = LOOK_SECONDS
        except (PorchError, *FAULTS) as error:
            if is_cancelled():
                return
            log.info("The statistics of young tables must wait: %r", error)
        except Exception:
            if is_cancelled():
                return
            log.exception("The statistics of young tables could not be made")


async def analyze_young(connection: Connection) -> list[str]:
    """Have PostgreSQL look at tables that have doubled; answers which. Needs their owner, and leaves out others'."""
    young = [str(row["name"]) for row in await connection.fetch(_YOUNG, LEAST_ROWS, MOST_ROWS)]
    for name in young:
        await connection.execute(f"ANALYZE (SKIP_LOCKED) {name}")
    return young
