"""Visitors of other sites: how tests embed an agent, and come in as its guests."""

from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from porch.contract.ids import parse_id
from tests.http.app import DEFINITION, Tenant
from tests.http.client import Answer, Client

SITE, OTHER_SITE = "https://shop.example", "https://blog.example"


@dataclass(frozen=True)
class Visitor:
    """A guest, as the page of a site has it."""

    client: Client
    id: str
    site: str
    agent: str

    @property
    def token(self) -> str:
        assert self.client.token
        return self.client.token

    async def ask(self, method: str, path: str, *, site: str | None = None, **options: Any) -> Answer:
        """A request as the page's script sends it."""
        headers = {"origin": site or self.site, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
        given = options.pop("headers", {})
        return await self.client.request(method, path, headers={**headers, **given}, **options)

    async def begin(self) -> str:
        """The path of a new conversation with its agent."""
        ws, agent = self.agent.removeprefix("@").split("/")
        answer = await self.ask("POST", f"/api/v1/workspaces/{ws}/agents/{agent}/conversations")
        assert answer.status == 201, answer.body
        parse_id("conv", answer.json["id"])
        return f"/api/v1/conversations/{answer.json['id']}"


async def embed(tenant: Tenant, *sites: str, agent: str = "helper", **changes: Any) -> str:
    """A published agent that these sites embed; how others call it."""
    made = await tenant.client.post(
        f"{tenant.path}/agents", json={**DEFINITION, "model": "scripted:test", "name": agent, **changes}
    )
    assert made.status == 201, made.body
    await tenant.client.post(f"{tenant.path}/agents/{agent}/versions")
    await embed_in(tenant, *sites, agent=agent)
    return f"@{tenant.handle}/{agent}"


async def embed_in(tenant: Tenant, *sites: str, agent: str = "helper") -> None:
    """Makes these its sites."""
    path = f"{tenant.path}/agents/{agent}/embedding"
    answer = await tenant.client.put(path, json={"origins": list(sites)})
    assert answer.status == 200, answer.body


async def knock(
    app: ASGIApp, agent: str, site: str | None = SITE, token: str | None = None, **options: Any
) -> Answer:
    """What a page of this site is answered at an agent's door."""
    headers = {} if site is None else {"origin": site, "sec-fetch-site": "cross-site"}
    headers |= options.pop("headers", {})
    return await Client(app, token).post(f"/{agent}/guests", headers=headers, **options)


async def visit(app: ASGIApp, agent: str, site: str = SITE, token: str | None = None) -> Visitor:
    """Somebody on a page of this site."""
    answer = await knock(app, agent, site, token)
    assert answer.status == 201, answer.body
    return Visitor(Client(app, answer.json["token"]), answer.json["guest"], site, agent)
