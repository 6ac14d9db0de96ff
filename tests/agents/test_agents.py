"""Agents and their drafts over HTTP."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from porch.contract.definition import Definition, parse_definition
from porch.contract.errors import InvalidInput
from tests.http.app import DEFINITION, Tenant, World

FULL: dict[str, Any] = {
    "name": "full",
    "title": "Full",
    "description": "Has it all.",
    "instructions": "Be thorough.",
    "model": ["openai:gpt-5-mini", "local:smollm2"],
    "tools": ["clock"],
    "plugins": ["notes"],
    "memory": {"recall": {"limit": 5}},
    "concurrency": "reject",
    "settings": {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 100,
        "stop": ["x"],
        "seed": 1,
        "max_steps": 3,
    },
}


async def create(tenant: Tenant, **changes: Any) -> Any:
    answer = await tenant.client.post(f"{tenant.path}/agents", json={**DEFINITION, **changes})
    assert answer.status == 201, answer.body
    return answer.json


@pytest.mark.parametrize("definition", [DEFINITION, FULL])
async def test_a_definition_becomes_an_agent_that_is_read_by_handle_and_by_id(
    ada: Tenant, definition: dict[str, Any]
) -> None:
    made = await ada.client.post(f"{ada.path}/agents", json=definition)
    assert made.status == 201, made.body
    assert made.json["agent"] == f"@{ada.handle}/{definition['name']}"
    assert made.json["warnings"] == []
    assert made.json["created_at"].endswith("Z")
    for name in (definition["name"], made.json["id"]):
        read = await ada.client.get(f"{ada.path}/agents/{name}")
        assert read.status == 200
        assert read.json["definition"] == definition
        assert read.json["latest_version"] is None
        assert read.headers["etag"] == '"1"'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "colour"),
        ({"settings": {"heat": 1}}, "heat"),
        ({"name": ""}, "cannot be"),
        ({"name": "Helper"}, "lower-case"),
        ({"name": "-a"}, "lower-case"),
        ({"name": "a" * 41}, "1 to 40"),
        ({"name": "a\x00"}, "lower-case"),
        ({"name": 7}, "name"),
        ({"instructions": None}, "instructions"),
        ({"instructions": "a\x00b"}, "NUL"),
        ({"instructions": "x" * 65_537}, "64 KiB"),
        ({"title": "a\x00b"}, "/title"),
        ({"tools": ["a\x00"]}, "/tools/0"),
        ({"memory": {"a\x00": 1}}, "NUL"),
        ({"memory": {"a": ["x" * 300_000]}}, "limit"),
        ({"tools": "clock"}, "tools"),
        ({"model": []}, "empty list"),
        ({"model": "gpt"}, "provider:model"),
        ({"model": "a:b\nc"}, "provider:model"),
        ({"model": ["local:x", 3]}, "model"),
        ({"settings": {"temperature": "hot"}}, "temperature"),
        ({"concurrency": "sometimes"}, "concurrency"),
    ],
    ids=range(22),
)
async def test_what_is_wrong_with_a_definition_is_said_and_nothing_is_kept(
    ada: Tenant, change: dict[str, Any], said: str
) -> None:
    answer = await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, **change})
    assert (answer.status, answer.code) == (422, "invalid_input"), answer.body
    assert said in answer.json["detail"]
    assert (await ada.client.get(f"{ada.path}/agents")).json["items"] == []


async def test_a_lone_surrogate_in_a_definition_is_422(ada: Tenant) -> None:
    answer = await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "title": "\ud83d"})
    assert (answer.status, answer.code) == (422, "invalid_input")
    assert "surrogate" in answer.json["detail"]


async def test_a_taken_name_is_409(ada: Tenant, eve: Tenant) -> None:
    await create(ada)
    again = await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    assert (again.status, again.code) == (409, "conflict")
    assert "'helper'" in again.json["detail"]
    await create(eve)


@pytest.mark.parametrize(
    "name",
    [
        "nobody",
        "agt_x",
        "agt_" + "g" * 32,
        "%00",
        "Helper",
        "a" * 300,
        "\ufffd",
        "agt_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b",
        "ws_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b",
    ],
)
async def test_an_agent_that_is_not_there_is_404(ada: Tenant, name: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await ada.client.request(method, f"{ada.path}/agents/{name}")
        assert (answer.status, answer.code) == (404, "not_found")
    for method in ("PUT", "PATCH"):
        answer = await ada.client.request(method, f"{ada.path}/agents/{name}", json=DEFINITION)
        assert (answer.status, answer.code) == (404, "not_found")


async def test_a_draft_is_replaced_whole_and_counts_its_revisions(ada: Tenant) -> None:
    await create(ada, title="Old")
    changed = await ada.client.put(f"{ada.path}/agents/helper", json=DEFINITION)
    assert (changed.status, changed.headers["etag"], changed.json["revision"]) == (200, '"2"', 2)
    assert changed.json["definition"] == DEFINITION


async def test_a_draft_is_changed_by_a_merge_patch(ada: Tenant) -> None:
    await create(ada, title="Old", settings={"temperature": 0.1, "seed": 3})
    changed = await ada.client.patch(
        f"{ada.path}/agents/helper",
        json={"title": None, "tools": ["clock"], "settings": {"temperature": None, "top_p": 1.0}},
    )
    assert changed.status == 200, changed.body
    assert changed.json["definition"] == {
        **DEFINITION,
        "tools": ["clock"],
        "settings": {"seed": 3, "top_p": 1.0},
    }
    for wrong in ({"colour": "red"}, {"instructions": None}, {"settings": 3}):
        assert (await ada.client.patch(f"{ada.path}/agents/helper", json=wrong)).status == 422
    listed = await ada.client.patch(
        f"{ada.path}/agents/helper", body=b"[]", headers={"content-type": "application/json"}
    )
    assert listed.status == 422
    assert (await ada.client.get(f"{ada.path}/agents/helper")).json["revision"] == 2


async def test_another_name_renames_and_the_id_stays(ada: Tenant) -> None:
    made = await create(ada)
    await create(ada, name="other")
    renamed = await ada.client.patch(f"{ada.path}/agents/helper", json={"name": "aide"})
    assert (renamed.json["handle"], renamed.json["id"]) == ("aide", made["id"])
    assert (await ada.client.get(f"{ada.path}/agents/helper")).status == 404
    taken = await ada.client.patch(f"{ada.path}/agents/aide", json={"name": "other"})
    assert (taken.status, taken.code) == (409, "conflict")


@pytest.mark.parametrize("sent", ['"2"', "2", 'W/"2"', '"999999999"'])
async def test_a_write_on_top_of_another_revision_is_412(ada: Tenant, sent: str) -> None:
    await create(ada)
    for method in ("PUT", "PATCH"):
        stale = await ada.client.request(
            method, f"{ada.path}/agents/helper", json=DEFINITION, headers={"if-match": sent}
        )
        assert (stale.status, stale.code) == (412, "stale_revision")
    stale = await ada.client.post(f"{ada.path}/agents/helper/versions", headers={"if-match": sent})
    assert stale.status == 412


async def test_a_write_on_top_of_the_revision_read_goes_through(ada: Tenant) -> None:
    await create(ada)
    etag = (await ada.client.get(f"{ada.path}/agents/helper")).headers["etag"]
    changed = await ada.client.put(f"{ada.path}/agents/helper", json=DEFINITION, headers={"if-match": etag})
    assert changed.status == 200
    anyway = await ada.client.put(f"{ada.path}/agents/helper", json=DEFINITION, headers={"if-match": "*"})
    assert anyway.status == 200


@pytest.mark.parametrize("sent", ["", "x", '"1", "2"', '"-1"', '"' + "9" * 30 + '"', '"²"'])
async def test_an_if_match_that_is_no_etag_of_ours_is_422(ada: Tenant, sent: str) -> None:
    await create(ada)
    answer = await ada.client.put(f"{ada.path}/agents/helper", json=DEFINITION, headers={"if-match": sent})
    assert (answer.status, answer.code) == (422, "invalid_input")


async def test_of_writers_at_once_with_one_etag_one_wins(ada: Tenant) -> None:
    await create(ada)
    answers = await asyncio.gather(
        *(
            ada.client.patch(f"{ada.path}/agents/helper", json={"title": str(n)}, headers={"if-match": '"1"'})
            for n in range(8)
        )
    )
    assert sorted(answer.status for answer in answers) == [200] + [412] * 7


async def test_a_deleted_agent_is_gone_with_what_belongs_to_it(world: World, ada: Tenant) -> None:
    await create(ada)
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    begun = await ada.client.post(f"{ada.path}/agents/helper/conversations")
    assert (await ada.client.delete(f"{ada.path}/agents/helper")).status == 204
    assert (await ada.client.get(f"{ada.path}/agents/helper")).status == 404
    assert (await ada.client.get(f"/api/v1/conversations/{begun.json['id']}")).status == 404
    async with world.database.tenant(ada.workspace) as connection:
        for table in ("agents", "agent_versions", "conversations"):
            assert await connection.fetchval(f"SELECT count(*) FROM porch.{table}") == 0


async def test_a_check_of_models_can_refuse_or_warn(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(definition: Definition, _: UUID) -> list[str]:
        if definition.models == ["nowhere:x"]:
            raise InvalidInput("There is no provider 'nowhere'. Use local:smollm2.")
        return ["OPENAI_API_KEY is not set."] if "openai:x" in definition.models else []

    monkeypatch.setattr(world.app.state, "check_definition", check, raising=False)
    refused = await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "model": "nowhere:x"})
    assert (refused.status, refused.code) == (422, "invalid_input")
    warned = await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "model": "openai:x"})
    assert (warned.status, warned.json["warnings"]) == (201, ["OPENAI_API_KEY is not set."])
    published = await ada.client.post(f"{ada.path}/agents/helper/versions")
    assert (published.status, published.json["warnings"]) == (201, ["OPENAI_API_KEY is not set."])
    again = await ada.client.patch(f"{ada.path}/agents/helper", json={"model": "nowhere:x"})
    assert again.status == 422


async def test_what_is_listed_reads_back_as_the_definition_it_was(ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/agents", json=FULL)
    (item,) = (await ada.client.get(f"{ada.path}/agents")).json["items"]
    assert parse_definition(item["definition"]) == parse_definition(FULL)
