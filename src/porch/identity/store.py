"""The SQL of identity. Every statement names the workspace and runs in a transaction of it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import cast
from uuid import UUID

import msgspec

from porch.contract.ids import new_uuid
from porch.identity.model import NamedAgent, Operator, Token, Workspace
from porch.identity.narrowing import WHOLE, Narrowing
from porch.identity.tokens import MintedToken
from porch.storage.connection import Connection, Record

COLUMNS = (
    "id, user_id, name, prefix, scopes, created_at, expires_at, revoked_at, last_used_at, last_used_from,"
    " line, levels, agents, agent_id, replaced_by"
)


async def find_principal(connection: Connection, digest: bytes) -> Record | None:
    """Who a token stands for, before any workspace is known."""
    return await connection.fetchrow("SELECT * FROM porch.authenticate_credential($1)", digest)


async def ensure_operator(connection: Connection, name: str, handle: str) -> Operator:
    """The operator that is there, else one with this name and workspace."""
    row = await connection.fetchrow(
        "SELECT user_id, name, workspace_id, handle FROM porch.ensure_operator($1, $2, $3, $4)",
        new_uuid(),
        name,
        new_uuid(),
        handle,
    )
    return msgspec.convert(dict(cast("Record", row).items()), Operator)


async def read_workspace(connection: Connection, workspace: UUID) -> Workspace | None:
    """The workspace."""
    row = await connection.fetchrow(
        "SELECT id, handle, name, created_at, journal_days FROM porch.workspaces WHERE id = $1", workspace
    )
    return msgspec.convert(dict(row.items()), Workspace) if row else None


async def rename_workspace(connection: Connection, workspace: UUID, name: str) -> Workspace | None:
    """The workspace under its new name."""
    row = await connection.fetchrow(
        "UPDATE porch.workspaces SET name = $2 WHERE id = $1"
        " RETURNING id, handle, name, created_at, journal_days",
        workspace,
        name,
    )
    return msgspec.convert(dict(row.items()), Workspace) if row else None


async def keep_journals(connection: Connection, workspace: UUID, days: int | None) -> Workspace | None:
    """The workspace, which keeps the journals of ended runs for so many days, or None: with their runs."""
    row = await connection.fetchrow(
        "UPDATE porch.workspaces SET journal_days = $2 WHERE id = $1"
        " RETURNING id, handle, name, created_at, journal_days",
        workspace,
        days,
    )
    return msgspec.convert(dict(row.items()), Workspace) if row else None


async def insert_token(
    connection: Connection,
    workspace: UUID,
    minted: MintedToken,
    *,
    user: UUID,
    parent: UUID | None,
    name: str,
    scopes: Sequence[str],
    lifetime: timedelta | None,
    narrowing: Narrowing = WHOLE,
) -> Token:
    """A new token; `lifetime` counts from the database's now, None is for ever."""
    row = await connection.fetchrow(
        "INSERT INTO porch.tokens"  # noqa: S608 - COLUMNS is a constant
        " (workspace_id, id, user_id, parent_id, name, prefix, hash, scopes, expires_at, line, levels, agents,"
        "  agent_id, kind)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9::interval, $10, $11, $12, $13,"
        f"  CASE WHEN $13::uuid IS NULL THEN 'pat' ELSE 'agt' END) RETURNING {COLUMNS}",
        workspace,
        new_uuid(),
        user,
        parent,
        name,
        minted.prefix,
        minted.digest if narrowing.is_whole else minted.narrow_digest,
        list(scopes),
        lifetime,
        list(narrowing.line),
        narrowing.levels,
        list(narrowing.agents) if narrowing.agents is not None else None,
        narrowing.agent,
    )
    return _token(cast("Record", row))


async def read_token(connection: Connection, workspace: UUID, token: UUID) -> Token | None:
    """One token, revoked ones included."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM porch.tokens WHERE workspace_id = $1 AND id = $2",  # noqa: S608 - as above
        workspace,
        token,
    )
    return _token(row) if row else None


async def list_tokens(
    connection: Connection,
    workspace: UUID,
    user: UUID | None,
    before: UUID | None,
    limit: int,
    *,
    below: UUID | None = None,
) -> list[Token]:
    """Tokens newest first, of one user or of all; those are left out that were revoked, or one above them was.

    With `below` only that one and those that it made.
    """
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM porch.tokens t WHERE workspace_id = $1 AND revoked_at IS NULL"  # noqa: S608 - as above
        " AND ($2::uuid IS NULL OR user_id = $2) AND ($3::uuid IS NULL OR id < $3)"
        " AND ($5::uuid IS NULL OR id = $5 OR $5 = ANY (line))"
        " AND (line = '{}' OR NOT EXISTS (SELECT FROM porch.tokens a"
        "  WHERE a.workspace_id = $1 AND a.id = ANY (t.line) AND (a.revoked_at IS NOT NULL OR a.expires_at <= now())))"
        " ORDER BY id DESC LIMIT $4",
        workspace,
        user,
        before,
        limit,
        below,
    )
    return [_token(row) for row in rows]


async def replace_token(connection: Connection, token: UUID, successor: UUID, overlap: timedelta) -> bool:
    """Has a token go on for no longer than `overlap`; false where it has a successor already, or has ended."""
    return await connection.fetchval("SELECT porch.replace_token($1, $2, $3)", token, successor, overlap)


async def list_agents(connection: Connection, workspace: UUID, limit: int) -> list[NamedAgent]:
    """Agents that a token could be for, by handle."""
    rows = await connection.fetch(
        "SELECT id, handle FROM porch.agents WHERE workspace_id = $1 ORDER BY handle LIMIT $2",
        workspace,
        limit,
    )
    return [NamedAgent(id=row["id"], handle=row["handle"]) for row in rows]


async def find_agents(
    connection: Connection, workspace: UUID, ids: Sequence[UUID], handles: Sequence[str]
) -> list[NamedAgent]:
    """The agents with these ids or handles."""
    rows = await connection.fetch(
        "SELECT id, handle FROM porch.agents WHERE workspace_id = $1 AND (id = ANY ($2) OR handle = ANY ($3))"
        " ORDER BY handle",
        workspace,
        list(ids),
        list(handles),
    )
    return [NamedAgent(id=row["id"], handle=row["handle"]) for row in rows]


async def revoke_token(connection: Connection, workspace: UUID, token: UUID) -> None:
    """Ends a token now; one that was revoked before keeps its time."""
    await connection.execute(
        "UPDATE porch.tokens SET revoked_at = coalesce(revoked_at, now())"
        " WHERE workspace_id = $1 AND id = $2",
        workspace,
        token,
    )


async def revoke_first_tokens(connection: Connection, workspace: UUID, user: UUID, name: str) -> None:
    """Ends the tokens of this name that no other token has made: those of a lost credentials file."""
    await connection.execute(
        "UPDATE porch.tokens SET revoked_at = now() WHERE workspace_id = $1 AND user_id = $2 AND name = $3"
        " AND parent_id IS NULL AND revoked_at IS NULL",
        workspace,
        user,
        name,
    )


async def touch_token(connection: Connection, workspace: UUID, token: UUID, address: str | None) -> None:
    """Notes that a token was used, at most once a minute."""
    await connection.execute(
        "UPDATE porch.tokens SET last_used_at = now(), last_used_from = $3"
        " WHERE workspace_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
        workspace,
        token,
        address,
    )


def _token(row: Record) -> Token:
    return msgspec.convert(dict(row.items()), Token)
