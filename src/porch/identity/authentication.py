"""From a token's text to the principal it stands for."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from porch.contract.errors import PorchError, Unauthenticated
from porch.contract.principal import Principal, Role
from porch.identity import store
from porch.identity.policy import effective
from porch.identity.tokens import digest, is_well_formed
from porch.storage.connection import Record
from porch.storage.database import Database

log = logging.getLogger(__name__)

TOUCH_AFTER = timedelta(minutes=1)
KEEP_SECONDS = 1.0
MAX_KEPT = 4096


async def authenticate(database: Database, token: str) -> Principal:
    """Who this token stands for, with what it may do. Raises Unauthenticated."""
    return _principal(await _find(database, token))


class Authenticator:
    """`authenticate` for a server: it also notes when and from where a token was used, behind the answer.

    Who a token stands for is remembered for a second, so that a burst of requests asks the database once. What is
    revoked here is forgotten at once; what another process revokes, within that second.
    An instance is what `app.state.authenticate` wants. Close it before its database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._touching: dict[UUID, asyncio.Task[None]] = {}
        self._kept: dict[bytes, tuple[float, Principal]] = {}

    async def __call__(self, token: str, address: str | None = None) -> Principal:
        asked, key = time.monotonic(), digest(token)
        if (kept := self._kept.get(key)) and kept[0] > asked:
            return kept[1]
        row = await _find(self.database, token)
        principal = _principal(row)
        self._keep(key, asked, principal, row["expires_at"])
        used: datetime | None = row["last_used_at"]
        if used is None or datetime.now(UTC) - used > TOUCH_AFTER:
            self._touch(principal, address)
        return principal

    def forget(self) -> None:
        """Ask the database again for every token: something about them has changed."""
        self._kept.clear()

    def _keep(self, key: bytes, asked: float, principal: Principal, expires: datetime | None) -> None:
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        left = (expires - datetime.now(UTC)).total_seconds() if expires else KEEP_SECONDS
        self._kept[key] = (asked + min(left, KEEP_SECONDS), principal)

    async def close(self) -> None:
        """Waits for the notes under way."""
        await asyncio.gather(*self._touching.values(), return_exceptions=True)

    def _touch(self, principal: Principal, address: str | None) -> None:
        token = principal.credential
        if token not in self._touching:
            task = asyncio.create_task(self._note_use(principal, address))
            self._touching[token] = task
            task.add_done_callback(lambda _: self._touching.pop(token, None))

    async def _note_use(self, principal: Principal, address: str | None) -> None:
        try:
            async with self.database.tenant(principal.workspace) as connection:
                await store.touch_token(connection, principal.workspace, principal.credential, address)
        except PorchError as error:
            log.warning("The last use of a token was not noted: %s", error)


async def _find(database: Database, token: str) -> Record:
    if not is_well_formed(token):
        raise Unauthenticated(
            "This is not one of Porch's tokens: they begin with 'porch_pat_' and end in a checksum, which "
            "does not fit here. Copy the token again, whole."
        )
    async with database.system() as connection:
        row = await store.find_principal(connection, digest(token))
    if row is None:
        raise Unauthenticated(
            "This token is unknown here, revoked or expired. Make a new one, or use that of credentials.json."
        )
    return row


def _principal(row: Record) -> Principal:
    role = cast("Role", row["role"])
    return Principal(
        kind="user",
        id=row["user_id"],
        workspace=row["workspace_id"],
        workspace_handle=row["handle"],
        role=role,
        scopes=effective(frozenset(row["scopes"]), role),
        credential=row["token_id"],
        name=row["user_name"],
    )
