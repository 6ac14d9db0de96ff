"""Responses against a real server that answers well, badly, or not at all."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from porch.contract.errors import ModelError
from porch.contract.events import ReasoningSealed
from porch.egress import Egress, EgressSettings
from porch.providers.assembly import Assembly
from porch.providers.endpoint import fixed
from porch.providers.request import StepOutcome
from porch.providers.responses import Quirks, Responses
from porch.providers.transport import Retries
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


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | fields)}\n\n".encode()


SAY = event("response.output_text.delta", output_index=0, content_index=0, delta="Hi")
END = event("response.completed", response={"status": "completed", "output": []})
GOOD = answer(SAY, END)
ERROR = b'{"error":{"message":"Incorrect API key provided: %b.","code":"invalid_api_key"}}' % KEY.encode()


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    settings = EgressSettings(
        connect_seconds=2, first_byte_seconds=0.3, idle_seconds=0.3, max_body_bytes=200_000
    )
    async with Egress(settings) as egress:
        yield egress


def responses(egress: Egress, url: str, quirks: Quirks | None = None) -> Responses:
    """A provider at that address, whose retries do not wait."""
    return Responses(egress, fixed(endpoint(url)), quirks or Quirks(), Retries(first_wait=0))


async def failure(egress: Egress, *behaviours: Behaviour) -> tuple[ModelError, int]:
    """The error of one model call, and how many requests it took."""
    async with upstream(*behaviours) as place:
        result = await ask(responses(egress, place.url))
    assert result.error is not None
    assert KEY not in result.error.message
    return result.error, len(place.requests)


async def test_an_answer_streams_and_the_request_says_what_it_should(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        result = await ask(responses(egress, place.url), request("Hello", instructions="Be brief."))
    assert (result.error, result.text(), result.outcome.reason) == (None, "Hi", "stop")
    (asked,) = place.requests
    assert asked.head.startswith("POST /v1/responses HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}" in asked.head
    body = asked.json()
    assert (body["store"], body["stream"], body["instructions"]) == (False, True, "Be brief.")
    assert body["input"] == [{"role": "user", "content": "Hello"}]


async def test_what_the_servers_profile_says_is_sent_and_read(egress: Egress) -> None:
    item = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]}
    thought = event("response.output_item.done", output_index=0, item=item)
    quirks = Quirks(path="/answers", seal="test", seal_plain=True, encrypted=False)
    async with upstream(answer(thought, END)) as place:
        result = await ask(responses(egress, place.url, quirks))
    assert place.requests[0].head.startswith("POST /v1/answers HTTP/1.1\r\n")
    assert "include" not in place.requests[0].json()
    assert [seal.format for seal in result.events if isinstance(seal, ReasoningSealed)] == ["test"]


async def test_events_come_with_each_read_and_not_at_the_end(egress: Egress) -> None:
    release = asyncio.Event()

    async def two_halves(exchange: Exchange) -> None:
        await exchange.chunks(SAY)
        await release.wait()
        await exchange.write(framed(END), b"0\r\n\r\n")

    async with upstream(two_halves) as place:
        events = responses(egress, place.url).stream(request(), Assembly("s1"), StepOutcome())
        assert len(await anext(events)) == 2
        release.set()
        assert [event async for event in events]


async def test_a_connection_is_used_again(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        for _ in range(3):
            assert (await ask(responses(egress, place.url))).error is None
            await asyncio.gather(*egress.draining)
    assert place.connections == 1


async def test_a_document_instead_of_a_stream_is_the_same_answer(egress: Egress) -> None:
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]
    body = json.dumps({"object": "response", "status": "completed", "error": None, "output": output}).encode()
    async with upstream(plain(200, body, Content_Type="application/json")) as place:
        assert (await ask(responses(egress, place.url))).text() == "Hi"


@pytest.mark.parity("responses", "errors instead of an answer")
@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (plain(401, ERROR), "auth", "refused the key in OPENAI_API_KEY (401)"),
        (plain(404, b'{"error":{"code":"model_not_found"}}'), "not_found", "does not know 'gpt-test'"),
        (plain(400, b'{"error":{"code":"context_length_exceeded"}}'), "context_too_long", "Start a new one"),
        (
            plain(400, b'{"error":{"code":"invalid_prompt","message":"flagged under our usage policy"}}'),
            "content_filtered",
            "Rephrase",
        ),
        (
            plain(400, b'{"error":{"code":"invalid_function_parameters","message":"bad schema"}}'),
            "bad_request",
            "bad schema",
        ),
        (plain(429, b'{"error":{"code":"insufficient_quota","message":"x"}}'), "quota", "Add credit"),
        (plain(429, b"slow down", Retry_After="90"), "rate_limit", "in 90 seconds"),
        (
            plain(302, b"", Location="https://user:pw@elsewhere.example/v2"),
            "protocol",
            "to 'elsewhere.example' (302)",
        ),
        (plain(200, b"<html><title>Sign in</title></html>"), "protocol", "HTML"),
        (plain(502, b"<html><h1>Bad gateway</h1></html>"), "overloaded", "Bad gateway"),
        (plain(200, b'{"models":[]}'), "protocol", "no answer"),
    ],
)
async def test_a_refusal_is_sorted_and_says_what_to_do(
    egress: Egress, behaviour: Behaviour, kind: str, words: str
) -> None:
    error, _ = await failure(egress, behaviour)
    assert error.kind == kind
    assert words in error.message
    assert "pw@" not in error.message


@pytest.mark.parity("responses", "the provider's hint when to retry")
async def test_a_hint_of_the_provider_is_kept_with_the_error(egress: Egress) -> None:
    error, requests = await failure(egress, plain(429, b"", Retry_After="90"))
    assert (error.retry_after, error.retryable, requests) == (90, True, 1)


@pytest.mark.parity("responses", "retries before the first event")
@pytest.mark.parametrize("bad", [plain(429, b"", Retry_After="0"), plain(500, b"x"), plain(503), hang_up])
async def test_a_passing_failure_is_retried_before_the_first_byte(egress: Egress, bad: Behaviour) -> None:
    async with upstream(bad, bad, GOOD) as place:
        result = await ask(responses(egress, place.url))
    assert (result.error, result.text(), len(place.requests)) == (None, "Hi", 3)


async def test_a_failure_that_stays_is_told_after_two_retries(egress: Egress) -> None:
    error, requests = await failure(egress, plain(500, b"boom"))
    assert (error.kind, requests) == ("overloaded", 3)


async def test_a_cut_in_the_middle_of_a_frame_keeps_what_came_and_is_not_retried(egress: Egress) -> None:
    async with upstream(then(SAY, SAY[:40], end=hang_up), GOOD) as place:
        result = await ask(responses(egress, place.url))
    assert result.error is not None
    assert (result.error.kind, result.text(), len(place.requests)) == ("cut", "Hi", 1)


async def test_a_stream_that_ends_well_but_without_its_end_is_a_cut(egress: Egress) -> None:
    assert (await failure(egress, answer(SAY)))[0].kind == "cut"


async def test_a_failure_inside_the_stream_is_told_with_what_came(egress: Egress) -> None:
    bad = event(
        "response.failed", response={"status": "failed", "error": {"code": "server_error", "message": "x"}}
    )
    async with upstream(answer(SAY, bad)) as place:
        result = await ask(responses(egress, place.url))
    assert result.error is not None
    assert (result.error.kind, result.error.retryable, result.text()) == ("overloaded", True, "Hi")


@pytest.mark.parity("responses", "silence")
@pytest.mark.parametrize("silent", [hang, then(end=hang), then(SAY, end=hang)])
async def test_silence_is_a_timeout_and_frees_the_connection(egress: Egress, silent: Behaviour) -> None:
    async with upstream(silent) as place:
        result = await ask(responses(egress, place.url))
        await asyncio.wait_for(place.hung_up.wait(), 2)
    assert result.error is not None
    assert (result.error.kind, len(place.requests)) == ("timeout", 1)


async def test_silence_after_the_terminal_event_is_an_end_that_comes_soon() -> None:
    async with Egress() as egress, upstream(then(SAY, END, end=hang)) as place:
        result = await asyncio.wait_for(ask(responses(egress, place.url)), 2)
    assert (result.error, result.text()) == (None, "Hi")


async def test_one_byte_at_a_time_is_the_same_answer(egress: Egress) -> None:
    async def drip(exchange: Exchange) -> None:
        body = SAY + END
        await exchange.write(HEAD)
        for at in range(len(body)):
            await exchange.write(framed(body[at : at + 1]))
            await asyncio.sleep(0)
        await exchange.write(b"0\r\n\r\n")

    async with upstream(drip) as place:
        assert (await ask(responses(egress, place.url))).text() == "Hi"


@pytest.mark.parity("responses", "compressed answers")
async def test_a_compressed_answer_is_read(egress: Egress) -> None:
    async with upstream(plain(200, gzip.compress(SAY + END), Content_Encoding="gzip")) as place:
        assert (await ask(responses(egress, place.url))).text() == "Hi"


async def test_an_answer_without_end_is_stopped_at_the_cap(egress: Egress) -> None:
    async def go_on(exchange: Exchange) -> None:
        while not exchange.writer.is_closing():
            await exchange.write(framed(event("response.keepalive") * 100))

    error, requests = await failure(egress, then(end=go_on))
    assert (error.reason, requests) == ("answer_too_large", 1)


@pytest.mark.parity("responses", "a cancelled call")
async def test_a_cancelled_call_frees_its_connection_at_once(egress: Egress) -> None:
    async with upstream(then(SAY, end=hang)) as place:
        stream = responses(egress, place.url).stream(request(), Assembly("s1"), StepOutcome())
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(place.hung_up.wait(), 0.2)
