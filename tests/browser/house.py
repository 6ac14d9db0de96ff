"""A real server for browsers to look at, and a workspace of one's own in it."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from fastapi import FastAPI

from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from tests.chaos.server import Server
from tests.http.app import World
from tests.postgres import TestServer

# What a developer's shell may hold must not decide what pages show.
PROVIDERS = ("OPENAI_", "ANTHROPIC_", "OPENROUTER_", "OLLAMA_")
NOWHERE = "127.0.0.1:1"
_numbers = count(1)


@dataclass(frozen=True)
class House:
    """A server at `url` and one workspace in it, for which `token` may do everything."""

    url: str
    token: str
    workspace: str
    data_dir: Path
    http: ClientSession

    async def api(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Ask the API (`path` below the server's root) and answer the decoded body; a problem fails the test."""
        status, text = await self.ask(method, path, body, **headers)
        assert status < 400, f"{method} {path}: {status} {text}"
        return json.loads(text) if text else None

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """The same for answers that may be problems: status and text."""
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        async with self.http.request(method, self.url + path, json=body, headers=sent) as reply:
            return reply.status, await reply.text()

    async def agent(self, **changes: Any) -> str:
        """A new agent of the scripted model, published unless told `published=False`; its handle."""
        published = changes.pop("published", True)
        made = {
            "name": f"agent-{next(_numbers)}",
            "instructions": "Act.",
            "model": "scripted:test",
            **changes,
        }
        base = f"/api/v1/workspaces/{self.workspace}/agents"
        agent = await self.api("POST", base, made)
        if published:
            await self.api("POST", f"{base}/{agent['handle']}/versions", {"note": "First."})
        return str(agent["handle"])

    async def conversation(self, agent: str) -> str:
        """A new conversation with an agent; its id."""
        path = f"/api/v1/workspaces/{self.workspace}/agents/{agent}/conversations"
        return str((await self.api("POST", path))["id"])

    async def say(self, conversation: str, text: str) -> str:
        """Send a message and wait for the whole answer, which is the stream as it came."""
        path = f"/api/v1/conversations/{conversation}/runs"
        status, stream = await self.ask("POST", path, {"input": text}, Accept="text/event-stream")
        assert status == 200, stream
        return stream

    async def sign_in_link(self) -> str:
        """A fresh one-time link for the workspace's owner."""
        return str((await self.api("POST", "/api/v1/sign-in-links"))["url"])


@dataclass
class Gate:
    """A server of a test's own, with its operator's house, that can be killed and started again."""

    server: Server
    house: House
    urls: PostgresUrls

    async def kill(self) -> None:
        """As a power cut would; PostgreSQL stays."""
        await self.server.kill()

    async def start(self) -> None:
        """Serve again at the same URL, from the same data."""
        await self.server.start()

    async def guest_house(self) -> House:
        """Another workspace on the same server, empty, with an owner of its own."""
        database = await Database.connect(self.urls.app, pool_size=2)
        try:
            # The app of this World is the process behind the URL, so the one here stays unused.
            tenant = await World(FastAPI(), database, self.urls).tenant(f"porch-{next(_numbers)}")
        finally:
            await database.close()
        assert tenant.client.token
        return replace(self.house, token=tenant.client.token, workspace=tenant.handle)


@asynccontextmanager
async def standing(
    postgres: TestServer, environ: Mapping[str, str] | None = None, **settings: object
) -> AsyncGenerator[Gate]:
    """A running server over a database of its own; afterwards nothing of it is left."""
    urls = await postgres.create()
    place = Path(tempfile.mkdtemp(prefix="porch-house-"))
    given = {"host": "localhost", "database_url": urls.app, "migration_url": urls.owner, "pool_size": 4}
    server = Server(place / "data", **{**given, **settings})
    server.environ = _clean(environ or {})
    try:
        await server.start()
        async with ClientSession() as http:
            own, url = server.credentials, f"http://localhost:{server.settings.port}"
            yield Gate(server, House(url, own.token, own.workspace, server.settings.data_dir, http), urls)
    except BaseException as error:
        if server.log.exists():
            error.add_note(f"The server's log ended with:\n{server.words()}")
        raise
    finally:
        await server.stop()
        await postgres.drop(urls)
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PROVIDERS)}
    return {**kept, "OLLAMA_HOST": NOWHERE, **environ}
