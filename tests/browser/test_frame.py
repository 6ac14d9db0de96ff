"""What every page has: the theme, the menus, the ways of the keyboard, other directions and sizes."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Visit
from tests.browser.house import House

if TYPE_CHECKING:
    from playwright.async_api import Page

Axe = Callable[["Page"], Awaitable[None]]
PHONE = {"width": 390, "height": 844}
NARROWEST = {"width": 320, "height": 640}
"""What WCAG 2.2's 1.4.10 asks of a page that is enlarged four times."""
PAPER = {"light": "rgb(248, 244, 234)", "dark": "rgb(15, 29, 34)"}


async def open_design(visit: Visit, house: House, **options: Any) -> "Page":
    page = await (await visit(**options)).new_page()
    await page.goto(house.url + "/design")
    return page


async def paper(page: "Page") -> str:
    return await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


async def overflow(page: "Page") -> int:
    return await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_by_day_and_by_night(
    visit: Visit, house: House, axe: Axe, scheme: str
) -> None:
    page = await open_design(visit, house, color_scheme=scheme)
    assert await paper(page) == PAPER[scheme]
    await axe(page)


async def test_axe_finds_nothing_on_a_phone_with_the_menu_open(visit: Visit, house: House, axe: Axe) -> None:
    page = await open_design(visit, house, viewport=PHONE)
    await page.get_by_role("button", name="Menu").click()
    await page.get_by_role("navigation", name="Porch").wait_for()
    await axe(page)


async def test_axe_finds_nothing_on_the_page_of_a_failure(visit: Visit, house: House, axe: Axe) -> None:
    page = await (await visit()).new_page()
    await page.goto(house.url + "/nowhere")
    await axe(page)
    await page.get_by_role("navigation", name="Porch").wait_for()
    await page.get_by_role("main").get_by_role("link", name="Home").click()
    await page.wait_for_url(house.url + "/")


async def test_a_chosen_theme_outlasts_a_reload_and_reaches_other_tabs(visit: Visit, house: House) -> None:
    context = await visit(color_scheme="dark")
    first, second = await context.new_page(), await context.new_page()
    for page in (first, second):
        await page.goto(house.url + "/design")
    await first.get_by_role("button", name="Theme: system").click()
    await first.get_by_role("button", name="Theme: light").wait_for()
    assert await paper(first) == PAPER["light"]
    await second.get_by_role("button", name="Theme: light").wait_for()
    await first.reload()
    assert await paper(first) == PAPER["light"]
    await first.get_by_role("button", name="Theme: light").click()
    assert await paper(first) == PAPER["dark"]
    await first.get_by_role("button", name="Theme: dark").click()
    await first.get_by_role("button", name="Theme: system").wait_for()
    await first.reload()
    await first.get_by_role("button", name="Theme: system").wait_for()
    assert not [cookie for cookie in await context.cookies() if cookie.get("name") == "porch_theme"]


@pytest.mark.parametrize("viewport", [NARROWEST, PHONE], ids=["narrowest", "phone"])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
async def test_nothing_lies_beyond_the_edge(
    visit: Visit, house: House, viewport: dict[str, int], direction: str
) -> None:
    page = await open_design(visit, house, viewport=viewport)
    await page.evaluate("direction => document.documentElement.dir = direction", direction)
    assert await overflow(page) == 0


async def test_everything_mirrors(visit: Visit, house: House, axe: Axe) -> None:
    page = await open_design(visit, house)
    name = page.get_by_role("link", name="Porch", exact=True)
    before = await name.bounding_box()
    await page.evaluate("document.documentElement.dir = 'rtl'")
    after = await name.bounding_box()
    assert before is not None
    assert after is not None
    assert before["x"] < 100
    assert after["x"] > 1000
    await page.get_by_role("button", name="Account").click()
    menu = await page.locator("#house-account").bounding_box()
    assert menu is not None
    assert menu["x"] < 100
    await axe(page)


async def test_the_first_stop_of_the_keyboard_skips_to_the_content(visit: Visit, house: House) -> None:
    page = await open_design(visit, house, reduced_motion="reduce")
    await page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert await focused.text_content() == "Skip to the content"
    box = await focused.bounding_box()
    assert box is not None
    assert box["y"] >= 0
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.querySelector('main').contains(document.activeElement)")


async def test_every_stop_of_the_keyboard_has_a_ring(visit: Visit, house: House) -> None:
    page = await open_design(visit, house)
    bare: list[str] = []
    stops = 0
    for _ in range(120):
        await page.keyboard.press("Tab")
        found = await page.evaluate(
            """() => {
                const e = document.activeElement;
                if (!e || e === document.body) return null;
                const s = getComputedStyle(e);
                return [e.outerHTML.slice(0, 120), s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2];
            }"""
        )
        if found is None:
            break
        stops += 1
        if not found[1]:
            bare.append(found[0])
    assert stops > 40
    assert bare == []


async def test_the_menus_open_and_close_by_keyboard(visit: Visit, house: House) -> None:
    page = await open_design(visit, house)
    menu = page.locator("details.menu").first
    summary = menu.locator("summary")
    await summary.focus()
    await page.keyboard.press("Enter")
    assert await menu.get_attribute("open") is not None
    await page.keyboard.press("Tab")
    await page.keyboard.press("Escape")
    assert await menu.get_attribute("open") is None
    assert await summary.evaluate("element => element === document.activeElement")
    await summary.click()
    await page.get_by_role("heading", name="Surfaces").click()
    assert await menu.get_attribute("open") is None


async def test_a_dialog_takes_the_focus_and_gives_it_back(visit: Visit, house: House) -> None:
    page = await open_design(visit, house)
    button = page.get_by_role("button", name="Open a dialog")
    await button.click()
    dialog = page.get_by_role("dialog", name="Delete this conversation?")
    await dialog.wait_for()
    await page.keyboard.press("Escape")
    await dialog.wait_for(state="hidden")
    assert await button.evaluate("element => element === document.activeElement")


async def test_nothing_moves_for_those_who_asked_for_stillness(visit: Visit, house: House) -> None:
    page = await open_design(visit, house, reduced_motion="reduce")
    moving = await page.evaluate(
        """() => [...document.querySelectorAll("*")].filter((e) => {
            const s = getComputedStyle(e);
            return parseFloat(s.transitionDuration) > 0 || parseFloat(s.animationDuration) > 0;
        }).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert moving == []


async def test_forced_colours_keep_the_edges_of_things(visit: Visit, house: House) -> None:
    page = await open_design(visit, house, forced_colors="active")
    edges = await page.evaluate(
        """() => [...document.querySelectorAll(".button, .badge, .input, .notice, .card")].filter((e) => {
            const s = getComputedStyle(e);
            const bare = parseFloat(s.borderTopWidth) === 0 || s.borderTopColor === s.backgroundColor;
            return e.checkVisibility() && bare;
        }).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert edges == []


async def test_times_are_told_as_people_tell_them(visit: Visit, house: House) -> None:
    page = await open_design(visit, house)
    assert await page.locator("time").first.text_content() == "just now"
    said = await page.evaluate(
        """async () => {
            const { sayWhen } = await import(document.querySelector("script[type=module]").src);
            const now = new Date("2026-11-22T12:00:00Z");
            return [10, 60, 59 * 60, 3600, 86400, 3 * 86400, 20 * 86400, 400 * 86400, -7200]
                .map((seconds) => sayWhen(new Date(now - seconds * 1000), now));
        }"""
    )
    assert said == [
        "just now",
        "1 minute ago",
        "59 minutes ago",
        "1 hour ago",
        "yesterday",
        "3 days ago",
        "3 weeks ago",
        "last year",
        "in 2 hours",
    ]


async def test_what_was_copied_is_said_at_the_foot_and_read_out(visit: Visit, house: House) -> None:
    context = await visit()
    await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=house.url)
    page = await context.new_page()
    await page.goto(house.url + "/design")
    await page.get_by_role("button", name="Copy", exact=True).click()
    toast = page.locator("[data-toasts] .toast")
    await toast.wait_for()
    assert await toast.text_content() == "Copied."
    assert await page.evaluate("navigator.clipboard.readText()") == "Someone is home."


async def test_a_form_on_its_way_is_not_sent_twice(visit: Visit, house: House) -> None:
    page = await open_design(visit, house)
    sent = await page.evaluate(
        """() => {
            const form = document.createElement("form");
            form.method = "post";
            document.body.append(form);
            const send = () => form.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
            return [send(), send(), form.remove()].slice(0, 2);
        }"""
    )
    assert sent == [True, False]


async def test_without_scripts_the_page_reads_and_its_menu_opens(visit: Visit, house: House) -> None:
    page = await open_design(visit, house, java_script_enabled=False, viewport=PHONE)
    assert await page.locator("time").first.text_content() != "just now"
    assert not await page.locator("[data-theme-toggle]").is_visible()
    await page.get_by_role("button", name="Menu").click()
    await page.get_by_role("link", name="Agents").click()
    await page.wait_for_url(house.url + "/agents")
