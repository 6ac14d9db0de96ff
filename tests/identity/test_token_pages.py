"""The page of tokens, as a browser without scripts has it."""

import asyncio
import re

import pytest

from porch.contract.ids import new_id
from porch.identity.tokens import is_well_formed
from tests.http.app import World
from tests.http.browser import Browser, words
from tests.http.client import Answer, Client
from tests.identity.conftest import signed_up

FORM = {"name": "nightly job", "scope": "run:agents", "agent": "", "as": "me", "days": "30"}


@pytest.fixture
async def ada(town: World) -> Browser:
    """Somebody with a workspace of her own, who looks at her tokens."""
    browser = await signed_up(town, f"ada-{new_id('req')[-12:]}")
    await browser.open("/tokens")
    return browser


def secret_in(page: Answer) -> str:
    assert page.status == 200, words(page)
    found = re.search(rb'id="secret"[^>]*value="([^"]+)"', page.body)
    assert found, words(page)
    return found[1].decode()


def acts(page: Answer, act: str) -> list[str]:
    return re.findall(rf'action="(/tokens/tok_[0-9a-f]+/{act})"', page.body.decode())


async def works(browser: Browser, token: str) -> bool:
    return (await Client(browser.client.app, token).get("/api/v1/me")).status == 200


async def test_a_token_is_shown_once_and_is_in_the_list_from_then_on(ada: Browser) -> None:
    assert "No program has a token" in words(await ada.open("/tokens"))
    made = await ada.submit("/tokens", FORM)
    secret = secret_in(made)
    assert is_well_formed(secret)
    assert await works(ada, secret)
    page = await ada.open("/tokens")
    assert secret.encode() not in page.body
    assert secret[:16].encode() in page.body
    told = words(page)
    assert "nightly job" in told
    assert "run:agents" in told
    async with asyncio.timeout(5):  # it is noted behind the answer
        while "Last used" not in words(await ada.open("/tokens")):
            await asyncio.sleep(0.02)


async def test_it_is_rotated_with_an_overlap_and_revoked(ada: Browser) -> None:
    first = secret_in(await ada.submit("/tokens", FORM))
    (rotate,) = acts(await ada.open("/tokens"), "rotate")
    second = secret_in(await ada.submit(rotate, {"overlap": "3600"}))
    assert second != first
    assert [await works(ada, secret) for secret in (first, second)] == [True, True]
    page = await ada.open("/tokens")
    assert "replaced" in words(page)
    assert len(acts(page, "rotate")) == 1
    for act in acts(page, "revoke"):
        assert (await ada.submit(act)).status == 303
        await ada.open("/tokens")
    assert [await works(ada, secret) for secret in (first, second)] == [False, False]


async def test_what_is_wrong_is_said_and_the_form_is_kept(ada: Browser) -> None:
    for changes, said in (
        ({"name": " "}, "name is empty"),
        ({"days": "900"}, "lasts 7, 30, 90 or 365 days"),
        ({"agent": "nobody"}, "There is no agent"),
        ({"scope": "fly:agents"}, "is not a scope"),
    ):
        page = await ada.submit("/tokens", {**FORM, **changes})
        assert page.status == 422, changes
        assert said in words(page), changes
        if "name" not in changes:
            assert b'value="nightly job"' in page.body
    assert (await ada.submit("/tokens/tok_" + "0" * 32 + "/revoke")).status == 404
    assert (await ada.submit("/tokens/tok_" + "0" * 32 + "/rotate", {"overlap": "5"})).status == 422
    assert acts(await ada.open("/tokens"), "revoke") == []


async def test_nobody_sees_or_ends_another_s(ada: Browser, town: World) -> None:
    secret = secret_in(await ada.submit("/tokens", FORM))
    (revoke,) = acts(await ada.open("/tokens"), "revoke")
    eve = await signed_up(town, f"eve-{new_id('req')[-12:]}")
    page = await eve.open("/tokens?whose=all")
    assert "nightly job" not in words(page)
    assert (await eve.submit(revoke)).status == 404
    assert await works(ada, secret)
