"""What identity knows: workspaces, tokens, sessions, and the operator's way in."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

MAX_JOURNAL_DAYS = 36_500


class Workspace(Struct, frozen=True, kw_only=True):
    """A tenant."""

    id: UUID
    handle: str
    name: str
    created_at: datetime
    journal_days: int | None = None


class Token(Struct, frozen=True, kw_only=True):
    """A personal access token as lists show it; the text itself is kept nowhere."""

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
