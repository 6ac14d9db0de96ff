"""The harness itself: what other tests here lean on."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Visit, Watched
from tests.browser.house import Gate, House


async def test_two_houses_know_nothing_of_each_other(house: House, standing_house: Gate) -> None:
    other = await standing_house.guest_house()
    await house.agent(name="mine")
    assert [
        item["handle"]
        for item in (await house.api("GET", f"/api/v1/workspaces/{house.workspace}/agents"))["items"]
    ] == ["mine"]
    assert (await other.api("GET", f"/api/v1/workspaces/{other.workspace}/agents"))["items"] == []
    status, _ = await other.ask("GET", f"/api/v1/workspaces/{house.workspace}/agents")
    assert status == 404


async def test_a_killed_server_comes_back_at_the_same_address_with_its_data(gate: Gate) -> None:
    agent = await gate.house.agent()
    await gate.kill()
    await gate.start()
    found = await gate.house.api("GET", f"/api/v1/workspaces/{gate.house.workspace}/agents/{agent}")
    assert found["handle"] == agent


async def test_axe_sees_into_shadow_roots(
    house: House,
    visit: Visit,
    axe: Callable[[Page], Awaitable[None]],
    picture: Callable[[Page, str], Awaitable[Path]],
) -> None:
    page = await (await visit(house, signed_in=False)).new_page()
    await page.set_content(
        "<!doctype html><html lang=en><title>A page</title><main><h1>Hello</h1><div id=host></div></main>"
    )
    await axe(page)
    await page.evaluate(
        "document.getElementById('host').attachShadow({mode: 'open'}).innerHTML = '<button></button>'"
    )
    with pytest.raises(AssertionError, match="button-name"):
        await axe(page)
    assert (await picture(page, "harness")).stat().st_size > 1000


async def test_a_page_that_throws_or_asks_another_host_is_noticed(house: House, visit: Visit) -> None:
    context = await visit(house, signed_in=False)
    watched = Watched(context, ("localhost:1",))
    page = await context.new_page()
    watched.watch(page)
    await page.goto(house.url + "/healthz")
    assert watched.faults == [f"a request left for {house.url}/healthz"]


async def test_a_signed_in_page_knows_its_reader(page: Page, house: House) -> None:
    await page.goto(house.url + "/")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
