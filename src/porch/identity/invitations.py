"""Invitations: a link by which somebody joins a workspace, once."""

from datetime import timedelta
from uuid import UUID

from porch.contract.errors import Conflict, Forbidden, InvalidInput, NotFound
from porch.contract.ids import new_uuid, parse_id
from porch.contract.principal import Principal, Role
from porch.identity import member_store
from porch.identity.confirmed import require_confirmed
from porch.identity.doors import Doors
from porch.identity.members import check_giver, check_role
from porch.identity.model import Invitation, Invited, NewInvitation
from porch.identity.tokens import digest, is_well_formed, mint
from porch.storage.connection import is_dangling
from porch.storage.database import Database
from porch.storage.retrying import retried

LIFETIME = timedelta(days=7)
SHORTEST, LONGEST = timedelta(hours=1), timedelta(days=30)
MOST_OPEN = 200


@retried
async def invite(
    principal: Principal,
    database: Database,
    doors: Doors,
    url: str,
    *,
    role: str,
    lifetime: timedelta | None = None,
) -> NewInvitation:
    """A link below `url` by which one person joins the workspace with this role.

    Raises MultiUserOff, Forbidden for a role above the principal's own, InvalidInput, Conflict for too many.
    """
    doors.require()
    principal.require("admin", "members")
    wanted = check_role(role)
    check_giver(principal, wanted)
    if wanted in ("owner", "admin"):
        await require_confirmed(principal, database)
    if wanted == "owner" and principal.role != "owner":
        raise Forbidden("Only an owner makes owners. Invite with another role.")
    if lifetime is not None and not SHORTEST <= lifetime <= LONGEST:
        raise InvalidInput(
            "An invitation lasts from an hour to 30 days; expires_in gives that in seconds.",
            errors=[{"pointer": "/expires_in", "detail": "out of range"}],
        )
    minted = mint("inv")
    try:
        made = await _keep(principal, database, minted.digest, wanted, lifetime or LIFETIME)
    except Exception as error:
        if is_dangling(error):
            raise Forbidden("You do not belong to this workspace any more.") from error
        raise
    return NewInvitation(invitation=made, url=f"{url.rstrip('/')}/join/{minted.text}")


async def _keep(
    principal: Principal, database: Database, digest: bytes, role: Role, lifetime: timedelta
) -> Invitation:
    workspace = principal.workspace
    async with database.tenant(workspace) as connection:
        if await member_store.count_open(connection, workspace, MOST_OPEN) >= MOST_OPEN:
            raise Conflict(f"{MOST_OPEN} invitations are open already. Revoke some that nobody will use.")
        return await member_store.insert_invitation(
            connection, workspace, new_uuid(), digest, role, principal.id, lifetime
        )


async def list_open(
    principal: Principal, database: Database, *, before: UUID | None = None, limit: int = MOST_OPEN
) -> list[Invitation]:
    """Invitations that can still be used, newest first."""
    principal.require("admin", "members")
    async with database.tenant(principal.workspace) as connection:
        return await member_store.list_invitations(connection, principal.workspace, before, limit)


@retried
async def revoke(principal: Principal, database: Database, invitation: str) -> None:
    """Ends an invitation that nobody has used yet. Raises NotFound."""
    principal.require("admin", "members")
    async with database.tenant(principal.workspace) as connection:
        found = parse_id("inv", invitation)
        if not await member_store.revoke_invitation(connection, principal.workspace, found):
            raise NotFound("There is no open invitation of that id here; it may have been used.")


async def read(database: Database, secret: str) -> Invited | None:
    """What an invitation is for, and whether it still works; None for one that never was."""
    if not is_well_formed(secret, "inv"):
        return None
    async with database.system() as connection:
        return await member_store.read_invitation(connection, digest(secret))


async def check_open(database: Database, secret: str) -> bytes:
    """The digest of an invitation that still works. Raises NotFound."""
    found = await read(database, secret)
    if found is None or found.state != "open":
        raise gone()
    return digest(secret)


@retried
async def accept(principal: Principal, database: Database, doors: Doors, secret: str) -> Invited:
    """Join the workspace that the invitation is for, with the session. Raises MultiUserOff, Forbidden, NotFound.

    Whoever serves must make its `Authenticator` forget afterwards.
    """
    doors.require()
    if principal.via != "session":
        raise Forbidden("An invitation is accepted in a signed-in browser, not with a token.")
    found = await read(database, secret)
    if found is None:
        raise gone()
    async with database.system() as connection:
        joined = await member_store.accept_invitation(connection, digest(secret), principal.id)
        if joined is None and not await member_store.belongs(connection, principal.id, found.workspace_id):
            raise gone()
    return found


def gone() -> NotFound:
    """What is said of an invitation that does not work."""
    return NotFound("This invitation does not work any more. Ask whoever sent it for a new one.")
