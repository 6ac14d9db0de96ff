"""Several people in one conversation: who is there, and word of what happens, at once and at any server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from porch.contract.ids import format_id, parse_id
from porch.runs import company
from porch.storage.connection import connected
from tests.http.client import Answer, Client
from tests.postgres import TestServer
from tests.web.conftest import House, furnished

_numbers = count(1)


@pytest.fixture(scope="module")
async def standing(postgres: TestServer) -> AsyncIterator[House]:
    """The app for all of this module. Nobody is answered because time is up, unless a test says so."""
    urls = await postgres.create()
    async with furnished(urls, {}) as house:
        yield house
    await postgres.drop(urls)


@pytest.fixture
async def house(standing: House) -> AsyncIterator[House]:
    """The same with a tenant of the test's own, and other people."""
    with standing.world.several_people():
        yield replace(standing, ada=await standing.world.tenant(f"company-{next(_numbers)}"))


@dataclass
class Guest:
    """Somebody who looks at a conversation."""

    id: UUID
    client: Client
    path: str
    seen: str = ""

    async def look(self, seen: str | None = None) -> Any:
        """What there is to see, as soon as it is something new."""
        known = self.seen if seen is None else seen
        answer = await self.client.get(f"{self.path}/live" + (f"?seen={known}" if known else ""))
        assert answer.status == 200, answer.body
        self.seen = answer.json["version"]
        return answer.json

    def waits(self) -> "asyncio.Task[Any]":
        """The next look, which is waited for elsewhere."""
        return asyncio.create_task(self.look())

    @property
    def name(self) -> str:
        return format_id("usr", self.id)


async def join(house: House, path: str, role: Any = "runner") -> Guest:
    user = await house.world.join(house.ada.workspace, role)
    return Guest(user, Client(house.world.app, await house.world.token(house.ada.workspace, user)), path)


async def opened(house: House) -> tuple[str, Guest]:
    """A conversation of Ada's that is open to members, and Ada looking at it."""
    path = await house.conversation()
    assert (await house.ada.client.patch(path, json={"audience": "members"})).status == 200
    return path, Guest(house.ada.owner, house.ada.client, path)


async def within(seconds: float, task: "asyncio.Task[Any]") -> Any:
    async with asyncio.timeout(seconds):
        return await task


async def settled(*guests: Guest) -> None:
    """Until all have seen each other and what there was."""
    for _ in range(2):
        for guest in guests:
            await guest.look("")


def names(seen: Any) -> set[str]:
    return {each["id"] for each in seen["present"]}


async def test_whoever_comes_is_seen_at_once_by_those_who_are_there(house: House) -> None:
    path, ada = await opened(house)
    first = await ada.look()
    assert (first["open"], names(first)) == (True, {ada.name})
    assert [each["you"] for each in first["present"]] == [True]
    waiting = ada.waits()
    await asyncio.sleep(0.2)
    assert not waiting.done()
    cid = await join(house, path)
    assert names(await cid.look()) == {ada.name, cid.name}
    assert names(await within(2, waiting)) == {ada.name, cid.name}


async def test_what_is_said_stirs_the_others_at_once(house: House) -> None:
    path, ada = await opened(house)
    cid = await join(house, path)
    await settled(ada, cid)
    before = (await ada.look(""))["activity"]
    waiting = ada.waits()
    await asyncio.sleep(0.1)
    assert not waiting.done()
    said = await cid.client.post(f"{path}/runs", json={"input": "Hello"})
    assert said.status == 202
    assert (await within(2, waiting))["activity"] != before


@pytest.mark.parametrize("change", [{"title": "Another"}, {"audience": "own"}])
async def test_what_is_changed_of_it_stirs_them_too(house: House, change: dict[str, str]) -> None:
    path, ada = await opened(house)
    editor = await join(house, path, "admin")
    await settled(ada, editor)
    waiting = editor.waits()
    await asyncio.sleep(0.1)
    assert (await house.ada.client.patch(path, json=change)).status == 200
    seen = await within(2, waiting)
    assert seen["open"] == ("title" in change)


async def test_one_that_is_not_open_has_no_company_and_is_not_waited_for(house: House) -> None:
    path = await house.conversation()
    ada = Guest(house.ada.owner, house.ada.client, path)
    for _ in range(2):
        seen = await within(2, ada.waits())
        assert (seen["open"], seen["present"]) == (False, [])


async def test_strangers_and_members_it_is_not_open_to_learn_nothing(house: House) -> None:
    path, _ = await opened(house)
    eve = await house.world.tenant(f"eve-{next(_numbers)}")
    assert (await eve.client.get(f"{path}/live")).status == 404
    closed = await house.conversation()
    cid = await join(house, closed)
    assert (await cid.client.get(f"{closed}/live")).status == 404


async def test_whoever_leaves_is_there_no_more_when_their_time_is_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(company, "WAIT_SECONDS", 0.1)
    path, ada = await opened(house)
    cid = await join(house, path)
    await settled(ada, cid)
    async with connected(house.world.urls.admin) as connection:
        gone = "UPDATE porch.presence SET seen_at = seen_at - $2::interval WHERE user_id = $1"
        await connection.execute(gone, cid.id, company.PRESENT)
    assert names(await ada.look("")) == {ada.name}
    assert (await house.ada.client.delete(f"{house.ada.path}/members/{cid.name}")).status == 204


async def test_a_removed_member_is_shown_to_nobody(house: House) -> None:
    path, ada = await opened(house)
    cid = await join(house, path)
    await settled(ada, cid)
    assert cid.name in names(await ada.look(""))
    await house.ada.client.delete(f"{house.ada.path}/members/{cid.name}")
    assert names(await ada.look("")) == {ada.name}


async def test_whoever_is_removed_while_they_wait_is_told_nothing(house: House) -> None:
    path, ada = await opened(house)
    cid = await join(house, path)
    await settled(ada, cid)
    waiting: asyncio.Task[Answer] = asyncio.create_task(cid.client.get(f"{path}/live?seen={cid.seen}"))
    await asyncio.sleep(0.1)
    await house.ada.client.delete(f"{house.ada.path}/members/{cid.name}")
    await house.ada.client.patch(path, json={"title": "For those who stayed"})
    answer = await within(2, waiting)
    assert answer.status == 401
    assert b"present" not in answer.body


async def test_it_is_told_across_servers(house: House) -> None:
    path, _ = await opened(house)
    async with furnished(house.world.urls, {}) as other:
        token = await house.world.token(house.ada.workspace, house.ada.owner)
        ada, cid = Guest(house.ada.owner, Client(other.world.app, token), path), await join(house, path)
        await settled(ada, cid)
        waiting = ada.waits()
        await asyncio.sleep(0.1)
        assert (await cid.client.post(f"{path}/runs", json={"input": "Hello"})).status == 202
        assert names(await within(2, waiting)) == {ada.name, cid.name}


async def test_waiting_counts_among_the_streams_and_leaves_nothing_behind(house: House) -> None:
    path, ada = await opened(house)
    await settled(ada)
    before = house.runs.places.streams
    waiting = ada.waits()
    await asyncio.sleep(0.1)
    assert house.runs.places.streams == before + 1
    await house.ada.client.patch(path, json={"title": "Done"})
    await within(2, waiting)
    assert house.runs.places.streams == before
    held: Any = house.runs.company
    assert parse_id("conv", path.rpartition("/")[2]) not in held._waiting
