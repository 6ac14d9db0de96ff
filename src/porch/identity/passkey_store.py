"""The SQL of passkeys: functions alone, since they belong to no workspace."""

from collections.abc import Sequence
from datetime import timedelta
from typing import cast
from uuid import UUID

import msgspec

from porch.identity.model import Passkey
from porch.identity.webauthn import NewKey
from porch.storage.connection import Connection


async def make_challenge(
    connection: Connection, digest: bytes, purpose: str, session: UUID | None, lifetime: timedelta
) -> None:
    """Keeps a challenge, for one use."""
    await connection.execute(
        "SELECT porch.make_passkey_challenge($1, $2, $3, $4)", digest, purpose, session, lifetime
    )


async def use_challenge(connection: Connection, digest: bytes, purpose: str, session: UUID | None) -> bool:
    """Uses it up; false where it is none, too old, or for something else."""
    return bool(
        await connection.fetchval("SELECT porch.use_passkey_challenge($1, $2, $3)", digest, purpose, session)
    )


async def add(
    connection: Connection,
    user: UUID,
    session: UUID,
    passkey: UUID,
    key: NewKey,
    *,
    name: str,
    transports: Sequence[str],
    most: int,
) -> str:
    """Keeps a passkey; answers what `porch.add_passkey` does."""
    return cast(
        "str",
        await connection.fetchval(
            "SELECT porch.add_passkey($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            user,
            session,
            passkey,
            key.credential,
            key.public_key,
            key.count,
            name,
            list(transports),
            most,
        ),
    )


async def list_of(connection: Connection, user: UUID) -> list[Passkey]:
    """A person's passkeys, the newest first."""
    rows = await connection.fetch("SELECT * FROM porch.list_passkeys($1)", user)
    return [msgspec.convert(dict(row.items()), Passkey) for row in rows]


async def find(connection: Connection, credential: bytes) -> tuple[UUID, UUID, bytes] | None:
    """The passkey's id, its person, and its public key."""
    row = await connection.fetchrow("SELECT * FROM porch.find_passkey($1)", credential)
    return (row["id"], row["user_id"], row["public_key"]) if row else None


async def begin_session(
    connection: Connection,
    user: UUID,
    passkey: UUID,
    count: int,
    session: UUID,
    digest: bytes,
    *,
    idle: timedelta,
    whole: timedelta,
    address: str | None,
    agent: str | None,
) -> str:
    """A session of somebody who signed with a passkey: 'done', 'gone' or 'cloned'."""
    return cast(
        "str",
        await connection.fetchval(
            "SELECT porch.begin_session_by_passkey($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            user,
            passkey,
            count,
            session,
            digest,
            idle,
            whole,
            address,
            agent,
        ),
    )


async def remove(connection: Connection, user: UUID, passkey: UUID, session: UUID) -> bool:
    """Takes a passkey away, and ends the other sessions that it opened; false where it is none of theirs."""
    return bool(await connection.fetchval("SELECT porch.remove_passkey($1, $2, $3)", user, passkey, session))
