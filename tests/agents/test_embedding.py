"""Where agents are embedded, and who comes in from there."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from porch.agents.embedding_routes import door
from porch.agents.upkeep import Upkeep
from porch.contract.ids import new_id, parse_id
from porch.http.application import describe
from porch.identity import guests
from porch.identity.tokens import is_well_formed, mint
from tests.http.app import DEFINITION, Tenant, World, assembled
from tests.http.client import Answer, Client
from tests.http.visitors import OTHER_SITE, SITE, embed, knock, visit
from tests.postgres import TestServer

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
async def world(postgres: TestServer) -> AsyncIterator[World]:
    urls = await postgres.create()
    async with assembled(urls, [door]) as world:
        yield world
    await postgres.drop(urls)


async def put(tenant: Tenant, *origins: object, agent: str = "helper") -> Answer:
    path = f"{tenant.path}/agents/{agent}/embedding"
    return await tenant.client.put(path, json={"origins": list(origins)})


async def test_an_agent_s_sites_are_kept_as_browsers_spell_them(ada: Tenant) -> None:
    await embed(ada)
    path = f"{ada.path}/agents/helper/embedding"
    assert (await ada.client.get(path)).json == {"origins": []}
    answer = await put(ada, "https://B.example:443", "https://bücher.example", "http://localhost:3000")
    wanted = ["https://b.example", "https://xn--bcher-kva.example", "http://localhost:3000"]
    assert (answer.status, answer.json) == (200, {"origins": wanted})
    assert (await ada.client.get(path)).json == {"origins": wanted}
    assert (await put(ada)).json == {"origins": []}
    assert (await ada.client.get(path)).json == {"origins": []}


async def test_what_is_no_site_is_refused_and_changes_nothing(ada: Tenant) -> None:
    await embed(ada, SITE)
    answer = await put(ada, "https://good.example", "https://*.example", "http://bad.example")
    assert (answer.status, answer.code) == (422, "invalid_input")
    assert [error["pointer"] for error in answer.json["errors"]] == ["/origins/1", "/origins/2"]
    assert (await ada.client.get(f"{ada.path}/agents/helper/embedding")).json == {"origins": [SITE]}


@pytest.mark.parametrize(
    "body", [None, {}, [], {"origins": None}, {"origins": "x"}, {"origins": [1]}, {"origins": [], "x": 1}]
)
async def test_a_body_of_another_shape_is_refused(ada: Tenant, body: Any) -> None:
    await embed(ada, SITE)
    answer = await ada.client.put(f"{ada.path}/agents/helper/embedding", json=body)
    assert (answer.status, answer.code) == (422, "invalid_input")


async def test_an_agent_that_is_not_published_is_not_embedded(ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    answer = await put(ada, SITE)
    assert (answer.status, answer.code) == (409, "not_published")
    assert (await put(ada)).status == 200  # nowhere is where it is


async def test_embedding_is_no_part_of_the_definition(ada: Tenant) -> None:
    await embed(ada, SITE)
    before = (await ada.client.get(f"{ada.path}/agents/helper")).json
    await put(ada, OTHER_SITE)
    assert (await ada.client.get(f"{ada.path}/agents/helper")).json == before


async def test_who_may_read_agents_sees_the_sites_and_who_may_write_changes_them(
    world: World, ada: Tenant
) -> None:
    await embed(ada, SITE)
    path = f"{ada.path}/agents/helper/embedding"
    editor, viewer = await world.member(ada, "editor"), await world.member(ada, "viewer")
    for member, writing in ((editor, 200), (viewer, 403)):
        assert (await member.get(path)).json == {"origins": [SITE]}
        assert (await member.put(path, json={"origins": [SITE]})).status == writing
    runner = await world.member(ada, "owner", ["run:agents"])
    assert (await runner.get(path)).status == 403


async def test_a_visitor_comes_in(world: World, ada: Tenant) -> None:
    questions = ["What day is it?"]
    agent = await embed(ada, SITE, title="Helper", description="Helps.", questions=questions)
    answer = await knock(world.app, agent)
    assert answer.status == 201
    body = answer.json
    assert is_well_formed(body["token"], "gst")
    assert body["token"].startswith("porch_gst_")
    parse_id("gst", body["guest"])
    assert body["agent"] == {
        "name": agent,
        "title": "Helper",
        "description": "Helps.",
        "suggestions": questions,
    }
    assert set(body) == {"token", "expires_at", "guest", "agent"}
    assert answer.cookies == ()
    assert answer.headers["cache-control"] == "no-store"


async def test_an_agent_that_says_little_of_itself_is_called_by_its_handle(world: World, ada: Tenant) -> None:
    agent = await embed(ada, SITE)
    assert (await knock(world.app, agent)).json["agent"] == {
        "name": agent,
        "title": "helper",
        "description": "",
        "suggestions": [],
    }


@pytest.mark.parametrize(
    "site",
    [
        OTHER_SITE,
        None,
        "null",
        "",
        f"{SITE}/",
        f"{SITE}.",
        f"{SITE}:443",
        SITE.upper(),
        "http://shop.example",
    ],
)
async def test_a_page_of_another_site_does_not_come_in(world: World, ada: Tenant, site: str | None) -> None:
    agent = await embed(ada, SITE)
    answer = await knock(world.app, agent, site)
    assert (answer.status, answer.code) == (403, "origin_not_allowed")


async def test_two_origins_do_not_come_in(world: World, ada: Tenant) -> None:
    agent = await embed(ada, SITE)
    answer = await knock(world.app, agent, again=[("origin", SITE)])
    assert (answer.status, answer.code) == (403, "origin_not_allowed")


async def test_an_agent_that_is_not_there_and_one_that_is_not_embedded_look_the_same(
    world: World, ada: Tenant
) -> None:
    await embed(ada)
    await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "name": "draft"})
    told: set[str] = set()
    for name in ("helper", "draft", "nobody"):
        answer = await knock(world.app, f"@{ada.handle}/{name}")
        assert (answer.status, answer.code) == (404, "not_found")
        told.add(answer.json["detail"].replace(name, "…"))
    assert len(told) == 1
    for odd in (
        "@nobody/helper",
        "@%00/x",
        "@ADA/helper",
        f"@{ada.id}/helper",
        f"@{ada.handle}/{new_id('agt')}",
    ):
        answer = await knock(world.app, odd)
        assert (answer.status, answer.code) == (404, "not_found"), odd


async def test_the_door_looks_at_no_cookie_and_no_body(world: World, ada: Tenant) -> None:
    agent = await embed(ada, SITE)
    sent = {
        "cookie": "porch_session_00000000=porch_ses_x; porch_session_00000000=y",
        "content-type": "text/plain",
    }
    answer = await knock(world.app, agent, headers=sent, body=b"\xff{" * 1000)
    assert answer.status == 201
    assert answer.cookies == ()


async def test_a_guest_who_comes_back_is_the_same_also_with_a_token_that_has_expired(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await embed(ada, SITE)
    first = await visit(world.app, agent)
    where = await first.begin()
    monkeypatch.setattr(guests, "LIFETIME", -HOUR)
    expired = await visit(world.app, agent, token=first.token)
    assert expired.id == first.id
    monkeypatch.undo()
    assert (await first.ask("GET", where)).status == 200  # another tab still has it
    answer = await expired.ask("GET", where)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    back = await visit(world.app, agent, token=expired.token)
    assert back.id == first.id
    assert back.token not in {first.token, expired.token}
    assert (await back.ask("GET", where)).status == 200


async def test_after_thirty_days_a_guest_is_a_new_one(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await embed(ada, SITE)
    for gone, same in ((timedelta(days=30) - HOUR, True), (timedelta(days=30) + HOUR, False)):
        monkeypatch.setattr(guests, "LIFETIME", -gone)
        first = await visit(world.app, agent)
        monkeypatch.undo()
        assert ((await visit(world.app, agent, token=first.token)).id == first.id) is same


async def test_a_token_of_another_agent_or_none_of_ours_makes_a_new_guest(
    world: World, ada: Tenant, eve: Tenant
) -> None:
    agent, other = await embed(ada, SITE), await embed(ada, SITE, agent="other")
    theirs = await embed(eve, SITE)
    first = await visit(world.app, agent)
    assert ada.client.token
    tokens = (first.token, mint("gst").text, "nonsense", ada.client.token, "x" * 60_000)
    for at in (other, theirs):
        for token in tokens:
            assert (await visit(world.app, at, token=token)).id != first.id
    assert (await knock(world.app, agent, headers={"authorization": "Basic YTpi"})).status == 201


async def test_a_token_of_another_site_of_the_same_agent_is_not_taken(world: World, ada: Tenant) -> None:
    agent = await embed(ada, SITE, OTHER_SITE)
    first = await visit(world.app, agent)
    answer = await knock(world.app, agent, OTHER_SITE, first.token)
    assert (answer.status, answer.code) == (403, "origin_not_allowed")


async def test_tokens_are_kept_as_hashes_alone(world: World, ada: Tenant) -> None:
    guest = await visit(world.app, await embed(ada, SITE))
    async with world.database.tenant(ada.workspace) as connection:
        rows = await connection.fetch("SELECT t::text AS text FROM porch.guest_tokens t")
    assert len(rows) == 1
    assert guest.token not in rows[0]["text"]
    assert guest.token[10:30] not in rows[0]["text"]


async def test_too_many_visitors_from_one_network_are_refused_and_others_come_in(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, other = await embed(ada, SITE), await embed(ada, SITE, agent="other")
    few = replace(guests.VISITORS_OF_ADDRESS, at_once=2, every=HOUR)
    monkeypatch.setattr(guests, "VISITORS_OF_ADDRESS", few)
    guest = await visit(world.app, agent)
    assert (await knock(world.app, agent)).status == 201
    answer = await knock(world.app, agent)
    assert (answer.status, answer.code) == (429, "rate_limited")
    assert 3000 <= int(answer.headers["retry-after"]) <= 3600
    assert "Try again in 60 minutes." in answer.json["detail"]
    assert answer.headers["access-control-allow-origin"] == SITE
    assert (await knock(world.app, agent, address="192.0.2.8")).status == 201
    assert (await knock(world.app, other)).status == 201
    # Who is in already gets another token.
    assert (await knock(world.app, agent, token=guest.token)).status == 201


async def test_too_many_visitors_of_one_agent_are_refused_wherever_they_come_from(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, other = await embed(ada, SITE), await embed(ada, SITE, agent="other")
    few = replace(guests.VISITORS_OF_AGENT, at_once=2, every=HOUR)
    monkeypatch.setattr(guests, "VISITORS_OF_AGENT", few)
    found = [(await knock(world.app, agent, address=f"198.51.100.{n}")).status for n in range(1, 5)]
    assert found == [201, 201, 429, 429]
    assert (await knock(world.app, other, address="198.51.100.9")).status == 201


async def test_a_guest_who_asks_for_tokens_all_the_time_is_refused(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await embed(ada, SITE)
    monkeypatch.setattr(guests, "RENEWALS", replace(guests.RENEWALS, at_once=1, every=HOUR))
    guest = await visit(world.app, agent)
    assert (await knock(world.app, agent, token=guest.token)).status == 201
    assert (await knock(world.app, agent, token=guest.token)).status == 429


async def test_upkeep_removes_guests_who_do_not_come_back(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await embed(ada, SITE)
    monkeypatch.setattr(guests, "LIFETIME", -guests.BACK - HOUR)
    await visit(world.app, agent)
    monkeypatch.undo()
    stays = await visit(world.app, agent)
    await Upkeep(world.database).purge()
    async with world.database.tenant(ada.workspace) as connection:
        left = await connection.fetch("SELECT id FROM porch.guests")
    assert [row["id"] for row in left] == [parse_id("gst", stays.id)]


async def test_the_door_is_described(world: World) -> None:
    operation = describe(world.app)["paths"]["/@{ws}/{agent}/guests"]["post"]
    assert operation["operationId"] == "admitGuest"
    assert "429" in operation["responses"]
    assert "security" not in operation
    conversation = describe(world.app)["paths"]["/api/v1/conversations/{conversation}"]
    assert conversation["get"]["x-porch-guests"] is True
    assert "x-porch-guests" not in conversation["patch"]


async def test_the_agent_s_page_and_the_door_do_not_stand_in_each_other_s_way(
    world: World, ada: Tenant
) -> None:
    agent = await embed(ada, SITE)
    answer = await Client(world.app).get(f"/{agent}/guests")
    assert answer.status == 405
