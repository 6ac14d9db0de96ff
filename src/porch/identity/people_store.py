"""The SQL of people and what they sign in with: functions alone, since people belong to no workspace."""

from datetime import timedelta
from typing import cast
from uuid import UUID

import msgspec

from porch.identity.model import Reach
from porch.storage.connection import Connection, Record


async def count_people(connection: Connection) -> int:
    """How many people have accounts."""
    return cast("int", await connection.fetchval("SELECT porch.count_people()"))


async def sign_up(
    connection: Connection,
    user: UUID,
    login: str,
    name: str,
    password: str,
    *,
    workspace: UUID,
    handle: str,
    invitation: bytes | None,
) -> tuple[str, UUID | None]:
    """Somebody new with a workspace of their own: 'made' or why not, and the workspace they were invited into."""
    row = await connection.fetchrow(
        "SELECT outcome, joined FROM porch.sign_up($1, $2, $3, $4, $5, $6, $7)",
        user,
        login,
        name,
        password,
        workspace,
        handle,
        invitation,
    )
    found = cast("Record", row)
    return found["outcome"], found["joined"]


async def find_login(
    connection: Connection, login: str, network: str
) -> tuple[UUID, str | None, bool] | None:
    """Whose login this is, what their password is checked with, and whether they were signed in from there lately."""
    row = await connection.fetchrow("SELECT * FROM porch.find_login_near($1, $2)", login, network)
    return (row["user_id"], row["password"], row["familiar"]) if row else None


async def read_login(connection: Connection, user: UUID) -> tuple[str | None, str | None]:
    """The login and the hash of the password of somebody; None for what they have not set."""
    row = await connection.fetchrow("SELECT login, password FROM porch.read_login($1)", user)
    return (row["login"], row["password"]) if row else (None, None)


async def set_password(
    connection: Connection, user: UUID, login: str, before: str | None, password: str, session: UUID
) -> str:
    """A new password, and a login for who has none; answers what `porch.set_password` does."""
    return cast(
        "str",
        await connection.fetchval(
            "SELECT porch.set_password($1, $2, $3, $4, $5)", user, login, before, password, session
        ),
    )


async def rehash(connection: Connection, user: UUID, before: str, after: str) -> bool:
    """The same password, hashed anew; false where it is another by now."""
    return bool(await connection.fetchval("SELECT porch.rehash_password($1, $2, $3)", user, before, after))


async def use_sign_in_limit(connection: Connection, subject: bytes, every: timedelta, at_once: int) -> float:
    """Take a try; 0, or after how many seconds there is one."""
    return cast(
        "float",
        await connection.fetchval("SELECT porch.use_sign_in_limit($1, $2, $3)", subject, every, at_once),
    )


async def make_workspace(
    connection: Connection, user: UUID, workspace: UUID, handle: str, name: str, most: int
) -> str:
    """A workspace of somebody's own: 'made', 'taken' or 'full'."""
    return cast(
        "str",
        await connection.fetchval(
            "SELECT porch.make_workspace($1, $2, $3, $4, $5)", user, workspace, handle, name, most
        ),
    )


async def list_workspaces(connection: Connection, user: UUID) -> list[Reach]:
    """The workspaces that somebody belongs to, and as what."""
    rows = await connection.fetch("SELECT * FROM porch.list_workspaces($1)", user)
    return [msgspec.convert(dict(row.items()), Reach) for row in rows]
