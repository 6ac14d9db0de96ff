"""Messages against a real server that answers well, badly, or not at all."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from porch.contract.definition import ModelSettings
from porch.contract.errors import ModelError
from porch.egress import Egress, EgressSettings
from porch.providers.assembly import Assembly
from porch.providers.endpoint import fixed
from porch.providers.messages import Messages, Quirks, find_quirks
from porch.providers.request import StepOutcome
from porch.providers.transport import Retries
from tests.providers import messages as wire
from tests.providers.asking import KEY, ask, endpoint, request
from tests.providers.upstream import (
    HEAD,
    Behaviour,
    Exchange,
    answer,
    framed,
    hang,
    hang_up,
    plain,
    then,
    upstream,
)

SAY = wire.begin() + wire.start(0, text="") + wire.delta(0, "text_delta", text="Hi")
REST = wire.stop(0) + wire.reason("end_turn")
GOOD = answer(SAY, wire.PING, REST, wire.STOP)
OVERLOADED = wire.event("error", error={"type": "overloaded_error", "message": "Overloaded"})


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    settings = EgressSettings(
        connect_seconds=2, first_byte_seconds=0.3, idle_seconds=0.3, max_body_bytes=200_000
    )
    async with Egress(settings) as egress:
        yield egress


def claude(egress: Egress, url: str, quirks: Quirks | None = None) -> Messages:
    """A provider at that address, whose retries do not wait."""
    names = {"label": "Anthropic", "key_name": "ANTHROPIC_API_KEY", "url_name": "ANTHROPIC_BASE_URL"}

    def found(model: str) -> Quirks:
        return quirks or find_quirks(model)

    return Messages(egress, fixed(endpoint(url, **names)), found, Retries(first_wait=0))


def refusal(kind: str, message: str) -> bytes:
    error = {"type": kind, "message": message}
    return json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()


async def failure(egress: Egress, *behaviours: Behaviour) -> tuple[ModelError, int]:
    """The error of one model call, and how many requests it took."""
    async with upstream(*behaviours) as place:
        result = await ask(claude(egress, place.url))
    assert result.error is not None
    assert KEY not in result.error.message
    return result.error, len(place.requests)


async def test_an_answer_streams_and_the_request_says_what_it_should(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        asked = request("Hello", "claude-haiku-4-5", instructions="Be brief.")
        result = await ask(claude(egress, place.url), asked)
    assert result.error is None
    assert result.text() == "Hi"
    assert (result.outcome.model, result.outcome.reason) == ("claude-real", "stop")
    (exchange,) = place.requests
    assert exchange.head.startswith("POST /v1/messages HTTP/1.1\r\n")
    headers = exchange.head.lower()
    assert f"x-api-key: {KEY}" in headers
    assert "anthropic-version: 2023-06-01" in headers
    assert "authorization" not in headers
    assert "anthropic-beta" not in headers
    assert exchange.json() == {
        "model": "claude-haiku-4-5",
        "max_tokens": 32_000,
        "stream": True,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }


async def test_a_gateways_wishes_are_followed(egress: Egress) -> None:
    quirks = Quirks(auth="bearer", betas=("one", "two"), path="/anthropic/messages")
    async with upstream(GOOD) as place:
        result = await ask(claude(egress, place.url, quirks))
    assert result.error is None
    head = place.requests[0].head.lower()
    assert head.startswith("post /v1/anthropic/messages ")
    assert f"authorization: bearer {KEY}" in head
    assert "x-api-key" not in head
    assert "anthropic-beta: one,two" in head


async def test_a_shaped_answer_comes_as_text_by_way_of_the_forced_tool(egress: Egress) -> None:
    block = wire.call(0, "answer", '{"city":', '"Rome"}')
    async with upstream(answer(wire.begin(), block, wire.reason("tool_use"), wire.STOP)) as place:
        settings = ModelSettings(response_schema={"type": "object", "properties": {}})
        result = await ask(claude(egress, place.url, Quirks()), request(settings=settings))
    assert result.error is None
    assert json.loads(result.text()) == {"city": "Rome"}
    assert result.calls == []
    assert result.outcome.reason == "stop"


async def test_events_come_with_each_read_and_not_at_the_end(egress: Egress) -> None:
    release = asyncio.Event()

    async def two_halves(exchange: Exchange) -> None:
        await exchange.chunks(SAY)
        await release.wait()
        await exchange.write(framed(REST), framed(wire.STOP), b"0\r\n\r\n")

    async with upstream(two_halves) as place:
        stream = claude(egress, place.url).stream(request(), Assembly("s1"), StepOutcome())
        async with aclosing(stream) as events:
            assert len(await anext(events)) == 2
            release.set()
            assert [event async for event in events]


async def test_a_connection_is_used_again(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        for _ in range(3):
            assert (await ask(claude(egress, place.url))).error is None
            await asyncio.gather(*egress.draining)
    assert place.connections == 1


@pytest.mark.parity("messages", "errors instead of an answer")
@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (
            plain(401, refusal("authentication_error", f"invalid x-api-key {KEY}")),
            "auth",
            "refused the key in ANTHROPIC_API_KEY (401)",
        ),
        (plain(403, refusal("permission_error", "not for you")), "auth", "not for you"),
        (plain(402, refusal("billing_error", "pay")), "quota", "Add credit"),
        (
            plain(400, refusal("invalid_request_error", "Your credit balance is too low")),
            "quota",
            "Add credit",
        ),
        (plain(404, refusal("not_found_error", "model: x")), "not_found", "does not know 'gpt-test'"),
        (
            plain(400, refusal("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum")),
            "context_too_long",
            "Start a new one",
        ),
        (plain(413, refusal("request_too_large", "Request exceeds")), "context_too_long", "Start a new one"),
        (
            plain(400, refusal("invalid_request_error", "tools.0.input_schema: bad")),
            "bad_request",
            "settings and tools",
        ),
        (
            plain(400, refusal("invalid_request_error", "Output blocked by content filtering policy")),
            "content_filtered",
            "Rephrase",
        ),
        (
            plain(429, refusal("rate_limit_error", "slow down"), retry_after="90"),
            "rate_limit",
            "in 90 seconds",
        ),
        (
            plain(302, b"", Location="https://elsewhere.example/v2?token=x"),
            "protocol",
            "to 'elsewhere.example' (302)",
        ),
        (plain(200, b"<html><title>Sign in</title></html>"), "protocol", "HTML"),
        (plain(200, b'{"choices":[]}'), "protocol", "Anthropic's Messages API"),
        (plain(200, b"\x1f\x8bnot gzip", Content_Encoding="gzip"), "protocol", "ANTHROPIC_BASE_URL"),
    ],
)
async def test_a_refusal_is_sorted_and_says_what_to_do_after_one_request(
    egress: Egress, behaviour: Behaviour, kind: str, words: str
) -> None:
    error, requests = await failure(egress, behaviour)
    assert error.kind == kind
    assert words in error.message
    assert requests == 1


@pytest.mark.parity("messages", "the provider's hint when to retry")
async def test_a_hint_of_the_provider_is_kept_with_the_error(egress: Egress) -> None:
    error, _ = await failure(egress, plain(429, refusal("rate_limit_error", "x"), retry_after="90"))
    assert error.retry_after == 90
    assert error.retryable


@pytest.mark.parity("messages", "retries before the first event")
@pytest.mark.parametrize(
    "bad",
    [
        plain(429, refusal("rate_limit_error", "x"), retry_after="0"),
        plain(529, refusal("overloaded_error", "Overloaded")),
        plain(500, refusal("api_error", "Internal server error")),
        hang_up,
        plain(200),
    ],
)
async def test_a_passing_failure_is_retried_before_the_first_byte(egress: Egress, bad: Behaviour) -> None:
    async with upstream(bad, bad, GOOD) as place:
        result = await ask(claude(egress, place.url))
    assert result.error is None
    assert result.text() == "Hi"
    assert len(place.requests) == 3


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (answer(SAY, OVERLOADED), "overloaded"),
        (answer(SAY, REST, OVERLOADED), "overloaded"),
        (then(SAY, OVERLOADED[:-20], end=hang_up), "cut"),
        (then(SAY, b'event: content_block_delta\ndata: {"ty', end=hang_up), "cut"),
        (answer(SAY), "cut"),
        (answer(SAY, REST), "cut"),
        (then(SAY, REST, end=hang_up), "cut"),
    ],
)
async def test_an_error_or_a_cut_in_the_stream_is_told_once_and_not_retried(
    egress: Egress, end: Behaviour, kind: str
) -> None:
    async with upstream(end, GOOD) as place:
        result = await ask(claude(egress, place.url))
    assert result.error is not None
    assert (result.error.kind, result.error.retryable) == (kind, True)
    assert result.text() == "Hi", "what came before is closed with what it held"
    assert len(result.usage) == 1
    assert len(place.requests) == 1


@pytest.mark.parity("messages", "silence")
@pytest.mark.parametrize("silent", [hang, then(end=hang), then(SAY, end=hang), then(SAY, REST, end=hang)])
async def test_silence_is_a_timeout_and_frees_the_connection(egress: Egress, silent: Behaviour) -> None:
    async with upstream(silent) as place:
        result = await ask(claude(egress, place.url))
        await asyncio.wait_for(place.hung_up.wait(), 2)
    assert result.error is not None
    assert result.error.kind == "timeout"
    assert len(place.requests) == 1


async def test_a_server_that_has_ended_and_stays_silent_delays_nothing(egress: Egress) -> None:
    async with upstream(then(SAY, REST, wire.STOP, end=hang)) as place:
        result = await asyncio.wait_for(ask(claude(egress, place.url)), 0.25)
    assert result.error is None


async def test_a_stream_of_nothing_but_pings_comes_to_an_end() -> None:
    async def keep_alive(exchange: Exchange) -> None:
        await exchange.chunks(SAY)
        while not exchange.writer.is_closing():
            await exchange.write(framed(wire.PING))
            await asyncio.sleep(0.01)

    async with Egress(EgressSettings(answer_seconds=0.2)) as egress, upstream(keep_alive) as place:
        result = await ask(claude(egress, place.url))
    assert result.error is not None
    assert result.error.kind == "timeout"


async def test_one_byte_at_a_time_is_the_same_answer(egress: Egress) -> None:
    async def drip(exchange: Exchange) -> None:
        body = SAY + REST + wire.STOP
        await exchange.write(HEAD)
        for at in range(len(body)):
            await exchange.write(framed(body[at : at + 1]))
            await asyncio.sleep(0)
        await exchange.write(b"0\r\n\r\n")

    async with upstream(drip) as place:
        assert (await ask(claude(egress, place.url))).text() == "Hi"


WHOLE: dict[str, Any] = {
    "type": "message",
    "model": "claude-real",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 7, "output_tokens": 1},
}


@pytest.mark.parity("messages", "compressed answers")
@pytest.mark.parametrize(
    "behaviour",
    [
        plain(200, json.dumps(WHOLE).encode(), Content_Type="application/json"),
        plain(200, gzip.compress(SAY + REST + wire.STOP), Content_Encoding="gzip"),
    ],
    ids=["one document", "compressed"],
)
async def test_an_answer_in_another_wrapping_is_read(egress: Egress, behaviour: Behaviour) -> None:
    async with upstream(behaviour) as place:
        result = await ask(claude(egress, place.url))
    assert (result.error, result.text()) == (None, "Hi")
    assert len(result.usage) == 1


def forever(piece: bytes) -> Behaviour:
    """A stream that goes on for as long as somebody reads it."""

    async def go_on(exchange: Exchange) -> None:
        while not exchange.writer.is_closing():
            await exchange.write(framed(piece))

    return then(end=go_on)


@pytest.mark.parametrize(
    "endless", [forever(wire.PING * 500), forever(b"x" * 50_000), forever(b": still here\n\n" * 1000)]
)
async def test_an_answer_without_end_is_stopped_at_the_cap(egress: Egress, endless: Behaviour) -> None:
    async with upstream(endless) as place:
        result = await ask(claude(egress, place.url))
        await asyncio.wait_for(place.hung_up.wait(), 2)
    assert result.error is not None
    assert result.error.reason == "answer_too_large"


async def test_nobody_at_the_address_says_where_and_what_to_check(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        url = place.url
    result = await ask(claude(egress, url))
    assert result.error is not None
    assert result.error.kind == "network"
    assert "ANTHROPIC_BASE_URL" in result.error.message


@pytest.mark.parity("messages", "a cancelled call")
async def test_a_cancelled_call_frees_its_connection_at_once(egress: Egress) -> None:
    async with upstream(then(SAY, end=hang)) as place:
        stream = claude(egress, place.url).stream(request(), Assembly("s1"), StepOutcome())
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(place.hung_up.wait(), 0.2)
