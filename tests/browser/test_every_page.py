"""What holds of every page: axe finds nothing, nothing scrolls sideways, and it reads without scripts."""

from collections.abc import Awaitable, Callable
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.furnished import Furnished, furnish
from tests.browser.house import Gate

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
NARROWEST = {"width": 320, "height": 600}
CSP = "default-src 'none'; script-src 'self'; style-src 'self';"


@pytest.fixture(scope="module")
async def furnished(browser: Browser, standing_house: Gate) -> Furnished:
    del browser
    return await furnish(await standing_house.guest_house())


async def settled(page: Page) -> None:
    """Wait until a chat shows what was said in it; other pages are whole when they are loaded."""
    for chat in await page.locator("porch-chat").all():
        reads = await chat.get_attribute("readonly") is not None
        if not reads:
            await expect(chat.get_by_role("textbox", name="Message")).to_be_visible()
        if reads or await chat.get_attribute("conversation"):
            await expect(chat.locator(".turn").last).to_be_visible()


@pytest.mark.timeout(300)  # every page there is
@pytest.mark.parametrize(("scheme", "size"), [("light", PHONE), ("dark", DESK)], ids=["phone", "desk"])
async def test_axe_finds_nothing(
    furnished: Furnished,
    visit: Visit,
    axe: Callable[[Page], Awaitable[None]],
    scheme: Literal["light", "dark"],
    size: dict[str, int],
) -> None:
    found: list[str] = []
    for pages, signed_in in ((furnished.pages, True), (furnished.public, False)):
        context = await visit(furnished.house, signed_in=signed_in, color_scheme=scheme, viewport=size)
        page = await context.new_page()
        for name, path in pages.items():
            await page.goto(furnished.house.url + path)
            await settled(page)
            try:
                await axe(page)
            except AssertionError as error:
                found.append(f"{name} ({path}):\n{error}")
    assert not found, "\n\n".join(found)


async def test_no_page_scrolls_sideways_on_the_narrowest_screen(furnished: Furnished, visit: Visit) -> None:
    wide: dict[str, int] = {}
    for pages, signed_in in ((furnished.pages, True), (furnished.public, False)):
        context = await visit(furnished.house, signed_in=signed_in, viewport=NARROWEST)
        page = await context.new_page()
        for name, path in pages.items():
            await page.goto(furnished.house.url + path)
            wide[name] = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert {name: more for name, more in wide.items() if more > 0} == {}


async def test_every_page_reads_without_scripts(furnished: Furnished, visit: Visit) -> None:
    for pages, signed_in in ((furnished.pages, True), (furnished.public, False)):
        context = await visit(furnished.house, signed_in=signed_in, java_script_enabled=False)
        page = await context.new_page()
        for path in pages.values():
            await page.goto(furnished.house.url + path)
            await expect(page.get_by_role("heading", level=1).first).to_be_visible()
            await expect(page.get_by_role("main")).not_to_be_empty()


async def test_every_page_carries_its_policy_and_stays_out_of_caches(
    furnished: Furnished, visit: Visit
) -> None:
    for pages, signed_in in ((furnished.pages, True), (furnished.public, False)):
        context = await visit(furnished.house, signed_in=signed_in)
        for name, path in pages.items():
            reply = await context.request.get(furnished.house.url + path, headers={"Accept": "text/html"})
            assert reply.status == (404 if name == "not-found" else 200), path
            headers = reply.headers
            assert headers["content-security-policy"].startswith(CSP), path
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cache-control"] == "no-store"
            assert " style=" not in await reply.text(), f"{path} has a style that the policy refuses"
