"""Showing again who one is: what a found browser cannot do, and that no form is lost to the question."""

import re
from html import unescape

import pytest

from porch.contract.ids import new_id
from tests.http.app import World, definer
from tests.http.browser import Browser, words
from tests.http.client import Answer, Client
from tests.identity.conftest import PASSWORD, signed_up

ALL = {"name": "everything", "scope": "admin:*", "agent": "", "as": "me", "days": "7"}


@pytest.fixture(autouse=True)
async def patient(town: World) -> None:
    """What other tests tried does not count."""
    async with definer(town.urls) as connection:
        await connection.execute("DELETE FROM porch.sign_in_limits")


async def found(town: World, stem: str = "ada") -> tuple[Browser, str]:
    """A browser in which somebody signed in a while ago, and what they sign in with."""
    login = f"{stem}-{new_id('req')[-12:]}"
    browser = await signed_up(town, login)
    await age(town, login)
    return browser, login


async def age(town: World, login: str) -> None:
    async with definer(town.urls) as connection:
        await connection.execute(
            "UPDATE porch.sessions s SET confirmed_at = now() - interval '11 minutes' FROM porch.users u"
            " WHERE u.id = s.user_id AND u.login = $1",
            login,
        )


def held(page: Answer) -> dict[str, str]:
    """The hidden fields of the form that asks again."""
    assert page.status in (403, 422), words(page)
    assert "Is this you?" in words(page)
    pairs = re.findall(
        r'type="hidden" name="([^"]+)" value="([^"]*)"', page.body.decode().partition("<main")[2]
    )
    return {name: unescape(value) for name, value in pairs if name != "csrf"}


async def confirm(browser: Browser, page: Answer, password: str = PASSWORD) -> Answer:
    """Answer the question; where the browser is sent on with its form, it goes."""
    fields = {**held(page), "confirm_password": password}
    answer = await browser.submit("/confirm", fields)
    return await browser.submit(answer.headers["location"], fields) if answer.status == 307 else answer


async def test_a_token_for_everything_asks_and_the_form_goes_on_as_it_was(town: World) -> None:
    browser, _ = await found(town)
    await browser.open("/tokens")
    asked = await browser.submit("/tokens", ALL)
    assert held(asked)["name"] == "everything"
    assert PASSWORD.encode() not in asked.body
    wrong = await confirm(browser, asked, "not the present one")
    assert "not your present password" in words(wrong)
    made = await confirm(browser, wrong)
    assert (made.status, "shown this once" in words(made)) == (200, True)
    again = await browser.submit("/tokens", {**ALL, "name": "another"})
    assert "shown this once" in words(again)


async def test_a_narrow_token_asks_nothing(town: World) -> None:
    browser, _ = await found(town)
    await browser.open("/tokens")
    assert "shown this once" in words(await browser.submit("/tokens", {**ALL, "scope": "run:agents"}))


async def test_invitations_and_roles_that_give_everything_ask_too(town: World) -> None:
    browser, _ = await found(town)
    await browser.open("/members")
    held(await browser.submit("/members/invitations", {"role": "admin", "days": "7"}))
    assert "invitation is made" in words(
        await browser.submit("/members/invitations", {"role": "editor", "days": "7"})
    )
    link = re.search(rb'href="/members/(usr_[0-9a-f]+)/remove"', (await browser.open("/members")).body)
    assert link
    held(await browser.submit(f"/members/{link[1].decode()}/role", {"role": "owner"}))


async def test_the_api_says_what_is_missing(town: World) -> None:
    browser, _ = await found(town)
    workspace = re.search(
        rb'workspace <span class="mono">@([a-z0-9-]+)<', (await browser.open("/account")).body
    )
    assert workspace
    path = f"/api/v1/workspaces/{workspace[1].decode()}/tokens"
    refused = await browser.fetch("POST", path, json={"name": "x", "scopes": ["admin:agents"]})
    assert (refused.status, refused.code) == (403, "confirmation_needed")


async def test_a_token_asks_nothing(town: World) -> None:
    browser, login = await found(town)
    await browser.open("/confirm")
    await browser.submit("/confirm", {"confirm_password": PASSWORD})
    await browser.open("/tokens")
    made = await browser.submit("/tokens", ALL)
    secret = re.search(rb'id="secret"[^>]*value="([^"]+)"', made.body)
    assert secret
    await age(town, login)
    client = Client(town.app, secret[1].decode())
    me = (await client.get("/api/v1/me")).json
    path = f"/api/v1/workspaces/{me['workspaces'][0]['handle']}/tokens"
    assert (await client.post(path, json={"name": "x", "scopes": ["admin:agents"]})).status == 201


async def test_it_leads_to_no_other_site_and_needs_a_form_of_ours(town: World) -> None:
    browser, _ = await found(town)
    await browser.open("/confirm")
    for on in ("https://evil.example/", "//evil.example", "/\\evil.example"):
        answer = await browser.submit("/confirm", {"confirm_to": on, "confirm_password": PASSWORD})
        assert answer.status == 303
        assert answer.headers["location"].startswith("/"), on
        assert "evil" not in answer.headers["location"] or not answer.headers["location"].startswith("//")
    browser.csrf = "x"
    assert (await browser.submit("/confirm", {"confirm_password": PASSWORD})).status == 403


async def test_guessing_is_slowed(town: World) -> None:
    browser, _ = await found(town)
    await browser.open("/confirm")
    statuses = [(await browser.submit("/confirm", {"confirm_password": "guess"})).status for _ in range(8)]
    assert (statuses[0], statuses[-1]) == (422, 429)
