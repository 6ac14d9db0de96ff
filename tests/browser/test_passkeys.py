"""Passkeys in a real browser, with an authenticator of Chromium's own."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.house import House

Axe = Callable[[Page], Awaitable[None]]
Picture = Callable[[Page, str], Awaitable[Path]]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
ME = "async () => (await (await fetch('/api/v1/me')).json()).user.name"


async def give_authenticator(page: Page) -> Any:
    """The tab's devtools, with an authenticator that says yes to everything; it is that of this tab alone."""
    devtools: Any = await page.context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    made = await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return devtools, made["authenticatorId"]


async def add_passkey(page: Page, house: House, name: str = "My phone") -> None:
    await page.goto(house.url + "/passkeys")
    await page.get_by_label("Name").fill(name)
    await page.get_by_role("button", name="Add a passkey").click()
    await expect(page.get_by_role("button", name=f"Remove the passkey {name}")).to_be_visible()


async def sign_out(page: Page, house: House) -> None:
    await page.goto(house.url + "/sessions")
    await page.get_by_role("button", name="Sign out of").click()
    await expect(page.get_by_text("You are signed out.")).to_be_visible()


@pytest.mark.parametrize(("scheme", "size"), [("light", PHONE), ("dark", DESK)], ids=["phone", "desk"])
async def test_a_passkey_is_added_and_signs_in(
    house: House, visit: Visit, axe: Axe, picture: Picture, scheme: str, size: dict[str, int]
) -> None:
    page = await (await visit(color_scheme=scheme, viewport=size)).new_page()
    await give_authenticator(page)
    await add_passkey(page, house)
    await axe(page)
    await picture(page, f"passkeys-{scheme}")
    name = await page.evaluate(ME)
    await sign_out(page, house)

    await page.goto(house.url + "/passkeys")
    await expect(page).to_have_url(house.url + "/sign-in?next=/passkeys")
    await axe(page)
    await picture(page, f"passkey-sign-in-{scheme}")
    await page.get_by_role("button", name="Sign in with a passkey").click()
    await expect(page).to_have_url(house.url + "/passkeys")
    await expect(page.get_by_text("last used")).to_be_visible()
    assert await page.evaluate(ME) == name


async def test_a_removed_passkey_and_a_refusal_are_told_in_a_sentence(house: House, page: Page) -> None:
    devtools, authenticator = await give_authenticator(page)
    await add_passkey(page, house)
    await page.get_by_role("button", name="Remove the passkey").click()
    await expect(page.get_by_text("The passkey is removed.")).to_be_visible()
    await sign_out(page, house)
    button = page.get_by_role("button", name="Sign in with a passkey")
    await button.click()
    await expect(page.get_by_text("That passkey is not known here")).to_be_visible()
    await expect(button).to_be_focused()

    # Nobody there whom it could know: the browser's own no.
    verified = {"authenticatorId": authenticator, "isUserVerified": False}
    await devtools.send("WebAuthn.setUserVerified", verified)
    await button.click()
    await expect(page.get_by_text("No passkey was used")).to_be_visible()


async def test_a_device_that_keeps_one_already_says_so(house: House, page: Page) -> None:
    await give_authenticator(page)
    await add_passkey(page, house)
    await page.get_by_label("Name").fill("Again")
    await page.get_by_role("button", name="Add a passkey").click()
    await expect(page.get_by_text("keeps a passkey for your account already")).to_be_visible()


async def test_without_scripts_the_page_says_where_passkeys_work(house: House, visit: Visit) -> None:
    page = await (await visit(java_script_enabled=False)).new_page()
    await page.goto(house.url + "/passkeys")
    await expect(page.get_by_role("link", name=house.url)).to_be_visible()
    await expect(page.get_by_role("button", name="Add a passkey")).to_be_hidden()
