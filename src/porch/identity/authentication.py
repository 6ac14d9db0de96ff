"""From a token's text, or a session's secret, to the principal it stands for."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast
from uuid import UUID

from porch.background import end
from porch.contract.errors import PorchError, Unauthenticated
from porch.contract.principal import Principal, Role
from porch.identity import session_store, store
from porch.identity.guests import authenticate_guest, check_site
from porch.identity.policy import FULL, effective
from porch.identity.sessions import IDLE_LIFETIME
from porch.identity.tokens import digest, is_well_formed
from porch.storage.connection import Record
from porch.storage.database import Database

log = logging.getLogger(__name__)

Key = TypeVar("Key")

TOUCH_AFTER = timedelta(minutes=1)
KEEP_SECONDS = 1.0
NOTE_SECONDS = 2.0
MAX_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """Which of a person's workspaces a request is about, as far as it says.

    The one it has `named` (handle or id), else that of an object (`kind` is its id's prefix), else the one that its
    page was `given`; else the session's own.
    """

    named: str | None = None
    kind: str | None = None
    object: UUID | None = None
    given: UUID | None = None


ANYWHERE = Place()


async def authenticate(database: Database, token: str) -> Principal:
    """Who this token stands for, with what it may do. Raises Unauthenticated."""
    return _principal(await _find(database, token))


class Authenticator:
    """`authenticate` for a server, and the same for sessions: it also notes when and from where a credential was
    used, behind the answer.

    Who it stands for is remembered for a second, so that a burst of requests asks the database once. What is
    revoked or ended here is forgotten at once; what another process ends, within that second.
    An instance is what `app.state.authenticate` wants. Close it before its database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.on_forget: Callable[[], None] = lambda: None
        """Called when something about credentials changed here, so that others may be told."""
        self._touching: dict[UUID, asyncio.Task[None]] = {}
        self._kept: dict[bytes, tuple[float, Principal]] = {}
        # Apart: a session's secret sent as a token must find nothing, since a token needs no CSRF token.
        self._kept_sessions: dict[tuple[bytes, Place], tuple[float, Principal]] = {}
        self._kept_guests: dict[bytes, tuple[float, Principal]] = {}

    async def __call__(self, token: str, address: str | None = None) -> Principal:
        asked, key, kept = time.monotonic(), digest(token), self._kept
        if (known := kept.get(key)) and known[0] > asked:
            return known[1]
        row = await _find(self.database, token)
        principal = _principal(row)
        _keep(kept, key, asked, principal, row["expires_at"])
        if _is_due(row["last_used_at"]):
            self._touch(principal, address)
        return principal

    async def session(self, secret: str, address: str | None = None, place: Place = ANYWHERE) -> Principal:
        """Who a session stands for in one of its user's workspaces, by the secret that its browser keeps.

        Where its user does not belong to the workspace that `place` says, it is another of theirs. Raises
        Unauthenticated.
        """
        asked, key, kept = time.monotonic(), (digest(secret), place), self._kept_sessions
        if (known := kept.get(key)) and known[0] > asked:
            return known[1]
        row = await _find_session(self.database, secret, place)
        principal = _session_principal(row)
        _keep(kept, key, asked, principal, row["expires_at"])
        if _is_due(row["last_used_at"]):
            self._touch(principal, address)
        return principal

    async def guest(self, token: str, origin: str | None = None) -> Principal:
        """Who a guest's token stands for, if `origin`, where the request names one, is its own site.

        Raises Unauthenticated, OriginNotAllowed.
        """
        asked, key, kept = time.monotonic(), digest(token), self._kept_guests
        if (known := kept.get(key)) and known[0] > asked:
            principal = known[1]
        else:
            principal, expires = await authenticate_guest(self.database, token)
            _keep(kept, key, asked, principal, expires)
        check_site(principal, origin)
        return principal

    def forget(self) -> None:
        """Ask the database again for every credential, here and elsewhere: something about them has changed."""
        self.forget_here()
        self.on_forget()

    def forget_here(self) -> None:
        """Ask the database again for every credential: another process has changed something about them."""
        # New ones, so that an answer still under way is kept where nobody looks any more.
        self._kept, self._kept_sessions, self._kept_guests = {}, {}, {}

    async def close(self) -> None:
        """Waits for the notes under way, as long as there is hope for them."""
        await end(*self._touching.values(), grace=NOTE_SECONDS)

    def _touch(self, principal: Principal, address: str | None) -> None:
        credential = principal.credential
        if credential not in self._touching:
            task = asyncio.create_task(self._note_use(principal, address))
            self._touching[credential] = task
            task.add_done_callback(lambda _: self._touching.pop(credential, None))

    async def _note_use(self, principal: Principal, address: str | None) -> None:
        try:
            if principal.via == "session":
                async with self.database.system() as connection:
                    await session_store.touch_session(
                        connection, principal.credential, IDLE_LIFETIME, address
                    )
                return
            async with self.database.tenant(principal.workspace) as connection:
                await store.touch_token(connection, principal.workspace, principal.credential, address)
        except PorchError as error:
            log.warning("The last use of a %s was not noted: %s", principal.via, error)


def _keep(
    kept: dict[Key, tuple[float, Principal]],
    key: Key,
    asked: float,
    principal: Principal,
    expires: datetime | None,
) -> None:
    if len(kept) >= MAX_KEPT:
        kept.clear()
    left = (expires - datetime.now(UTC)).total_seconds() if expires else KEEP_SECONDS
    kept[key] = (asked + min(left, KEEP_SECONDS), principal)


def _is_due(used: datetime | None) -> bool:
    return used is None or datetime.now(UTC) - used > TOUCH_AFTER


async def _find(database: Database, token: str) -> Record:
    if not (is_well_formed(token) or is_well_formed(token, "agt")):
        raise Unauthenticated(
            "This is not one of Porch's tokens: they begin with 'porch_pat_' or 'porch_agt_' and end in a checksum, "
            "which does not fit here. Copy the token again, whole."
        )
    async with database.system() as connection:
        row = await store.find_principal(connection, digest(token))
    if row is None:
        raise Unauthenticated(
            "This token is unknown here, revoked or expired. Make a new one, or use that of credentials.json."
        )
    return row


async def _find_session(database: Database, secret: str, place: Place) -> Record:
    row = None
    if is_well_formed(secret, "ses"):
        async with database.system() as connection:
            row = await session_store.find_session(
                connection, digest(secret), place.named, place.kind, place.object, place.given
            )
    if row is None:
        raise Unauthenticated(
            "You are not signed in any more: this session has ended. Sign in again; whoever runs this Porch gets a "
            "link for that by porch sign-in."
        )
    return row


def _principal(row: Record) -> Principal:
    """Who a row of a token stands for: its maker with the token's scopes, or the agent that it is of."""
    role, agent = cast("Role", row["role"]), row["agent_id"]
    return Principal(
        kind="agent" if agent else "user",
        id=agent or row["user_id"],
        workspace=row["workspace_id"],
        workspace_handle=row["handle"],
        role=role,
        scopes=effective(frozenset(row["scopes"]), role),
        credential=row["token_id"],
        name=row["user_name"],
        agent=agent,
        expires=row["expires_at"],
        agents=frozenset(row["agents"]) if row["agents"] is not None else None,
        line=tuple(row["line"]),
    )


def _session_principal(row: Record) -> Principal:
    """Who a row of a session stands for: all that its user's role allows."""
    role = cast("Role", row["role"])
    return Principal(
        kind="user",
        id=row["user_id"],
        workspace=row["workspace_id"],
        workspace_handle=row["handle"],
        role=role,
        scopes=effective(FULL, role),
        credential=row["session_id"],
        name=row["user_name"],
        via="session",
        expires=row["expires_at"],
    )
