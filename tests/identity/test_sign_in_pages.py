"""Signing in and out as a browser without scripts does it."""

import asyncio
from datetime import timedelta

import pytest

from porch.contract.ids import new_id
from porch.identity import session_store
from porch.identity.browsers import describe_browser
from porch.identity.tokens import digest, mint, mint_link
from tests.conftest import FreshUrls
from tests.http.app import Tenant, World, assembled
from tests.http.browser import Browser, words
from tests.http.client import Client
from tests.identity.conftest import house_with_pages

ME = "/api/v1/me"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
async def ada(house: World) -> Tenant:
    return await house.tenant(f"ada-{new_id('req')[-12:]}")


@pytest.fixture
async def eve(house: World) -> Tenant:
    return await house.tenant(f"eve-{new_id('req')[-12:]}")


async def link_of(tenant: Tenant) -> str:
    """The path of a fresh link."""
    made = await tenant.client.post("/api/v1/sign-in-links")
    assert made.status == 201, made.body
    return "/" + made.json["url"].split("/", 3)[3]


async def signed_in(tenant: Tenant) -> Browser:
    browser = Browser(tenant.client.app)
    await browser.sign_in("http://x/" + (await link_of(tenant))[1:])
    await browser.open("/sessions")
    assert browser.csrf
    return browser


async def test_a_link_names_whom_it_signs_in_and_waits_for_a_button(house: World, ada: Tenant) -> None:
    browser, path = Browser(house.app), await link_of(ada)
    for _ in range(2):
        page = await browser.open(path)
        assert page.status == 200
        assert f"Sign in as owner-{ada.owner}" in words(page)
        assert b"<script>" not in page.body
        assert page.headers["cache-control"] == "no-store"
    assert not browser.cookies
    done = await browser.submit(path)
    assert (done.status, done.headers["location"]) == (303, "/")
    assert (await browser.fetch("GET", ME)).json["user"]["name"] == f"owner-{ada.owner}"


async def test_the_cookie_is_for_this_installation_and_closed_to_scripts(house: World, ada: Tenant) -> None:
    done = await Browser(house.app).submit(await link_of(ada))
    (cookie,) = [line for line in done.cookies if line.startswith("porch_session_")]
    name, _, rest = cookie.partition("=")
    assert len(name.removeprefix("porch_session_")) == 8
    attributes = {part.strip().lower() for part in rest.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/", f"max-age={90 * 24 * 3600}"} == attributes


async def test_behind_tls_the_cookie_is_a_host_s_own_and_secure(house: World, ada: Tenant) -> None:
    house.app.state.url = "https://porch.example"
    try:
        path = await link_of(ada)
        browser = Browser(house.app, "porch.example")
        done = await browser.submit(path)
        (cookie,) = [line for line in done.cookies if "porch_session_" in line]
        assert cookie.startswith("__Host-porch_session_")
        assert "; Secure" in cookie
        assert "domain" not in cookie.lower()
        assert (await browser.fetch("GET", ME)).status == 200
        # Without the prefix, as a neighbour could have set it, it counts for nothing.
        browser.cookies = {name.removeprefix("__Host-"): value for name, value in browser.cookies.items()}
        assert (await browser.fetch("GET", ME)).status == 401
    finally:
        del house.app.state.url


async def test_a_link_says_the_public_address_whatever_the_request_names(house: World, ada: Tenant) -> None:
    house.app.state.url = "http://localhost:8642"
    try:
        made = await ada.client.post("/api/v1/sign-in-links", headers={"host": "porch.example"})
        assert made.json["url"].startswith("http://localhost:8642/sign-in/")
    finally:
        del house.app.state.url
    spoofed = await ada.client.post("/api/v1/sign-in-links", headers={"host": "evil.example"})
    assert (spoofed.status, spoofed.code) == (421, "misdirected_request")


async def test_a_used_link_says_so_and_shows_the_way(house: World, ada: Tenant) -> None:
    path = await link_of(ada)
    await Browser(house.app).submit(path)
    other = Browser(house.app)
    for answer in (await other.open(path), await other.submit(path)):
        assert answer.status == 410
        assert "has been used already" in words(answer)
        assert "porch sign-in" in words(answer)
        assert "./dev sign-in" in words(answer)
    assert not other.cookies


async def test_a_button_pressed_twice_still_leads_in(house: World, ada: Tenant) -> None:
    path, browser = await link_of(ada), Browser(house.app)
    await browser.submit(path, {"next": "/sessions"})
    before = dict(browser.cookies)
    again = await browser.submit(path, {"next": "/sessions"})
    assert (again.status, again.headers["location"]) == (303, "/sessions")
    assert browser.cookies == before
    assert "You are signed in" not in words(await browser.open("/sessions"))


async def test_an_expired_link_and_an_unknown_one_say_so(house: World, ada: Tenant) -> None:
    old = mint_link()
    async with house.database.system() as connection:
        await session_store.make_link(connection, ada.owner, digest(old), -timedelta(seconds=1), None)
    browser = Browser(house.app)
    for answer in (await browser.open(f"/sign-in/{old}"), await browser.submit(f"/sign-in/{old}")):
        assert (answer.status, "too old" in words(answer)) == (410, True)
    for wrong in (mint_link(), "x", "%00", "..", "a" * 3000, "<script>alert(1)<"):
        for answer in (await browser.open(f"/sign-in/{wrong}"), await browser.submit(f"/sign-in/{wrong}")):
            assert answer.status == 404, wrong
            assert b"<script>alert" not in answer.body
    assert not browser.cookies


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": "http://localhost:3000"},
        {"sec_fetch_site": "", "origin": "http://localhost:3000"},
        {"sec_fetch_site": "", "origin": "https://evil.example"},
        {"sec_fetch_site": "", "origin": "null"},
        {"sec_fetch_site": "", "origin": "http://localhost:8642.evil.example"},
        {"sec_fetch_site": "", "origin": "http://[::1"},
        {"sec_fetch_site": "", "origin": "http://localhost:99999999"},
    ],
)
async def test_another_site_cannot_sign_a_browser_in(
    house: World, ada: Tenant, headers: dict[str, str]
) -> None:
    path, browser = await link_of(ada), Browser(house.app)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    refused = await browser.submit(path, None, **sent)
    assert refused.status == 403
    assert "Another website" in words(refused)
    assert not browser.cookies
    assert (await browser.submit(path)).status == 303


@pytest.mark.parametrize("origin", ["", "http://localhost:8642"])
async def test_a_browser_that_says_less_may_sign_in(house: World, ada: Tenant, origin: str) -> None:
    done = await Browser(house.app).submit(
        await link_of(ada), None, **{"sec-fetch-site": "", "origin": origin}
    )
    assert done.status == 303


@pytest.mark.parametrize(
    "then",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "/x\\..\\evil",
        "/\t/evil.example",
        "/\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "evil.example",
        "",
        "/sign-in?next=/sign-in",
        "/sign-out",
        "/" + "x" * 5000,
        "/\u2028x",
    ],
)
async def test_after_signing_in_one_stays_on_this_server(house: World, ada: Tenant, then: str) -> None:
    browser = Browser(house.app)
    done = await browser.submit(await link_of(ada), {"next": then})
    assert (done.status, done.headers["location"]) == (303, "/")


async def test_whoever_was_on_the_way_to_a_page_gets_there(house: World, ada: Tenant) -> None:
    browser = Browser(house.app)
    sent_away = await browser.open("/sessions?q=%C3%A9&x=1")
    assert sent_away.status == 303
    where = sent_away.headers["location"]
    assert where.startswith("/sign-in?next=/sessions")
    assert "the page that you wanted" in words(await browser.open(where))
    path = await link_of(ada)
    assert b'name="next" value="/sessions?q=%C3%A9&amp;x=1"' in (await browser.open(path)).body
    done = await browser.submit(path)
    assert done.headers["location"] == "/sessions?q=%C3%A9&x=1"
    assert not [name for name in browser.cookies if name.startswith("porch_next")]


async def test_a_signed_in_browser_that_asks_to_sign_in_is_told_so(ada: Tenant) -> None:
    browser = await signed_in(ada)
    assert "You are signed in" in words(await browser.open("/sign-in"))
    assert (await browser.open("/sign-in?next=/sessions")).headers["location"] == "/sessions"


async def test_signing_in_again_makes_another_secret_and_ends_the_one_before(ada: Tenant) -> None:
    browser = await signed_in(ada)
    old = Browser(ada.client.app)
    old.cookies = dict(browser.cookies)
    await browser.submit(await link_of(ada))
    assert browser.cookies != old.cookies
    assert (await old.fetch("GET", ME)).status == 401
    assert (await browser.fetch("GET", ME)).status == 200


async def test_a_cookie_set_beforehand_is_never_taken_over(house: World, ada: Tenant) -> None:
    planted = mint("ses").text
    browser = Browser(house.app)
    await browser.submit(await link_of(ada))
    (name,) = browser.cookies
    victim = Browser(house.app)
    victim.cookies = {name: planted}
    await victim.submit(await link_of(ada))
    assert victim.cookies[name] != planted


async def test_signing_in_as_somebody_else_is_announced(ada: Tenant, eve: Tenant) -> None:
    browser = await signed_in(ada)
    page = words(await browser.open(await link_of(eve)))
    assert f"You are signed in as owner-{ada.owner} now" in page


async def test_signing_out_ends_the_session_and_takes_the_cookie(ada: Tenant) -> None:
    browser = await signed_in(ada)
    stolen = Browser(ada.client.app)
    stolen.cookies, stolen.csrf = dict(browser.cookies), browser.csrf
    done = await browser.submit("/sign-out")
    assert (done.status, done.headers["location"]) == (303, "/sign-in")
    assert not [name for name in browser.cookies if name.startswith("porch_session")]
    assert "You are signed out." in words(await browser.open("/sign-in"))
    assert (await stolen.fetch("GET", ME)).status == 401
    assert (await stolen.submit("/sign-out")).status == 303


async def test_nobody_else_can_sign_one_out(ada: Tenant) -> None:
    browser = await signed_in(ada)
    token, browser.csrf = browser.csrf, ""
    assert (await browser.submit("/sign-out")).status == 403
    browser.csrf = token
    assert (await browser.submit("/sign-out", None, **{"sec-fetch-site": "cross-site"})).status == 403
    assert (await browser.fetch("GET", ME)).status == 200


async def test_sessions_are_listed_with_what_tells_them_apart(house: World, ada: Tenant) -> None:
    browser = await signed_in(ada)
    phone = Browser(house.app)
    await phone.submit(await link_of(ada), None, **{"user-agent": FIREFOX})
    page = words(await browser.open("/sessions"))
    assert "Firefox on Linux" in page
    assert "192.0.2.7" in page
    assert page.count("this browser") == 1


async def test_an_ended_session_s_open_pages_get_401_on_their_next_call(house: World, ada: Tenant) -> None:
    browser, phone = await signed_in(ada), await signed_in(ada)
    assert (await phone.fetch("GET", ME)).status == 200
    session = (await phone.fetch("GET", ME)).json["credential"]
    assert (await browser.submit(f"/sessions/{session}/end")).headers["location"] == "/sessions"
    refused = await phone.fetch("GET", ME)
    assert (refused.status, refused.code) == (401, "unauthenticated")
    posted = await phone.fetch("POST", f"{ada.path}/tokens", json={"name": "x", "scopes": ["read:agents"]})
    assert (posted.status, posted.code) == (401, "unauthenticated")
    assert (await phone.open("/sessions")).headers["location"] == "/sign-in?next=/sessions"
    assert (await browser.fetch("GET", ME)).status == 200


async def test_ending_one_s_own_session_is_signing_out(ada: Tenant) -> None:
    browser = await signed_in(ada)
    session = (await browser.fetch("GET", ME)).json["credential"]
    assert (await browser.submit(f"/sessions/{session}/end")).headers["location"] == "/sign-in"
    assert not [name for name in browser.cookies if name.startswith("porch_session")]


async def test_another_s_session_is_404_and_lives_on(ada: Tenant, eve: Tenant) -> None:
    browser, other = await signed_in(ada), await signed_in(eve)
    session = (await other.fetch("GET", ME)).json["credential"]
    for wrong in (session, new_id("ses"), "x", "%00"):
        assert (await browser.submit(f"/sessions/{wrong}/end")).status == 404
    assert (await other.fetch("GET", ME)).status == 200


async def test_two_installations_on_one_host_keep_their_cookies_apart(fresh_urls: FreshUrls) -> None:
    async with (
        assembled(await fresh_urls(), house_with_pages()) as one,
        assembled(await fresh_urls(), house_with_pages()) as other,
    ):
        here, there = await one.tenant("ada"), await other.tenant("ada")
        browser = Browser(one.app)
        await browser.submit(await link_of(here))
        second = Browser(other.app, "localhost:9000")
        second.cookies = browser.cookies
        assert (await second.fetch("GET", ME)).status == 401
        await second.submit(await link_of(there))
        assert len(browser.cookies) == 2
        assert (await browser.fetch("GET", ME)).json["user"]["id"] != (await second.fetch("GET", ME)).json[
            "user"
        ]["id"]


async def test_two_different_cookies_of_one_name_are_told_apart_by_nobody(house: World, ada: Tenant) -> None:
    browser = await signed_in(ada)
    ((name, value),) = browser.cookies.items()
    client = Client(house.app)
    twice = await client.get(ME, headers={"cookie": f"{name}={value}; {name}={value}"})
    assert twice.status == 200
    torn = await client.get(ME, headers={"cookie": f"{name}={mint('ses').text}; {name}={value}"})
    assert (torn.status, torn.code) == (401, "unauthenticated")
    assert "Remove this site's cookies" in torn.json["detail"]


async def test_a_link_is_for_the_token_of_all_scopes_alone(house: World, ada: Tenant) -> None:
    narrow = await house.member(ada, "owner", ["admin:tokens", "admin:workspaces"])
    refused = await narrow.post("/api/v1/sign-in-links")
    assert (refused.status, refused.code) == (403, "forbidden")
    editor = await house.member(ada, "editor")
    assert (await editor.post("/api/v1/sign-in-links")).status == 403
    browser = await signed_in(ada)
    answer = await browser.fetch("POST", "/api/v1/sign-in-links")
    assert (answer.status, answer.code) == (403, "forbidden")


async def test_a_replayed_link_is_not_shown_again(ada: Tenant) -> None:
    first, again = [
        (await ada.client.post("/api/v1/sign-in-links", headers={"idempotency-key": "one"})).json
        for _ in range(2)
    ]
    assert first["url"]
    assert again == {**first, "url": None}


async def test_two_who_press_at_once_get_one_session(house: World, ada: Tenant) -> None:
    path = await link_of(ada)
    browsers = [Browser(house.app) for _ in range(5)]
    done = await asyncio.gather(*(browser.submit(path) for browser in browsers))
    assert sorted(answer.status for answer in done) == [303, 410, 410, 410, 410]


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (FIREFOX, "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8", "A browser that did not say its name"),
        (None, "A browser that did not say its name"),
        ("Something (Linux)", "A browser on Linux"),
    ],
)
def test_a_browser_is_named_in_words(agent: str | None, said: str) -> None:
    assert describe_browser(agent) == said
