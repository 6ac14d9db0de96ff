"""Guests: visitors of a site that embeds an agent. They have a short token, and one agent to talk to."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from porch.contract.attachments import MIB
from porch.contract.errors import RateLimited, Unauthenticated
from porch.contract.ids import format_id, new_uuid
from porch.contract.principal import Principal
from porch.identity import guest_store
from porch.identity.limits import (
    FILES,
    RENEWALS,
    RUNS,
    VISITORS_OF_ADDRESS,
    VISITORS_OF_AGENT,
    network_of,
    use_limit,
)
from porch.identity.origins import OriginNotAllowed
from porch.identity.tokens import digest, is_well_formed, mint
from porch.storage.connection import Connection, Record
from porch.storage.database import Database
from porch.storage.retrying import retried

LIFETIME = timedelta(hours=1)
# How long after its token's end a guest can come back with it, as the same one.
BACK = timedelta(days=30)
BUSY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Visit:
    """A guest and a token just made for it, whose text is shown this once."""

    guest: UUID
    token: str = field(repr=False)
    expires_at: datetime


async def admit(
    connection: Connection,
    workspace: UUID,
    agent: UUID,
    origin: str,
    *,
    known_by: str | None,
    address: str | None,
) -> Visit:
    """A token for a visitor of `origin`, which must be one of the agent's, in a transaction of the workspace.

    With `known_by`, a token of up to 30 days ago for this agent, the guest is that one; any other makes a new one.
    Raises OriginNotAllowed for a token of another site, RateLimited.
    """
    guest = await _returning(connection, workspace, agent, origin, known_by)
    if guest is not None:
        await use_limit(connection, workspace, RENEWALS, guest)
        if not await guest_store.keep_guest(connection, workspace, guest, LIFETIME + BACK):
            guest = None
    if guest is None:
        await use_limit(connection, workspace, VISITORS_OF_ADDRESS, agent, network_of(address))
        await use_limit(connection, workspace, VISITORS_OF_AGENT, agent)
        guest = new_uuid()
        await guest_store.insert_guest(connection, workspace, guest, agent, LIFETIME + BACK)
    minted = mint("gst")
    expires = await guest_store.insert_token(connection, workspace, guest, minted.digest, origin, LIFETIME)
    return Visit(guest=guest, token=minted.text, expires_at=expires)


async def _returning(
    connection: Connection, workspace: UUID, agent: UUID, origin: str, token: str | None
) -> UUID | None:
    if token is None or not is_well_formed(token, "gst"):
        return None
    row = await guest_store.find_returning(connection, workspace, agent, digest(token), BACK)
    if row is None:
        return None
    if row["origin"] != origin:
        raise OriginNotAllowed(
            f"This guest's token was made for {row['origin']!r}, and {origin!r} asks with it. Ask without one there."
        )
    return row["guest_id"]


async def authenticate_guest(database: Database, token: str) -> tuple[Principal, datetime]:
    """Whom a guest's token stands for, and until when. Raises Unauthenticated, OriginNotAllowed.

    Whether the request comes from its site is the caller's to check, by `check_site`.
    """
    row = None
    if is_well_formed(token, "gst"):
        async with database.system() as connection:
            row = await guest_store.find_guest(connection, digest(token))
    if row is None:
        raise Unauthenticated(
            "This guest's token is unknown here or has expired. Ask for a new one where it came from; with this one "
            "it is the same guest's."
        )
    if not row["allowed"]:
        raise OriginNotAllowed(
            f"The agent is not embedded in {row['origin']!r} any more, so its visitors' tokens have ended."
        )
    return _principal(row), row["expires_at"]


def check_site(principal: Principal, origin: str | None) -> None:
    """Raise OriginNotAllowed when a page of another site asks with a guest's token; programs name none."""
    if origin is not None and origin != principal.origin:
        raise OriginNotAllowed(
            f"This guest's token is for pages of {principal.origin!r}, and {origin[:100]!r} asks with it."
        )


@retried
async def pace_runs(database: Database, principal: Principal, conversation: UUID, size: int) -> None:
    """Let a guest begin a run with `size` bytes of files.

    Raises RateLimited when one is at work elsewhere, or when there were too many, or too many bytes.
    """
    async with database.tenant(principal.workspace) as connection:
        if await guest_store.has_run_elsewhere(connection, principal.workspace, principal.id, conversation):
            raise occupied()
        await use_limit(connection, principal.workspace, RUNS, principal.id)
        if size:
            await use_limit(connection, principal.workspace, FILES, principal.id, cost=-(-size // MIB))


def occupied() -> RateLimited:
    """What a guest is told who asks in two conversations at once."""
    return RateLimited(
        "An answer is being written in another conversation of yours. Wait for its end, or stop it there.",
        retry_after=BUSY_SECONDS,
    )


async def purge_guests(database: Database, limit: int) -> int:
    """Removes, in all workspaces, guests who will not come back, and forgets limits that are free; answers how many
    rows it looked at."""
    async with database.system() as connection:
        return await guest_store.purge(connection, BACK, limit)


def _principal(row: Record) -> Principal:
    return Principal(
        kind="guest",
        id=row["guest_id"],
        workspace=row["workspace_id"],
        workspace_handle=row["handle"],
        role="viewer",
        scopes=frozenset({f"run:agents:{format_id('agt', row['agent_id'])}", "read:conversations"}),
        credential=row["token_id"],
        agent=row["agent_id"],
        agents=frozenset({row["agent_id"]}),
        origin=row["origin"],
        expires=row["expires_at"],
    )
