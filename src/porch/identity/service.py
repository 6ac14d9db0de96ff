"""What a principal can do with its workspace and with tokens."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from porch.contract.definition import check_handle
from porch.contract.errors import Conflict, Forbidden, InvalidInput, NotFound
from porch.contract.ids import new_uuid, parse_id
from porch.contract.principal import Principal
from porch.contract.text import check_text
from porch.identity import people_store, session_store, store
from porch.identity.doors import Doors
from porch.identity.model import MAX_JOURNAL_DAYS, Reach, Token, Workspace
from porch.identity.policy import check_grantable
from porch.identity.tokens import MintedToken, mint
from porch.storage.connection import Connection
from porch.storage.database import Database
from porch.storage.retrying import retried

MAX_NAME_BYTES = 200
MOST_OWNED = 50
DEFAULT_LIFETIME = timedelta(days=90)
MAX_LIFETIME = timedelta(days=365)


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
    """Gives the workspace another name; its handle stays."""
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
) -> tuple[Token, MintedToken]:
    """A token for the principal itself, with no more scopes and no longer a life than the token used.

    `lifetime` is 90 days unless given, and a year at most. Raises InvalidInput, Forbidden.
    """
    principal.require("write", "tokens")
    name = check_name(name, "The token's name")
    granted = check_grantable(principal, scopes)
    if lifetime is not None and not timedelta() < lifetime <= MAX_LIFETIME:
        raise InvalidInput(
            f"A token lives 1 second to {MAX_LIFETIME.days} days; expires_in gives that in seconds.",
            errors=[{"pointer": "/expires_in", "detail": "out of range"}],
        )
    minted = mint()
    async with database.tenant(principal.workspace) as connection:
        remaining = await _remaining(connection, principal)
        if lifetime is not None and remaining is not None and lifetime > remaining:
            raise InvalidInput(
                "A token cannot outlive the one that makes it. Ask for a shorter expires_in, or use a "
                "credential that lives longer.",
                errors=[{"pointer": "/expires_in", "detail": "longer than the maker's own"}],
            )
        token = await store.insert_token(
            connection,
            principal.workspace,
            minted,
            user=principal.id,
            parent=principal.credential if principal.via == "token" else None,
            name=name,
            scopes=granted,
            lifetime=lifetime or min(DEFAULT_LIFETIME, remaining or DEFAULT_LIFETIME),
        )
    return token, minted


async def list_tokens(
    principal: Principal, database: Database, *, before: UUID | None, limit: int
) -> list[Token]:
    """Tokens that are not revoked, newest first: the principal's own, with `admin:tokens` all."""
    principal.require("read", "tokens")
    user = None if principal.allows("admin", "tokens") else principal.id
    async with database.tenant(principal.workspace) as connection:
        return await store.list_tokens(connection, principal.workspace, user, before, limit)


async def read_token(principal: Principal, database: Database, token: str) -> Token:
    """One token by id. Raises NotFound."""
    async with database.tenant(principal.workspace) as connection:
        return await _reach(connection, principal, token)


@retried
async def revoke_token(principal: Principal, database: Database, token: str) -> None:
    """Ends a token at once. Raises NotFound for what the principal cannot see."""
    principal.require("write", "tokens")
    async with database.tenant(principal.workspace) as connection:
        found = await _reach(connection, principal, token)
        await store.revoke_token(connection, principal.workspace, found.id)


def check_name(text: str, what: str) -> str:
    """A name people gave: trimmed, not empty, at most 200 bytes, without control characters."""
    text = check_text(text.strip(), what, MAX_NAME_BYTES)
    if not text:
        raise InvalidInput(f"{what} is empty; give one.")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise InvalidInput(f"{what} contains a control character; write it on one line.")
    return text


async def _reach(connection: Connection, principal: Principal, token: str) -> Token:
    found = await store.read_token(connection, principal.workspace, parse_id("tok", token))
    if found is None or not (found.user_id == principal.id or principal.allows("admin", "tokens")):
        raise NotFound(f"There is no token {token[:80]!r} here.")
    return found


async def _remaining(connection: Connection, principal: Principal) -> timedelta | None:
    """How long the token in use has left, or the one that a session comes from; None for ever."""
    if principal.via == "session":
        ends = await session_store.session_bound(connection, principal.credential)
    else:
        used = await store.read_token(connection, principal.workspace, principal.credential)
        ends = used.expires_at if used else None
    return ends - datetime.now(UTC) if ends else None


def _existing(principal: Principal, workspace: Workspace | None) -> Workspace:
    if workspace is None:
        raise NotFound(f"The workspace {principal.workspace_handle!r} is gone.")
    return workspace
