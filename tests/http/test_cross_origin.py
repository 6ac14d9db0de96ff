"""What pages of other sites may read: routes for guests, by sites that embed something, and nothing else."""

from collections.abc import AsyncIterator
from itertools import count
from typing import Annotated

import pytest

from porch.agents.embedding_routes import door
from porch.contract.errors import DatabaseUnavailable
from porch.contract.ids import new_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.cross_origin import guest_routes
from porch.http.routing import api_router
from porch.identity import sites
from porch.identity.tokens import mint
from porch.storage.database import Database
from tests.http.app import Tenant, World, assembled
from tests.http.client import Answer, Client
from tests.http.visitors import OTHER_SITE, Visitor, embed, embed_in, knock, visit
from tests.postgres import TestServer

READABLE, CREDENTIALS = "access-control-allow-origin", "access-control-allow-credentials"
_numbers = count(1)


def broken() -> list[object]:
    router = api_router("/api/v1", "test")

    @router.get("/broken")
    async def fail(principal: Annotated[Principal, requires(guests=True)]) -> None:
        raise RuntimeError(principal.name)

    return [router]


@pytest.fixture(scope="module")
async def world(postgres: TestServer) -> AsyncIterator[World]:
    """The app with its door for guests, and a route that breaks."""
    urls = await postgres.create()
    async with assembled(urls, [door, *broken()]) as world:  # pyright: ignore[reportArgumentType]  # routers
        yield world
    await postgres.drop(urls)


@pytest.fixture
async def site(world: World) -> str:
    """A site that nobody has embedded anything in yet."""
    return f"https://shop-{next(_numbers)}.example"


@pytest.fixture
async def guest(world: World, ada: Tenant, site: str) -> Visitor:
    return await visit(world.app, await embed(ada, site), site)


def readable(answer: Answer, origin: str | None) -> None:
    """Assert that a page of this origin may read the answer, and no other may; of None, that no page may."""
    assert answer.headers.get(READABLE) == origin
    assert CREDENTIALS not in answer.headers


async def preflight(world: World, path: str, method: str, origin: str, **headers: str) -> Answer:
    sent = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type",
        "sec-fetch-mode": "cors",
        **headers,
    }
    return await Client(world.app).request("OPTIONS", path, headers=sent)


async def test_every_route_for_guests_answers_a_preflight_of_a_known_site(
    world: World, guest: Visitor, site: str
) -> None:
    routes = guest_routes(world.app)
    assert len(routes) > 4
    for route in routes:
        path = route.path.replace("{part}", "0")
        for method in route.methods:
            answer = await preflight(world, path, method, site)
            assert (answer.status, answer.body) == (204, b""), path
            readable(answer, site)
            assert method in answer.headers["access-control-allow-methods"]
            allowed = answer.headers["access-control-allow-headers"].lower()
            for name in ("authorization", "content-type", "accept", "idempotency-key", "last-event-id"):
                assert name in allowed
            assert 0 < int(answer.headers["access-control-max-age"]) <= 7200
            varies = answer.headers["vary"].lower()
            assert "origin" in varies
            assert "access-control-request-method" in varies
            assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://nobody.example",
        "null",
        "",
        "https://SHOP.example",
        "*",
        "https://shop.example/",
        "not an origin",
    ],
)
async def test_a_preflight_of_an_unknown_site_is_refused(world: World, guest: Visitor, origin: str) -> None:
    answer = await preflight(world, "/api/v1/conversations/conv_x", "GET", origin)
    assert (answer.status, answer.code) == (403, "origin_not_allowed")
    readable(answer, None)


async def test_at_the_door_any_site_may_ask(world: World, guest: Visitor) -> None:
    path = f"/{guest.agent}/guests"
    answer = await preflight(world, path, "POST", "https://nobody.example")
    assert (answer.status, answer.headers[READABLE]) == (204, "https://nobody.example")
    for origin in ("null", "", "*", "https://NOBODY.example", "https://a b", "chrome-extension://abc"):
        answer = await preflight(world, path, "POST", origin)
        assert (answer.status, answer.code) == (403, "origin_not_allowed"), origin
        readable(answer, None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/me"),
        ("GET", "/api/v1/conversations"),
        ("PATCH", "/api/v1/conversations/conv_x"),
        ("DELETE", "/api/v1/conversations/conv_x"),
        ("GET", "/api/v1/workspaces/ada/agents/helper/conversations"),
        ("GET", "/api/v1/workspaces/ada/agents"),
        ("PUT", "/api/v1/workspaces/ada/agents/helper/embedding"),
        ("POST", "/api/v1/conversations/conv_x/shares"),
        ("GET", "/@ada/helper/guests"),
        ("post", "/@ada/helper/guests"),
        ("HEAD", "/api/v1/conversations/conv_x"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
    ],
)
async def test_no_other_route_is_opened_by_a_preflight_or_read(
    world: World, guest: Visitor, site: str, method: str, path: str
) -> None:
    asked = await preflight(world, path, method, site)
    assert asked.status in {404, 405}
    readable(asked, None)
    assert "access-control-allow-methods" not in asked.headers
    readable(await guest.ask(method, path), None)


async def test_what_is_no_preflight_is_no_method(world: World, guest: Visitor, site: str) -> None:
    answer = await Client(world.app).request(
        "OPTIONS", "/api/v1/conversations/conv_x", headers={"origin": site}
    )
    assert answer.status == 405
    readable(answer, None)


async def test_only_a_site_that_embeds_something_reads_answers(
    world: World, guest: Visitor, site: str
) -> None:
    where = await guest.begin()
    readable(await guest.ask("GET", where), site)
    for origin in ("https://nobody.example", "null", "", f"{site}.", site.upper(), f"{site}:443"):
        answer = await guest.client.request("GET", where, headers={"origin": origin})
        readable(answer, None)
        assert "Origin" in answer.headers["vary"]
    answer = await guest.client.get(where)
    readable(answer, None)
    assert answer.headers["vary"] == "Origin"


async def test_of_two_origins_neither_is_answered(world: World, guest: Visitor, site: str) -> None:
    where = await guest.begin()
    for second in (site, OTHER_SITE):
        answer = await guest.ask("GET", where, again=[("origin", second)])
        assert answer.status == 403
        readable(answer, None)


async def test_this_server_s_own_pages_need_no_leave(world: World, ada: Tenant, guest: Visitor) -> None:
    await embed_in(ada, "http://localhost:8642")
    answer = await ada.client.get(
        f"/api/v1/conversations/{new_id('conv')}", headers={"origin": "http://localhost:8642"}
    )
    readable(answer, None)


async def test_refusals_and_failures_can_be_read(world: World, guest: Visitor, site: str) -> None:
    where, other = await guest.begin(), Client(world.app, mint("gst").text)
    read: dict[int, Answer] = {
        401: await other.get(where, headers={"origin": site}),
        404: await guest.ask("GET", f"/api/v1/conversations/{new_id('conv')}"),
        422: await guest.ask("GET", f"{where}/messages?limit=x"),
        400: await guest.ask("GET", where, headers={"host": ""}),
        421: await guest.ask("GET", where, headers={"host": "evil.example"}),
        500: await guest.ask("GET", "/api/v1/broken"),
    }
    agent = guest.agent.removeprefix("@").replace("/", "/agents/")
    begin = f"/api/v1/workspaces/{agent}/conversations"
    read[403] = await guest.ask("POST", begin, json={"draft": True})
    read[413] = await guest.ask("POST", begin, body=b" " * (1024**2 + 1))
    while (answer := await guest.ask("POST", begin)).status == 201:
        pass
    read[429] = answer
    for status, answer in read.items():
        assert answer.status == status
        assert answer.code
        readable(answer, site)
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert int(read[429].headers["retry-after"]) >= 1


async def test_without_the_database_a_known_site_reads_that_and_others_nothing(
    world: World, guest: Visitor, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await guest.begin()
    monkeypatch.setattr(sites, "KEEP_SECONDS", 0.0)
    readable(await guest.ask("GET", where), site)

    async def fail(_self: Database) -> None:
        raise DatabaseUnavailable("PostgreSQL cannot be reached just now. Try again.")

    monkeypatch.setattr(Database, "_acquire", fail)
    answer = await guest.ask("GET", where)
    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert answer.headers["retry-after"] == "1"
    readable(answer, site)
    readable(await guest.client.get(where, headers={"origin": "https://nobody.example"}), None)


async def test_a_site_just_added_or_taken_out_is_known_at_once(
    world: World, ada: Tenant, guest: Visitor, site: str
) -> None:
    where, new = await guest.begin(), f"https://new-{next(_numbers)}.example"
    readable(await guest.client.get(where, headers={"origin": new}), None)
    await embed_in(ada, new)
    readable(await guest.client.get(where, headers={"origin": new}), new)
    readable(await guest.ask("GET", where), None)


async def test_the_refusal_of_a_site_is_for_its_owner_to_read(world: World, guest: Visitor) -> None:
    answer = await knock(world.app, guest.agent, "https://nobody.example")
    assert (answer.status, answer.code) == (403, "origin_not_allowed")
    assert "https://nobody.example" in answer.json["detail"]
    readable(answer, "https://nobody.example")
    # Whether an agent is there, that site cannot read.
    readable(await knock(world.app, "@nobody/helper", "https://nobody.example"), None)


async def test_many_unknown_sites_are_not_all_remembered(world: World, guest: Visitor) -> None:
    asked = world.app.state.sites
    for number in range(sites.MAX_KEPT + 10):
        asked._kept[f"https://{number}.example"] = (0.0, False)
    await asked.knows("https://one-more.example")
    assert len(asked._kept) == sites.MAX_KEPT
