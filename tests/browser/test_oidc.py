"""Signing in with an OpenID Connect provider in a real browser, with a real provider beside the server."""

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import Visit
from tests.browser.house import House, standing
from tests.browser.test_two_people import Axe
from tests.oidc.process import CLIENT, SECRET, ProviderProcess, provider_process
from tests.postgres import TestServer

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderProcess]:
    with provider_process() as process:
        yield process


@pytest.fixture(scope="module")
async def hall(browser: Browser, postgres: TestServer, provider: ProviderProcess) -> AsyncIterator[House]:
    """A server whose people may come by the provider."""
    del browser
    async with standing(
        postgres,
        multi_user=True,
        sign_up="open",
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,
        oidc_name="Town hall",
    ) as gate:
        yield gate.house


async def test_somebody_signs_in_with_the_provider_and_links_another_account(
    hall: House, provider: ProviderProcess, visit: Visit, axe: Axe
) -> None:
    provider.control(sub="ada-1", login="ada", name="Ada", page="Is this you?")
    context = await visit(hall, signed_in=False, beside=provider.issuer, viewport=PHONE)
    page = await context.new_page()
    await page.goto(hall.url + "/sign-in?next=/members")
    await axe(page)
    await page.get_by_role("link", name="Sign in with Town hall").click()
    await expect(page.get_by_role("heading", name="Is this you?")).to_be_visible()
    await page.get_by_role("link", name="Allow").click()
    await expect(page).to_have_url(hall.url + "/members")
    await page.goto(hall.url + "/account")
    await expect(page.get_by_text("sign in as ada")).to_be_visible()
    await expect(page.get_by_text(provider.issuer)).to_be_visible()
    await axe(page)

    provider.control(sub="op-1", page="And you?")
    operator = await visit(hall, beside=provider.issuer)
    own = await operator.new_page()
    await own.goto(hall.url + "/account")
    await own.get_by_role("button", name="Link Town hall").click()
    await axe(own)
    await own.get_by_role("link", name="Go on to Town hall").click()
    await own.get_by_role("link", name="Allow").click()
    await expect(own.get_by_text("You can sign in with Town hall from now on.")).to_be_visible()
    again = await visit(hall, signed_in=False, beside=provider.issuer)
    other = await again.new_page()
    await other.goto(hall.url + "/sign-in")
    await other.get_by_role("link", name="Sign in with Town hall").click()
    await other.get_by_role("link", name="Allow").click()
    await expect(other).to_have_url(hall.url + "/")
    await other.goto(hall.url + "/account")
    await expect(other.get_by_text("Operator").first).to_be_visible()
