"""The SQL of sign-in links and sessions: functions alone, since these belong to no workspace."""

from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

import msgspec

from porch.contract.principal import Principal
from porch.identity.model import Session, SignInLink
from porch.storage.connection import Connection, Record


async def installation_id(connection: Connection) -> UUID:
    """What tells this installation from others."""
    return cast("UUID", await connection.fetchval("SELECT porch.installation_id()"))


async def make_link(
    connection: Connection, user: UUID, digest: bytes, lifetime: timedelta, maker: Principal | None
) -> datetime | None:
    """Keeps a link and answers until when it works; with the token of its `maker` it ends, and so do its sessions.

    None when that token is revoked or gone.
    """
    return await connection.fetchval(
        "SELECT porch.make_sign_in_link($1, $2, $3, $4, $5)",
        user,
        digest,
        lifetime,
        maker and maker.workspace,
        maker and maker.credential,
    )


async def is_at_home(connection: Connection, user: UUID, workspace: UUID) -> bool:
    """Whether this is the operator, in the workspace that the installation is at home in."""
    return bool(await connection.fetchval("SELECT porch.is_at_home($1, $2)", user, workspace))


async def read_link(connection: Connection, digest: bytes) -> SignInLink | None:
    """The link as it stands; nothing is used up by that."""
    row = await connection.fetchrow(
        "SELECT user_id, user_name, state FROM porch.read_sign_in_link($1)", digest
    )
    return msgspec.convert(dict(row.items()), SignInLink) if row else None


async def redeem_link(
    connection: Connection,
    link: bytes,
    session: UUID,
    digest: bytes,
    *,
    idle: timedelta,
    whole: timedelta,
    address: str | None,
    agent: str | None,
) -> bool:
    """Turns an open link into a session; false when it is not open any more."""
    done = await connection.fetchval(
        "SELECT porch.redeem_sign_in_link($1, $2, $3, $4, $5, $6, $7)",
        link,
        session,
        digest,
        idle,
        whole,
        address,
        agent,
    )
    return bool(done)


async def find_session(
    connection: Connection,
    digest: bytes,
    named: str | None = None,
    kind: str | None = None,
    thing: UUID | None = None,
    given: UUID | None = None,
) -> Record | None:
    """Who a session stands for, in the workspace that is named, has the object, or is given."""
    return await connection.fetchrow(
        "SELECT * FROM porch.authenticate_session_in($1, $2, $3, $4, $5)", digest, named, kind, thing, given
    )


async def begin_session(
    connection: Connection,
    user: UUID,
    session: UUID,
    digest: bytes,
    *,
    idle: timedelta,
    whole: timedelta,
    address: str | None,
    agent: str | None,
    workspace: UUID | None,
    password: str,
) -> bool:
    """A session of somebody who showed a password; false where what is kept of it is another by now."""
    begun = await connection.fetchval(
        "SELECT porch.begin_session($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        user,
        session,
        digest,
        idle,
        whole,
        address,
        agent,
        workspace,
        password,
    )
    return bool(begun)


async def switch_workspace(connection: Connection, user: UUID, session: UUID, named: str) -> bool:
    """Moves a session into another workspace of its user's; false where it is none."""
    return bool(await connection.fetchval("SELECT porch.switch_workspace($1, $2, $3)", session, user, named))


async def session_bound(connection: Connection, session: UUID) -> datetime | None:
    """When what the session makes has to end, None for never."""
    return await connection.fetchval("SELECT porch.session_bound($1)", session)


async def touch_session(connection: Connection, session: UUID, idle: timedelta, address: str | None) -> None:
    """Notes a use, at most once a minute, and moves the end on."""
    await connection.execute("SELECT porch.touch_session($1, $2, $3)", session, idle, address)


async def list_sessions(connection: Connection, user: UUID) -> list[Session]:
    """A user's open sessions."""
    rows = await connection.fetch(
        "SELECT id, created_at, expires_at, last_used_at, last_used_from, user_agent"
        " FROM porch.list_sessions($1)",
        user,
    )
    return [msgspec.convert(dict(row.items()), Session) for row in rows]


async def end_session(connection: Connection, user: UUID, session: UUID) -> bool:
    """Ends one of the user's sessions; false where there is none."""
    return bool(await connection.fetchval("SELECT porch.end_session($1, $2)", user, session))
