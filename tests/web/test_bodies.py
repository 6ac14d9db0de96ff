"""What requests bring is held while it is read, counted for all together, and not for as long as a stream lasts."""

import asyncio
import base64
import gc
import weakref
from typing import Any

import pytest
from starlette.requests import Request

from porch.http import routing
from tests.web.conftest import STREAM, House

MIB = 1 << 20
FILE = {
    "type": "file",
    "media_type": "text/plain",
    "data": base64.b64encode(b"line\n" * (MIB // 5)).decode(),
}
LARGE = {"input": [{"type": "text", "text": "[[say Hi]] [[stall]]"}, FILE]}


async def test_a_stream_keeps_nothing_of_the_request_that_began_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[weakref.ref[Request]] = []

    class Noted(Request):
        async def body(self) -> bytes:
            read.append(weakref.ref(self))
            return await super().body()

    monkeypatch.setattr(routing, "Request", Noted)
    where = await house.conversation()
    read.clear()
    asking = asyncio.create_task(house.ada.client.post(f"{where}/runs", json=LARGE, headers=STREAM))
    async with asyncio.timeout(10):
        while not house.runs.readers:
            await asyncio.sleep(0.01)
    assert read
    gc.collect()
    assert [kept() for kept in read if kept() is not None] == []
    assert house.runs.pressure.bodies == 0
    [live] = house.runs.carrier.runs
    live.cancel("test")
    assert (await asking).status == 200


async def test_large_bodies_wait_until_others_are_read(house: House) -> None:
    pressure, where = house.runs.pressure, await house.conversation()
    pressure.bodies = pressure.max_bodies - MIB  # of others
    refused = await house.ada.client.post(f"{where}/runs", json=LARGE)
    assert (refused.status, refused.code) == (503, "overloaded")
    assert refused.headers["retry-after"] == "5"
    assert "as many large messages" in refused.json["detail"]
    assert (await house.say("[[say Small.]]", where)).status == 200
    assert pressure.bodies == pressure.max_bodies - MIB
    pressure.bodies = 0
    taken: Any = await house.ada.client.post(f"{where}/runs", json=LARGE)
    assert taken.status == 202
    assert pressure.bodies == 0
    [live] = house.runs.carrier.runs
    live.cancel("test")
