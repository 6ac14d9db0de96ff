"""A stream is no longer than the right to read it: sessions and tokens that end in mid-answer."""

import asyncio
import re

import pytest

from porch.contract.errors import DatabaseUnavailable
from porch.http.auth import Requires
from porch.runs import guard
from tests.http.browser import Browser
from tests.http.client import Answer
from tests.web.conftest import STREAM, House

ENDLESS = "[[tokens 3]] [[stall]]"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(guard, "LOOK_SECONDS", 0.05)


async def signed_in(house: House) -> Browser:
    made = await house.ada.client.post("/api/v1/sign-in-links")
    browser = Browser(house.world.app)
    await browser.sign_in(made.json["url"])
    await browser.open("/sessions")
    return browser


async def begun(house: House) -> str:
    """The path of a run that never ends by itself."""
    made = await house.ada.client.post(f"{await house.conversation()}/runs", json={"input": ENDLESS})
    return f"/api/v1/runs/{made.json['run']}"


async def reading(house: House, count: int) -> None:
    """Wait until so many read, and have read something."""
    async with asyncio.timeout(5):
        while len(house.runs.readers) != count or not all(each.cursor.seq for each in house.runs.readers):
            await asyncio.sleep(0.01)


async def ended(stream: asyncio.Task[Answer]) -> bytes:
    async with asyncio.timeout(5):
        return (await stream).body


@pytest.mark.parametrize("way", ["follows", "asks"])
async def test_signing_out_ends_the_streams_of_that_session_and_no_others(house: House, way: str) -> None:
    leaving, staying = await signed_in(house), await signed_in(house)
    run = await begun(house)
    stay = asyncio.create_task(staying.fetch("GET", f"{run}/events", **STREAM))
    await reading(house, 1)
    if way == "follows":
        leave = asyncio.create_task(leaving.fetch("GET", f"{run}/events", **STREAM))
    else:
        path = f"{await house.conversation()}/runs"
        leave = asyncio.create_task(leaving.fetch("POST", path, json={"input": ENDLESS}, **STREAM))
    await reading(house, 2)
    await Browser.submit(leaving, "/sign-out")
    seen = await ended(leave)
    assert b"run.started" in seen
    assert b"run.finished" not in seen
    assert b"run.cancelled" not in seen
    assert (await leaving.fetch("GET", f"{run}/events")).status == 401
    assert len(house.runs.readers) == 1
    await house.ada.client.post(f"{run}/cancel")
    assert b"run.cancelled" in await ended(stay)


async def buttons(browser: Browser) -> set[str]:
    """Where the page of sessions ends one."""
    page = (await browser.open("/sessions")).body.decode()
    return set(re.findall(r'action="(/sessions/[^"]+)"', page))


async def test_a_session_ended_from_elsewhere_ends_its_streams(house: House) -> None:
    here = await signed_in(house)
    own = await buttons(here)
    there = await signed_in(house)
    run = await begun(house)
    stream = asyncio.create_task(there.fetch("GET", f"{run}/events", **STREAM))
    await reading(house, 1)
    (other,) = await buttons(here) - own
    assert (await here.submit(other)).status == 303
    assert b"run.cancelled" not in await ended(stream)


async def test_revoking_a_token_ends_its_streams(house: House) -> None:
    made = await house.ada.client.post(
        f"{house.ada.path}/tokens", json={"name": "reader", "scopes": ["read:conversations"]}
    )
    run = await begun(house)
    reader = house.ada.client.as_(made.json["token"])
    stream = asyncio.create_task(reader.get(f"{run}/events", headers=STREAM))
    await reading(house, 1)
    await house.ada.client.delete(f"{house.ada.path}/tokens/{made.json['id']}")
    assert b"run.cancelled" not in await ended(stream)


async def test_a_fault_of_the_database_ends_no_stream(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await begun(house)
    asked = asyncio.Event()

    async def fail(_self: Requires, _request: object) -> None:
        asked.set()
        raise DatabaseUnavailable("The database is not there.")

    stream = asyncio.create_task(house.ada.client.get(f"{run}/events", headers=STREAM))
    await reading(house, 1)
    monkeypatch.setattr(Requires, "_authenticate", fail)
    async with asyncio.timeout(5):
        await asked.wait()
        asked.clear()
        await asked.wait()
    monkeypatch.undo()
    assert not stream.done()
    await house.ada.client.post(f"{run}/cancel")
    assert b"run.cancelled" in await ended(stream)
