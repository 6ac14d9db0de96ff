"""`AsyncPorch`: what a program can ask of a Porch server."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Self
from urllib.parse import quote

import msgspec

from porch.client.connection import ANSWER_SECONDS, Connection
from porch.client.stream import RunStream
from porch.contract.frames import START, Cursor

API = "/api/v1"
# Where a message goes unless told otherwise; no id looks like it.
HEAD = "head"
Json = dict[str, Any]


class AsyncPorch:
    """A Porch server. An async context manager; all methods raise ApiError and Unreachable.

    async with AsyncPorch("http://localhost:8642", token) as porch:
        conversation = await porch.conversations.create("me", "hello")
        async for item in porch.run(conversation["id"], "Good evening!"):
            ...
    """

    def __init__(self, base_url: str, token: str) -> None:
        self.connection = Connection(base_url, token)
        self.agents = Agents(self.connection)
        self.conversations = Conversations(self.connection)
        self.tokens = Tokens(self.connection)
        self.sign_in_links = SignInLinks(self.connection)

    async def me(self) -> Json:
        """Who the token stands for, with workspaces and scopes."""
        return await self.connection.send("GET", f"{API}/me")

    async def readiness(self) -> Json:
        """Whether messages are taken, and what stands in the way: database, runs, local model."""
        response = await self.connection.open("GET", "/readyz", headers={}, read_seconds=ANSWER_SECONDS)
        async with response:
            return msgspec.json.decode(await response.read(), type=Json)

    async def get_run(self, run: str) -> Json:
        """A run's state."""
        return await self.connection.send("GET", f"{API}/runs/{quote(run, safe='')}")

    def run(self, conversation: str, message: str | list[Json], *, parent: str | None = HEAD) -> RunStream:
        """Say something and follow the answer. However often it is sent, the message counts once.

        It follows the conversation's head, or `parent`, another of its messages (None: its start).
        """
        body: Json = {"input": message} if parent == HEAD else {"input": message, "parent": parent}
        return RunStream(self.connection, start=(_of(conversation, "runs"), body))

    def regenerate(self, conversation: str, message: str) -> RunStream:
        """Have a message answered anew, beside the answer that is there, and follow that; named by either."""
        path = _of(conversation, "messages", message, "regenerate")
        return RunStream(self.connection, start=(path, {}))

    def stream(self, run: str, after: Cursor = START) -> RunStream:
        """Follow a run from its start, or from after a place in it."""
        return RunStream(self.connection, run=run, after=after)

    async def cancel(self, run: str) -> Json | None:
        """Stop a run; its stream ends with `run.cancelled`."""
        return await self.connection.send("POST", f"{API}/runs/{quote(run, safe='')}/cancel")

    async def close(self) -> None:
        """Close all sockets; again is fine."""
        await self.connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Agents:
    """A workspace's agents."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, workspace: str) -> AsyncIterator[Json]:
        """All of them."""
        return _pages(self._connection, _in(workspace, "agents"))

    async def get(self, workspace: str, agent: str) -> Json:
        """One agent with its definition."""
        return await self._connection.send("GET", _in(workspace, "agents", agent))

    async def create(self, workspace: str, definition: Json) -> Json:
        """A new agent, as a draft."""
        return await self._connection.send("POST", _in(workspace, "agents"), body=definition)

    async def update(self, workspace: str, agent: str, definition: Json) -> Json:
        """Replace an agent's draft."""
        return await self._connection.send("PUT", _in(workspace, "agents", agent), body=definition)

    async def change(self, workspace: str, agent: str, patch: Json) -> Json:
        """Change some keys of an agent's draft, by a JSON merge patch (RFC 7396)."""
        return await self._connection.send("PATCH", _in(workspace, "agents", agent), body=patch)

    async def delete(self, workspace: str, agent: str) -> None:
        """Remove an agent."""
        await self._connection.send("DELETE", _in(workspace, "agents", agent))

    async def publish(self, workspace: str, agent: str) -> Json:
        """Freeze the draft as the next version."""
        return await self._connection.send("POST", _in(workspace, "agents", agent, "versions"))

    def versions(self, workspace: str, agent: str) -> AsyncIterator[Json]:
        """The published versions."""
        return _pages(self._connection, _in(workspace, "agents", agent, "versions"))


class Conversations:
    """Conversations with agents."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, workspace: str, agent: str, *, draft: bool = False) -> Json:
        """A new conversation; its `id` is what `AsyncPorch.run` wants. With `draft` the agent's draft answers."""
        path = _in(workspace, "agents", agent, "conversations")
        return await self._connection.send("POST", path, body={"draft": True} if draft else None)

    def find(self, words: str = "", agent: str | None = None) -> AsyncIterator[Json]:
        """One's own, the last active first; with words, those that hold them, and a `snippet` of each."""
        query = {"q": words or None, "agent": agent}
        return _pages(self._connection, f"{API}/conversations", query)

    async def get(self, conversation: str) -> Json:
        """One conversation."""
        return await self._connection.send("GET", _of(conversation))

    def messages(self, conversation: str) -> AsyncIterator[Json]:
        """What was said in it, in all its branches."""
        return _pages(self._connection, _of(conversation, "messages"))

    async def update(self, conversation: str, *, title: str | None = None, head: str | None = None) -> Json:
        """Rename it, or make another message the end of the branch that goes on."""
        given = {"title": title, "head": head}
        body = {key: value for key, value in given.items() if value is not None}
        return await self._connection.send("PATCH", _of(conversation), body=body)

    async def delete(self, conversation: str) -> None:
        """Take it away; `restore` brings it back within ten minutes."""
        await self._connection.send("DELETE", _of(conversation))

    async def restore(self, conversation: str) -> Json:
        """Bring back what was just deleted."""
        return await self._connection.send("POST", _of(conversation, "restore"))

    async def share(self, conversation: str) -> Json:
        """A link to it as it stands; `url`, a path of the server, is shown this once."""
        return await self._connection.send("POST", _of(conversation, "shares"))

    def shares(self, conversation: str) -> AsyncIterator[Json]:
        """Its links that are not revoked."""
        return _pages(self._connection, _of(conversation, "shares"))

    async def revoke(self, conversation: str, share: str) -> None:
        """Close a link at once."""
        await self._connection.send("DELETE", _of(conversation, "shares", share))


class Tokens:
    """A workspace's tokens."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, workspace: str) -> AsyncIterator[Json]:
        """All of them, without the secrets."""
        return _pages(self._connection, _in(workspace, "tokens"))

    async def create(
        self, workspace: str, name: str, scopes: "list[str]", expires_in: int | None = None
    ) -> Json:
        """A new token; `token` in the answer is shown this once. `expires_in` is in seconds."""
        body = {"name": name, "scopes": scopes, **({"expires_in": expires_in} if expires_in else {})}
        return await self._connection.send("POST", _in(workspace, "tokens"), body=body)

    async def revoke(self, workspace: str, token: str) -> None:
        """Make a token worthless at once."""
        await self._connection.send("DELETE", _in(workspace, "tokens", token))


class SignInLinks:
    """Links that sign a browser in, once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self) -> Json:
        """A fresh one for the token's user: `url` and `expires_at`. `url` is null when the answer was lost once."""
        return await self._connection.send("POST", f"{API}/sign-in-links")


def _in(workspace: str, *path: str) -> str:
    return "/".join([f"{API}/workspaces", *(quote(part, safe="") for part in (workspace, *path))])


def _of(conversation: str, *path: str) -> str:
    return "/".join([f"{API}/conversations", *(quote(part, safe="") for part in (conversation, *path))])


async def _pages(
    connection: Connection, path: str, query: Mapping[str, str | None] | None = None
) -> AsyncIterator[Json]:
    cursor: str | None = None
    while True:
        page = await connection.send("GET", path, query={**(query or {}), "cursor": cursor})
        for item in page["items"]:
            yield item
        cursor = page.get("next_cursor")
        if not cursor:
            return
