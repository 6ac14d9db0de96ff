"""Signing in by password, signing up, and one's account, as a browser without scripts does it."""

import re
from typing import cast

import pytest
from fastapi import FastAPI

from porch.contract.ids import new_id
from porch.identity.doors import CLOSED, Doors
from tests.http.app import Tenant, World
from tests.http.browser import Browser, words
from tests.http.client import Answer
from tests.identity.conftest import PASSWORD, signed_up

ME = "/api/v1/me"
OTHER = "a lamp beside the river"
ELSEWHERE = [
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "", "origin": "http://localhost:3000"},
    {"sec_fetch_site": "", "origin": "null"},
]


def fresh() -> str:
    return f"ada-{new_id('req')[-12:]}"


def value_of(answer: Answer, field: str) -> str:
    """What a field of the page's form holds."""
    found = re.search(rf'<input[^>]*value="([^"]*)"[^>]*name="{field}"', answer.body.decode())
    assert found, f"no field {field}"
    return found[1]


def error_of(answer: Answer, field: str) -> str:
    """What stands beside a field, told to those who cannot see it too; "" for nothing."""
    page = answer.body.decode()
    found = re.search(rf'<p class="error" id="error-{field}">([^<]*)</p>', page)
    tag = re.search(rf'<input[^>]*id="field-{field}"[^>]*>', page)
    assert tag
    assert bool(found) == ('aria-invalid="true"' in tag[0])
    assert bool(found) == bool(re.search(rf'aria-describedby="[^"]*error-{field}', tag[0]))
    return found[1] if found else ""


async def name_of(browser: Browser) -> str:
    answer = await browser.fetch("GET", ME)
    return answer.json["user"]["name"] if answer.status == 200 else ""


# ---------------------------------------------------------------- signing in


async def test_a_password_signs_in_and_leads_where_one_was_going(town: World) -> None:
    login = fresh()
    await signed_up(town, login, "Ada")
    browser = Browser(town.app)
    page = await browser.open("/sign-in?next=/sessions")
    assert b'autocomplete="username"' in page.body
    assert b'autocomplete="current-password"' in page.body
    assert "porch sign-in" in words(page)
    assert b'href="/sign-up?next=/sessions"' in page.body
    fields = {"login": f" {login.upper()} ", "password": PASSWORD, "next": "/sessions"}
    done = await browser.submit("/sign-in", fields)
    assert (done.status, done.headers["location"]) == (303, "/sessions")
    assert not [name for name in browser.cookies if name.startswith("porch_next")]
    assert await name_of(browser) == "Ada"


async def test_a_wrong_password_keeps_what_was_typed_but_not_the_password(town: World) -> None:
    login = fresh()
    await signed_up(town, login)
    browser = Browser(town.app)
    answers = [
        await browser.submit(
            "/sign-in", {"login": name, "password": "quite another one", "next": "/sessions"}
        )
        for name in (login, "nobody-of-that-name")
    ]
    for answer, name in zip(answers, (login, "nobody-of-that-name"), strict=True):
        assert answer.status == 401
        assert b'role="alert"' in answer.body
        assert value_of(answer, "login") == name
        assert b'name="next" value="/sessions"' in answer.body
        assert b"quite another one" not in answer.body
    assert words(answers[0]) == words(answers[1])
    assert not [name for name in browser.cookies if "porch_session" in name]


async def test_too_many_tries_are_told_when_to_come_back(town: World) -> None:
    login = fresh()
    await signed_up(town, login)
    browser = Browser(town.app)
    for _ in range(5):
        assert (await browser.submit("/sign-in", {"login": login, "password": "no"})).status == 401
    answer = await browser.submit("/sign-in", {"login": login, "password": PASSWORD})
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "Try again in" in words(answer)
    assert value_of(answer, "login") == login


async def test_signing_in_ends_the_session_that_this_browser_had(town: World) -> None:
    browser = await signed_up(town, fresh())
    old = Browser(town.app)
    old.cookies = dict(browser.cookies)
    login = fresh()
    await signed_up(town, login, "Another")
    await browser.submit("/sign-in", {"login": login, "password": PASSWORD})
    assert await name_of(browser) == "Another"
    assert (await old.fetch("GET", ME)).status == 401


@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_another_site_cannot_sign_a_browser_in_or_up(town: World, headers: dict[str, str]) -> None:
    login = fresh()
    await signed_up(town, login)
    browser = Browser(town.app)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    for path, name in (("/sign-in", login), ("/sign-up", fresh())):
        refused = await browser.submit(path, {"login": name, "password": PASSWORD}, **sent)
        assert refused.status == 403
        assert "Another website" in words(refused)
    assert not browser.cookies


@pytest.mark.parametrize("then", ["https://evil.example/", "//evil.example", "/\\evil.example", "/sign-out"])
async def test_after_a_password_one_stays_on_this_server(town: World, then: str) -> None:
    login = fresh()
    new = await Browser(town.app).submit("/sign-up", {"login": login, "password": PASSWORD, "next": then})
    assert (new.status, new.headers["location"]) == (303, "/")
    done = await Browser(town.app).submit("/sign-in", {"login": login, "password": PASSWORD, "next": then})
    assert (done.status, done.headers["location"]) == (303, "/")


# ---------------------------------------------------------------- signing up


async def test_whoever_signs_up_is_in_with_a_workspace_of_their_own(town: World) -> None:
    login, browser = fresh(), Browser(town.app)
    assert b'autocomplete="new-password"' in (await browser.open("/sign-up")).body
    await browser.submit("/sign-up", {"login": login, "name": "Ada Løve", "password": PASSWORD})
    assert await name_of(browser) == "Ada Løve"
    assert f'workspace <span class="mono">@{login}<' in (await browser.open("/account")).body.decode()
    assert (await browser.open("/sign-up")).headers["location"] == "/"


async def test_each_fault_stands_beside_its_field_and_nothing_typed_is_lost(town: World) -> None:
    fields = {"login": 'b!"<i>', "name": "Be\x07n", "password": "short one"}
    answer = await Browser(town.app).submit("/sign-up", fields)
    assert answer.status == 422
    assert "cannot be a name to sign in with" in error_of(answer, "login")
    assert "control character" in error_of(answer, "name")
    assert "10 are the least" in error_of(answer, "password")
    assert value_of(answer, "login") == "b!&#34;&lt;i&gt;"
    assert value_of(answer, "password") == ""
    assert b"short one" not in answer.body
    assert b'role="alert"' in answer.body


async def test_a_login_that_is_somebody_s_is_told_beside_it(town: World) -> None:
    login = fresh()
    await signed_up(town, login)
    answer = await Browser(town.app).submit("/sign-up", {"login": login, "name": "Eve", "password": PASSWORD})
    assert answer.status == 409
    assert "is somebody&#39;s here already" in error_of(answer, "login")
    assert (value_of(answer, "name"), value_of(answer, "password")) == ("Eve", "")


async def test_a_password_like_the_name_is_refused_in_the_page(town: World) -> None:
    answer = await Browser(town.app).submit(
        "/sign-up", {"login": "featherstone", "name": "", "password": "featherstone1"}
    )
    assert answer.status == 422
    assert "one of the first that would be tried" in error_of(answer, "password")


async def test_too_many_accounts_from_one_network_are_told_when_to_come_back(town: World) -> None:
    for _ in range(10):
        await signed_up(town, fresh())
    fields = {"login": fresh(), "password": PASSWORD}
    answer = await Browser(town.app).submit("/sign-up", fields)
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0
    assert value_of(answer, "login") == fields["login"]


@pytest.mark.parametrize(
    ("sign_up", "sentence"), [("invitation", "one needs an invitation"), ("closed", "Nobody can sign up")]
)
async def test_where_it_is_not_open_the_page_says_how_to_come_in(
    town: World, sign_up: str, sentence: str
) -> None:
    town.app.state.doors = Doors(multi_user=True, sign_up=sign_up)  # pyright: ignore[reportArgumentType]  # parametrized
    browser = Browser(town.app)
    fields = {"login": fresh(), "password": PASSWORD}
    for answer in (await browser.open("/sign-up"), await browser.submit("/sign-up", fields)):
        assert answer.status == 403
        assert sentence in words(answer)
    assert b"/sign-up" not in (await browser.open("/sign-in")).body


# ---------------------------------------------------------------- the account


async def test_who_came_by_links_sets_a_name_and_a_password(town: World) -> None:
    tenant = await town.tenant(fresh())
    browser, other = [await by_link(tenant) for _ in range(2)]
    page = await browser.open("/account")
    assert "Set a password" in words(page)
    assert b'name="before"' not in page.body
    assert (await other.fetch("GET", ME)).status == 200
    login = fresh()
    done = await browser.submit("/account", {"login": login, "password": PASSWORD})
    assert (done.status, done.headers["location"]) == (303, "/account")
    page = await browser.open("/account")
    assert "The password is set" in words(page)
    assert f"sign in as {login}" in words(page)
    assert (await other.fetch("GET", ME)).status == 401
    fields = {"login": login, "password": PASSWORD}
    assert (await Browser(town.app).submit("/sign-in", fields)).status == 303


async def by_link(tenant: Tenant) -> Browser:
    app = cast("FastAPI", tenant.client.app)
    doors, app.state.doors = app.state.doors, CLOSED  # as while there was one user
    made = await tenant.client.post("/api/v1/sign-in-links")
    app.state.doors = doors
    browser = Browser(app)
    path = "/" + made.json["url"].split("/", 3)[3]
    assert (await browser.submit(path)).status == 303
    await browser.open("/sessions")
    return browser


async def test_changing_a_password_takes_the_present_one(town: World) -> None:
    login = fresh()
    browser = await signed_up(town, login)
    wrong = await browser.submit("/account", {"before": "not the present one", "password": OTHER})
    assert wrong.status == 422
    assert "not your present password" in error_of(wrong, "before")
    weak = await browser.submit("/account", {"before": PASSWORD, "password": "1234567890"})
    assert weak.status == 422
    assert error_of(weak, "password")
    for answer in (wrong, weak):
        assert not [text for text in (PASSWORD, OTHER, "not the present one") if text.encode() in answer.body]
    done = await browser.submit("/account", {"before": PASSWORD, "password": OTHER})
    assert done.headers["location"] == "/account"
    for password, status in ((PASSWORD, 401), (OTHER, 303)):
        again = await Browser(town.app).submit("/sign-in", {"login": login, "password": password})
        assert again.status == status


async def test_a_name_that_is_taken_is_told_beside_it(town: World) -> None:
    login = fresh()
    await signed_up(town, login)
    browser = await by_link(await town.tenant(fresh()))
    answer = await browser.submit("/account", {"login": login, "password": PASSWORD})
    assert answer.status == 409
    assert error_of(answer, "login")
    assert value_of(answer, "login") == login


async def test_a_password_is_not_set_without_the_page_s_token(town: World) -> None:
    login = fresh()
    browser = await signed_up(town, login)
    browser.csrf = ""
    answer = await browser.submit("/account", {"before": PASSWORD, "password": OTHER})
    assert answer.status == 403
    done = await Browser(town.app).submit("/sign-in", {"login": login, "password": PASSWORD})
    assert done.status == 303


# ---------------------------------------------------------------- one person's Porch


async def test_with_one_user_nothing_of_it_shows(town: World) -> None:
    tenant = await town.tenant(fresh())
    browser = await by_link(tenant)
    town.app.state.doors = Doors(multi_user=False)
    page = await browser.open("/sessions")
    for path in (b"/account", b"/members", b"/workspaces"):
        assert path not in page.body.replace(b"/sessions", b"")
    stranger = Browser(town.app)
    page = await stranger.open("/sign-in")
    assert b"<form" not in page.body
    assert "Porch has no passwords" in words(page)
    for path in ("/account", "/members", "/workspaces/new", "/sign-up", "/join/porch_inv_x"):
        answer = await browser.open(path)
        assert (answer.status, "This Porch has one user" in words(answer)) == (403, True), path
    posts = (
        "/account",
        "/workspaces/new",
        "/workspaces/switch",
        "/members/invitations",
        "/sign-up",
        "/sign-in",
    )
    for path in posts:
        answer = await browser.submit(
            path, {"role": "editor", "days": "7", "handle": "x", "password": PASSWORD}
        )
        assert (answer.status, "This Porch has one user" in words(answer)) == (403, True), path
