"""Writes under an Idempotency-Key."""

import asyncio
from typing import Annotated, Any

import msgspec
import pytest
from fastapi import APIRouter, Request
from starlette.responses import Response

from porch.contract.errors import Conflict
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.idempotency import claimed, once
from porch.http.routing import api_router, json_response
from tests.conftest import FreshUrls
from tests.http.app import DEFINITION, Tenant, World, assembled

KEY = {"idempotency-key": "k-1"}


async def stored(world: World, tenant: Tenant) -> list[dict[str, Any]]:
    async with world.database.tenant(tenant.workspace) as connection:
        rows = await connection.fetch(
            "SELECT * FROM porch.idempotency_keys WHERE workspace_id = $1", tenant.workspace
        )
    return [dict(row.items()) for row in rows]


async def age(world: World, tenant: Tenant, interval: str) -> None:
    """Makes the keys older, as their owner: the app role may not."""
    from porch.storage.connection import connected

    async with connected(world.urls.owner) as connection:
        await connection.execute("ALTER TABLE porch.idempotency_keys NO FORCE ROW LEVEL SECURITY")
        await connection.execute(
            "UPDATE porch.idempotency_keys SET created_at = now() - $2::text::interval WHERE workspace_id = $1",
            tenant.workspace,
            interval,
        )
        await connection.execute("ALTER TABLE porch.idempotency_keys FORCE ROW LEVEL SECURITY")


async def test_a_repeated_write_answers_the_same_and_writes_nothing(ada: Tenant) -> None:
    first = await ada.client.post(f"{ada.path}/agents", json=DEFINITION, headers=KEY)
    again = await ada.client.post(f"{ada.path}/agents", json=DEFINITION, headers=KEY)
    assert first.status == again.status == 201
    assert again.body == first.body
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await ada.client.get(f"{ada.path}/agents")).json["items"]) == 1


async def test_another_body_under_the_same_key_is_422(ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION, headers=KEY)
    other = await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "name": "other"}, headers=KEY)
    assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_keys_belong_to_a_principal_and_a_route(world: World, ada: Tenant, eve: Tenant) -> None:
    editor = await world.member(ada, "editor")
    made = await ada.client.post(f"{ada.path}/agents", json=DEFINITION, headers=KEY)
    assert (await eve.client.post(f"{eve.path}/agents", json=DEFINITION, headers=KEY)).status == 201
    assert (await editor.post(f"{ada.path}/agents", json=DEFINITION, headers=KEY)).status == 409
    begun = await ada.client.post(
        f"{ada.path}/agents/helper/conversations", json=DEFINITION and {}, headers=KEY
    )
    assert begun.status == 201
    assert begun.json["id"] != made.json["id"]


async def test_a_failed_write_releases_its_key(world: World, ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    taken = await ada.client.post(f"{ada.path}/agents", json=DEFINITION, headers=KEY)
    assert taken.status == 409
    assert await stored(world, ada) == []
    await ada.client.delete(f"{ada.path}/agents/helper")
    assert (await ada.client.post(f"{ada.path}/agents", json=DEFINITION, headers=KEY)).status == 201


async def test_a_key_lasts_a_day_and_old_ones_go_with_the_next_claim(world: World, ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION, headers=KEY)
    await age(world, ada, "23 hours 59 minutes")
    assert (await ada.client.post(f"{ada.path}/agents", json=DEFINITION, headers=KEY)).status == 201
    await age(world, ada, "24 hours 1 second")
    other = await ada.client.post(
        f"{ada.path}/agents", json={**DEFINITION, "name": "b"}, headers={"idempotency-key": "k-2"}
    )
    assert other.status == 201
    assert [row["key"] for row in await stored(world, ada)] == ["k-2"]
    assert (await ada.client.post(f"{ada.path}/agents", json=DEFINITION, headers=KEY)).status == 409


async def test_a_token_is_replayed_without_its_secret_and_kept_nowhere(world: World, ada: Tenant) -> None:
    wanted = {"name": "job", "scopes": ["run:agents"]}
    first = await ada.client.post(f"{ada.path}/tokens", json=wanted, headers=KEY)
    again = await ada.client.post(f"{ada.path}/tokens", json=wanted, headers=KEY)
    assert first.status == again.status == 201
    assert again.json == {**first.json, "token": None}
    (row,) = await stored(world, ada)
    assert first.json["token"].encode() not in row["body"]


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\x00", "schlüssel"])
async def test_an_odd_key_is_422(ada: Tenant, key: str) -> None:
    answer = await ada.client.post(f"{ada.path}/agents", json=DEFINITION, headers={"idempotency-key": key})
    assert (answer.status, answer.code) == (422, "invalid_input")


class Stage:
    """Lets a test hold a write and count it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.writes = 0


def staged(stage: Stage) -> APIRouter:
    router = api_router("/test", "test")
    writer = requires("write:agents")

    @router.post("/slow")
    async def slow(request: Request, principal: Annotated[Principal, writer]) -> Response:
        async def write() -> Response:
            stage.writes += 1
            stage.begun.set()
            await stage.go_on.wait()
            return json_response({"n": stage.writes}, 202)

        return await once(request, principal, write)

    @router.post("/fenced")
    async def fenced(request: Request, principal: Annotated[Principal, writer]) -> Response:
        async with claimed(request, principal, fenced=True):
            stage.writes += 1
            stage.begun.set()
            await stage.go_on.wait()
        return json_response({"n": stage.writes}, 202)

    @router.post("/stream")
    async def stream(request: Request, principal: Annotated[Principal, writer]) -> Response:
        async with claimed(request, principal) as claim:
            if claim is not None and claim.stored is not None:
                return json_response({"again": msgspec.json.decode(claim.stored.body)["run"]})
            stage.writes += 1
            if stage.writes == 1:
                raise Conflict("Not this time. Try again.")
            if claim is not None:
                await claim.keep(202, msgspec.json.encode({"run": f"run_{stage.writes}"}))
        return json_response({"run": f"run_{stage.writes}"})

    return router


async def test_a_write_in_progress_is_409_and_says_when_to_ask_again(fresh_urls: FreshUrls) -> None:
    stage = Stage()
    async with assembled(await fresh_urls(), [staged(stage)]) as world:
        ada = await world.tenant("ada")
        first = asyncio.create_task(ada.client.post("/test/slow", json={}, headers=KEY))
        await stage.begun.wait()
        meanwhile = await ada.client.post("/test/slow", json={}, headers=KEY)
        assert (meanwhile.status, meanwhile.code, meanwhile.headers["retry-after"]) == (
            409,
            "in_progress",
            "1",
        )
        stage.go_on.set()
        assert (await first).json == {"n": 1}
        again = await ada.client.post("/test/slow", json={}, headers=KEY)
        assert (again.status, again.json, stage.writes) == (202, {"n": 1}, 1)


async def test_of_many_at_once_one_writes(fresh_urls: FreshUrls) -> None:
    stage = Stage()
    stage.go_on.set()
    async with assembled(await fresh_urls(), [staged(stage)]) as world:
        ada = await world.tenant("ada")
        answers = await asyncio.gather(
            *(ada.client.post("/test/slow", json={}, headers=KEY) for _ in range(20))
        )
        assert stage.writes == 1
        assert {answer.status for answer in answers} <= {202, 409}
        assert 202 in {answer.status for answer in answers}


async def test_a_key_whose_process_died_is_free_after_a_minute(fresh_urls: FreshUrls) -> None:
    stage = Stage()
    async with assembled(await fresh_urls(), [staged(stage)]) as world:
        ada = await world.tenant("ada")
        lost = asyncio.create_task(ada.client.post("/test/slow", json={}, headers=KEY))
        await stage.begun.wait()
        lost.cancel()
        await asyncio.wait([lost])
        stage.go_on.set()
        assert (await ada.client.post("/test/slow", json={}, headers=KEY)).status == 409
        await age(world, ada, "61 seconds")
        assert (await ada.client.post("/test/slow", json={}, headers=KEY)).json == {"n": 2}


async def test_the_key_of_a_fenced_write_is_free_after_two_seconds(fresh_urls: FreshUrls) -> None:
    stage = Stage()
    async with assembled(await fresh_urls(), [staged(stage)]) as world:
        ada = await world.tenant("ada")
        lost = asyncio.create_task(ada.client.post("/test/fenced", json={}, headers=KEY))
        await stage.begun.wait()
        lost.cancel()
        await asyncio.wait([lost])
        assert (await ada.client.post("/test/fenced", json={}, headers=KEY)).status == 409
        stage.go_on.set()
        await age(world, ada, "3 seconds")
        assert (await ada.client.post("/test/fenced", json={}, headers=KEY)).json == {"n": 2}


async def test_a_stream_keeps_its_run_and_answers_it_again(fresh_urls: FreshUrls) -> None:
    async with assembled(await fresh_urls(), [staged(Stage())]) as world:
        ada = await world.tenant("ada")
        assert (await ada.client.post("/test/stream", json={}, headers=KEY)).status == 409
        assert (await ada.client.post("/test/stream", json={}, headers=KEY)).json == {"run": "run_2"}
        assert (await ada.client.post("/test/stream", json={}, headers=KEY)).json == {"again": "run_2"}
