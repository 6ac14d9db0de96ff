"""The isolation kit on the whole app, in this process."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pytest
from fastapi import FastAPI

from porch.conformance.isolation.web import Answer
from porch.identity.doors import Doors
from tests.http.client import Client
from tests.postgres import TestServer
from tests.web.conftest import House, furnished


@dataclass(frozen=True)
class Inside:
    """A web that leads straight into an app."""

    app: FastAPI
    origin: str = "http://localhost:8642"

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        answer = await Client(self.app).request(method, path, headers=headers, body=body or None)
        cookies = [("set-cookie", value) for value in answer.cookies]
        kept = [(name, value) for name, value in answer.headers.items() if name != "set-cookie"]
        return Answer(answer.status, [*kept, *cookies], answer.body)


@pytest.fixture(scope="module")
async def standing(postgres: TestServer) -> AsyncIterator[House]:
    """The app for all of a module, where several people may come in."""
    urls = await postgres.create()
    async with furnished(urls, {}) as house:
        house.world.app.state.doors = Doors(multi_user=True, sign_up="open")
        yield house
    await postgres.drop(urls)
