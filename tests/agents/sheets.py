"""What the tests of the agents' pages share: the app with those pages, and forms as a browser sends them."""

import html
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest

from porch import __version__
from porch.agents.pages import router
from porch.contract.definition import Definition
from porch.contract.errors import InvalidInput
from porch.egress import Egress, EgressSettings
from porch.models.service import Models
from porch.plugins.service import Tools
from tests.home import EVERYBODY
from tests.http.app import DEFINITION, Tenant, World, assembled
from tests.http.client import Answer
from tests.postgres import TestServer

FORM = {"content-type": "application/x-www-form-urlencoded"}
NOT_READY = "OPENAI_API_KEY is not set; set it and start Porch again."
HOSTILE = "<script>alert(1)</script>\u202eevil\u2066\x1b[31m</textarea><b>&amp;"


@pytest.fixture(scope="module", name="world")
async def furnished(postgres: TestServer) -> AsyncIterator[World]:
    """The app with the pages of agents, and what they ask about models and tools."""
    urls = await postgres.create()
    egress = Egress(EgressSettings())
    await egress.open()
    tools = Tools()

    def check(definition: Definition, _: UUID) -> list[str]:
        tools.check(definition.tools or [])
        if "nobody:home" in definition.models:
            raise InvalidInput("'nobody:home' cannot be used: there is no provider 'nobody'.")
        return [NOT_READY] if "openai:gpt-5" in definition.models else []

    async with assembled(urls, [router]) as world:
        world.app.state.tools = tools
        world.app.state.models = Models({"OLLAMA_HOST": "127.0.0.1:1"}, egress, EVERYBODY)
        world.app.state.check_definition = check
        yield world
    await egress.close()
    await postgres.drop(urls)


class Fields(HTMLParser):
    """What a browser would send of a page's form that has a field `revision` or `template`."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.area: str | None = None
        self.select: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name")
        if tag == "input" and name and (given.get("type") != "checkbox" or "checked" in given):
            self.values[name] = given.get("value") or ""
        if tag == "textarea" and name:
            self.area, self.values[name] = name, ""
        if tag == "select":
            self.select = name
        if tag == "option" and self.select:
            # Without a chosen one, a browser sends the first.
            value = given.get("value") or ""
            if "selected" in given:
                self.values[self.select] = value
            self.values.setdefault(self.select, value)

    def handle_data(self, data: str) -> None:
        if self.area:
            self.values[self.area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self.select = None
        if tag == "textarea" and self.area:
            # A browser drops the line end right behind the start tag.
            self.values[self.area] = self.values[self.area].removeprefix("\n")
            self.area = None


async def make(tenant: Tenant, **changes: Any) -> Any:
    answer = await tenant.client.post(f"{tenant.path}/agents", json={**DEFINITION, **changes})
    assert answer.status == 201, answer.body
    return answer.json


async def read(tenant: Tenant, agent: str = "helper") -> Any:
    return (await tenant.client.get(f"{tenant.path}/agents/{agent}")).json


async def page(tenant: Tenant, path: str, status: int = 200) -> str:
    answer = await tenant.client.get(path)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    shown = answer.body.decode()
    assert f"<p>Porch {__version__} " in shown  # no page hides what the layout says
    return shown


async def send(tenant: Tenant, path: str, values: dict[str, str]) -> Answer:
    sent = {name: value.replace("\n", "\r\n") for name, value in values.items()}
    return await tenant.client.post(path, body=urlencode(sent).encode(), headers=FORM)


async def opened(tenant: Tenant, path: str = "/agents/helper") -> dict[str, str]:
    return Fields(await page(tenant, path)).values


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)))
