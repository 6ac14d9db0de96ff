"""A journal that cannot be written is no server that is ready, and says so."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from porch.storage import database as database_module
from porch.storage.connection import connected
from tests.http.client import Answer, Client
from tests.web.conftest import House

FULL = """
    CREATE FUNCTION porch.no_room() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER no_room BEFORE INSERT ON porch.journal EXECUTE FUNCTION porch.no_room();
"""


@asynccontextmanager
async def full_disk(house: House) -> AsyncGenerator[None]:
    """PostgreSQL answers as it does when its disk has no room for another row of the journal."""
    async with connected(house.world.urls.owner) as owner:
        await owner.execute(FULL)
        yield
        await owner.execute("DROP FUNCTION porch.no_room() CASCADE")


async def until(house: House, journal: str) -> Answer:
    """Wait until it says so of its journal."""
    async with asyncio.timeout(10):
        while (ready := await Client(house.world.app).get("/readyz")).json["journal"] != journal:
            await asyncio.sleep(0.02)
    return ready


async def test_a_full_disk_makes_it_unready_until_there_is_room(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "FULL_SECONDS", 0.3)
    where = await house.conversation()
    body = {"input": "[[tokens 2000 itl=5ms]]"}
    run = (await house.ada.client.post(f"{where}/runs", json=body)).json["run"]
    async with full_disk(house):
        assert (await until(house, "no room on the disk")).status == 503
        # A start is refused in one piece: no message without its run.
        other = await house.conversation()
        refused = await house.say("Hi", other)
        assert (refused.status, refused.code) == (503, "database_unavailable")
        assert (await house.ada.client.get(f"{other}/messages")).json["items"] == []
    assert (await until(house, "ok")).status == 200
    assert (await house.ada.client.post(f"/api/v1/runs/{run}/cancel")).status == 202
