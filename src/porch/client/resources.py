"""What a server keeps, as a program asks for it: agents, conversations, tokens, links to sign in."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from porch.client.connection import Connection
from porch.client.errors import ApiError
from porch.contract.errors import InvalidInput

API = "/api/v1"
Json = dict[str, Any]


class Agents:
    """A workspace's agents."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, workspace: str) -> AsyncIterator[Json]:
        """All of them."""
        return _pages(self._connection, in_workspace(workspace, "agents"))

    async def get(self, workspace: str, agent: str) -> Json:
        """One agent with its definition."""
        return await self._connection.send("GET", in_workspace(workspace, "agents", agent))

    async def create(self, workspace: str, definition: Json) -> Json:
        """A new agent, as a draft."""
        return await self._connection.send("POST", in_workspace(workspace, "agents"), body=definition)

    async def update(self, workspace: str, agent: str, definition: Json) -> Json:
        """Replace an agent's draft."""
        return await self._connection.send("PUT", in_workspace(workspace, "agents", agent), body=definition)

    async def change(self, workspace: str, agent: str, patch: Json) -> Json:
        """Change some keys of an agent's draft, by a JSON merge patch (RFC 7396)."""
        return await self._connection.send("PATCH", in_workspace(workspace, "agents", agent), body=patch)

    async def delete(self, workspace: str, agent: str) -> None:
        """Remove an agent."""
        await self._connection.send("DELETE", in_workspace(workspace, "agents", agent))

    async def publish(self, workspace: str, agent: str) -> Json:
        """Freeze the draft as the next version."""
        return await self._connection.send("POST", in_workspace(workspace, "agents", agent, "versions"))

    def versions(self, workspace: str, agent: str) -> AsyncIterator[Json]:
        """The published versions."""
        return _pages(self._connection, in_workspace(workspace, "agents", agent, "versions"))


class Conversations:
    """Conversations with agents."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, workspace: str, agent: str, *, draft: bool = False) -> Json:
        """A new conversation; its `id` is what `AsyncPorch.stream` wants. With `draft` the agent's draft answers."""
        path = in_workspace(workspace, "agents", agent, "conversations")
        return await self._connection.send("POST", path, body={"draft": True} if draft else None)

    def find(self, words: str = "", agent: str | None = None) -> AsyncIterator[Json]:
        """One's own, the last active first; with words, those that hold them, and a `snippet` of each."""
        query = {"q": words or None, "agent": agent}
        return _pages(self._connection, f"{API}/conversations", query)

    async def get(self, conversation: str) -> Json:
        """One conversation."""
        return await self._connection.send("GET", of_conversation(conversation))

    def messages(self, conversation: str) -> AsyncIterator[Json]:
        """What was said in it, in all its branches, as it was made; `parent` says what each follows.

        What the conversation shows is its `head`, the `parent` of that, and so on.
        """
        return _pages(self._connection, of_conversation(conversation, "messages"))

    async def update(self, conversation: str, *, title: str | None = None, head: str | None = None) -> Json:
        """Rename it, or make another message the end of the branch that goes on."""
        given = {"title": title, "head": head}
        body = {key: value for key, value in given.items() if value is not None}
        return await self._connection.send("PATCH", of_conversation(conversation), body=body)

    async def delete(self, conversation: str) -> None:
        """Take it away; `restore` brings it back within ten minutes."""
        await self._connection.send("DELETE", of_conversation(conversation))

    async def restore(self, conversation: str) -> Json:
        """Bring back what was just deleted."""
        return await self._connection.send("POST", of_conversation(conversation, "restore"))

    async def share(self, conversation: str) -> Json:
        """A link to it as it stands; `url`, a path of the server, is shown this once."""
        return await self._connection.send("POST", of_conversation(conversation, "shares"))

    def shares(self, conversation: str) -> AsyncIterator[Json]:
        """Its links that are not revoked."""
        return _pages(self._connection, of_conversation(conversation, "shares"))

    async def revoke(self, conversation: str, share: str) -> None:
        """Close a link at once."""
        await self._connection.send("DELETE", of_conversation(conversation, "shares", share))


class Tokens:
    """A workspace's tokens."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, workspace: str) -> AsyncIterator[Json]:
        """All of them, without the secrets."""
        return _pages(self._connection, in_workspace(workspace, "tokens"))

    async def create(
        self,
        workspace: str,
        name: str,
        scopes: "list[str]",
        expires_in: int | None = None,
        *,
        agents: "list[str] | None" = None,
        agent: str | None = None,
        levels: int | None = None,
    ) -> Json:
        """A new token below the one in use; `token` in the answer is shown this once. `expires_in` is in seconds.

        It reaches `agents` alone, by handle or id, or all; it stands for `agent` in place of the user; it may make
        `levels` of tokens below itself.
        """
        bounds = {"expires_in": expires_in or None, "agents": agents, "agent": agent, "levels": levels}
        given = {key: value for key, value in bounds.items() if value is not None}
        body = {"name": name, "scopes": scopes, **given}
        return await self._connection.send("POST", in_workspace(workspace, "tokens"), body=body)

    async def rotate(self, workspace: str, token: str, overlap: int = 0) -> Json:
        """A token's successor, shown this once; the one before goes on for `overlap` seconds, a week at most."""
        path = in_workspace(workspace, "tokens", token, "rotate")
        return await self._connection.send("POST", path, body={"overlap": overlap})

    async def revoke(self, workspace: str, token: str) -> None:
        """Make a token worthless at once."""
        await self._connection.send("DELETE", in_workspace(workspace, "tokens", token))


class Approvals:
    """Calls that wait for a person."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, decided: bool = False) -> AsyncIterator[Json]:
        """What waits for the token's user, newest first, or what was decided. `canonical` is what would run."""
        return _pages(self._connection, f"{API}/approvals", {"state": "decided" if decided else None})

    async def get(self, approval: str) -> Json:
        """One of them."""
        return await self._connection.send("GET", f"{API}/approvals/{segment(approval)}")


class SignInLinks:
    """Links that sign a browser in, once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self) -> Json:
        """A fresh one for the token's user: `url` and `expires_at`. `url` is null when the answer was lost once."""
        return await self._connection.send("POST", f"{API}/sign-in-links")


def segment(name: str) -> str:
    """A name or an id as one piece of a path. Raises InvalidInput for what would lead to another place."""
    if name in ("", ".", "..") or not name.isprintable():
        raise InvalidInput(f"{name[:80]!r} is no name or id. Write it as it is listed.")
    return quote(name, safe="")


def in_workspace(workspace: str, *path: str) -> str:
    """A path in a workspace."""
    return "/".join([f"{API}/workspaces", *map(segment, (workspace, *path))])


def of_conversation(conversation: str, *path: str) -> str:
    """A path in a conversation."""
    return "/".join([f"{API}/conversations", *map(segment, (conversation, *path))])


class _Page(Struct, frozen=True):
    items: list[Json]
    next_cursor: str | None = None


async def _pages(
    connection: Connection, path: str, query: Mapping[str, str | None] | None = None
) -> AsyncIterator[Json]:
    cursor: str | None = None
    while True:
        answer = await connection.send("GET", path, query={**(query or {}), "cursor": cursor})
        try:
            page = msgspec.convert(answer, _Page)
        except msgspec.ValidationError as error:
            raise ApiError.of(200, b"") from error
        for item in page.items:
            yield item
        cursor = page.next_cursor
        if not cursor:
            return
