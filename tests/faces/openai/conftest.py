"""A server with an agent, and OpenAI's own client, unmodified, that is pointed at it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI

from tests.chaos.server import Server, installed


@dataclass
class Door:
    """The server, and OpenAI's client with the operator's token."""

    server: Server
    openai: AsyncOpenAI

    @property
    def workspace(self) -> str:
        """The operator's."""
        return self.server.credentials.workspace

    @property
    def model(self) -> str:
        """The agent that obeys cues."""
        return f"@{self.workspace}/actor"

    def client(self, token: str | None = None, path: str = "/openai/v1") -> AsyncOpenAI:
        """OpenAI's client at a base URL of this server."""
        key = token or self.server.credentials.token
        return AsyncOpenAI(base_url=self.server.url + path, api_key=key, max_retries=0)

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        """What OpenAI's client has no word for; `path` is behind the workspace's."""
        url = f"{self.server.url}/api/v1/workspaces/{self.workspace}{path}"
        headers = {"Authorization": f"Bearer {self.server.credentials.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, url, json=body) as answer,
        ):
            assert answer.ok, await answer.text()
            return await answer.json()

    async def agent(self, name: str, **changes: Any) -> Any:
        """One more agent."""
        definition = {"name": name, "instructions": "Act.", "model": "scripted:test", **changes}
        return await self.api("POST", "/agents", definition)


@pytest.fixture(scope="module")
async def door() -> AsyncIterator[Door]:
    # A machine that is busy elsewhere must not cost the server its lease.
    async with installed(lease_seconds=30.0) as server:
        url, token = f"{server.url}/openai/v1", server.credentials.token
        async with AsyncOpenAI(base_url=url, api_key=token, max_retries=0) as openai:
            made = Door(server, openai)
            await made.agent("actor", tools=["clock"])
            yield made
