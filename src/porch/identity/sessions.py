"""Signing in: a link that works once becomes a session, a person's own credential in a browser.

A session lives 30 days after its last use and 90 in all. Its secret is kept by the browser alone (a cookie), here
its SHA-256. What a person may do in it, their role says.
"""

import base64
import hmac
import re
from datetime import timedelta
from uuid import UUID

from porch.contract.errors import Forbidden, NotFound
from porch.contract.ids import new_uuid, parse_id
from porch.contract.principal import Principal
from porch.identity import session_store
from porch.identity.doors import Doors
from porch.identity.model import NewLink, Session, SignInLink
from porch.identity.tokens import digest, is_link, mint, mint_link
from porch.storage.database import Database
from porch.storage.retrying import retried

LINK_LIFETIME = timedelta(minutes=15)
IDLE_LIFETIME = timedelta(days=30)
WHOLE_LIFETIME = timedelta(days=90)
MAX_AGENT = 300
WORKSPACE_DIGITS = 32
_CSRF = re.compile(rf"[0-9a-f]{{{WORKSPACE_DIGITS}}}[A-Za-z0-9_-]{{43}}")


@retried
async def create_link(principal: Principal, database: Database, doors: Doors, url: str) -> NewLink:
    """A link below `url` that signs the principal itself in, once. Raises Forbidden.

    Only a token with the scope `admin:*` may: a session can do all that its user can. Revoking the token closes
    the link; no session of it outlives the token's end, and nothing that such a session makes does.
    """
    if principal.via != "token":
        raise Forbidden(
            "A sign-in link is made with a token, not from a signed-in browser. Run porch sign-in where Porch runs."
        )
    principal.require("admin", "*")
    if principal.line:
        # The session would go on when a token above this one ends.
        raise Forbidden("A token that another one made signs nobody in. Make the link with the one above it.")
    secret = mint_link()
    async with database.system() as connection:
        if doors.multi_user and not await session_store.is_at_home(
            connection, principal.id, principal.workspace
        ):
            # A token is a person in one workspace; a session reaches all of theirs.
            raise Forbidden(
                "Only whoever runs this Porch signs in by links, with a token of their first workspace. Sign in with "
                "your name and password."
            )
        expires = await session_store.make_link(
            connection, principal.id, digest(secret), LINK_LIFETIME, principal
        )
    if expires is None:
        raise Forbidden("The token of this request was revoked meanwhile. Make the link with another one.")
    return NewLink(url=f"{url.rstrip('/')}/sign-in/{secret}", expires_at=expires)


async def read_link(database: Database, secret: str) -> SignInLink | None:
    """Whose link this is and whether it still works; reading uses nothing up. None for one that never was."""
    if not is_link(secret):
        return None
    async with database.system() as connection:
        return await session_store.read_link(connection, digest(secret))


@retried
async def redeem_link(
    database: Database, secret: str, *, address: str | None = None, agent: str | None = None
) -> str | None:
    """The secret of a new session, None when the link is used, expired or unknown. Works once."""
    if not is_link(secret):
        return None
    minted = mint("ses")
    async with database.system() as connection:
        done = await session_store.redeem_link(
            connection,
            digest(secret),
            new_uuid(),
            minted.digest,
            idle=IDLE_LIFETIME,
            whole=WHOLE_LIFETIME,
            address=address,
            agent=printable_agent(agent),
        )
    return minted.text if done else None


async def list_sessions(principal: Principal, database: Database) -> list[Session]:
    """The principal's own open sessions, the one used last first."""
    principal.require("read", "tokens")
    async with database.system() as connection:
        return await session_store.list_sessions(connection, principal.id)


@retried
async def end_session(principal: Principal, database: Database, session: str) -> None:
    """Ends one of the principal's own sessions. Raises NotFound.

    Whoever serves must make its `Authenticator` forget afterwards.
    """
    principal.require("write", "tokens")
    async with database.system() as connection:
        if not await session_store.end_session(connection, principal.id, parse_id("ses", session)):
            raise NotFound(f"There is no open session {session[:80]!r} of yours; it may have ended already.")


def csrf_token(secret: str, workspace: UUID | None = None) -> str:
    """What a page of this session sends along to show that it is ours: it cannot be made without the secret.

    Where people are in several workspaces it begins with the one that the page was made for, as 32 hex digits: what is
    sent from it is meant for that one, wherever the session is by then.
    """
    mac = hmac.digest(secret.encode(), b"csrf" + (workspace.bytes if workspace else b""), "sha256")
    return (workspace.hex if workspace else "") + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def csrf_workspace(token: str) -> UUID | None:
    """The workspace of a CSRF token's page, None for what cannot be one. Whether it is genuine this does not tell."""
    return UUID(hex=token[:WORKSPACE_DIGITS]) if _CSRF.fullmatch(token) else None


async def switch_workspace(principal: Principal, database: Database, named: str) -> None:
    """Move the principal's session into another of its workspaces, by handle or id. Raises NotFound, Forbidden.

    Whoever serves must make its `Authenticator` forget afterwards.
    """
    if principal.via != "session":
        raise Forbidden("A token stays in the workspace it was made in. Use one of the other workspace.")
    async with database.system() as connection:
        if not await session_store.switch_workspace(connection, principal.id, principal.credential, named):
            raise NotFound(f"You do not belong to a workspace {named[:80]!r}.")


async def begin_session(
    database: Database,
    user: UUID,
    *,
    password: str,
    workspace: UUID | None,
    address: str | None,
    agent: str | None,
) -> str | None:
    """The secret of a new session of somebody who showed a password; None if what that was checked with has changed.

    `password` is what is kept of it.
    """
    minted = mint("ses")
    async with database.system() as connection:
        begun = await session_store.begin_session(
            connection,
            user,
            new_uuid(),
            minted.digest,
            idle=IDLE_LIFETIME,
            whole=WHOLE_LIFETIME,
            address=address,
            agent=printable_agent(agent),
            workspace=workspace,
            password=password,
        )
    return minted.text if begun else None


async def instance(database: Database) -> str:
    """8 hex digits that tell this installation's cookies from those of others on the same host."""
    async with database.system() as connection:
        return (await session_store.installation_id(connection)).hex[:8]


def printable_agent(agent: str | None) -> str | None:
    """What a browser calls itself, as far as it can be shown."""
    return "".join(char for char in agent if char.isprintable())[:MAX_AGENT] if agent else None
