"""The SQL of what becomes of workspaces: other handles, deletion, and having them back."""

from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

import msgspec

from porch.identity.model import DeletedWorkspace
from porch.storage.connection import Connection, Record


async def follow_handle(connection: Connection, handle: str) -> tuple[UUID, str] | None:
    """The workspace that has this handle, or had it, and what it is called now."""
    row = await connection.fetchrow("SELECT workspace_id, handle FROM porch.follow_handle($1)", handle)
    return (row["workspace_id"], row["handle"]) if row else None


async def former_handles(connection: Connection) -> list[str]:
    """What the transaction's workspace was called before, the latest first."""
    return [row["handle"] for row in await connection.fetch("SELECT handle FROM porch.former_handles()")]


async def change_handle(connection: Connection, handle: str, most: int) -> str:
    """Calls the transaction's workspace something else: 'done', 'taken', or 'full' after `most` handles."""
    return await connection.fetchval("SELECT porch.change_handle($1, $2)", handle, most)


async def delete_workspace(
    connection: Connection, actor: UUID, grace: timedelta
) -> tuple[str, datetime | None]:
    """Deletes the transaction's workspace: 'done' and until when it can be had back, or why not."""
    row = await connection.fetchrow("SELECT outcome, ends FROM porch.delete_workspace($1, $2)", actor, grace)
    found = cast("Record", row)
    return found["outcome"], found["ends"]


async def list_deleted(connection: Connection, user: UUID) -> list[DeletedWorkspace]:
    """Somebody's deleted workspaces that can be had back, that first which goes first."""
    rows = await connection.fetch("SELECT * FROM porch.list_deleted_workspaces($1)", user)
    return [msgspec.convert(dict(row.items()), DeletedWorkspace) for row in rows]


async def restore_workspace(connection: Connection, user: UUID, workspace: UUID) -> bool:
    """Has a deleted workspace back for one of its owners; false where there is none to be had."""
    return await connection.fetchval("SELECT porch.restore_workspace($1, $2)", user, workspace)


async def purge(connection: Connection, limit: int) -> int:
    """Removes rows of a workspace whose time is over, at last itself; answers how many."""
    return await connection.fetchval("SELECT porch.purge_deleted_workspaces($1)", limit)
