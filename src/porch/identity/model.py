"""What identity knows: workspaces, tokens, sessions, and the operator's way in."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from porch.contract.principal import Role

MAX_JOURNAL_DAYS = 36_500


class Workspace(Struct, frozen=True, kw_only=True):
    """A tenant."""

    id: UUID
    handle: str
    name: str
    created_at: datetime
    journal_days: int | None = None


class Token(Struct, frozen=True, kw_only=True):
    """A token as lists show it; the text itself is kept nowhere.

    `line` are the tokens above it, the uppermost first, and `levels` how many it may make below itself. It reaches
    `agents`, or all where that is None, and stands for the person, or for the agent of `agent_id`.
    """

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str | None
    line: list[UUID] = []
    levels: int = 4
    agents: list[UUID] | None = None
    agent_id: UUID | None = None
    replaced_by: UUID | None = None


class NamedAgent(Struct, frozen=True, kw_only=True):
    """An agent as a token names it."""

    id: UUID
    handle: str


class Session(Struct, frozen=True, kw_only=True):
    """A signed-in browser. Its secret is kept nowhere but there."""

    id: UUID
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    last_used_from: str | None
    user_agent: str | None


class SignInLink(Struct, frozen=True, kw_only=True):
    """A sign-in link as it stands, and whom it signs in."""

    user_id: UUID
    user_name: str
    state: Literal["open", "used", "expired"]


class NewLink(Struct, frozen=True, kw_only=True):
    """A sign-in link just made; the URL is shown this once."""

    url: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"NewLink(expires_at={self.expires_at.isoformat()})"


class Operator(Struct, frozen=True, kw_only=True):
    """The person who runs this installation, and the workspace they got with it."""

    user_id: UUID
    name: str
    workspace_id: UUID
    handle: str


class Credentials(Struct, frozen=True, kw_only=True):
    """`credentials.json`: where the server is and how to speak to it."""

    url: str
    token: str
    workspace: str

    def __repr__(self) -> str:
        return f"Credentials(url={self.url!r}, workspace={self.workspace!r})"


class Reach(Struct, frozen=True, kw_only=True):
    """A workspace that somebody belongs to, and as what."""

    id: UUID
    handle: str
    name: str
    created_at: datetime
    journal_days: int | None
    role: Role


class DeletedWorkspace(Struct, frozen=True, kw_only=True):
    """A deleted workspace, which its owners can have back until it ends."""

    id: UUID
    handle: str
    name: str
    ends_at: datetime
    deleted_by: str


class Member(Struct, frozen=True, kw_only=True):
    """Somebody who belongs to a workspace. Who only ever used sign-in links has no `login`."""

    user_id: UUID
    name: str
    login: str | None
    role: Role
    joined_at: datetime


class Invitation(Struct, frozen=True, kw_only=True):
    """An invitation as lists show it; its link is kept nowhere."""

    id: UUID
    role: Role
    created_by: UUID
    created_at: datetime
    expires_at: datetime


class NewInvitation(Struct, frozen=True, kw_only=True):
    """An invitation just made; the URL is shown this once."""

    invitation: Invitation
    url: str

    def __repr__(self) -> str:
        return f"NewInvitation(invitation={self.invitation!r})"


class Invited(Struct, frozen=True, kw_only=True):
    """What an invitation is for, as whoever holds the link sees it."""

    workspace_id: UUID
    handle: str
    name: str
    role: Role
    invited_by: str
    state: Literal["open", "used", "expired"]


class Passkey(Struct, frozen=True, kw_only=True):
    """A passkey as lists show it."""

    id: UUID
    credential: bytes
    name: str
    transports: list[str]
    created_at: datetime
    last_used_at: datetime | None
