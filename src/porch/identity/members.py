"""Who belongs to a workspace, and as what."""

from typing import cast, get_args
from uuid import UUID

from porch.contract.errors import Conflict, Forbidden, InvalidInput, NotFound
from porch.contract.ids import parse_id
from porch.contract.principal import Principal, Role
from porch.identity import member_store
from porch.identity.confirmed import require_confirmed
from porch.identity.model import Member
from porch.storage.database import Database
from porch.storage.retrying import retried

ROLE_NAMES = get_args(Role)


async def list_members(
    principal: Principal, database: Database, *, after: UUID | None = None, limit: int = 200
) -> list[Member]:
    """Who belongs to the workspace, the older account first."""
    principal.require("read", "members")
    async with database.tenant(principal.workspace) as connection:
        return await member_store.list_members(connection, after, limit)


@retried
async def change_role(principal: Principal, database: Database, user: str, role: str) -> None:
    """Give somebody another role. Raises InvalidInput, NotFound, Forbidden, Conflict for the last owner.

    Whoever serves must make its `Authenticator` forget afterwards.
    """
    principal.require("admin", "members")
    wanted = check_role(role)
    check_giver(principal, wanted)
    if wanted in ("owner", "admin"):
        await require_confirmed(principal, database)
    await _change(principal, database, parse_id("usr", user), wanted)


@retried
async def remove(principal: Principal, database: Database, user: str) -> None:
    """Take somebody out of the workspace, or leave it: their tokens there end.

    Raises NotFound, Forbidden, Conflict for the last owner. Whoever serves must make its `Authenticator` forget
    afterwards.
    """
    found = parse_id("usr", user)
    principal.require("write" if found == principal.id else "admin", "members")
    await _change(principal, database, found, None)


def check_role(text: str) -> Role:
    """A role by its name. Raises InvalidInput."""
    if text not in ROLE_NAMES:
        raise InvalidInput(
            f"{text[:40]!r} is no role. It is one of {', '.join(ROLE_NAMES)}.",
            errors=[{"pointer": "/role", "detail": "not a role"}],
        )
    return cast("Role", text)


def check_giver(principal: Principal, role: Role) -> None:
    """Raise Forbidden where a credential would give away more than it can do itself."""
    if role in ("owner", "admin"):
        principal.require("admin", "*")


async def _change(principal: Principal, database: Database, user: UUID, role: Role | None) -> None:
    async with database.tenant(principal.workspace) as connection:
        outcome = await member_store.change_member(connection, principal.id, user, role)
    if outcome == "missing":
        raise NotFound("There is no such member here.")
    if outcome == "forbidden":
        raise Forbidden(
            "Only an owner makes, changes or removes owners, and only owners and admins the others."
        )
    if outcome == "at_home":
        raise Conflict("This is the workspace of whoever runs this Porch; they stay one of its owners.")
    if outcome == "last_owner":
        raise Conflict(
            "A workspace keeps an owner, and this is its last one. Make somebody else an owner first."
        )
