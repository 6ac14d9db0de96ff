"""Handles that change, workspaces that are deleted while their agents work, and what comes back: over the whole app."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from porch.agents.upkeep import Upkeep
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.identity import lifecycle
from porch.storage.connection import connected
from tests.http.app import Tenant, definer
from tests.http.browser import Browser, words
from tests.http.client import Answer, Client
from tests.http.visitors import SITE, embed, knock, visit
from tests.identity.conftest import PASSWORD
from tests.postgres import TestServer
from tests.web.conftest import STREAM, House, furnished

ENDLESS = "[[tokens 3]] [[stall]]"
_numbers = count(1)


@pytest.fixture(scope="module")
async def standing(postgres: TestServer) -> AsyncIterator[House]:
    urls = await postgres.create()
    async with furnished(urls, {}) as house:
        yield house
    await postgres.drop(urls)


@pytest.fixture
async def house(standing: House) -> AsyncIterator[House]:
    """The app, with other people than the operator."""
    async with definer(standing.world.urls) as connection:
        await connection.execute("DELETE FROM porch.sign_in_limits")
    with standing.world.several_people():
        yield standing


async def owner_of_two(house: House) -> tuple[Browser, Tenant]:
    """Somebody with a workspace beside their own, in which the browser is; and a token there."""
    login = f"ada-{next(_numbers)}"
    browser = Browser(house.world.app)
    done = await browser.submit("/sign-up", {"login": login, "password": PASSWORD})
    assert done.status == 303, done.body
    await browser.open("/account")
    done = await browser.submit("/workspaces/new", {"handle": f"{login}-shop", "name": "Shop"})
    assert done.status == 303, words(done)
    await browser.open("/account")
    me = (await browser.fetch("GET", "/api/v1/me")).json
    shop = next(each for each in me["workspaces"] if each["handle"].endswith("-shop"))
    workspace, user = parse_id("ws", shop["id"]), parse_id("usr", me["user"]["id"])
    token = await house.world.token(workspace, user)
    return browser, Tenant(workspace, user, shop["handle"], Client(house.world.app, token))


async def deleted(browser: Browser, shop: Tenant) -> None:
    done = await browser.submit("/workspace/delete", {"handle": shop.handle})
    assert (done.status, done.headers["location"]) == (303, "/workspace"), words(done)


async def over(house: House, shop: Tenant) -> None:
    """The time of a deleted workspace has come."""
    async with connected(house.world.urls.admin) as connection:
        await connection.execute(
            "UPDATE porch.workspaces SET ends_at = now() - interval '1 second' WHERE id = $1", shop.workspace
        )


# ---------------------------------------------------------------- handles


async def test_former_handles_lead_to_the_workspace_at_every_door(house: House) -> None:
    browser, shop = await owner_of_two(house)
    agent = await embed(shop, SITE)
    before, now = shop.handle, f"{shop.handle}-2"
    changed = await shop.client.patch(shop.path, json={"handle": now})
    assert (changed.status, changed.json["handle"]) == (200, now), changed.body

    for path in (f"/api/v1/workspaces/{before}/agents", f"/@{before}/helper/v1/models"):
        assert (await shop.client.get(path)).status == 200, path
    body = {"model": f"@{before}/helper", "messages": [{"role": "user", "content": "[[say Hi]]"}]}
    said = await shop.client.post("/openai/v1/chat/completions", json=body)
    assert (said.status, said.json["choices"][0]["message"]["content"]) == (200, "Hi"), said.body
    assert said.json["model"] == f"@{now}/helper"
    said = await shop.client.post(f"/@{before}/helper/v1/chat/completions", json=body)
    assert said.status == 200, said.body
    assert (await knock(house.world.app, agent)).json["agent"]["name"] == f"@{now}/helper"

    assert (await browser.fetch("GET", f"/api/v1/workspaces/{before}")).json["handle"] == now
    page = await browser.open(f"/@{before}/helper?a=%26b")
    assert (page.status, page.headers["location"]) == (308, f"/@{now}/helper?a=%26b")
    assert (await browser.open(f"/@{now}/helper")).status == 200
    assert f"@{before} before" in words(await browser.open("/workspace"))


async def test_a_former_handle_is_nobody_elses_for_ever(house: House) -> None:
    browser, shop = await owner_of_two(house)
    before, other = shop.handle, Browser(house.world.app)
    await shop.client.patch(shop.path, json={"handle": f"{before}-2"})
    refused = await browser.submit("/workspaces/new", {"handle": before, "name": "Mine"})
    assert (refused.status, f"'{before}' is taken" in words(refused)) == (409, True), words(refused)
    # Nor by signing up, where it is made to fit.
    assert (await other.submit("/sign-up", {"login": before, "password": PASSWORD})).status == 303
    reached = (await other.fetch("GET", "/api/v1/me")).json["workspaces"]
    assert [each["handle"] for each in reached] == [f"{before}-3"]
    own = house.ada
    taken = await own.client.patch(own.path, json={"handle": before})
    assert (taken.status, taken.code) == (409, "conflict")
    # The workspace itself has it again, and then the other one leads to it.
    assert (await shop.client.patch(f"/api/v1/workspaces/{before}", json={"handle": before})).status == 200
    assert (await shop.client.get(f"/api/v1/workspaces/{before}-2")).json["handle"] == before


async def read(who: Client | Browser, path: str) -> Answer:
    return await (who.get(path) if isinstance(who, Client) else who.fetch("GET", path))


async def test_to_others_a_former_handle_is_as_unknown_as_any(house: House) -> None:
    _, shop = await owner_of_two(house)
    await shop.client.patch(shop.path, json={"handle": f"{shop.handle}-2"})
    stranger, _ = await owner_of_two(house)
    for who in (house.ada.client, stranger):
        for path in ("/api/v1/workspaces/{}/agents", "/api/v1/workspaces/{}"):
            one, none = [await read(who, path.format(name)) for name in (shop.handle, "nobody-s")]
            assert one.status == none.status == 404
            assert one.json["detail"].replace(shop.handle, "…") == none.json["detail"].replace(
                "nobody-s", "…"
            )


async def test_a_workspace_has_ten_handles_at_most(house: House) -> None:
    _, shop = await owner_of_two(house)
    path = f"/api/v1/workspaces/{format_id('ws', shop.workspace)}"
    for number in range(2, lifecycle.MOST_HANDLES + 1):
        assert (await shop.client.patch(path, json={"handle": f"{shop.handle}-{number}"})).status == 200
    full = await shop.client.patch(path, json={"handle": f"{shop.handle}-11"})
    assert (full.status, "had 10 handles" in full.json["detail"]) == (409, True)
    assert (await shop.client.patch(path, json={"handle": shop.handle})).status == 200


@pytest.mark.parametrize("handle", ["", "Shop", "a_b", "-a", "a" * 41, "ѕhop", "ws_1", "shop\x00"])
async def test_what_is_no_handle_is_refused(house: House, handle: str) -> None:
    _, shop = await owner_of_two(house)
    answer = await shop.client.patch(shop.path, json={"handle": handle})
    assert (answer.status, answer.code) == (422, "invalid_input"), answer.body
    assert (await shop.client.get(shop.path)).json["handle"] == shop.handle


async def test_of_two_who_want_one_handle_at_once_one_gets_it(house: House) -> None:
    shops = [(await owner_of_two(house))[1] for _ in range(2)]
    wanted = f"corner-{next(_numbers)}"
    answers = await asyncio.gather(*(each.client.patch(each.path, json={"handle": wanted}) for each in shops))
    assert sorted(answer.status for answer in answers) == [200, 409]


async def test_another_handle_asks_a_session_that_is_older_for_its_password(house: House) -> None:
    browser, shop = await owner_of_two(house)
    await grown_old(house)
    asked = await browser.fetch("PATCH", shop.path, json={"handle": f"{shop.handle}-2"})
    assert (asked.status, asked.code) == (403, "confirmation_needed")
    page = await browser.submit("/workspace/handle", {"handle": f"{shop.handle}-2"})
    assert page.status == 403
    again = {"confirm_to": "/workspace/handle", "confirm_again": "1", "confirm_password": PASSWORD}
    done = await browser.submit("/confirm", again)
    assert done.status == 307


@pytest.mark.parametrize("name", ["Sh\u202eop", "\u200b", "Shop\u2066", "\u3164", "A\ufeffda"])
async def test_names_that_hide_something_are_refused(house: House, name: str) -> None:
    browser, shop = await owner_of_two(house)
    answer = await shop.client.patch(shop.path, json={"name": name})
    assert (answer.status, "nobody sees" in answer.json["detail"]) == (422, True), answer.body
    page = await browser.submit("/workspace/name", {"name": name})
    assert (page.status, "nobody sees" in words(page)) == (422, True)
    assert (await shop.client.patch(shop.path, json={"name": "👩‍💻 می‌خواهم"})).status == 200


# ---------------------------------------------------------------- deletion


async def grown_old(house: House) -> None:
    async with connected(house.world.urls.admin) as connection:
        await connection.execute("UPDATE porch.sessions SET confirmed_at = now() - interval '1 hour'")


async def test_what_is_deleted_is_reached_by_nobody_and_its_agents_stop(house: House) -> None:
    browser, shop = await owner_of_two(house)
    agent = await embed(shop, SITE)
    guest = await visit(house.world.app, agent)
    theirs = await guest.begin()
    where = await house.conversation(shop, concurrency="queue")
    member = await house.world.member(shop, "editor")
    await shop.client.post(f"{where}/runs", json={"input": "[[say Hi]]"}, headers=STREAM)
    shared = await shop.client.post(f"{where}/shares", json={})
    assert shared.status == 201, shared.body
    share = shared.json["url"]
    assert (await Browser(house.world.app).open(share)).status == 200
    run = (await shop.client.post(f"{where}/runs", json={"input": ENDLESS})).headers["location"]
    waiting = await shop.client.post(f"{where}/runs", json={"input": "[[say Later]]"})
    streams = [
        asyncio.create_task(reader.get(f"{run}/events", headers=STREAM)) for reader in (shop.client, member)
    ]
    await asyncio.sleep(0.3)
    await deleted(browser, shop)
    async with asyncio.timeout(3):
        await asyncio.gather(*streams)

    assert (await shop.client.get(shop.path)).status == 401
    assert (await member.get(where)).status == 401
    assert (await guest.ask("GET", theirs)).status == 401
    assert (await knock(house.world.app, agent)).status == 404
    assert (await Browser(house.world.app).open(share)).status == 404
    assert (await browser.fetch("GET", run)).status == 404
    assert (await browser.fetch("GET", shop.path)).status == 404
    reached = (await browser.fetch("GET", "/api/v1/workspaces")).json["items"]
    assert shop.handle not in {each["handle"] for each in reached}
    taken = await browser.submit("/workspaces/new", {"handle": shop.handle, "name": "Again"})
    assert taken.status == 409

    async with asyncio.timeout(10):  # the next heartbeat tells whoever holds the run
        while await statuses(house, shop, run) != ["cancelled"]:
            await asyncio.sleep(0.1)
    # What waits is not begun, and is there when the workspace is.
    await asyncio.sleep(0.5)
    restored = await browser.submit("/workspaces/restore", {"workspace": format_id("ws", shop.workspace)})
    assert (restored.status, restored.headers["location"]) == (303, "/workspace"), words(restored)
    queue = await shop.client.get(f"{where}/queue")
    assert queue.status == 200
    async with asyncio.timeout(20):  # until the next look for what was left waiting
        while (await shop.client.get(f"/api/v1/runs/{waiting.json['run']}")).json["status"] != "finished":
            await asyncio.sleep(0.1)


async def statuses(house: House, shop: Tenant, run: str) -> list[str]:
    async with connected(house.world.urls.admin) as connection:
        rows = await connection.fetch(
            "SELECT status FROM porch.runs WHERE workspace_id = $1 AND id = $2",
            shop.workspace,
            parse_id("run", run.rpartition("/")[2]),
        )
    return [row["status"] for row in rows]


async def test_it_comes_back_whole(house: House) -> None:
    browser, shop = await owner_of_two(house)
    where = await house.conversation(shop)
    await shop.client.post(f"{where}/runs", json={"input": "[[say Hi]]"}, headers=STREAM)
    member = await house.world.member(shop, "editor")
    before = (await shop.client.get(f"{where}/messages")).json
    await deleted(browser, shop)
    page = words(await browser.open("/workspace"))
    assert "Deleted workspaces" in page
    assert f"@{shop.handle}" in page
    listed = (await browser.fetch("GET", "/api/v1/deleted-workspaces")).json["items"]
    assert [each["handle"] for each in listed] == [shop.handle]
    back = await browser.fetch("POST", f"/api/v1/deleted-workspaces/{listed[0]['id']}/restore")
    assert back.status == 200, back.body
    assert (await shop.client.get(f"{where}/messages")).json == before
    assert (await member.get(shop.path)).json["handle"] == shop.handle
    tags = [each["tag"] for each in (await shop.client.get(f"{shop.path}/audit")).json["items"]]
    assert {"page:workspace:delete", "api:workspace:restore"} <= set(tags)


async def test_owners_alone_delete_and_restore_in_a_browser_and_write_the_handle(house: House) -> None:
    browser, shop = await owner_of_two(house)
    assert (await shop.client.delete(shop.path)).status == 403  # a token
    wrong = await browser.submit("/workspace/delete", {"handle": "shop"})
    assert (wrong.status, f"Write '{shop.handle}'" in words(wrong)) == (422, True), words(wrong)
    other, _ = await owner_of_two(house)
    user = parse_id("usr", (await other.fetch("GET", "/api/v1/me")).json["user"]["id"])
    await house.world.rejoin(shop.workspace, user, "admin")
    await other.submit("/workspaces/switch", {"workspace": shop.handle})
    await other.open("/workspace")
    refused = await other.submit("/workspace/delete", {"handle": shop.handle})
    assert (refused.status, "Only an owner" in words(refused)) == (403, True), words(refused)
    assert (await other.fetch("DELETE", shop.path)).status == 403
    await deleted(browser, shop)
    workspace = format_id("ws", shop.workspace)
    assert (await other.fetch("GET", "/api/v1/deleted-workspaces")).json["items"] == []
    assert (await other.fetch("POST", f"/api/v1/deleted-workspaces/{workspace}/restore")).status == 404
    assert (await house.ada.client.post(f"/api/v1/deleted-workspaces/{workspace}/restore")).status == 403


async def test_an_older_session_shows_its_password_before_it_deletes(house: House) -> None:
    browser, shop = await owner_of_two(house)
    await grown_old(house)
    asked = await browser.fetch("DELETE", shop.path)
    assert (asked.status, asked.code) == (403, "confirmation_needed")
    page = await browser.submit("/workspace/delete", {"handle": shop.handle})
    assert page.status == 403
    assert (await browser.fetch("GET", shop.path)).status == 200


async def test_ones_only_workspace_and_home_stay(house: House) -> None:
    browser, shop = await owner_of_two(house)
    await deleted(browser, shop)
    await browser.open("/workspace")
    own = (await browser.fetch("GET", "/api/v1/workspaces")).json["items"][0]["handle"]
    refused = await browser.submit("/workspace/delete", {"handle": own})
    assert (refused.status, "only workspace" in words(refused)) == (409, True), words(refused)
    other, stall = await owner_of_two(house)
    await house.world.make_operator(stall.owner)
    try:
        first = (await other.fetch("GET", "/api/v1/workspaces")).json["items"][0]["handle"]
        home = await other.fetch("DELETE", f"/api/v1/workspaces/{first}")
        assert (home.status, "whoever runs this Porch" in home.json["detail"]) == (409, True), home.body
    finally:
        await house.world.make_operator(None)


async def test_two_owners_who_delete_and_restore_at_once_leave_one_state(house: House) -> None:
    browser, shop = await owner_of_two(house)
    answers = await asyncio.gather(*(browser.fetch("DELETE", shop.path) for _ in range(4)))
    assert sorted({answer.status for answer in answers} - {403, 404}) == [202]
    assert [answer.status for answer in answers].count(202) == 1
    path = f"/api/v1/deleted-workspaces/{format_id('ws', shop.workspace)}/restore"
    answers = await asyncio.gather(*(browser.fetch("POST", path) for _ in range(4)))
    assert [answer.status for answer in answers].count(200) == 1
    assert (await shop.client.get(shop.path)).status == 200


async def test_an_invitation_into_what_is_deleted_is_over(house: House) -> None:
    browser, shop = await owner_of_two(house)
    await browser.open("/members")
    made = await browser.submit("/members/invitations", {"role": "editor", "days": "7"})
    link = made.body.decode().partition("/join/")[2].partition('"')[0]
    await deleted(browser, shop)
    other, _ = await owner_of_two(house)
    assert (await other.open(f"/join/{link}")).status in (404, 410)
    assert (await other.submit(f"/join/{link}")).status in (404, 410)
    async with connected(house.world.urls.admin) as connection:
        members = await connection.fetchval(
            "SELECT count(*) FROM porch.memberships WHERE workspace_id = $1", shop.workspace
        )
    assert members == 1


async def test_whoever_is_left_without_a_workspace_gets_one_by_signing_in(house: House) -> None:
    browser, shop = await owner_of_two(house)
    login = f"ben.{next(_numbers)}"
    ben = Browser(house.world.app)
    assert (await ben.submit("/sign-up", {"login": login, "password": PASSWORD})).status == 303
    user = parse_id("usr", (await ben.fetch("GET", "/api/v1/me")).json["user"]["id"])
    async with definer(house.world.urls) as connection:
        await connection.execute("DELETE FROM porch.memberships WHERE user_id = $1", user)
    await house.world.rejoin(shop.workspace, user, "editor")
    await deleted(browser, shop)
    assert (await ben.fetch("GET", "/api/v1/me")).status == 401
    ben = Browser(house.world.app)
    done = await ben.submit("/sign-in", {"login": login, "password": PASSWORD})
    assert done.status == 303, words(done)
    (own,) = (await ben.fetch("GET", "/api/v1/me")).json["workspaces"]
    assert own["role"] == "owner"
    assert own["handle"].startswith(login.replace(".", "-") + "-")


async def test_when_its_time_is_over_nothing_of_it_is_left_but_the_trail_and_its_handle(house: House) -> None:
    browser, shop = await owner_of_two(house)
    agent = await embed(shop, SITE)
    await visit(house.world.app, agent)
    for where in [await house.conversation(shop) for _ in range(3)]:
        await shop.client.post(f"{where}/runs", json={"input": "[[say Hi]]"}, headers=STREAM)
        await shop.client.post(f"{where}/shares", json={})
    await deleted(browser, shop)
    await Upkeep(house.world.database).purge()
    assert await left(house, shop) > {"workspaces", "messages", "agents", "memberships"}
    await over(house, shop)
    path = f"/api/v1/deleted-workspaces/{format_id('ws', shop.workspace)}/restore"
    assert (await browser.fetch("POST", path)).status == 404
    await Upkeep(house.world.database).purge()
    assert await left(house, shop) <= {"audit_events", "archive_removals"}
    taken = await browser.submit("/workspaces/new", {"handle": shop.handle, "name": "Again"})
    assert taken.status == 409
    assert (await browser.fetch("GET", "/api/v1/deleted-workspaces")).json["items"] == []


async def left(house: House, shop: Tenant) -> set[str]:
    """The tables that hold something of a workspace."""
    async with connected(house.world.urls.admin) as connection:
        tables = await connection.fetch(
            "SELECT c.relname AS name FROM pg_class c WHERE c.relnamespace = 'porch'::regnamespace"
            " AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND EXISTS (SELECT FROM pg_attribute a"
            "  WHERE a.attrelid = c.oid AND a.attname = 'workspace_id')"
        )
        found = {
            table["name"]
            for table in tables
            if await connection.fetchval(
                f'SELECT EXISTS (SELECT FROM porch."{table["name"]}" WHERE workspace_id = $1)',
                shop.workspace,
            )
        }
        there = "SELECT EXISTS (SELECT FROM porch.workspaces WHERE id = $1)"
        return found | ({"workspaces"} if await connection.fetchval(there, shop.workspace) else set())


async def test_a_run_that_began_while_its_workspace_was_deleted_is_cancelled(house: House) -> None:
    browser, shop = await owner_of_two(house)
    where = await house.conversation(shop)
    await deleted(browser, shop)
    # As by a request that was let in just before.
    async with connected(house.world.urls.admin) as connection:
        await connection.execute("UPDATE porch.workspaces SET ends_at = NULL WHERE id = $1", shop.workspace)
        await asyncio.sleep(1.1)
        run = (await shop.client.post(f"{where}/runs", json={"input": ENDLESS})).headers["location"]
        await connection.execute(
            "UPDATE porch.workspaces SET ends_at = now() + interval '7 days' WHERE id = $1", shop.workspace
        )
    await Upkeep(house.world.database).purge()
    async with asyncio.timeout(10):
        while await statuses(house, shop, run) != ["cancelled"]:
            await asyncio.sleep(0.1)


async def test_with_one_person_alone_nothing_is_deleted(standing: House) -> None:
    answer = await standing.ada.client.delete(standing.ada.path)
    assert (answer.status, answer.code) == (403, "multi_user_off")


async def test_purging_goes_on_where_it_stopped(house: House) -> None:
    browser, shop = await owner_of_two(house)
    for _ in range(3):
        await house.conversation(shop)
    await deleted(browser, shop)
    await over(house, shop)
    gone = [await lifecycle.purge_workspaces(house.world.database, 2) for _ in range(4)]
    assert gone == [2, 1, 1, 0]


async def test_a_failed_sign_up_takes_no_handle(house: House) -> None:
    _, shop = await owner_of_two(house)
    login, free = f"cleo-{next(_numbers)}", f"free-{next(_numbers)}"
    async with house.world.database.system() as connection:
        for user, handle, outcome in (
            (new_uuid(), login, "made"),
            (new_uuid(), free, "login_taken"),
        ):
            found = await connection.fetchval(
                "SELECT outcome FROM porch.sign_up($1, $2, $2, 'x', $3, $4, NULL)",
                user,
                login,
                new_uuid(),
                handle,
            )
            assert found == outcome
    assert (await shop.client.patch(shop.path, json={"handle": free})).status == 200
