"""Signing in with an OpenID Connect provider, over HTTP with a real one: who gets in, and what is refused."""

import asyncio
import base64
import hashlib
import http.client
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from porch.contract.ids import new_id
from porch.identity.doors import Doors
from porch.identity.oidc_provider import Provider
from porch.storage.connection import connected
from tests.http.app import World
from tests.http.browser import Browser, words
from tests.http.client import Answer
from tests.identity.conftest import PASSWORD, signed_up
from tests.oidc.process import ProviderProcess

START = "/sign-in/with/provider"


def fresh(stem: str = "ada") -> str:
    return f"{stem}-{new_id('req')[-12:]}"


async def leave(browser: Browser, path: str = START) -> str:
    """Set out; where the provider is to send the browser back to, with what it says."""
    away = await browser.open(path)
    assert away.status == 303, words(away)
    return await at_provider(away.headers["location"])


async def at_provider(url: str) -> str:
    """What the provider's own page does, in a browser that is signed in there."""

    def visit() -> str:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        connection.request("GET", f"{parts.path}?{parts.query}")
        return str(connection.getresponse().headers["Location"])

    back = await asyncio.to_thread(visit)
    parts = urlsplit(back)
    assert parts.path == "/sign-in/with/back", back
    return f"{parts.path}?{parts.query}"


async def come(town: World, browser: Browser | None = None, path: str = START) -> tuple[Browser, Answer]:
    browser = browser or Browser(town.app)
    return browser, await browser.open(await leave(browser, path), sec_fetch_site="cross-site")


async def login_of(browser: Browser) -> str:
    page = await browser.open("/account")
    return words(page)


async def test_somebody_new_gets_an_account_and_comes_back_to_it(
    town: World, provider: ProviderProcess
) -> None:
    subject, login = fresh("sub"), fresh()
    provider.control(sub=subject, login=login, name="Ada of the Hall")
    first, arrived = await come(town)
    assert (arrived.status, arrived.headers["location"]) == (303, "/")
    assert f"sign in as {login}" in await login_of(first)
    assert "Ada of the Hall" in await login_of(first)
    provider.control(sub=subject, login=fresh("other"), name="Renamed")
    second, _ = await come(town)
    assert f"sign in as {login}" in await login_of(second)
    assert first.cookies != second.cookies


async def test_what_goes_along_is_pkce_and_nothing_of_the_browser_s_secret(
    town: World, provider: ProviderProcess
) -> None:
    browser = Browser(town.app)
    away = await browser.open(START)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(away.headers["location"]).query).items()}
    (kept,) = [value for name, value in browser.cookies.items() if "porch_flow_" in name]
    assert asked["code_challenge_method"] == "S256"
    assert len(base64.urlsafe_b64decode(asked["code_challenge"] + "=")) == 32
    assert asked["redirect_uri"].endswith("/sign-in/with/back")
    assert asked["scope"] == "openid profile"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    secret = kept.partition(".")[0]
    assert secret not in away.headers["location"]
    assert hashlib.sha256(secret.encode()).hexdigest() not in away.headers["location"]


@pytest.mark.parametrize("way", [{"alg": "ES256"}, {"auth": "client_secret_post"}, {"iss": False}])
async def test_providers_differ(town: World, provider: ProviderProcess, way: dict[str, Any]) -> None:
    provider.control(sub=fresh("sub"), login=fresh(), **way)
    _, arrived = await come(town)
    assert arrived.status == 303, words(arrived)


async def test_keys_that_the_provider_changed_are_asked_for_again(
    town: World, provider: ProviderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("porch.identity.oidc_provider.AGAIN_SECONDS", -1.0)
    provider.control(sub=fresh("sub"), login=fresh())
    assert (await come(town))[1].status == 303
    provider.control(sub=fresh("sub"), login=fresh(), rotate=True)
    before = provider.asked().count("/keys")
    assert (await come(town))[1].status == 303
    assert provider.asked().count("/keys") == before + 1


async def test_keys_are_asked_for_no_more_than_now_and_then(town: World, provider: ProviderProcess) -> None:
    provider.control(sub=fresh("sub"), login=fresh())
    assert (await come(town))[1].status == 303
    before = provider.asked().count("/keys")
    for _ in range(3):
        provider.control(sub=fresh("sub"), login=fresh(), rotate=True)
        assert (await come(town))[1].status == 502
    assert provider.asked().count("/keys") == before


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"alg": "none"}, "not a signed token"),
        ({"alg": "HS256"}, "not signed with"),
        ({"forged": True}, "signature does not fit"),
        ({"claims": {"aud": "another"}}, "another client"),
        ({"claims": {"aud": ["porch:tests", "another"]}}, "issued to another client"),
        ({"claims": {"iss": "https://evil.example"}}, "another issuer"),
        ({"claims": {"nonce": "x"}}, "another sign-in"),
        ({"claims": {"nonce": None}}, "another sign-in"),
        ({"claims": {"sub": ""}}, "does not say who"),
        ({"claims": {"sub": 7}}, "does not say who"),
        ({"times": {"exp": -120}}, "expired"),
        ({"times": {"iat": 120}}, "not valid yet"),
        ({"times": {"nbf": 120}}, "not valid yet"),
        ({"claims": {"exp": None}}, "when it was made"),
        ({"error": "access_denied"}, "You did not let it"),
        ({"error": "<script>alert(1)</script>"}, "It would not"),
        ({"named": "https://evil.example"}, "not from the provider that was asked"),
        ({"token_status": 500}, "did not give"),
        ({"token_status": 200, "token_body": {"id_token": 7}}, "did not say who"),
        ({"token_status": 200, "token_body": {"id_token": "a.b"}}, "not a signed token"),
        ({"token_status": 200, "token_body": "x" * 300_000}, "did not give"),
    ],
)
async def test_nobody_gets_in_by_what_a_provider_gets_wrong(
    town: World, provider: ProviderProcess, wrong: dict[str, Any], said: str
) -> None:
    provider.control(login=fresh(), **({"sub": fresh("sub")} | wrong))
    browser, answer = await come(town)
    assert answer.status == 502
    assert said in words(answer)
    assert b"<script>alert" not in answer.body
    assert (await browser.open("/account")).status in (303, 401)


@pytest.mark.parametrize("off", [-50, 50])
async def test_clocks_may_differ_by_less_than_a_minute(
    town: World, provider: ProviderProcess, off: int
) -> None:
    times = {"exp": off} if off < 0 else {"iat": off, "nbf": off}
    provider.control(sub=fresh("sub"), login=fresh(), times=times)
    assert (await come(town))[1].status == 303


@pytest.mark.parametrize(
    "control",
    [
        {"called": "https://evil.example"},
        {"authorization": "http://evil.example/x"},
        {"authorization": "javascript:x"},
    ],
)
async def test_a_provider_that_is_not_the_one_that_was_set_is_not_gone_to(
    town: World, provider: ProviderProcess, control: dict[str, str]
) -> None:
    provider.control(**control)
    answer = await Browser(town.app).open(START)
    assert answer.status == 502
    assert "location" not in answer.headers


async def test_a_provider_that_is_not_there_is_told_in_a_sentence(town: World) -> None:
    known: Any = town.app.state.oidc
    town.app.state.oidc = Provider(known._fetch, "http://localhost:9", "c", None, "Nowhere")
    answer = await Browser(town.app).open(START)
    assert (answer.status, "Nowhere could not be asked" in words(answer)) == (502, True)


# -- replays, and other browsers


async def test_an_answer_works_once_and_in_its_own_browser_alone(
    town: World, provider: ProviderProcess
) -> None:
    provider.control(sub=fresh("sub"), login=fresh())
    browser, thief = Browser(town.app), Browser(town.app)
    back = await leave(browser)
    await leave(thief)
    for other in (thief, Browser(town.app)):
        stolen = await other.open(back)
        assert (stolen.status, "not begun in this browser" in words(stolen)) == (422, True)
    assert (await browser.open(back)).status == 303
    replayed = await browser.open(back)
    assert replayed.status == 422


async def test_a_sign_in_of_long_ago_is_refused(town: World, provider: ProviderProcess) -> None:
    provider.control(sub=fresh("sub"), login=fresh())
    browser = Browser(town.app)
    back = await leave(browser)
    async with connected(town.urls.admin) as connection:
        await connection.execute("UPDATE porch.oidc_flows SET expires_at = now() - interval '1 second'")
    assert (await browser.open(back)).status == 422


async def test_a_code_without_its_browser_s_verifier_is_worth_nothing(
    town: World, provider: ProviderProcess
) -> None:
    provider.control(sub=fresh("sub"), login=fresh())
    one, two = Browser(town.app), Browser(town.app)
    first, second = await leave(one), await leave(two)
    code = parse_qs(urlsplit(first).query)["code"][0]
    own = parse_qs(urlsplit(second).query)["code"][0]
    assert (await two.open(second.replace(own, code))).status == 502


# -- accounts


async def test_no_name_of_the_provider_s_leads_to_an_account_that_is_there(
    town: World, provider: ProviderProcess
) -> None:
    login = fresh()
    await signed_up(town, login)
    provider.control(sub=fresh("sub"), login=login)
    browser, arrived = await come(town)
    assert arrived.status == 303
    assert f"sign in as {login}-2" in await login_of(browser)


@pytest.mark.parametrize("login", ["", "Ä", "../../x", "a" * 600, "ADA.B@mail.example", "\u202eadmin", 7])
async def test_odd_names_make_plain_ones(town: World, provider: ProviderProcess, login: Any) -> None:
    provider.control(sub=fresh("sub"), login=login, name="\u0000\u202e <b>x</b> " * 90)
    browser, arrived = await come(town)
    assert arrived.status == 303, words(arrived)
    page = await browser.open("/account")
    assert b"<b>x</b>" not in page.body


@pytest.mark.parametrize("sign_up", ["invitation", "closed"])
async def test_nobody_new_comes_in_where_that_is_not_open(
    town: World, provider: ProviderProcess, sign_up: Any
) -> None:
    known, login = fresh("sub"), fresh()
    provider.control(sub=known, login=login)
    assert (await come(town))[1].status == 303
    town.app.state.doors = Doors(multi_user=True, sign_up=sign_up)
    assert (await come(town))[1].status == 303
    provider.control(sub=fresh("sub"), login=fresh())
    assert (await come(town))[1].status == 403


async def test_whoever_was_invited_comes_in_and_joins(town: World, provider: ProviderProcess) -> None:
    host = await signed_up(town, fresh("host"))
    await host.open("/members")
    page = await host.submit("/members/invitations", {"role": "editor", "days": "7"})
    found = re.search(rb'id="link"[^>]*value="[^"]+/join/([^"]+)"', page.body)
    assert found
    secret = found[1].decode()
    town.app.state.doors = Doors(multi_user=True, sign_up="invitation")
    provider.control(sub=fresh("sub"), login=fresh("guest"))
    browser, arrived = await come(town, path=f"{START}?invitation={secret}")
    assert arrived.status == 303, words(arrived)
    assert "Members of" in words(await browser.open("/members"))
    provider.control(sub=fresh("sub"), login=fresh("late"))
    assert (await come(town, path=f"{START}?invitation={secret}"))[1].status == 404


async def test_with_one_user_there_is_no_such_way(town: World) -> None:
    town.app.state.doors = Doors(multi_user=False)
    answer = await Browser(town.app).open(START)
    assert answer.status == 403


async def test_one_goes_on_where_one_wanted_to_go(town: World, provider: ProviderProcess) -> None:
    provider.control(sub=fresh("sub"), login=fresh())
    _, arrived = await come(town, path=f"{START}?next=/members")
    assert arrived.headers["location"] == "/members"
    provider.control(sub=fresh("sub"), login=fresh())
    _, arrived = await come(town, path=f"{START}?next=https://evil.example/")
    assert arrived.headers["location"] == "/"


# -- linking


async def link(browser: Browser) -> str:
    """Begin to link; where the provider sends back to."""
    await browser.open("/account")
    page = await browser.submit("/account/provider")
    assert page.status == 200, words(page)
    found = re.search(r'href="(http://localhost:\d+/authorize[^"]+)"', page.body.decode())
    assert found
    return await at_provider(unescape(found[1]))


async def test_an_account_is_linked_signs_in_and_is_unlinked(town: World, provider: ProviderProcess) -> None:
    login, subject = fresh(), fresh("sub")
    provider.control(sub=subject, login="whoever")
    browser = await signed_up(town, login)
    answer = await browser.open(await link(browser))
    assert (answer.status, answer.headers["location"]) == (303, "/account")
    other, _ = await come(town)
    assert f"sign in as {login}" in await login_of(other)
    await browser.open("/account")
    done = await browser.submit("/account/provider/unlink", {"issuer": provider.issuer})
    assert done.status == 303
    assert "no way in any more" in (await browser.open("/account")).body.decode()
    assert (await other.open("/account")).status in (303, 401)
    again, _ = await come(town)
    assert f"sign in as {login}" not in await login_of(again)
    page = words(await browser.open("/audit?kind=identity"))
    assert "added a provider" in page
    assert "took away a provider" in page


async def test_the_last_way_in_is_not_taken_away(town: World, provider: ProviderProcess) -> None:
    provider.control(sub=fresh("sub"), login=fresh())
    browser, _ = await come(town)
    await browser.open("/account")
    await browser.submit("/account/provider/unlink", {"issuer": provider.issuer})
    assert "Nothing else lets you in" in (await browser.open("/account")).body.decode()
    await browser.submit("/account", {"password": PASSWORD})
    await browser.open("/account")
    await browser.submit("/account/provider/unlink", {"issuer": provider.issuer})
    assert "no way in any more" in (await browser.open("/account")).body.decode()


async def test_an_identity_is_one_person_s(town: World, provider: ProviderProcess) -> None:
    provider.control(sub=fresh("sub"), login=fresh())
    await come(town)
    browser = await signed_up(town, fresh())
    refused = await browser.open(await link(browser))
    assert (refused.status, "Somebody else here" in words(refused)) == (409, True)


async def test_linking_ends_where_it_was_begun(town: World, provider: ProviderProcess) -> None:
    """Whoever gets somebody's browser to come back with an answer of their own links nothing for them."""
    provider.control(sub=fresh("sub"), login=fresh())
    attacker, victim = await signed_up(town, fresh("eve")), await signed_up(town, fresh("ada"))
    back = await link(attacker)
    assert (await victim.open(back)).status == 422
    flow = {name: value for name, value in attacker.cookies.items() if "porch_flow_" in name}
    victim.cookies |= flow
    assert (await victim.open(back)).status == 422
    page = await victim.open("/account")
    assert provider.issuer not in words(page)


async def test_linking_needs_a_form_of_ours(town: World, provider: ProviderProcess) -> None:
    browser = await signed_up(town, fresh())
    browser.csrf = "x"
    assert (await browser.submit("/account/provider")).status == 403
