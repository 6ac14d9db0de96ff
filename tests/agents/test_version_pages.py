"""The pages of versions: publishing, the list, differences, and a version as the draft again."""

import re

import pytest

from tests.agents.sheets import Fields, furnished, make, opened, page, read, send, text_of
from tests.http.app import Tenant

__all__ = ["furnished"]


async def test_a_draft_is_looked_at_and_published_with_a_note(ada: Tenant) -> None:
    await make(ada)
    answer = await send(ada, "/agents/helper", {**await opened(ada), "title": "Kind", "then": "publish"})
    assert answer.headers["location"] == "/agents/helper/publish"
    form = await opened(ada, "/agents/helper/publish")
    answer = await send(ada, "/agents/helper/versions", {**form, "note": "A first one."})
    assert answer.headers["location"] == "/agents/helper"
    version = (await ada.client.get(f"{ada.path}/agents/helper/versions/1")).json
    assert (version["note"], version["definition"]["title"]) == ("A first one.", "Kind")
    assert "nothing to publish" in await page(ada, "/agents/helper/publish")
    assert "A first one." in await page(ada, "/agents/helper/versions")


async def test_a_draft_that_changed_since_it_was_looked_at_is_not_published(ada: Tenant) -> None:
    await make(ada)
    form = await opened(ada, "/agents/helper/publish")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "Slipped in."})
    answer = await send(ada, "/agents/helper/versions", {**form, "note": "Mine."})
    assert answer.status == 412
    assert Fields(answer.body.decode()).values["note"] == "Mine."
    assert "Slipped in." in answer.body.decode()
    assert (await read(ada))["latest_version"] is None


@pytest.mark.parametrize("revision", [None, "", "1x", "-1", "1.0", "٣", "9999999999"])
async def test_a_form_that_does_not_say_what_it_was_written_over_changes_nothing(
    ada: Tenant, revision: str | None
) -> None:
    await make(ada)
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "Mine."})
    before = await read(ada)
    form = {**await opened(ada), "title": "Other", "note": "Mine."}
    del form["revision"]
    if revision is not None:
        form["revision"] = revision
    for path in ("", "/versions", "/versions/1/restore"):
        answer = await send(ada, f"/agents/helper{path}", form)
        assert answer.status == 422, path
        assert "which revision of the draft" in text_of(answer.body.decode()), path
    assert await read(ada) == before


async def test_what_the_public_may_ask_is_as_it_was_published(ada: Tenant) -> None:
    await make(ada, questions=["The old one?"])
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"questions": ["The new one?"]})
    assert "The old one?" in await page(ada, f"/@{ada.handle}/helper")
    assert "The new one?" in await page(ada, "/agents/helper")
    shown = text_of(await page(ada, "/agents/helper/versions/1..draft"))
    assert re.search("Example questions .*Removed:.* old .*Added:.* new ", shown)


async def test_two_versions_are_told_apart_by_word(ada: Tenant) -> None:
    await make(ada, instructions="Answer every question in plain words.")
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(
        f"{ada.path}/agents/helper", json={"instructions": "Answer every question in kind words."}
    )
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    for span in ("1..2", "1..draft"):
        shown = await page(ada, f"/agents/helper/versions/{span}")
        assert "<del>plain</del>" in shown
        assert "<ins>kind</ins>" in shown
    assert "They say the same." in await page(ada, "/agents/helper/versions/2..draft")


@pytest.mark.parametrize(
    "span", ["1..9", "0..1", "draft", "1...2", "x..y", "99999999999..1", "1..", "%00", "9"]
)
async def test_versions_that_are_not_there_are_a_page_with_a_sentence(ada: Tenant, span: str) -> None:
    await make(ada)
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await page(ada, f"/agents/helper/versions/{span}", 404)


async def test_a_very_long_difference_is_shown_from_its_beginning(ada: Tenant) -> None:
    lines = ["\n".join(f"{number % divisor}" for number in range(30_000)) for divisor in (7, 9)]
    await make(ada, instructions=lines[0])
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": lines[1]})
    shown = await page(ada, "/agents/helper/versions/1..draft")
    assert len(shown) < 200_000
    assert "more lines of this difference are not shown" in shown


@pytest.mark.parametrize("number", ["-1", "0", "-9999999999999", "9999999999999"])
async def test_no_draft_is_made_of_a_version_that_is_not_there(ada: Tenant, number: str) -> None:
    await make(ada)
    answer = await send(ada, f"/agents/helper/versions/{number}/restore", {"revision": "1"})
    assert answer.status == 404


async def test_an_old_version_becomes_the_draft_again(ada: Tenant) -> None:
    await make(ada, instructions="The old way.")
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "New.", "name": "renamed"})
    form = await opened(ada, "/agents/renamed/versions/1")
    answer = await send(ada, "/agents/renamed/versions/1/restore", form)
    assert answer.headers["location"] == "/agents/renamed"
    assert "The old way." in await page(ada, "/agents/renamed/versions/1")
    kept = (await read(ada, "renamed"))["definition"]
    assert (kept["instructions"], kept["name"]) == ("The old way.", "renamed")


async def test_before_a_version_takes_the_place_of_a_changed_draft_the_page_says_so(ada: Tenant) -> None:
    await make(ada, instructions="The old way.")
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "The new way."})
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    assert "in no version are gone" not in await page(ada, "/agents/helper/versions/1")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "Not yet published."})
    assert "in no version are gone" in await page(ada, "/agents/helper/versions/1")


async def test_a_draft_that_changed_meanwhile_is_not_replaced_by_an_old_version(ada: Tenant) -> None:
    await make(ada, instructions="The old way.")
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "New."})
    form = await opened(ada, "/agents/helper/versions/1")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "Newer."})
    answer = await send(ada, "/agents/helper/versions/1/restore", form)
    assert answer.headers["location"] == "/agents/helper/versions/draft..1"
    assert (await read(ada))["definition"]["instructions"] == "Newer."
