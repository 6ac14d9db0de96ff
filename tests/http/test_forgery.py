"""Requests with a session's cookie: only our own pages' change anything, and only they read."""

from collections.abc import AsyncIterator

import pytest

from porch.contract.ids import new_uuid
from porch.identity.pages import router as pages
from porch.identity.sessions import csrf_token
from porch.identity.tokens import mint
from tests.http.app import DEFINITION, Tenant, World, assembled
from tests.http.browser import FORM, Browser
from tests.http.client import Client
from tests.postgres import TestServer

ME = "/api/v1/me"
AT_HOME = {"sec-fetch-site": "same-origin"}


@pytest.fixture(scope="module")
async def world(postgres: TestServer) -> AsyncIterator[World]:
    """The app with the pages of signing in."""
    urls = await postgres.create()
    async with assembled(urls, [pages]) as world:
        yield world
    await postgres.drop(urls)


@pytest.fixture
async def browser(ada: Tenant) -> Browser:
    """Ada's, signed in."""
    browser = Browser(ada.client.app)
    await browser.sign_in((await ada.client.post("/api/v1/sign-in-links")).json["url"])
    await browser.open("/sessions")
    return browser


async def test_a_page_of_ours_does_what_its_person_may(ada: Tenant, browser: Browser) -> None:
    made = await browser.fetch("POST", f"{ada.path}/agents", json=DEFINITION)
    assert made.status == 201
    changed = await browser.fetch("PATCH", f"{ada.path}/agents/helper", json={"title": "Helper"})
    assert changed.status == 200
    assert (await browser.fetch("DELETE", f"{ada.path}/agents/helper")).status == 204


@pytest.mark.parametrize(
    "token",
    ["", "x", "é", "A" * 43, "a" * 60_000, csrf_token(mint("ses").text, new_uuid())],
    ids=["none", "short", "odd", "as-long", "long", "another-session-s"],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_without_the_session_s_csrf_token_nothing_changes(
    ada: Tenant, browser: Browser, method: str, token: str
) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    path = f"{ada.path}/agents" + ("" if method == "POST" else "/helper")
    browser.csrf = token
    body = None if method == "DELETE" else {**DEFINITION, "name": "forged"}
    answer = await browser.fetch(method, path, json=body)
    assert (answer.status, answer.code) == (403, "csrf")
    assert "eload" in answer.json["detail"]
    assert [item["handle"] for item in (await ada.client.get(f"{ada.path}/agents")).json["items"]] == [
        "helper"
    ]


async def test_another_session_s_csrf_token_is_refused(ada: Tenant, browser: Browser) -> None:
    other = Browser(ada.client.app)
    await other.sign_in((await ada.client.post("/api/v1/sign-in-links")).json["url"])
    await other.open("/sessions")
    assert other.csrf != browser.csrf
    browser.csrf = other.csrf
    answer = await browser.fetch("POST", f"{ada.path}/agents", json=DEFINITION)
    assert (answer.status, answer.code) == (403, "csrf")


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "odd"},
        {"sec-fetch-site": "", "origin": "https://evil.example"},
        {"sec-fetch-site": "", "origin": "http://localhost:3000"},
        {"sec-fetch-site": "", "origin": "null"},
    ],
)
async def test_another_site_is_refused_even_with_the_token(
    ada: Tenant, browser: Browser, headers: dict[str, str]
) -> None:
    answer = await browser.fetch("POST", f"{ada.path}/agents", json=DEFINITION, **headers)
    assert (answer.status, answer.code) == (403, "csrf")
    assert "Another website" in answer.json["detail"]


@pytest.mark.parametrize(
    ("site", "origin"),
    [
        ("same-origin", "http://changed.by.a.proxy"),
        ("", "http://localhost:8642"),
        ("", "https://localhost:8642"),
        ("", ""),
    ],
)
async def test_what_the_browser_says_of_our_own_pages_is_taken(
    ada: Tenant, browser: Browser, site: str, origin: str
) -> None:
    answer = await browser.fetch(
        "POST", f"{ada.path}/agents", json=DEFINITION, **{"sec-fetch-site": site, "origin": origin}
    )
    assert answer.status == 201


async def test_an_origin_s_usual_port_need_not_be_said(world: World, ada: Tenant) -> None:
    browser = Browser(world.app, "porch.example")
    await browser.sign_in((await ada.client.post("/api/v1/sign-in-links")).json["url"])
    await browser.open("/sessions")
    for origin, status in (
        ("http://porch.example", 201),
        ("https://porch.example:443", 201),
        ("http://porch.example:81", 403),
        ("ftp://porch.example", 403),
    ):
        sent, wanted = {"sec-fetch-site": "", "origin": origin}, {"name": "x", "scopes": ["read:agents"]}
        answer = await browser.fetch("POST", f"{ada.path}/tokens", json=wanted, **sent)
        assert answer.status == status, origin


async def test_reading_needs_no_token_but_is_for_our_own_pages(browser: Browser) -> None:
    browser.csrf = ""
    assert (await browser.fetch("GET", ME)).status == 200
    for site in ("cross-site", "same-site"):
        embedded = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
        answer = await browser.fetch("GET", ME, **embedded)
        assert (answer.status, answer.code) == (403, "csrf")
        linked = {"sec-fetch-site": site, "sec-fetch-mode": "navigate"}
        assert (await browser.open("/sessions", **linked)).status == 200


async def test_a_form_carries_the_token_as_a_field_and_only_a_form(ada: Tenant, browser: Browser) -> None:
    token, cookies = browser.csrf, "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    client = Client(ada.client.app)
    headers = {**AT_HOME, "cookie": cookies}
    field = f"a=1&csrf={token}&b=2".encode()
    for body, kind, status in (
        (field, "text/plain", 403),
        (field, "multipart/form-data; boundary=x", 403),
        (b"xcsrf=" + token.encode(), FORM, 403),
        (b"a=csrf=" + token.encode(), FORM, 403),
        (b"csrf=", FORM, 403),
        (b"csrf=%00", FORM, 403),
        (b"&" * 100_000, FORM, 403),
        (field, f"{FORM}; charset=utf-8", 404),
    ):
        answer = await client.post("/sessions/x/end", body=body, headers={**headers, "content-type": kind})
        assert answer.status == status, (body[:40], kind)


async def test_a_token_goes_before_the_cookie_and_needs_nothing_besides(
    ada: Tenant, browser: Browser
) -> None:
    bearer = {"authorization": f"Bearer {ada.client.token}", "sec-fetch-site": "cross-site"}
    browser.csrf = ""
    assert (await browser.fetch("POST", f"{ada.path}/agents", json=DEFINITION, **bearer)).status == 201
    wrong = {"authorization": f"Bearer {mint().text}"}
    assert (await browser.fetch("GET", ME, **wrong)).status == 401


async def test_a_session_s_secret_is_no_bearer_token(browser: Browser) -> None:
    (secret,) = browser.cookies.values()
    assert (await browser.fetch("GET", ME)).status == 200
    answer = await Client(browser.client.app, secret).get(ME)
    assert (answer.status, answer.code) == (401, "unauthenticated")


@pytest.mark.parametrize(
    "value",
    ["", "x", "é", "porch_ses_", "porch_ses_" + "0" * 49, "a" * 60_000, '"', "=;=;;==", mint("ses").text],
    ids=["none", "short", "odd", "bare", "zeros", "long", "quote", "signs", "unknown"],
)
async def test_an_odd_cookie_is_401_in_a_sentence(world: World, browser: Browser, value: str) -> None:
    (name,) = browser.cookies
    for cookie in (f"{name}={value}", f"a=b; {name}={value};", f"{name}", f"x{name}={value}"):
        answer = await Client(world.app).get(ME, headers={"cookie": cookie})
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert len(answer.json["detail"]) < 300


async def test_a_token_in_the_cookie_s_place_is_401(world: World, ada: Tenant, browser: Browser) -> None:
    (name,) = browser.cookies
    answer = await Client(world.app).get(ME, headers={"cookie": f"{name}={ada.client.token}"})
    assert (answer.status, answer.code) == (401, "unauthenticated")


async def test_an_ended_session_is_401_and_not_403(ada: Tenant, browser: Browser) -> None:
    other = Browser(ada.client.app)
    other.cookies = dict(browser.cookies)
    await browser.submit("/sign-out")
    answer = await other.fetch("POST", f"{ada.path}/agents", json=DEFINITION)
    assert (answer.status, answer.code) == (401, "unauthenticated")


async def test_a_key_sent_again_by_the_same_session_writes_once(ada: Tenant, browser: Browser) -> None:
    sent = {"idempotency-key": "once"}
    path = f"{ada.path}/agents"
    first = await browser.fetch("POST", path, json=DEFINITION, **sent)
    again = await browser.fetch("POST", path, json=DEFINITION, **sent)
    assert (first.status, again.status) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true"
    browser.csrf = ""
    assert (await browser.fetch("POST", path, json=DEFINITION, **sent)).status == 403
