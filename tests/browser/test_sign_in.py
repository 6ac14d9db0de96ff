"""Signing in, sessions and signing out in a real browser."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from tests.browser.conftest import Visit
from tests.browser.house import House

Axe = Callable[[Page], Awaitable[None]]
Picture = Callable[[Page, str], Awaitable[Path]]
POST_WITHOUT_TOKEN = (
    "async () => (await fetch('/api/v1/workspaces/none/agents', {method: 'POST', body: '{}',"
    " headers: {'Content-Type': 'application/json'}})).status"
)
ME = "async () => (await fetch('/api/v1/me')).status"


async def test_a_printed_link_leads_in_by_one_button(
    house: House, visit: Visit, axe: Axe, picture: Picture
) -> None:
    context = await visit(signed_in=False)
    page = await context.new_page()
    await page.goto(house.url + "/sessions")
    await expect(page).to_have_url(house.url + "/sign-in?next=/sessions")
    await expect(page.get_by_text("porch sign-in", exact=True)).to_be_visible()
    await axe(page)
    await picture(page, "sign-in")

    await page.goto(await house.sign_in_link())
    await axe(page)
    await picture(page, "sign-in-link")
    await page.get_by_role("button", name="Sign in as").click()
    await expect(page).to_have_url(house.url + "/sessions")
    await expect(page.get_by_text("this browser")).to_be_visible()
    await axe(page)
    await picture(page, "sessions")
    assert await session_cookies(context) == [(True, "Lax", "/")]
    assert "porch_session" not in await page.evaluate("document.cookie")


async def session_cookies(context: BrowserContext) -> list[tuple[Any, Any, Any]]:
    return [
        (cookie.get("httpOnly"), cookie.get("sameSite"), cookie.get("path"))
        for cookie in await context.cookies()
        if "porch_session" in cookie.get("name", "")
    ]


async def test_without_scripts_one_signs_in_and_out_as_well(house: House, visit: Visit) -> None:
    page = await (await visit(signed_in=False, java_script_enabled=False)).new_page()
    link = await house.sign_in_link()
    await page.goto(link)
    await page.get_by_role("button", name="Sign in as").click()
    await page.goto(house.url + "/sessions")
    await page.get_by_role("button", name="Sign out of").click()
    await expect(page).to_have_url(house.url + "/sign-in")
    await expect(page.get_by_text("You are signed out.")).to_be_visible()
    await page.goto(link)
    await expect(page.get_by_text("has been used already")).to_be_visible()


async def test_a_session_ended_elsewhere_is_401_to_the_page_that_is_open(
    house: House, page: Page, visit: Visit
) -> None:
    await page.goto(house.url + "/sessions")
    assert await page.evaluate(ME) == 200
    other = await (await visit(user_agent="Firefox/1 (Linux)")).new_page()
    await other.goto(house.url + "/sessions")
    rows = other.locator(".list-row")
    await expect(rows).to_have_count(2)
    await rows.filter(has_not_text="this browser").get_by_role("button", name="End").click()
    await expect(rows).to_have_count(1)
    assert await page.evaluate(ME) == 401
    await page.reload()
    await expect(page).to_have_url(house.url + "/sign-in?next=/sessions")


async def test_a_page_at_another_port_of_this_host_changes_nothing(house: House, browser: Browser) -> None:
    async def neighbour(route: Route) -> None:
        form = f"<form method=post action='{house.url}/sign-out'><button>Win a prize</button></form>"
        await route.fulfill(content_type="text/html", body=form)

    # Not by `visit`, which fails a test whose pages ask another host.
    context = await browser.new_context()
    try:
        await context.route("http://localhost:1/", neighbour)
        page, trap = await context.new_page(), await context.new_page()
        await page.goto(await house.sign_in_link())
        await page.get_by_role("button", name="Sign in as").click()
        await page.goto(house.url + "/sessions")
        assert await page.evaluate(POST_WITHOUT_TOKEN) == 403

        # Cookies ignore ports, so the browser sends ours along with its form.
        await trap.goto("http://localhost:1/")
        await trap.get_by_role("button").click()
        await expect(trap.get_by_text("Another website sent this")).to_be_visible()
        assert await page.evaluate(ME) == 200
    finally:
        await context.close()
