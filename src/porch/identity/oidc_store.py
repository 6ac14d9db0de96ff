"""The SQL of signing in with a provider: functions alone, since people belong to no workspace."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from porch.storage.connection import Connection


class Linked(msgspec.Struct, frozen=True, kw_only=True):
    """A provider with which somebody signs in."""

    issuer: str
    subject: str
    created_at: datetime
    last_used_at: datetime | None


async def begin(
    connection: Connection, digest: bytes, issuer: str, session: UUID | None, lives: timedelta
) -> None:
    """Notes a sign-in that is under way."""
    await connection.execute("SELECT porch.begin_oidc($1, $2, $3, $4)", digest, issuer, session, lives)


async def take(connection: Connection, digest: bytes, issuer: str) -> tuple[UUID | None] | None:
    """The session that a sign-in links for, once; None where there is no such sign-in under way."""
    row = await connection.fetchrow("SELECT session_id FROM porch.take_oidc($1, $2)", digest, issuer)
    return (row["session_id"],) if row else None


async def begin_session(
    connection: Connection,
    issuer: str,
    subject: str,
    session: UUID,
    digest: bytes,
    *,
    idle: timedelta,
    whole: timedelta,
    address: str | None,
    agent: str | None,
    workspace: UUID | None,
) -> UUID | None:
    """A session of whoever this is; None where nobody is."""
    return await connection.fetchval(
        "SELECT porch.begin_oidc_session($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        issuer,
        subject,
        session,
        digest,
        idle,
        whole,
        address,
        agent,
        workspace,
    )


async def sign_up(
    connection: Connection,
    user: UUID,
    login: str,
    name: str,
    *,
    workspace: UUID,
    handle: str,
    invitation: bytes | None,
    issuer: str,
    subject: str,
) -> tuple[str, UUID | None]:
    """Somebody new: `made`, or why not, and the workspace that was joined."""
    row = await connection.fetchrow(
        "SELECT outcome, joined FROM porch.sign_up_oidc($1, $2, $3, $4, $5, $6, $7, $8)",
        user,
        login,
        name,
        workspace,
        handle,
        invitation,
        issuer,
        subject,
    )
    assert row is not None
    return row["outcome"], row["joined"]


async def link(connection: Connection, user: UUID, session: UUID, issuer: str, subject: str) -> str:
    """Lets somebody in by this identity: `done`, `ended`, `taken` or `other`."""
    return await connection.fetchval("SELECT porch.link_oidc($1, $2, $3, $4)", user, session, issuer, subject)


async def unlink(connection: Connection, user: UUID, session: UUID, issuer: str, current: str) -> str:
    """Takes it away: `done`, `missing`, `ended` or `last`."""
    return await connection.fetchval(
        "SELECT porch.unlink_oidc($1, $2, $3, $4)", user, session, issuer, current
    )


async def list_linked(connection: Connection, user: UUID) -> list[Linked]:
    """With which providers somebody signs in."""
    rows = await connection.fetch("SELECT * FROM porch.list_oidc($1)", user)
    return [msgspec.convert(dict(row.items()), Linked) for row in rows]
