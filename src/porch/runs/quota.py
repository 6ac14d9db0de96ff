"""How many tokens a workspace may use in a day or a month, and the gate that stops runs when they are used up."""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from porch.contract.errors import DatabaseUnavailable, InvalidInput
from porch.contract.principal import Principal
from porch.storage.database import Database

log = logging.getLogger(__name__)

Period = Literal["day", "month"]
MAX_TOKENS = 10**15
# A change that was committed late has an earlier time than some that were seen before it.
OVERLAP = timedelta(seconds=60)
LOOK_SECONDS = 2.0
RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Quota:
    """A workspace's quota: `tokens` in each `period`, None for no limit, what was `used` of this one, and when the next
    begins. So many runs are `waiting` for it.
    """

    tokens: int | None
    period: Period
    used: int
    resets_at: datetime
    waiting: int


class Quotas:
    """The quotas of all workspaces, as this process knows of them.

    Which workspaces have one is looked up now and then, so that those without cost nothing; how much is left of one
    is asked of the database before each step.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._limited: set[UUID] = set()
        self._since = datetime(1970, 1, 1, tzinfo=UTC)
        self._due = 0.0

    async def closed(self, workspace: UUID) -> bool:
        """Whether the workspace has no quota for another step."""
        if workspace not in self._limited:
            return False
        return await self._ask("SELECT porch.quota_opens($1, false) > now()", workspace)

    async def now(self) -> datetime:
        """The database's time, by which approvals expire."""
        return await self._ask("SELECT clock_timestamp()")

    async def _ask(self, question: str, *values: object) -> Any:
        """What the database says once it is there: a run waits for it as its journal does, while the lease lasts."""
        told = False
        while True:
            try:
                async with self._database.system() as connection:
                    return await connection.fetchval(question, *values)
            except DatabaseUnavailable as error:
                if not told:
                    log.info("A run waits for the database: %s", error)
                    told = True
            await asyncio.sleep(RETRY_SECONDS)

    async def look(self) -> None:
        """Learn of quotas that were changed elsewhere."""
        if time.monotonic() < self._due:
            return
        async with self._database.system() as connection:
            rows = await connection.fetch("SELECT * FROM porch.changed_quotas($1)", self._since - OVERLAP)
        for row in rows:
            self._since = max(self._since, row["changed_at"])
            (self._limited.add if row["limited"] else self._limited.discard)(row["workspace_id"])
        self._due = time.monotonic() + LOOK_SECONDS

    async def get(self, principal: Principal) -> Quota:
        """The quota of the principal's workspace. Raises Forbidden."""
        principal.require("admin", "workspaces")
        async with self._database.tenant(principal.workspace) as connection:
            row = await connection.fetchrow(_GET, principal.workspace)
        assert row is not None
        return Quota(row["tokens"], row["period"], row["used"], row["resets_at"], row["waiting"])

    async def put(self, principal: Principal, tokens: int | None, period: Period) -> Quota:
        """Set it; what waits for quota goes on where there is some now. Raises Forbidden, InvalidInput."""
        principal.require("admin", "workspaces")
        if tokens is not None and not 0 <= tokens <= MAX_TOKENS:
            raise InvalidInput(
                f"A quota of {tokens} tokens cannot be kept; give 0 to {MAX_TOKENS:,}, or null for no limit.",
                errors=[{"pointer": "/tokens", "detail": f"not 0 to {MAX_TOKENS:,}"}],
            )
        async with self._database.system() as connection:
            await connection.execute(
                "SELECT porch.set_quota($1, $2, $3, $4)", principal.workspace, tokens, period, principal.label
            )
        (self._limited.discard if tokens is None else self._limited.add)(principal.workspace)
        return await self.get(principal)


_GET = """
    SELECT q.tokens, p.period, (p.starts + ('1 ' || p.period)::interval) AT TIME ZONE 'UTC' AS resets_at,
      (SELECT coalesce(sum(u.tokens), 0)::bigint FROM porch.token_use u
       WHERE u.workspace_id = $1 AND u.day >= p.starts::date) AS used,
      (SELECT count(*) FROM porch.runs r
       WHERE r.workspace_id = $1 AND r.status = 'paused' AND r.paused_for = 'quota') AS waiting
    FROM (SELECT 1) AS one
    LEFT JOIN porch.quotas q ON q.workspace_id = $1
    CROSS JOIN LATERAL (
      SELECT coalesce(q.period, 'month') AS period,
             date_trunc(coalesce(q.period, 'month'), clock_timestamp() AT TIME ZONE 'UTC') AS starts) AS p
"""
