"""The whole application over a real database, asked over HTTP, with models that do as they are told."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from porch.egress import Egress
from porch.identity.authentication import Authenticator
from porch.models.service import Models
from porch.models.sharing import Sharing
from porch.plugins.service import Tools
from porch.runs.service import Runs
from porch.settings import Settings
from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from porch.web.app import Rooms, build_app
from tests.conftest import FreshUrls
from tests.home import AT_HOME
from tests.http.app import Tenant, World
from tests.http.client import Answer

STREAM = {"Accept": "text/event-stream"}
_numbers = count(1)


@dataclass(frozen=True)
class House:
    """The app with its runs, and a tenant with an agent that acts on cue."""

    world: World
    runs: Runs
    ada: Tenant

    async def conversation(self, tenant: Tenant | None = None, **changes: Any) -> str:
        """The path of a new conversation with a new agent."""
        owner = tenant or self.ada
        definition = {"name": f"actor-{next(_numbers)}", "instructions": "Act.", "model": "scripted:test"}
        made = await owner.client.post(f"{owner.path}/agents", json={**definition, **changes})
        assert made.status == 201, made.body
        path = f"{owner.path}/agents/{made.json['handle']}/conversations"
        return f"/api/v1/conversations/{(await owner.client.post(path)).json['id']}"

    async def say(self, text: object, conversation: str | None = None, **headers: str) -> Answer:
        """Send a message and read its stream to the end."""
        where = conversation or await self.conversation(tools=["clock"])
        return await self.ada.client.post(
            f"{where}/runs", json={"input": text}, headers={**STREAM, **headers}
        )


@asynccontextmanager
async def furnished(urls: PostgresUrls, environ: Mapping[str, str]) -> AsyncGenerator[House]:
    """A house over this database, whose models are found in this environment."""
    database = await Database.connect(urls.app, pool_size=4)
    authenticator = Authenticator(database)
    async with Egress() as egress:
        models, tools = Models(environ, egress, AT_HOME), Tools()
        runs = Runs(database, models, tools, lease_seconds=4)
        authenticator.on_forget = runs.replicas.revoke
        runs.replicas.on_revoked = authenticator.forget_here
        await runs.start()
        app = build_app(Settings(), Rooms(database, authenticator, models, tools, runs, None, egress))
        world = World(app, database, urls)
        ada = await world.tenant(f"ada-{next(_numbers)}")
        models.sharing = Sharing(ada.workspace)
        app.state.home = ada.workspace
        yield House(world, runs, ada)
        await runs.stop()
        await authenticator.close()
        await database.close()


@pytest.fixture
async def house(fresh_urls: FreshUrls) -> AsyncGenerator[House]:
    async with furnished(await fresh_urls(), {}) as house:
        yield house
