"""The workspace's own page in a real browser: called otherwise, deleted, had back."""

from collections.abc import AsyncGenerator

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import Visit
from tests.browser.house import House, standing
from tests.browser.test_two_people import DESK, NARROWEST, PHONE, Axe, make_workspace, switcher
from tests.postgres import TestServer


@pytest.fixture(scope="module")
async def town(browser: Browser, postgres: TestServer) -> AsyncGenerator[House]:
    """A server that lets in other people."""
    del browser
    async with standing(postgres, multi_user=True, sign_up="open") as gate:
        yield gate.house


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_a_workspace_is_called_otherwise_deleted_and_had_back(
    town: House, visit: Visit, axe: Axe, size: dict[str, int]
) -> None:
    context = await visit(town, viewport=size)
    page = await context.new_page()
    stem = f"shop-{size['width']}"
    await make_workspace(page, town.url, stem)
    await switcher(page).click()
    await page.get_by_role("link", name="Workspace", exact=True).click()
    await page.get_by_label("Handle").fill(f"{stem}-2")
    await page.get_by_role("button", name="Change the handle").click()
    await expect(page.get_by_text(f"It was called @{stem} before.")).to_be_visible()
    await page.get_by_label("Handle").fill("No handle")
    await page.get_by_role("button", name="Change the handle").click()
    await expect(page.get_by_label("Handle")).to_be_focused()
    await axe(page)

    await page.get_by_role("link", name="Delete this workspace").click()
    await axe(page)
    await page.get_by_label("Write its handle").fill("shop")
    await page.get_by_role("button", name="Delete it").click()
    await expect(page.get_by_label("Write its handle")).to_be_focused()
    await page.get_by_label("Write its handle").fill(f"@{stem}-2")
    await page.get_by_role("button", name="Delete it").click()
    await expect(page.get_by_role("heading", name="Deleted workspaces")).to_be_visible()
    await axe(page)
    await page.set_viewport_size({"width": NARROWEST["width"], "height": NARROWEST["height"]})
    assert await page.evaluate("document.documentElement.scrollWidth") <= NARROWEST["width"]

    await page.get_by_role("button", name=f"Have {stem} back").click()
    await expect(page.get_by_text(f"@{stem}-2 is back, with all that was in it.")).to_be_visible()
    await switcher(page).click()
    await page.get_by_role("button", name=stem).click()
    await expect(switcher(page)).to_contain_text(stem)
