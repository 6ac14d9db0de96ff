"""Guests of embedded agents, over the whole app: what they reach, and that there is nothing else."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from porch.agents import conversations
from porch.contract.attachments import MIB
from porch.contract.ids import new_id
from porch.http.auth import Public, Requires
from porch.http.routing import declarations
from porch.identity import guests
from porch.runs import guard
from tests.http.browser import Browser
from tests.http.client import Answer, Client
from tests.http.visitors import OTHER_SITE, SITE, Visitor, embed, embed_in, knock, visit
from tests.pictures import png
from tests.postgres import TestServer
from tests.web.conftest import STREAM, House, furnished

FOR_GUESTS = {
    "POST /api/v1/workspaces/{ws}/agents/{agent}/conversations",
    "GET /api/v1/conversations/{conversation}",
    "GET /api/v1/conversations/{conversation}/messages",
    "GET /api/v1/conversations/{conversation}/messages/{message}/parts/{part}",
    "GET /api/v1/conversations/{conversation}/queue",
    "POST /api/v1/conversations/{conversation}/runs",
    "POST /api/v1/conversations/{conversation}/messages/{message}/regenerate",
    "GET /api/v1/runs/{run}",
    "GET /api/v1/runs/{run}/events",
    "POST /api/v1/runs/{run}/cancel",
    "GET /api/v1/approvals",
    "GET /api/v1/approvals/{approval}",
    "POST /api/v1/runs/{run}/approvals/{approval}",
}
DOOR = "POST /@{ws}/{agent}/guests"
ENDLESS = "[[tokens 3]] [[stall]]"


_numbers = count(1)


@pytest.fixture(scope="module")
async def standing(postgres: TestServer) -> AsyncIterator[House]:
    """The app for all of this module, which soon notices when a stream's reader may read no more."""
    urls = await postgres.create()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "RECHECK_SECONDS", 0.05)
        patch.setattr(guard, "LOOK_SECONDS", 0.05)
        async with furnished(urls, {}) as house:
            yield house
    await postgres.drop(urls)


@pytest.fixture
async def house(standing: House) -> House:
    """The same with a tenant of the test's own."""
    return replace(standing, ada=await standing.world.tenant(f"guests-{next(_numbers)}"))


@pytest.fixture
async def guest(house: House) -> Visitor:
    return await visit(house.world.app, await embed(house.ada, SITE, tools=["clock"]))


async def say(guest: Visitor, text: object, where: str | None = None, **headers: str) -> Answer:
    path = f"{where or await guest.begin()}/runs"
    return await guest.ask("POST", path, json={"input": text}, headers={**STREAM, **headers})


async def begun(guest: Visitor, where: str, text: str = ENDLESS) -> str:
    """The path of a run, which is not read."""
    answer = await guest.ask("POST", f"{where}/runs", json={"input": text})
    assert answer.status == 202, answer.body
    return answer.headers["location"]


def operations(house: House) -> Iterator[tuple[str, str]]:
    """Every method and path of the app that neither is public nor takes guests."""
    for name, declared in declarations(house.world.app):
        methods, _, path = name.partition(" ")
        if name not in FOR_GUESTS and not isinstance(declared, Public):
            yield from ((method, path) for method in methods.split(","))


async def test_the_routes_for_guests_are_these_and_no_others(house: House) -> None:
    found = {name for name, declared in declarations(house.world.app) if declared and declared.guests}
    assert found == {*FOR_GUESTS, DOOR}
    for name, declared in declarations(house.world.app):
        if name in found:
            assert isinstance(declared, Public) == (name == DOOR)
        if isinstance(declared, Requires) and declared.scope is None:
            assert not declared.guests, name


async def test_a_guest_talks_reads_stops_and_asks_again(house: House, guest: Visitor) -> None:
    where = await guest.begin()
    answer = await say(guest, "[[call clock {}]] [[say Hello]]", where)
    assert answer.status == 200
    assert b"run.finished" in answer.body
    run = f"/api/v1/runs/{answer.headers['porch-run']}"
    assert (await guest.ask("GET", f"{run}/events", headers={"Last-Event-ID": "1-2"})).body in answer.body
    assert (await guest.ask("GET", run)).json["status"] == "finished"
    said = (await guest.ask("GET", f"{where}/messages")).json["items"]
    again = await guest.ask("POST", f"{where}/messages/{said[1]['id']}/regenerate", headers=STREAM)
    assert b"run.finished" in again.body
    stopped = await begun(guest, where)
    assert (await guest.ask("POST", f"{stopped}/cancel")).status == 202
    assert b"run.cancelled" in (await guest.ask("GET", f"{stopped}/events")).body
    shown = (await guest.ask("GET", where)).json
    assert shown["participant"] == {"kind": "guest", "id": guest.id}
    assert shown["agent"] == guest.agent


async def test_a_guest_sends_a_picture_and_sees_it_again(house: House, guest: Visitor) -> None:
    where, picture = await guest.begin(), png(2, 2)
    part = {"type": "image", "media_type": "image/png", "data": base64.b64encode(picture).decode()}
    assert (await say(guest, [{"type": "text", "text": "[[say Nice]]"}, part], where)).status == 200
    (message, _) = (await guest.ask("GET", f"{where}/messages")).json["items"]
    answer = await guest.ask("GET", message["parts"][1]["url"])
    assert (answer.status, answer.body) == (200, picture)
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "Origin" in answer.headers["vary"]


async def test_at_every_other_route_a_guest_s_token_is_refused(house: House, guest: Visitor) -> None:
    where = await guest.begin()
    run = await begun(guest, where, "[[say Hi]]")
    (message, *_) = (await guest.ask("GET", f"{where}/messages")).json["items"]
    ws, agent = guest.agent.removeprefix("@").split("/")
    own = {
        "ws": ws,
        "agent": agent,
        "conversation": where.rpartition("/")[2],
        "run": run.rpartition("/")[2],
        "message": message["id"],
        "part": "0",
    }
    tried = 0
    for method, path in operations(house):
        filled = re.sub(r"{(\w+)(?::\w+)?}", lambda match: own.get(match[1], "1"), path)
        answer = await guest.ask(method, filled, json={} if method in {"POST", "PUT", "PATCH"} else None)
        assert answer.status == 403, f"{method} {path}: {answer.body!r}"
        assert b"A guest" in answer.body, f"{method} {path}"
        assert "access-control-allow-origin" not in answer.headers, f"{method} {path}"
        tried += 1
    assert tried > 50


async def test_at_public_routes_a_guest_is_a_stranger(house: House, guest: Visitor) -> None:
    for path in ("/healthz", "/sign-in", "/openapi.json", "/favicon.svg"):
        own, stranger = await guest.ask("GET", path), await Client(house.world.app).get(path)
        assert own.status == stranger.status == 200
        assert own.headers.get("access-control-allow-origin") in (None, "*")


async def test_what_others_have_is_not_found(house: House, guest: Visitor) -> None:
    app = house.world.app
    other_agent = await embed(house.ada, SITE, agent="second")
    theirs = [await visit(app, guest.agent), await visit(app, other_agent)]
    eve = await house.world.tenant(f"eve-of-guests-{next(_numbers)}")
    theirs.append(await visit(app, await embed(eve, SITE)))
    wheres = [await other.begin() for other in theirs]
    wheres.append(await house.conversation())  # of a member, with an agent that no site embeds
    runs = [await begun(other, where, "[[say Hi]]") for other, where in zip(theirs, wheres, strict=False)]
    member = (await house.ada.client.post(f"{wheres[-1]}/runs", json={"input": "[[say Hi]]"})).json
    runs.append(f"/api/v1/runs/{member['run']}")
    message = member["message"]
    for where in (*wheres, f"/api/v1/conversations/{new_id('conv')}"):
        for method, path in (
            ("GET", ""),
            ("GET", "/messages"),
            ("GET", "/queue"),
            ("GET", f"/messages/{message}/parts/0"),
            ("POST", "/runs"),
            ("POST", f"/messages/{message}/regenerate"),
        ):
            body = {"input": "Mine"} if path == "/runs" else None
            answer = await guest.ask(method, where + path, json=body)
            assert (answer.status, answer.code) == (404, "not_found"), f"{method} {where}{path}"
            assert answer.headers["access-control-allow-origin"] == SITE
    for run in (*runs, f"/api/v1/runs/{new_id('run')}"):
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
            answer = await guest.ask(method, run + path)
            assert (answer.status, answer.code) == (404, "not_found"), f"{method} {run}{path}"
    for address in (other_agent, theirs[2].agent, f"@{house.ada.handle}/nobody"):
        ws, agent = address.removeprefix("@").split("/")
        answer = await guest.ask("POST", f"/api/v1/workspaces/{ws}/agents/{agent}/conversations")
        assert (answer.status, answer.code) == (404, "not_found"), address


async def test_a_guest_gets_the_published_version_and_no_draft(house: House) -> None:
    agent = await embed(house.ada, SITE, instructions="[[say Published]]")
    await house.ada.client.patch(
        f"{house.ada.path}/agents/helper", json={"instructions": "[[say Draft]]", "title": "Secret plan"}
    )
    guest = await visit(house.world.app, agent)
    assert b"Published" in (await say(guest, "Hello")).body
    path = f"/api/v1/workspaces/{house.ada.handle}/agents/helper/conversations"
    answer = await guest.ask("POST", path, json={"draft": True})
    assert (answer.status, answer.code) == (403, "forbidden")
    assert b"Secret plan" not in (await knock(house.world.app, agent)).body
    # Nor one that a member began with the draft.
    draft = (await house.ada.client.post(path, json={"draft": True})).json["id"]
    assert (await guest.ask("GET", f"/api/v1/conversations/{draft}")).status == 404


async def test_members_see_a_guest_s_conversation_as_those_of_others(house: House, guest: Visitor) -> None:
    where = await guest.begin()
    await say(guest, "[[say Hi]]", where)
    assert (await house.ada.client.get(where)).status == 200  # who administers conversations
    for role in ("editor", "runner", "viewer"):
        member = await house.world.member(house.ada, role)
        assert (await member.get(where)).status == 404, role


@pytest.mark.parametrize(
    "origin", [OTHER_SITE, "null", "https://SHOP.example", f"{SITE}.", f"{SITE}:443", ""]
)
async def test_a_token_is_for_pages_of_its_own_site(house: House, guest: Visitor, origin: str) -> None:
    await embed_in(house.ada, SITE, OTHER_SITE)
    where = await guest.begin()
    for method, path in (("GET", where), ("POST", f"{where}/runs")):
        body = {"input": "Hi"} if method == "POST" else None
        answer = await guest.client.request(method, path, json=body, headers={"origin": origin})
        assert (answer.status, answer.code) == (403, "origin_not_allowed")
        readable = answer.headers.get("access-control-allow-origin")
        assert readable == (OTHER_SITE if origin == OTHER_SITE else None)


async def test_several_origins_are_refused(house: House, guest: Visitor) -> None:
    where = await guest.begin()
    answer = await guest.ask("GET", where, again=[("origin", OTHER_SITE)])
    assert (answer.status, answer.code) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers


async def test_a_program_without_an_origin_may_use_the_token(guest: Visitor) -> None:
    assert (await guest.client.get(await guest.begin())).status == 200


async def test_the_cookie_of_a_member_gives_a_guest_nothing(house: House, guest: Visitor) -> None:
    browser = Browser(house.world.app)
    await browser.sign_in((await house.ada.client.post("/api/v1/sign-in-links")).json["url"])
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    theirs = await house.conversation()
    for path, status in ((theirs, 404), ("/api/v1/me", 403)):
        answer = await guest.ask("GET", path, headers={"cookie": cookie})
        assert answer.status == status, path
    # Without a token the cookie counts, and a foreign page is refused as ever.
    for method, sent in (("GET", {}), ("POST", {"input": "Hi"})):
        where = theirs if method == "GET" else f"{theirs}/runs"
        for said in ({"sec-fetch-site": "cross-site"}, {}):
            answer = await Client(house.world.app).request(
                method, where, json=sent or None, headers={"cookie": cookie, "origin": SITE, **said}
            )
            assert (answer.status, answer.code) == (403, "csrf"), (method, said)


async def test_a_deleted_agent_takes_its_guests_along(house: House, guest: Visitor) -> None:
    where = await guest.begin()
    await house.ada.client.delete(f"{house.ada.path}/agents/helper")
    house.world.app.state.authenticate.forget()
    for method, path in (("GET", where), ("POST", f"{where}/runs")):
        answer = await guest.ask(method, path, json={"input": "Hi"} if method == "POST" else None)
        assert (answer.status, answer.code) == (401, "unauthenticated")
    assert (await knock(house.world.app, guest.agent, token=guest.token)).status == 404
    # An agent that takes the handle is another one.
    await embed(house.ada, SITE)
    answer = await knock(house.world.app, guest.agent, token=guest.token)
    assert answer.json["guest"] != guest.id


async def test_a_renamed_agent_keeps_its_guests_under_its_new_name(house: House, guest: Visitor) -> None:
    where = await guest.begin()
    await house.ada.client.patch(f"{house.ada.path}/agents/helper", json={"name": "renamed"})
    assert b"run.finished" in (await say(guest, "[[say Hi]]", where)).body
    assert (await knock(house.world.app, guest.agent)).status == 404
    answer = await knock(house.world.app, f"@{house.ada.handle}/renamed", token=guest.token)
    assert answer.json["guest"] == guest.id
    path = f"/api/v1/workspaces/{house.ada.handle}/agents/{{}}/conversations"
    assert (await guest.ask("POST", path.format("helper"))).status == 404
    assert (await guest.ask("POST", path.format("renamed"))).status == 201


async def test_taking_a_site_out_ends_its_guests_access_at_once(house: House, guest: Visitor) -> None:
    await embed_in(house.ada, SITE, OTHER_SITE)
    staying = await visit(house.world.app, guest.agent, OTHER_SITE)
    where, theirs = await guest.begin(), await staying.begin()
    await embed_in(house.ada, OTHER_SITE)
    for method, path in (("GET", where), ("POST", f"{where}/runs")):
        answer = await guest.ask(method, path, json={"input": "Hi"} if method == "POST" else None)
        assert (answer.status, answer.code) == (403, "origin_not_allowed")
    # Nor as a program.
    assert (await guest.client.get(where)).status == 403
    assert (await staying.ask("GET", theirs)).status == 200


async def test_taking_a_site_out_ends_what_is_being_streamed_to_it(house: House, guest: Visitor) -> None:
    where = await guest.begin()
    run = await begun(guest, where)
    stream = asyncio.create_task(guest.ask("GET", f"{run}/events"))
    async with asyncio.timeout(5):
        while not any(reader.cursor.seq for reader in house.runs.readers):
            await asyncio.sleep(0.01)
    await embed_in(house.ada)
    async with asyncio.timeout(5):
        seen = await stream
    assert seen.headers["access-control-allow-origin"] == SITE
    assert b"run.started" in seen.body
    assert b"run.finished" not in seen.body
    assert (await house.ada.client.get(run)).json["status"] == "running"


async def test_a_guest_has_one_run_at_a_time_whatever_the_number_of_conversations(
    house: House, guest: Visitor
) -> None:
    first, second = await guest.begin(), await guest.begin()
    run = await begun(guest, first)
    started = house.runs.started
    same = await say(guest, "[[say Hi]]", first)
    assert (same.status, same.code) == (409, "conversation_busy")
    other = await say(guest, "[[say Hi]]", second)
    assert (other.status, other.code) == (429, "rate_limited")
    assert int(other.headers["retry-after"]) >= 1
    assert house.runs.started == started
    neighbour = await visit(house.world.app, guest.agent)
    assert (await say(neighbour, "[[say Hi]]")).status == 200
    await guest.ask("POST", f"{run}/cancel")
    await guest.ask("GET", f"{run}/events")
    assert b"run.finished" in (await say(guest, "[[say Hi]]", second)).body


async def test_of_many_messages_at_once_in_many_conversations_one_is_answered(
    house: House, guest: Visitor
) -> None:
    wheres = [await guest.begin() for _ in range(4)]
    answers = await asyncio.gather(
        *(guest.ask("POST", f"{where}/runs", json={"input": ENDLESS}) for where in wheres)
    )
    assert sorted(answer.status for answer in answers) == [202, 429, 429, 429]


async def test_many_messages_are_refused_after_a_while_and_a_repeated_one_is_not(
    house: House, guest: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "RUNS", replace(guests.RUNS, at_once=2, every=timedelta(seconds=600)))
    where = await guest.begin()
    key = {"Idempotency-Key": "first"}
    first = await say(guest, "[[say Hi]]", where, **key)
    assert (await say(guest, "[[say Hi]]", where)).status == 200
    refused = await say(guest, "[[say Hi]]", where)
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert 500 <= int(refused.headers["retry-after"]) <= 600
    assert refused.headers["access-control-allow-origin"] == SITE
    again = await say(guest, "[[say Hi]]", where, **key)
    assert (again.status, again.body) == (200, first.body)
    # Neither a member's messages are counted, nor another guest's.
    assert (await house.say("[[say Hi]]")).status == 200
    neighbour = await visit(house.world.app, guest.agent)
    assert (await say(neighbour, "[[say Hi]]")).status == 200


async def test_many_megabytes_are_refused_after_a_while_and_words_still_go(
    house: House, guest: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "FILES", replace(guests.FILES, at_once=3, every=timedelta(seconds=600)))
    where = await guest.begin()
    data = base64.b64encode(png(size=MIB + 1)).decode()
    large: list[object] = [{"type": "image", "media_type": "image/png", "data": data}]
    assert (await say(guest, large, where)).status == 200
    refused = await say(guest, large, where)
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert "large pictures and files" in refused.json["detail"]
    assert (await say(guest, "[[say Hi]]", where)).status == 200
    assert (await house.say(large)).status == 200


async def test_many_conversations_are_refused_after_a_while(
    house: House, guest: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(conversations.CONVERSATIONS, at_once=2, every=timedelta(hours=1))
    monkeypatch.setattr(conversations, "CONVERSATIONS", few)
    path = f"/api/v1/workspaces/{house.ada.handle}/agents/helper/conversations"
    found = [(await guest.ask("POST", path)).status for _ in range(3)]
    assert found == [201, 201, 429]


async def test_a_body_that_is_too_large_is_refused_readably(house: House, guest: Visitor) -> None:
    where = await guest.begin()
    answer = await guest.ask(
        "POST", f"{where}/messages/{new_id('msg')}/regenerate", body=b"x" * (1024**2 + 1)
    )
    assert (answer.status, answer.code) == (413, "too_large")
    assert answer.headers["access-control-allow-origin"] == SITE
