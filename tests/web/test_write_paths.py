"""Every way to write, with odd values, and with a database that fails in the middle: real PostgreSQL throughout."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from porch.http.routing import declarations
from porch.storage import database as database_module
from porch.storage.connection import Connection, connected
from tests.http.client import Answer
from tests.postgres import TestServer
from tests.web.conftest import House, furnished
from tests.web.writes import ELSEWHERE, WRITES, arm, disarm, lay_faults, set_scene

_numbers = count(1)
NAMES = sorted(WRITES)
WITH_TEXT = sorted(
    {"startRun", "createAgent", "replaceAgent", "changeAgent", "publishVersion", "createConversation"}
    | {"updateConversation", "replaceEmbedding", "updateWorkspace", "createToken"}
)
ODD = {
    "nul": "a\x00b",
    "a lone surrogate": "a\ud83db",
    "a pair of surrogates": "a\ud83d\ude00b",
    "no characters": "\ufffe\uffff\U0010ffff",
    "both directions": "\u202eabc\u2066def",
    "quotes": "'; DROP TABLE porch.runs; -- \\ $1 %s {0}",
    "empty": "",
    "blank": " \t\n",
    "a backslash u": "\\u0000",
    "combining": "e\u0301" * 60,
    "long": "x" * 300_000,
}


@pytest.fixture(scope="module")
async def standing(postgres: TestServer) -> AsyncIterator[tuple[House, Connection]]:
    """The app for all of this module, with a fault to be armed."""
    urls = await postgres.create()
    async with connected(urls.admin) as admin:
        await lay_faults(admin)
        async with furnished(urls, {}) as house:
            yield house, admin
    await postgres.drop(urls)


@pytest.fixture
async def house(standing: tuple[House, Connection]) -> House:
    return replace(standing[0], ada=await standing[0].world.tenant(f"writes-{next(_numbers)}"))


@pytest.fixture
async def admin(standing: tuple[House, Connection]) -> Connection:
    return standing[1]


def fine(answer: Answer) -> bool:
    """Taken; else a problem in a sentence, which no value may turn into a fault of ours."""
    if answer.status < 300:
        return True
    assert 400 <= answer.status < 500, (answer.status, answer.body[:300])
    assert answer.code, answer.body
    return False


async def settle(house: House) -> None:
    """Wait until nothing is answered any more, so that the next write is the one meant."""
    if tasks := [live.task for live in house.runs.carrier.runs if live.task]:
        await asyncio.wait(tasks)


async def test_every_operation_that_writes_is_tried(standing: tuple[House, Connection]) -> None:
    found = {
        name
        for name, path, method in operations(standing[0])
        if method in {"POST", "PUT", "PATCH", "DELETE"} and path.startswith("/api/")
    }
    assert found - {"admitGuest"} == (WRITES.keys() | ELSEWHERE.keys()) - {"admitGuest"}


def operations(house: House) -> list[tuple[str, str, str]]:
    paths: dict[str, dict[str, dict[str, Any]]] = house.world.app.openapi()["paths"]
    assert len(list(declarations(house.world.app))) > len(paths)
    return [
        (str(operation["operationId"]), path, method.upper())
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


@pytest.mark.parametrize("name", WITH_TEXT)
async def test_odd_text_is_kept_as_it_is_or_refused_in_a_sentence(house: House, name: str) -> None:
    rng = random.Random(name)
    drawn = ["".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(40))) for _ in range(8)]
    for text in [*ODD.values(), *drawn]:
        scene = await set_scene(house, name)
        answer = await WRITES[name](scene, text)
        if fine(answer) and name not in {"startRun", "replaceEmbedding"}:
            kept = " ".join(text.split()) if "Conversation" in name else text
            assert json.dumps(kept) in json.dumps(answer.json), text[:60]
        await settle(house)


@pytest.mark.parametrize("value", [None, [], {}, [None], True, 1e308, -(2**63), "2026-03-29T02:30:00+01:00"])
async def test_values_of_another_kind_are_refused_where_a_text_is_meant(house: House, value: object) -> None:
    scene = await set_scene(house)
    for method, path, body in (
        ("POST", f"{scene.conversation}/runs", {"input": value}),
        ("POST", f"{scene.path}/agents", {"name": value, "instructions": value, "model": value}),
        ("PATCH", scene.conversation, {"title": value, "head": value}),
        ("POST", f"{scene.path}/tokens", {"name": value, "scopes": value, "expires_in": value}),
        ("PATCH", scene.agent, {"questions": value, "tools": value, "settings": {"stop": value}}),
    ):
        fine(await scene.ask(method, path, body, key=False))
        await settle(house)


@pytest.mark.parametrize("fault", ["40001", "40P01"])
@pytest.mark.parametrize("name", NAMES)
async def test_what_others_got_in_the_way_of_is_done_again(
    house: House, admin: Connection, name: str, fault: str
) -> None:
    scene = await set_scene(house, name)
    await settle(house)
    await arm(admin, fault)
    answer = await WRITES[name](scene, "porch.example")
    assert await disarm(admin), "nothing was written"
    assert answer.status < 300, answer.body
    await settle(house)


@pytest.mark.parametrize("fault", ["cut", "57014", "53100"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_write_that_fails_in_the_middle_says_so_and_can_be_sent_again(
    house: House, admin: Connection, name: str, fault: str
) -> None:
    scene = await set_scene(house, name)
    await settle(house)
    await arm(admin, fault)
    answer = await WRITES[name](scene, "porch.example")
    assert await disarm(admin), "nothing was written"
    if answer.status >= 300:
        assert (answer.status, answer.code) == (503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        await settle(house)
        answer = await WRITES[name](scene, "porch.example")
    assert answer.status < 300, answer.body
    await settle(house)


async def test_an_exhausted_pool_is_a_sentence_and_passes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await set_scene(house)
    await settle(house)
    monkeypatch.setattr(database_module, "ACQUIRE_SECONDS", 0.05)
    database = house.world.database
    async with database.system(), database.system(), database.system(), database.system():
        for name in ("startRun", "createAgent", "updateConversation", "createToken"):
            answer = await WRITES[name](scene, "porch.example")
            assert (answer.status, answer.code) == (503, "database_unavailable")
            assert "connections were busy" in answer.json["detail"]
    for name in ("startRun", "createAgent", "updateConversation", "createToken"):
        assert (await WRITES[name](scene, "porch.example")).status < 300
    await settle(house)
