"""Passkeys over HTTP: added in a session, signing in without one, and every way in which that must fail."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from porch.contract.ids import new_id
from porch.identity import passkey_store
from porch.identity.passkey_pages import router as pages
from porch.identity.passkey_routes import router as routes
from porch.identity.passkeys import MOST_PASSKEYS
from porch.storage.connection import connected
from tests.http.app import Tenant, World, assembled, definer
from tests.http.browser import Browser, words
from tests.identity.authenticator import ORIGIN, Authenticator
from tests.identity.conftest import house_with_pages
from tests.identity.test_sign_in_pages import signed_in
from tests.postgres import TestServer

ME, KEYS, SIGN_IN = "/api/v1/me", "/api/v1/passkeys", "/api/v1/sign-in/passkey"


@pytest.fixture(scope="module")
async def keyed(postgres: TestServer) -> AsyncIterator[World]:
    urls = await postgres.create()
    async with assembled(urls, [*house_with_pages(), routes, pages]) as world:
        world.app.state.url = ORIGIN
        yield world
    await postgres.drop(urls)


@pytest.fixture
async def ada(keyed: World) -> Tenant:
    async with definer(keyed.urls) as connection:
        await connection.execute("DELETE FROM porch.sign_in_limits")
    return await keyed.tenant(f"ada-{new_id('req')[-12:]}")


async def options(browser: Browser) -> Any:
    return (await browser.fetch("POST", f"{KEYS}/options", json={})).json


async def added(browser: Browser, **said: Any) -> Authenticator:
    own = Authenticator(**said)
    done = await browser.fetch("POST", KEYS, json=own.make(await options(browser)))
    assert done.status == 204, done.body
    return own


async def enter(world: World, own: Authenticator, **changes: Any) -> tuple[Browser, Any]:
    browser = Browser(world.app)
    asked = (await browser.fetch("POST", f"{SIGN_IN}/options", json={})).json
    return browser, await browser.fetch("POST", SIGN_IN, json=own.answer(asked, **changes))


async def test_a_passkey_signs_in_as_its_person_in_a_session_of_its_own(keyed: World, ada: Tenant) -> None:
    first = await signed_in(ada)
    own = await added(first)
    browser, done = await enter(keyed, own, next="/sessions")
    assert (done.status, done.json) == (200, {"next": "/sessions"})
    assert browser.cookies != first.cookies
    assert (await browser.fetch("GET", ME)).json["user"]["name"] == f"owner-{ada.owner}"
    listed = (await first.fetch("GET", KEYS)).json["items"]
    assert [each["name"] for each in listed] == ["My phone"]
    assert listed[0]["last_used_at"]
    for wrong in ("//evil.example", "https://evil.example/"):
        assert (await enter(keyed, own, next=wrong))[1].json == {"next": "/"}


async def test_what_is_asked_of_browsers_names_the_public_address_and_never_the_host(
    keyed: World, ada: Tenant
) -> None:
    asked = await options(await signed_in(ada))
    assert (asked["rp"]["id"], asked["attestation"]) == ("localhost", "none")
    assert asked["authenticatorSelection"]["userVerification"] == "required"
    there = (await Browser(keyed.app, "porch.example").fetch("POST", f"{SIGN_IN}/options", json={})).json
    assert there["rpId"] == "localhost"
    del keyed.app.state.url
    try:
        refused = await Browser(keyed.app).fetch("POST", f"{SIGN_IN}/options", json={})
        assert (refused.status, refused.code) == (409, "passkeys_unavailable")
    finally:
        keyed.app.state.url = ORIGIN


async def test_a_challenge_works_once_for_its_purpose_in_its_session_and_for_five_minutes(
    keyed: World, ada: Tenant
) -> None:
    browser, other = await signed_in(ada), await signed_in(ada)
    own = await added(browser)
    asked = (await browser.fetch("POST", f"{SIGN_IN}/options", json={})).json
    body = own.answer(asked)
    answers = await asyncio.gather(*(Browser(keyed.app).fetch("POST", SIGN_IN, json=body) for _ in range(2)))
    assert sorted(each.status for each in answers) == [200, 422]
    # One of adding signs nobody in, one of another session adds nothing, and none is tried twice.
    asked = await options(browser)
    assert (await Browser(keyed.app).fetch("POST", SIGN_IN, json=own.answer(asked))).code == "wrong_passkey"
    asked, fresh = await options(browser), Authenticator()
    assert (await other.fetch("POST", KEYS, json=fresh.make(asked))).code == "wrong_passkey"
    assert (await browser.fetch("POST", KEYS, json=fresh.make(asked))).code == "wrong_passkey"
    asked = await options(browser)
    async with definer(keyed.urls) as connection:
        await connection.execute("UPDATE porch.passkey_challenges SET expires_at = now()")
    assert (await browser.fetch("POST", KEYS, json=fresh.make(asked))).code == "wrong_passkey"
    assert (await browser.fetch("POST", KEYS, json=fresh.make({**asked, "challenge": "eA"}))).status == 422


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"origin": "https://evil.example"}, "another site"),
        ({"host": "evil.example"}, "not one for"),
        ({"flags": 0x01}, "did not check"),
        ({"user": b"somebody else's."}, "another person's"),
        ({"user": bytes(16)}, "another person's"),
    ],
)
async def test_a_passkey_with_a_wrong_part_signs_nobody_in(
    keyed: World, ada: Tenant, wrong: dict[str, Any], word: str
) -> None:
    own = await added(await signed_in(ada))
    for name, value in wrong.items():
        setattr(own, name, value)
    browser, refused = await enter(keyed, own)
    assert (refused.status, refused.code) == (422, "wrong_passkey")
    assert word in refused.json["detail"]
    assert not browser.cookies


async def test_another_key_under_a_known_id_and_an_unknown_id_sign_nobody_in(
    keyed: World, ada: Tenant
) -> None:
    own = await added(await signed_in(ada))
    forged = Authenticator(credential=own.credential, user=own.user)
    assert (await enter(keyed, forged))[1].code == "wrong_passkey"
    assert (await enter(keyed, Authenticator()))[1].code == "unauthenticated"
    assert (await enter(keyed, own, credential="!"))[1].code == "invalid_input"
    assert (await enter(keyed, own, user_handle=""))[1].code == "invalid_input"


async def test_a_counter_that_does_not_rise_is_a_copy_s(keyed: World, ada: Tenant) -> None:
    own = await added(await signed_in(ada), count=5)
    assert (await enter(keyed, own))[1].status == 200
    # The authenticator here adds one; 0 is what those without a counter say.
    for count in (5, 4, 0):
        own.count = count
        browser, refused = await enter(keyed, own)
        assert "may be a copy" in refused.json["detail"]
        assert not browser.cookies
    own.count = 6
    assert (await enter(keyed, own))[1].status == 200


async def test_a_removed_passkey_signs_nobody_in_and_takes_its_sessions_along(
    keyed: World, ada: Tenant
) -> None:
    first, eve = await signed_in(ada), await signed_in(await keyed.tenant(f"eve-{new_id('req')[-12:]}"))
    own = await added(first)
    browser, _ = await enter(keyed, own)
    passkey = (await first.fetch("GET", KEYS)).json["items"][0]["id"]
    assert (await eve.fetch("GET", KEYS)).json["items"] == []
    assert (await eve.fetch("DELETE", f"{KEYS}/{passkey}")).code == "not_found"
    assert (await eve.submit(f"/passkeys/{passkey}/remove")).status == 404
    assert (await browser.fetch("GET", ME)).status == 200
    assert (await first.fetch("DELETE", f"{KEYS}/{passkey}")).status == 204
    assert (await browser.fetch("GET", ME)).status == 401
    assert (await first.fetch("GET", ME)).status == 200
    assert (await enter(keyed, own))[1].code == "unauthenticated"
    assert (await first.fetch("DELETE", f"{KEYS}/{passkey}")).code == "not_found"


async def test_a_passkey_is_one_person_s_and_there_is_an_end_to_them(keyed: World, ada: Tenant) -> None:
    first, eve = await signed_in(ada), await signed_in(await keyed.tenant(f"eve-{new_id('req')[-12:]}"))
    own = await added(first)
    taken = await eve.fetch("POST", KEYS, json=own.make(await options(eve)))
    assert (taken.status, "kept here already" in taken.json["detail"]) == (409, True)
    for _ in range(MOST_PASSKEYS - 1):
        await added(first)
    full = await first.fetch("POST", KEYS, json=Authenticator().make(await options(first)))
    assert (full.status, str(MOST_PASSKEYS) in full.json["detail"]) == (409, True)
    assert "as many as one person may" in words(await first.open("/passkeys"))


async def test_neither_tokens_nor_other_sites_nor_bound_sessions_come_near(keyed: World, ada: Tenant) -> None:
    for method, path in (("GET", KEYS), ("POST", f"{KEYS}/options"), ("DELETE", f"{KEYS}/{new_id('psk')}")):
        assert (await ada.client.request(method, path)).code == "forbidden"
    elsewhere = {"sec-fetch-site": "cross-site"}
    stranger = Browser(keyed.app)
    for path in (f"{SIGN_IN}/options", SIGN_IN):
        refused = await stranger.fetch(
            "POST", path, json=Authenticator().answer({"challenge": "eA"}), **elsewhere
        )
        assert (refused.status, refused.code) == (403, "csrf")
    browser = await signed_in(ada)
    asked = await options(browser)
    async with connected(keyed.urls.admin) as connection:
        await connection.execute("UPDATE porch.sessions SET bound_until = now() + interval '1 day'")
    assert (await browser.fetch("POST", KEYS, json=Authenticator().make(asked))).code == "forbidden"
    browser.csrf = ""
    assert (await browser.fetch("POST", f"{KEYS}/options", json={})).code == "csrf"


async def test_guessing_has_an_end(keyed: World, ada: Tenant) -> None:
    own = await added(await signed_in(ada))
    forged = Authenticator(credential=own.credential, user=own.user)
    codes = [(await enter(keyed, forged))[1].code for _ in range(6)]
    assert codes == ["wrong_passkey"] * 5 + ["rate_limited"]


async def test_the_database_itself_keeps_a_challenge_to_its_purpose(keyed: World, ada: Tenant) -> None:
    browser = await signed_in(ada)
    session = UUID((await browser.fetch("GET", ME)).json["credential"].removeprefix("ses_"))
    for purpose, used in (("sign_in", False), ("add", True)):
        digest = os.urandom(32)
        async with keyed.database.system() as connection:
            await passkey_store.make_challenge(connection, digest, "add", session, timedelta(minutes=1))
            assert await passkey_store.use_challenge(connection, digest, purpose, session) is used
            assert not await passkey_store.use_challenge(connection, digest, "add", session)
