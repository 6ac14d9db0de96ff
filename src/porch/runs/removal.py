"""Runs that their callers want to be gone."""

from uuid import UUID

from porch.storage.database import Database
from porch.storage.retrying import retried


@retried
async def forget_request(database: Database, workspace: UUID, conversation: UUID, run: UUID) -> None:
    """Take away what a caller's protocol finds the run again by.

    The ephemeral conversation goes with the last of its runs that is kept to be found, unless one is at work.
    """
    async with database.tenant(workspace) as connection:
        await connection.execute(
            "UPDATE porch.runs SET options = options - 'request' WHERE workspace_id = $1 AND id = $2",
            workspace,
            run,
        )
        await connection.execute(
            "UPDATE porch.conversations c SET deleted_at = now(), expires_at = now()"
            " WHERE c.workspace_id = $1 AND c.id = $2 AND c.expires_at IS NOT NULL AND NOT EXISTS ("
            "  SELECT FROM porch.runs r WHERE r.workspace_id = $1 AND r.conversation_id = $2"
            "  AND (r.options -> 'request' ->> 'store' = 'true' OR r.status IN ('running', 'paused')))"
            " AND NOT EXISTS ("
            "  SELECT FROM porch.queued_runs q WHERE q.workspace_id = $1 AND q.conversation_id = $2)",
            workspace,
            conversation,
        )
