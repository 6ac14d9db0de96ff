"""The audit trail, as those who look after a workspace read it, and what no change could note: refusals."""

import asyncio
import logging
import time
from collections import deque
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from porch.background import end
from porch.contract.errors import InvalidInput, PorchError
from porch.contract.ids import format_id, new_uuid
from porch.contract.principal import Principal
from porch.storage.database import Database

log = logging.getLogger(__name__)

KINDS = (
    "access",
    "agent",
    "conversation",
    "identity",
    "invitation",
    "member",
    "password",
    "recovery",
    "session",
    "share",
    "site",
    "token",
    "workspace",
)
# One refusal of a kind for each credential in that time, and so many on their way.
ONCE_SECONDS, MOST_WAITING, MOST_KNOWN = 60.0, 1000, 10_000
PURGE_BATCH = 1000


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done in a workspace, or refused. `tag` is source:subject:action."""

    id: UUID
    at: datetime
    tag: str
    outcome: Literal["done", "failed", "denied"]
    actor: str | None
    actor_name: str
    credential: str | None
    credential_hash: str | None
    address: str | None
    object: str | None
    detail: dict[str, Any]


async def list_events(
    principal: Principal,
    database: Database,
    *,
    kind: str = "",
    actor: str = "",
    before: UUID | None = None,
    limit: int,
) -> list[AuditEvent]:
    """What happened in the workspace, newest first; of a `kind` (the tag's subject) or by an `actor` alone.

    Raises Forbidden, InvalidInput.
    """
    principal.require("admin", "workspaces")
    if kind and kind not in KINDS:
        raise InvalidInput(f"{kind[:40]!r} is nothing that is noted. It is one of {', '.join(KINDS)}.")
    async with database.tenant(principal.workspace) as connection:
        rows = await connection.fetch(
            "SELECT id, at, tag, outcome, actor, actor_name, credential, credential_hash, address, object,"
            " detail::text AS detail FROM porch.audit_events WHERE workspace_id = $1"
            " AND ($2 = '' OR kind = $2) AND ($3 = '' OR actor = $3) AND ($4::uuid IS NULL OR id < $4)"
            " ORDER BY id DESC LIMIT $5",
            principal.workspace,
            kind,
            actor,
            before,
            limit,
        )
    return [
        msgspec.convert({**dict(row.items()), "detail": msgspec.json.decode(row["detail"])}, AuditEvent)
        for row in rows
    ]


async def purge_events(database: Database, kept: timedelta) -> int:
    """Removes what is older; answers how many. Raises DatabaseUnavailable."""
    total = 0
    while True:
        async with database.system() as connection:
            gone: int = await connection.fetchval("SELECT porch.purge_audit($1, $2)", kept, PURGE_BATCH)
        total += gone
        if gone < PURGE_BATCH:
            return total


class Refusals:
    """Notes what was refused, behind the answer: nobody waits for it, and nobody fills the trail with it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[tuple[str, tuple[Any, ...], UUID | None]] = deque()
        self._known: dict[tuple[UUID, str], float] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def denied(self, principal: Principal, route: str, code: str, address: str | None) -> None:
        """A principal asked for what it may not do. `route` has no values of the request's own."""
        moment, key = time.monotonic(), (principal.credential, route)
        if self._known.get(key, 0.0) > moment or len(self._waiting) >= MOST_WAITING:
            return
        if len(self._known) >= MOST_KNOWN:
            self._known = {each: until for each, until in self._known.items() if until > moment}
        if len(self._known) >= MOST_KNOWN:
            return
        self._known[key] = moment + ONCE_SECONDS
        said = (
            principal.workspace,
            new_uuid(),
            principal.label.partition(":")[2],
            principal.name[:300],
            format_id("ses" if principal.via == "session" else "tok", principal.credential),
            address,
            msgspec.json.encode({"route": route, "code": code}).decode(),
        )
        self._add(
            "INSERT INTO porch.audit_events (workspace_id, id, tag, outcome, actor, actor_name, credential, address,"
            " detail) VALUES ($1, $2, 'api:access:deny', 'denied', $3, $4, $5, $6, $7)",
            said,
            principal.workspace,
        )

    def refused_sign_in(self, login: str, address: str | None) -> None:
        """Somebody tried to sign in as `login` and could not; the limits of signing in bound how often."""
        if len(self._waiting) < MOST_WAITING:
            self._add("SELECT porch.note_refused_sign_in($1, $2)", (login, address), None)

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_all(), name="refusals")

    async def stop(self) -> None:
        """Write what waits, as long as there is hope."""
        if self._task is not None:
            await end(self._task)
            while self._waiting:
                await self._write_next()

    def _add(self, statement: str, values: tuple[Any, ...], workspace: UUID | None) -> None:
        self._waiting.append((statement, values, workspace))
        self._wake.set()

    async def _write_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._write_next()

    async def _write_next(self) -> None:
        statement, values, workspace = self._waiting.popleft()
        try:
            if workspace is None:
                async with self._database.system() as connection:
                    await connection.execute(statement, *values)
                return
            async with self._database.tenant(workspace) as connection:
                await connection.execute(statement, *values)
        except PorchError as error:
            log.warning("A refusal is not in the audit trail: %s", error)
        except Exception:
            log.exception("A refusal is not in the audit trail")
