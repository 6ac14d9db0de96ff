"""When to come back, in each of the forms in which providers say it, and what is made of that."""

import asyncio
import datetime
import email.utils
import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.egress import Egress, EgressSettings
from porch.providers import transport
from porch.providers.failures import http_failure
from porch.providers.hints import LONGEST, limit_resets, retry_after
from porch.providers.transport import Retries
from tests.providers.asking import ask, chat
from tests.providers.decoding import ASKED
from tests.providers.upstream import DONE, SAY, STOP, Exchange, answer, plain, upstream

NOW = 1_800_000_000.0


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-reset-tokens": "2m59.56s"}, 179.56),
        ({"x-ratelimit-reset-tokens": "1h0m1s"}, 3601),
        ({"x-ratelimit-reset-tokens-minute": "11.382"}, 11.382),
        ({"X-RateLimit-Reset": f"{NOW * 1000 + 4000:.0f}"}, 4),
        ({"X-RateLimit-Reset": f"{NOW + 40:.0f}"}, 40),
        ({"X-RateLimit-Reset": f"{NOW - 40:.0f}"}, 0),
        ({"RateLimit-Reset": "30"}, 30),
        (
            {
                "anthropic-ratelimit-requests-reset": datetime.datetime.fromtimestamp(
                    NOW + 9, datetime.UTC
                ).isoformat()
            },
            9,
        ),
        ({"x-ratelimit-reset-requests": "soon"}, None),
        ({"x-ratelimit-reset-requests": ""}, None),
        ({"x-ratelimit-reset-requests": "-5"}, None),
        ({"x-ratelimit-reset-requests": "2026-01-01T00:00:00"}, None),
        ({"x-ratelimit-reset-requests": str(LONGEST + 1)}, None),
        ({"x-ratelimit-limit-requests": "5", "reset": "9"}, None),
        ({}, None),
    ],
)
def test_the_time_at_which_a_limit_holds_anew_is_read_in_each_of_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert limit_resets(headers) == (None if seconds is None else pytest.approx(seconds))


def test_only_limits_that_are_used_up_count_and_of_these_the_last_to_end() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "4999",
        "x-ratelimit-reset-requests": "8h0m0s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "3s",
        "x-ratelimit-reset-images": "2s",
    }
    assert limit_resets(headers) == 3


def test_a_hint_is_looked_for_first_where_it_is_surest() -> None:
    resets = {"x-ratelimit-reset-requests": "50s"}
    words = json.dumps({"error": {"message": "Please try again in 3s."}}).encode()
    assert http_failure(ASKED, 429, resets, b"").retry_after == 50
    assert "Try again in 50 seconds" in http_failure(ASKED, 429, resets, b"").message
    assert http_failure(ASKED, 429, resets, words).retry_after == 3
    assert http_failure(ASKED, 429, {"Retry-After": "1", **resets}, words).retry_after == 1
    # Every answer of these providers tells its limits: they are no hint for another failure.
    assert http_failure(ASKED, 503, resets, b"").retry_after is None


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        ("0.2", "in a moment"),
        ("119", "in 119 seconds"),
        ("7199", "in 120 minutes"),
        ("86400", "in 24 hours"),
        ("259200", "in 3 days"),
    ],
)
def test_a_person_is_told_when_in_a_unit_that_fits(hint: str, words: str) -> None:
    assert f"Try again {words}." in http_failure(ASKED, 429, {"Retry-After": hint}, b"").message


@given(st.text(max_size=40) | st.from_regex(r"[0-9hms.:TZ+-]{0,20}", fullmatch=True))
def test_any_value_is_a_time_within_bounds_or_none(value: str) -> None:
    for wait in (limit_resets({"x-ratelimit-reset": value}), retry_after({"Retry-After": value})):
        assert wait is None or wait >= 0


def test_a_date_is_the_seconds_until_then() -> None:
    date = email.utils.format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100))
    wait = retry_after({"Retry-After": date})
    assert wait is not None
    assert 90 < wait <= 100


def test_waits_are_spread_and_never_shorter_than_the_hint() -> None:
    retries = Retries(first_wait=0.5)
    random.seed(1)
    plain_waits = [retries.wait(1, None) for _ in range(200)]
    assert 0.5 <= min(plain_waits) < max(plain_waits) <= 1
    hinted = [retries.wait(0, 2.0) for _ in range(200)]
    assert 2 <= min(hinted) < max(hinted) <= 2.5
    assert len(set(hinted)) > 100, "many who were told the same time do not come back at once"
    assert min(retries.wait(2, 0.0) for _ in range(50)) >= 1, "a hint of nothing is no leave to hammer"


@pytest.mark.parametrize(("hint", "requests"), [("5", 2), ("5.01", 1), ("3600", 1)])
async def test_a_hint_is_kept_if_it_is_short_and_told_if_it_is_long(
    monkeypatch: pytest.MonkeyPatch, hint: str, requests: int
) -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(transport, "pause", wait)
    async with (
        Egress() as egress,
        upstream(plain(429, b"", Retry_After=hint), answer(SAY, STOP, DONE)) as place,
    ):
        result = await ask(chat(egress, place.url))
    assert len(place.requests) == requests
    assert (result.error is None) == (requests == 2)
    assert [seconds >= float(hint) for seconds in waited] == [True] * (requests - 1)


@pytest.mark.parametrize(("told", "requests"), [("false", 1), ("False ", 1), ("true", 2), ("", 2)])
async def test_a_provider_that_asks_not_to_be_asked_again_is_not(told: str, requests: int) -> None:
    busy = plain(503, b"", **{"x-should-retry": told})
    async with Egress() as egress, upstream(busy, answer(SAY, STOP, DONE)) as place:
        result = await ask(chat(egress, place.url))
    assert len(place.requests) == requests
    assert (result.error is None) == (requests == 2)


async def test_an_error_whose_body_drips_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ERROR_SECONDS", 0.3)

    async def drip(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 9000\r\n\r\nno tools here")
        while not exchange.writer.is_closing():
            await exchange.write(b" ")
            await asyncio.sleep(0.01)

    async with Egress(EgressSettings(idle_seconds=20)) as egress, upstream(drip) as place:
        result = await asyncio.wait_for(ask(chat(egress, place.url)), 30)
        await place.hung_up.wait()
    assert result.error is not None
    assert (result.error.kind, "no tools here" in result.error.message) == ("bad_request", True)
