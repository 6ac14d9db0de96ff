"""What a principal can do with its workspace and with tokens."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from porch.contract.definition import HANDLE, check_handle
from porch.contract.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.contract.principal import Principal
from porch.contract.text import check_text
from porch.identity import people_store, session_store, store
from porch.identity.confirmed import require_confirmed
from porch.identity.doors import Doors
from porch.identity.model import MAX_JOURNAL_DAYS, Reach, Token, Workspace
from porch.identity.narrowing import MOST_AGENTS, Narrowing, narrow, narrow_scopes
from porch.identity.policy import check_grantable
from porch.identity.tokens import MintedToken, mint
from porch.storage.connection import Connection
from porch.storage.database import Database
from porch.storage.retrying import retried

MAX_NAME_BYTES = 200
# By which a name passes for another: marks of direction, spaces without width, fillers, tags. What joins letters and
# emoji, and keeps them apart, stays.
UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
MOST_OWNED = 50
DEFAULT_LIFETIME = timedelta(days=90)
MAX_LIFETIME = timedelta(days=365)
MAX_OVERLAP = timedelta(days=7)


async def read_workspace(principal: Principal, database: Database) -> Workspace:
    """The principal's workspace."""
    async with database.tenant(principal.workspace) as connection:
        found = await store.read_workspace(connection, principal.workspace)
    return _existing(principal, found)


async def list_workspaces(principal: Principal, database: Database) -> list[Reach]:
    """The workspaces that the credential reaches: all of the person's, or the one a token was made in."""
    if principal.via == "session":
        async with database.system() as connection:
            return await people_store.list_workspaces(connection, principal.id)
    found = await read_workspace(principal, database)
    return [
        Reach(
            id=found.id,
            handle=found.handle,
            name=found.name,
            created_at=found.created_at,
            journal_days=found.journal_days,
            role=principal.role,
        )
    ]


@retried
async def make_workspace(
    principal: Principal, database: Database, doors: Doors, *, handle: str, name: str
) -> Workspace:
    """A workspace of the principal's own. Raises MultiUserOff, Forbidden, InvalidInput, Conflict."""
    doors.require()
    if principal.via != "session":
        raise Forbidden("A workspace is made in a signed-in browser: a token reaches the one it was made in.")
    handle = check_handle(handle, "a workspace's handle")
    name = check_name(name or handle, "The workspace's name")
    workspace = new_uuid()
    async with database.system() as connection:
        outcome = await people_store.make_workspace(
            connection, principal.id, workspace, handle, name, MOST_OWNED
        )
    if outcome == "made":
        async with database.tenant(workspace) as connection:
            return _existing(principal, await store.read_workspace(connection, workspace))
    if outcome == "full":
        raise Conflict(f"You own {MOST_OWNED} workspaces, the most that one person may.")
    raise Conflict(f"The handle {handle!r} is taken. Choose another one.")


@retried
async def rename_workspace(principal: Principal, database: Database, name: str) -> Workspace:
    """Gives the workspace another name."""
    principal.require("admin", "workspaces")
    name = check_name(name, "The workspace's name")
    async with database.tenant(principal.workspace) as connection:
        renamed = await store.rename_workspace(connection, principal.workspace, name)
    return _existing(principal, renamed)


@retried
async def keep_journals(principal: Principal, database: Database, days: int | None) -> Workspace:
    """Say for how many days journals of ended runs are kept, None for as long as their runs are."""
    principal.require("admin", "workspaces")
    if days is not None and not 1 <= days <= MAX_JOURNAL_DAYS:
        raise InvalidInput(
            f"Journals are kept for 1 to {MAX_JOURNAL_DAYS} days, or with null for as long as their runs are.",
            errors=[{"pointer": "/journal_days", "detail": "out of range"}],
        )
    async with database.tenant(principal.workspace) as connection:
        changed = await store.keep_journals(connection, principal.workspace, days)
    return _existing(principal, changed)


@retried
async def create_token(
    principal: Principal,
    database: Database,
    *,
    name: str,
    scopes: Sequence[str],
    lifetime: timedelta | None = None,
    agents: Sequence[str] | None = None,
    agent: str | None = None,
    levels: int | None = None,
) -> tuple[Token, MintedToken]:
    """A token for the principal itself, or for an `agent`, with no more scopes and no longer a life than its own.

    What a token makes stands below it, and ends with it; what the operator's own makes stands by itself. `lifetime`
    is 90 days unless given, and a year at most. `agents`, handles or ids, are those that it reaches, all unless given;
    `levels` how many it may make below itself.
    Raises InvalidInput, Forbidden.
    """
    principal.require("write", "tokens")
    name = check_name(name, "The token's name")
    if lifetime is not None and not timedelta() < lifetime <= MAX_LIFETIME:
        raise InvalidInput(
            f"A token lives 1 second to {MAX_LIFETIME.days} days; expires_in gives that in seconds.",
            errors=[{"pointer": "/expires_in", "detail": "out of range"}],
        )
    if any(text.startswith("admin:") for text in scopes):
        await require_confirmed(principal, database)
    async with database.tenant(principal.workspace) as connection:
        used = await _used(connection, principal)
        reached = await _find_agents(connection, principal, agents, "/agents") if agents is not None else None
        itself = (
            (await _find_agents(connection, principal, [agent], "/agent"))[0] if agent is not None else None
        )
        # The operator's own has no end, and is like being signed in: what it makes stands by itself.
        above = used if used is not None and used.expires_at is not None else None
        narrowing = narrow(above, levels, reached, itself)
        granted = check_grantable(principal, narrow_scopes(scopes, narrowing))
        minted = mint("agt" if narrowing.agent else "pat")
        token = await store.insert_token(
            connection,
            principal.workspace,
            minted,
            user=used.user_id if used else principal.id,
            parent=used.id if used else None,
            name=name,
            scopes=granted,
            lifetime=await _lifetime(connection, principal, used, lifetime),
            narrowing=narrowing,
        )
    return token, minted


@retried
async def rotate_token(
    principal: Principal, database: Database, token: str, *, overlap: timedelta = timedelta()
) -> tuple[Token, MintedToken]:
    """A token's successor, which is all that it was; the one before goes on for the `overlap`, a week at most.

    Whoever rotates must have all that it has. What the one before has made ends with it. Raises NotFound, Forbidden,
    InvalidInput, Conflict for one that has a successor, or that has ended.
    """
    principal.require("write", "tokens")
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise InvalidInput(
            f"The one before goes on for 0 seconds to {MAX_OVERLAP.days} days; overlap gives that in seconds.",
            errors=[{"pointer": "/overlap", "detail": "out of range"}],
        )
    async with database.tenant(principal.workspace) as connection:
        found, used = await _reach(connection, principal, token), await _used(connection, principal)
        if found.user_id != (used.user_id if used else principal.id):
            raise Forbidden("Only the person whose token it is rotates it. Others who may can revoke it.")
        if found.expires_at is None:
            raise Forbidden(
                "The operator's token in credentials.json is not rotated: remove the file, and the next start makes "
                "another one and ends this."
            )
        check_grantable(principal, found.scopes)
        minted = mint("agt" if found.agent_id else "pat")
        successor = await store.insert_token(
            connection,
            principal.workspace,
            minted,
            user=found.user_id,
            parent=used.id if used else None,
            name=found.name,
            scopes=found.scopes,
            lifetime=await _lifetime(connection, principal, used, None, found.expires_at - found.created_at),
            narrowing=Narrowing(
                tuple(found.line),
                found.levels,
                tuple(found.agents) if found.agents is not None else None,
                found.agent_id,
            ),
        )
        if not await store.replace_token(connection, found.id, successor.id, overlap):
            raise Conflict(
                "This token has ended, or has a successor already. Look at the list, and rotate that one."
            )
    return successor, minted


async def list_tokens(
    principal: Principal, database: Database, *, before: UUID | None, limit: int, own: bool = False
) -> list[Token]:
    """Tokens that are not revoked, nor one above them, newest first.

    They are the principal's own, with `admin:tokens` and not `own` everybody's; of a narrow one itself and those below.
    """
    principal.require("read", "tokens")
    below = _top(principal)
    everybody = below is not None or (principal.allows("admin", "tokens") and not own)
    user = None if everybody else principal.id
    async with database.tenant(principal.workspace) as connection:
        return await store.list_tokens(connection, principal.workspace, user, before, limit, below=below)


async def read_token(principal: Principal, database: Database, token: str) -> Token:
    """One token by id. Raises NotFound."""
    async with database.tenant(principal.workspace) as connection:
        return await _reach(connection, principal, token)


@retried
async def revoke_token(principal: Principal, database: Database, token: str) -> None:
    """Ends a token at once, and all below it. Raises NotFound for what the principal cannot see."""
    principal.require("write", "tokens")
    async with database.tenant(principal.workspace) as connection:
        found = await _reach(connection, principal, token)
        await store.revoke_token(connection, principal.workspace, found.id)


def check_name(text: str, what: str) -> str:
    """A name people gave: trimmed, not empty, at most 200 bytes, without control and other unseen characters."""
    text = check_text(text.strip(), what, MAX_NAME_BYTES)
    if not text:
        raise InvalidInput(f"{what} is empty; give one.")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise InvalidInput(f"{what} contains a control character; write it on one line.")
    if UNSEEN.search(text):
        raise InvalidInput(
            f"{what} contains a character that nobody sees, or that turns the direction of what stands beside it. "
            "Write it without."
        )
    return text


def _top(principal: Principal) -> UUID | None:
    """The token above all that this credential reaches, where it is a narrow one: those beside and above it are not."""
    return principal.credential if principal.line or principal.agents is not None else None


async def _reach(connection: Connection, principal: Principal, token: str) -> Token:
    found, top = (
        await store.read_token(connection, principal.workspace, parse_id("tok", token)),
        _top(principal),
    )
    if found is not None:
        if top is not None:
            reached = top in (found.id, *found.line)
        else:
            reached = found.user_id == principal.id or principal.allows("admin", "tokens")
        if reached:
            return found
    raise NotFound(f"There is no token {token[:80]!r} here.")


async def _used(connection: Connection, principal: Principal) -> Token | None:
    """The token in use, None for a session. Raises Unauthenticated where it was revoked just now."""
    if principal.via == "session":
        return None
    used = await store.read_token(connection, principal.workspace, principal.credential)
    if used is None or used.revoked_at is not None:
        raise Unauthenticated("The token of this request was revoked meanwhile.")
    return used


async def _lifetime(
    connection: Connection,
    principal: Principal,
    used: Token | None,
    wanted: timedelta | None,
    usual: timedelta = DEFAULT_LIFETIME,
) -> timedelta:
    """How long a token lives that is made now: no longer than what makes it. Raises InvalidInput."""
    if used is None:
        ends = await session_store.session_bound(connection, principal.credential)
    else:
        ends = principal.expires  # those above it are counted in
    remaining = ends - datetime.now(UTC) if ends else None
    if wanted is not None and remaining is not None and wanted > remaining:
        raise InvalidInput(
            "A token cannot outlive the one that makes it. Ask for a shorter expires_in, or use a "
            "credential that lives longer.",
            errors=[{"pointer": "/expires_in", "detail": "longer than the maker's own"}],
        )
    return wanted or min(usual, remaining or usual)


async def _find_agents(
    connection: Connection, principal: Principal, named: Sequence[str], pointer: str
) -> list[UUID]:
    """Agents by handle or id, which the principal reaches. Raises InvalidInput."""
    if not 1 <= len(named) <= MOST_AGENTS:
        raise InvalidInput(
            f"A token reaches 1 to {MOST_AGENTS} agents, or all: leave agents out for that.",
            errors=[{"pointer": pointer, "detail": "out of range"}],
        )
    ids = [parse_id("agt", each) for each in named if each.startswith("agt_")]
    found = await store.find_agents(
        connection, principal.workspace, ids, [each for each in named if HANDLE.fullmatch(each)]
    )
    known = [
        agent
        for agent in found
        if principal.reaches(agent.id)
        and any(principal.allows(verb, "agents", format_id("agt", agent.id)) for verb in ("read", "run"))
    ]
    names = {name for agent in known for name in (agent.handle, format_id("agt", agent.id))}
    if missing := [each for each in named if each not in names]:
        raise InvalidInput(
            f"There is no agent {missing[0][:80]!r} in {principal.workspace_handle!r}. Name it by handle or id.",
            errors=[{"pointer": pointer, "detail": "unknown agent"}],
        )
    return [agent.id for agent in known]


def _existing(principal: Principal, workspace: Workspace | None) -> Workspace:
    if workspace is None:
        raise NotFound(f"The workspace {principal.workspace_handle!r} is gone.")
    return workspace
