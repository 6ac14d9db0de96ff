"""Published versions: immutable, and equal ones are one."""

import asyncio
import json

import asyncpg
import pytest

from porch.contract.definition import content_hash, parse_definition
from tests.http.app import DEFINITION, Tenant, World


@pytest.fixture
async def versions(ada: Tenant) -> str:
    """The path of an agent's versions."""
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    return f"{ada.path}/agents/helper/versions"


async def test_publishing_freezes_the_draft_under_the_next_number(ada: Tenant, versions: str) -> None:
    first = await ada.client.post(versions, json={"note": "To begin with."})
    assert (first.status, first.json["number"], first.json["note"]) == (201, 1, "To begin with.")
    assert first.json["content_hash"] == content_hash(parse_definition(DEFINITION))
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "Be long."})
    second = await ada.client.post(versions)
    assert (second.status, second.json["number"]) == (201, 2)
    assert (await ada.client.get(f"{versions}/1")).json["definition"] == DEFINITION
    assert (await ada.client.get(f"{versions}/2")).json["definition"]["instructions"] == "Be long."
    assert (await ada.client.get(f"{ada.path}/agents/helper")).json["latest_version"] == 2


async def test_an_unchanged_draft_answers_the_version_that_is_there(ada: Tenant, versions: str) -> None:
    first = await ada.client.post(versions, json={"note": "one"})
    again = await ada.client.post(versions, json={"note": "two"})
    assert (first.status, again.status) == (201, 200)
    assert again.json == first.json
    await ada.client.patch(f"{ada.path}/agents/helper", json={"title": "x"})
    await ada.client.patch(f"{ada.path}/agents/helper", json={"title": None})
    assert (await ada.client.post(versions)).status == 200


async def test_tools_that_were_stored_twice_are_read_and_changed_and_published_as_ever(
    world: World, ada: Tenant, versions: str
) -> None:
    agent = f"{ada.path}/agents/helper"
    await ada.client.post(versions)
    stored = {**DEFINITION, "tools": ["clock", "clock"], "approval": {"tools": ["clock", "clock"]}}
    async with world.database.tenant(ada.workspace) as connection:
        await connection.execute("UPDATE porch.agents SET draft = $1", json.dumps(stored).encode())
    assert (await ada.client.post(versions)).status == 201
    assert (await ada.client.get(f"{versions}/2")).json["definition"] == stored
    assert (await ada.client.get(agent)).json["definition"]["tools"] == ["clock", "clock"]
    changed = await ada.client.patch(agent, json={"title": "x"})
    assert (changed.status, changed.json["definition"]["tools"]) == (200, ["clock"])
    assert changed.json["definition"]["approval"] == {"tools": ["clock"]}
    refused = await ada.client.patch(agent, json={"tools": ["clock", "clock"]})
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/tools/1")
    assert "names the tool 'clock' more than once; name it once" in refused.json["detail"]


async def test_going_back_to_an_older_definition_is_a_new_version_with_the_old_hash(
    ada: Tenant, versions: str
) -> None:
    hashes: list[str] = []
    for title in ("a", "b", "a"):
        await ada.client.patch(f"{ada.path}/agents/helper", json={"title": title})
        hashes.append((await ada.client.post(versions)).json["content_hash"])
    assert hashes[0] == hashes[2] != hashes[1]
    assert len((await ada.client.get(versions)).json["items"]) == 3


async def test_publishing_at_once_gives_one_version(ada: Tenant, versions: str) -> None:
    answers = await asyncio.gather(*(ada.client.post(versions) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [200] * 5 + [201]
    assert {answer.json["number"] for answer in answers} == {1}


async def test_versions_are_listed_newest_first_in_pages(ada: Tenant, versions: str) -> None:
    for title in "abc":
        await ada.client.patch(f"{ada.path}/agents/helper", json={"title": title})
        await ada.client.post(versions)
    page = (await ada.client.get(f"{versions}?limit=2")).json
    assert [item["number"] for item in page["items"]] == [3, 2]
    rest = (await ada.client.get(f"{versions}?limit=2&cursor={page['next_cursor']}")).json
    assert [item["number"] for item in rest["items"]] == [1]
    assert rest["next_cursor"] is None


async def test_a_version_that_is_not_there_is_404_and_an_odd_number_422(ada: Tenant, versions: str) -> None:
    missing = await ada.client.get(f"{versions}/7")
    assert (missing.status, missing.code) == (404, "not_found")
    for odd in ("0", "-1", "x", "9" * 30, "1.5", "%00"):
        answer = await ada.client.get(f"{versions}/{odd}")
        assert (answer.status, answer.code) == (422, "invalid_input"), odd


@pytest.mark.parametrize("note", ["a\x00", "\ud800", "x" * 2001, 7, None, ["x"]])
async def test_an_odd_note_is_422(ada: Tenant, versions: str, note: object) -> None:
    answer = await ada.client.post(versions, json={"note": note})
    assert (answer.status, answer.code) == (422, "invalid_input")
    assert (await ada.client.get(versions)).json["items"] == []


async def test_an_unknown_key_is_422(ada: Tenant, versions: str) -> None:
    answer = await ada.client.post(versions, json={"notes": "x"})
    assert (answer.status, answer.json["errors"]) == (
        422,
        [{"pointer": "/notes", "detail": "it is not a known key"}],
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE porch.agent_versions SET note = 'changed'",
        "DELETE FROM porch.agent_versions",
        "TRUNCATE porch.agent_versions",
    ],
)
async def test_not_even_the_app_s_role_can_change_a_version(
    world: World, ada: Tenant, versions: str, statement: str
) -> None:
    await ada.client.post(versions)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with world.database.tenant(ada.workspace) as connection:
            await connection.execute(statement)
