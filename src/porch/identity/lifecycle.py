"""What becomes of workspaces: another handle, deletion, and having one back while there is time."""

from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from porch.contract.definition import HANDLE, check_handle
from porch.contract.errors import Conflict, Forbidden, InvalidInput, NotFound
from porch.contract.ids import parse_id
from porch.contract.principal import Principal
from porch.identity import lifecycle_store as store
from porch.identity import store as workspaces
from porch.identity.confirmed import require_confirmed
from porch.identity.model import DeletedWorkspace, Workspace
from porch.storage.database import Database
from porch.storage.retrying import retried

# How long a deleted workspace can be had back.
GRACE = timedelta(days=7)
# What a workspace may be called in its life: all of it is kept for it, and nobody else's for ever.
MOST_HANDLES = 10


async def follow_handle(database: Database, handle: str) -> tuple[UUID, str] | None:
    """The workspace that has this handle, or had it once, and what it is called now; None where it leads nowhere."""
    if not HANDLE.fullmatch(handle):
        return None
    async with database.system() as connection:
        return await store.follow_handle(connection, handle)


async def former_handles(principal: Principal, database: Database) -> list[str]:
    """What the workspace was called before, the latest first. They lead to it still."""
    principal.require("read", "workspaces")
    async with database.tenant(principal.workspace) as connection:
        return await store.former_handles(connection)


@retried
async def change_handle(principal: Principal, database: Database, handle: str) -> Workspace:
    """Call the workspace something else. The handle before goes on leading to it, and is never another's.

    Raises Forbidden, ConfirmationNeeded, InvalidInput, Conflict for a handle that is or was another's. Whoever serves
    must make its `Authenticator` forget afterwards.
    """
    principal.require("admin", "workspaces")
    handle = check_handle(handle, "a workspace's handle")
    if handle != principal.workspace_handle:
        await require_confirmed(principal, database)
    async with database.tenant(principal.workspace) as connection:
        outcome = await store.change_handle(connection, handle, MOST_HANDLES)
        if outcome == "done":
            found = await workspaces.read_workspace(connection, principal.workspace)
            if found is None:
                raise NotFound(f"The workspace {principal.workspace_handle!r} is gone.")
            return found
    if outcome == "full":
        raise Conflict(
            f"This workspace has had {MOST_HANDLES} handles, the most that one may, since all are kept for it. Take "
            "one of those again."
        )
    raise Conflict(
        f"The handle {handle!r} is taken, or was another workspace's once, whose it stays. Choose another one."
    )


@retried
async def delete_workspace(principal: Principal, database: Database, handle: str) -> datetime:
    """Delete the workspace, whose `handle` is repeated; answers until when its owners can have it back.

    Nobody gets in any more, its agents' work is cancelled, its streams end. Raises Forbidden, ConfirmationNeeded,
    InvalidInput, Conflict. Whoever serves must make its `Authenticator` forget afterwards.
    """
    if principal.via != "session":
        raise Forbidden(
            "A workspace is deleted in a signed-in browser, by one of its owners, and with no token."
        )
    if principal.role != "owner":
        raise _owners_only()
    if handle.strip().removeprefix("@") != principal.workspace_handle:
        raise InvalidInput(
            f"Write {principal.workspace_handle!r}, the handle of the workspace that goes, to delete it.",
            errors=[{"pointer": "/handle", "detail": "is not the workspace's"}],
        )
    await require_confirmed(principal, database)
    async with database.tenant(principal.workspace) as connection:
        outcome, ends = await store.delete_workspace(connection, principal.id, GRACE)
    if outcome == "forbidden":
        raise _owners_only()
    if outcome == "at_home":
        raise Conflict(
            "This is the workspace of whoever runs this Porch. It stays as long as the installation."
        )
    if outcome == "only":
        raise Conflict("This is your only workspace. Make another one first, and delete this one then.")
    return cast("datetime", ends)


async def list_deleted(principal: Principal, database: Database) -> list[DeletedWorkspace]:
    """The person's own deleted workspaces that they can have back; none for a token."""
    if principal.via != "session":
        return []
    async with database.system() as connection:
        return await store.list_deleted(connection, principal.id)


@retried
async def restore_workspace(principal: Principal, database: Database, workspace: str) -> DeletedWorkspace:
    """Have one of one's deleted workspaces back, with all that was in it. Raises Forbidden, NotFound.

    Whoever serves must make its `Authenticator` forget afterwards.
    """
    if principal.via != "session":
        raise Forbidden(
            "A workspace is had back in a signed-in browser: no token reaches one that is deleted."
        )
    wanted = parse_id("ws", workspace)
    async with database.tenant(wanted) as connection:
        found = [each for each in await store.list_deleted(connection, principal.id) if each.id == wanted]
        if not found or not await store.restore_workspace(connection, principal.id, wanted):
            raise NotFound("There is no such workspace to be had back. Its time may be over.")
    return found[0]


async def purge_workspaces(database: Database, limit: int) -> int:
    """Removes what is left of workspaces whose time is over, some rows at once; answers how many."""
    async with database.system() as connection:
        return await store.purge(connection, limit)


def _owners_only() -> Forbidden:
    return Forbidden("Only an owner deletes a workspace.")
