"""Writes that may be sent twice: an `Idempotency-Key` keeps the first answer for a day and gives it again.

A failed write releases its key. The answer is kept after the write has committed; a process that dies in
between leaves the key in progress, and one minute later a retry does the write anew.
"""

import hashlib
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fastapi import Request
from starlette.responses import Response

from porch.contract.errors import InProgress, InvalidInput, PorchError
from porch.contract.principal import Principal
from porch.http.state import database
from porch.storage.database import Database
from porch.storage.retrying import retried

log = logging.getLogger(__name__)

REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(r"[!-~]{1,255}")
# How long a key without an answer is held for the call that took it.
PATIENCE, FENCED_PATIENCE = timedelta(minutes=1), timedelta(seconds=2)

# For `openapi_extra` of routes that take the header.
IDEMPOTENT: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": 255},
            "description": "Send the same key with a retry: within 24 hours it answers what the first call "
            "answered, with `Idempotency-Replayed: true`, and writes nothing. "
            "Another body under the key is 422.",
            "example": "5f0c3c1e-create-helper",
        }
    ]
}


class KeyReused(InvalidInput):
    """Raised when an Idempotency-Key comes again with another body."""

    code = "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the first call answered."""

    status: int
    body: bytes

    def response(self) -> Response:
        """The same answer again."""
        return Response(self.body, self.status, {REPLAYED: "true"}, "application/json")


@dataclass(slots=True)
class Claim:
    """A key that this request holds, or what an earlier one `stored` under it."""

    database: Database
    principal: Principal
    route: str
    key: str
    stored: Stored | None = None

    @retried
    async def keep(self, status: int, body: bytes) -> None:
        """Keep this as the answer; `body` is any JSON text, as `{"run": …}` for a stream to come back to."""
        # Set first: what has been written must not be released when keeping it fails.
        self.stored = Stored(status, body)
        async with self.database.tenant(self.principal.workspace) as connection:
            await connection.execute(
                "UPDATE porch.idempotency_keys SET status = $5, body = $6 "
                "WHERE workspace_id = $1 AND principal_id = $2 AND route = $3 AND key = $4",
                *self._primary_key(),
                status,
                body,
            )

    @retried
    async def release(self) -> None:
        """Give the key up, so that a retry does the write."""
        async with self.database.tenant(self.principal.workspace) as connection:
            await connection.execute(
                "DELETE FROM porch.idempotency_keys WHERE workspace_id = $1 AND principal_id = $2 "
                "AND route = $3 AND key = $4 AND status IS NULL",
                *self._primary_key(),
            )

    @retried
    async def take(self, fingerprint: bytes, patience: timedelta) -> None:
        """Hold the key, or find what is `stored`. Raises KeyReused, InProgress for as long as `patience`."""
        async with self.database.tenant(self.principal.workspace) as connection:
            await connection.execute(
                "DELETE FROM porch.idempotency_keys WHERE workspace_id = $1 AND ("
                " created_at < now() - interval '24 hours' OR (principal_id = $2 AND route = $3 AND key = $4"
                " AND status IS NULL AND created_at < now() - $5::interval))",
                *self._primary_key(),
                patience,
            )
            if await connection.fetchval(
                "INSERT INTO porch.idempotency_keys (workspace_id, principal_id, route, key, fingerprint) "
                "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING true",
                *self._primary_key(),
                fingerprint,
            ):
                return
            row = await connection.fetchrow(
                "SELECT fingerprint, status, body FROM porch.idempotency_keys "
                "WHERE workspace_id = $1 AND principal_id = $2 AND route = $3 AND key = $4",
                *self._primary_key(),
            )
        if row is not None and row["fingerprint"] != fingerprint:
            raise KeyReused(
                f"The Idempotency-Key {self.key!r} was sent before with another body; use a fresh key for "
                "each new write."
            )
        if row is None or row["status"] is None:
            raise InProgress(
                f"The first call with the Idempotency-Key {self.key!r} is still at work. Try again."
            )
        self.stored = Stored(row["status"], row["body"])

    def _primary_key(self) -> tuple[Any, ...]:
        return self.principal.workspace, self.principal.id, self.route, self.key


@asynccontextmanager
async def claimed(
    request: Request, principal: Principal, *, fenced: bool = False
) -> AsyncGenerator[Claim | None]:
    """The request's claim on its Idempotency-Key, None without one; released when the block raises.

    Look at `claim.stored` first; after the write call `claim.keep(…)`. A `fenced` write sets the answer in its
    own transaction and fails when there is one, so that its key need not rest for a minute when a process dies
    in between. Raises KeyReused, InProgress.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        yield None
        return
    if not _KEY.fullmatch(key):
        raise InvalidInput("An Idempotency-Key is 1 to 255 visible ASCII characters; a UUID does well.")
    claim = Claim(database(request), principal, f"{request.method} {request.scope['path']}", key)
    fingerprint = hashlib.sha256(await request.body()).digest()
    await claim.take(fingerprint, FENCED_PATIENCE if fenced else PATIENCE)
    try:
        yield claim
    except Exception:
        if claim.stored is None:
            await _release(claim)
        raise


async def _release(claim: Claim) -> None:
    try:
        await claim.release()
    except PorchError as error:
        log.warning("An Idempotency-Key stays in progress for a while: %s", error)


async def once(
    request: Request,
    principal: Principal,
    write: Callable[[], Awaitable[Response]],
    *,
    kept: Callable[[Response], bytes] | None = None,
) -> Response:
    """Does the write, or answers what it answered before.

    `kept` gives the body to keep where the answer itself must not be, as for a secret shown once.
    """
    async with claimed(request, principal) as claim:
        if claim is None:
            return await write()
        if claim.stored is not None:
            return claim.stored.response()
        response = await write()
        await claim.keep(response.status_code, kept(response) if kept else bytes(response.body))
        return response
