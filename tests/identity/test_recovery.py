"""Recovery codes: shown once, each good for one new password, and for nobody who guesses."""

import asyncio
import re

import pytest

from porch.contract.ids import new_id
from tests.http.app import World, definer
from tests.http.browser import Browser, words
from tests.http.client import Answer
from tests.identity.conftest import PASSWORD, signed_up

OTHER = "nine loud kettles"


def fresh() -> str:
    return f"ada-{new_id('req')[-12:]}"


def codes_in(page: Answer) -> list[str]:
    assert page.status == 200, words(page)
    return re.findall(
        r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b",
        page.body.decode().partition("<code>")[2].partition("</code>")[0],
    )


async def with_codes(town: World, login: str) -> tuple[Browser, list[str]]:
    browser = await signed_up(town, login)
    await browser.open("/account/recovery")
    return browser, codes_in(await browser.submit("/account/recovery", {"password": PASSWORD}))


async def recover(town: World, login: str, code: str, password: str = OTHER) -> tuple[Browser, Answer]:
    browser = Browser(town.app)
    return browser, await browser.submit("/recover", {"login": login, "code": code, "password": password})


@pytest.fixture(autouse=True)
async def patient(town: World) -> None:
    """What other tests tried does not count."""
    async with definer(town.urls) as connection:
        await connection.execute("DELETE FROM porch.sign_in_limits")


async def test_a_code_sets_a_password_signs_in_and_ends_all_else(town: World) -> None:
    login = fresh()
    owner, codes = await with_codes(town, login)
    assert len(set(codes)) == 10
    assert "<b>10</b>" in (await owner.open("/account/recovery")).body.decode()
    browser, answer = await recover(town, login.upper(), codes[3].replace("-", " ").upper())
    assert (answer.status, answer.headers["location"]) == (303, "/account")
    assert f"sign in as {login}" in words(await browser.open("/account"))
    assert (await owner.open("/account")).status in (303, 401)
    for password, status in ((PASSWORD, 401), (OTHER, 303)):
        assert (
            await Browser(town.app).submit("/sign-in", {"login": login, "password": password})
        ).status == status
    assert "<b>9</b>" in (await browser.open("/account/recovery")).body.decode()
    assert (await recover(town, login, codes[3], "ten still waters"))[1].status == 401
    told = words(await browser.open("/audit"))
    assert "made recovery codes" in told
    assert "used a recovery code" in told
    assert not any(code in told for code in codes)


async def test_new_codes_take_the_place_of_the_old(town: World) -> None:
    login = fresh()
    browser, old = await with_codes(town, login)
    await browser.open("/account/recovery")
    new = codes_in(await browser.submit("/account/recovery", {"password": PASSWORD}))
    assert set(old).isdisjoint(new)
    assert (await recover(town, login, old[0]))[1].status == 401
    assert (await recover(town, login, new[0]))[1].status == 303


async def test_codes_need_the_present_password(town: World) -> None:
    browser = await signed_up(town, fresh())
    await browser.open("/account/recovery")
    refused = await browser.submit("/account/recovery", {"password": OTHER})
    assert (refused.status, "not your present password" in words(refused)) == (422, True)
    assert "You have none" in words(await browser.open("/account/recovery"))


async def test_a_weak_password_leaves_the_code_as_it_was(town: World) -> None:
    login = fresh()
    _, codes = await with_codes(town, login)
    weak = (await recover(town, login, codes[0], "short"))[1]
    assert weak.status == 422
    assert b"short" not in weak.body.partition(b"<main")[2]
    assert (await recover(town, login, codes[0], login))[1].status == 422
    assert (await recover(town, login, codes[0]))[1].status == 303


async def test_a_code_is_one_person_s(town: World) -> None:
    login, other = fresh(), fresh()
    _, codes = await with_codes(town, login)
    await signed_up(town, other)
    answers = [
        (await recover(town, name, code))[1]
        for name, code in (
            (other, codes[0]),
            ("nobody-at-all", codes[0]),
            (login, "aaaa-bbbb-cccc-dddd"),
            (login, ""),
            ("", ""),
            (login, "é" * 99),
        )
    ]
    told = {words(answer).partition("Name to")[0] for answer in answers}
    assert ({answer.status for answer in answers}, len(told)) == ({401}, 1)


async def test_of_two_who_use_a_code_at_once_one_comes_in(town: World) -> None:
    login = fresh()
    _, codes = await with_codes(town, login)
    answers = await asyncio.gather(*(recover(town, login, codes[0], f"{OTHER} {n}") for n in range(3)))
    assert sorted(answer.status for _, answer in answers) == [303, 401, 401]


async def test_guessing_is_slowed(town: World) -> None:
    login = fresh()
    await with_codes(town, login)
    statuses = [(await recover(town, login, "aaaa-bbbb-cccc-dddd"))[1].status for _ in range(8)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


async def test_a_form_from_elsewhere_recovers_nothing(town: World) -> None:
    login = fresh()
    _, codes = await with_codes(town, login)
    fields = {"login": login, "code": codes[0], "password": OTHER}
    refused = await Browser(town.app).submit(
        "/recover", fields, origin="https://evil.example", sec_fetch_site="cross-site"
    )
    assert refused.status == 403
    assert (await recover(town, login, codes[0]))[1].status == 303
