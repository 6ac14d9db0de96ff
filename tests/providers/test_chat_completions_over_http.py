"""Chat Completions against a real server that answers well, badly, or not at all."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from porch.contract.definition import ModelSettings
from porch.contract.errors import ModelError
from porch.contract.events import AnyEvent, PartFinished, PartStarted, ReasoningSealed, StreamChunk
from porch.egress import Egress, EgressSettings
from porch.providers.assembly import Assembly
from porch.providers.chat_completions import Quirks
from porch.providers.request import StepOutcome
from tests.providers.asking import KEY, ask, chat, request
from tests.providers.upstream import (
    DONE,
    HEAD,
    SAY,
    STOP,
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

GOOD = answer(SAY, STOP, DONE)
OPENAI_401 = (
    b'{"error":{"message":"Incorrect API key provided: %b.","code":"invalid_api_key"}}' % KEY.encode()
)


# Shorter than the patience of `egress`, far longer than what waits for nothing takes on a busy machine.
SOON = 8


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    settings = EgressSettings(
        connect_seconds=20, first_byte_seconds=20, idle_seconds=20, max_body_bytes=200_000
    )
    async with Egress(settings) as egress:
        yield egress


@pytest.fixture
async def hasty() -> AsyncIterator[Egress]:
    """Takes a silence for the end soon, for upstreams that fall silent."""
    async with Egress(EgressSettings(first_byte_seconds=0.3, idle_seconds=0.3)) as egress:
        yield egress


async def failure(egress: Egress, *behaviours: Behaviour) -> tuple[ModelError, int]:
    """The error of one model call, and how many requests it took."""
    async with upstream(*behaviours) as place:
        result = await ask(chat(egress, place.url))
    assert result.error is not None
    assert KEY not in result.error.message
    return result.error, len(place.requests)


@pytest.mark.parity("chat_completions", "system prompt")
async def test_an_answer_streams_and_the_request_says_what_it_should(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        result = await ask(chat(egress, place.url), request("Hello", instructions="Be brief."))
    assert result.error is None
    assert result.text() == "Hi"
    (asked,) = place.requests
    assert asked.head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}" in asked.head
    assert asked.json() == {
        "model": "gpt-test",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_what_the_servers_profile_says_is_sent_and_read(egress: Egress) -> None:
    details = b'"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]'
    say = b'data: {"choices":[{"index":0,"delta":{"content":"<think>Hm.</think>Hi",%b}}]}\n\n' % details
    quirks = Quirks(path="/chat", seal="test", think_tags=True, max_tokens="max_completion_tokens")
    settings = ModelSettings(max_output_tokens=9)
    async with upstream(answer(say, STOP, DONE)) as place:
        result = await ask(chat(egress, place.url, quirks), request(settings=settings))
    assert place.requests[0].head.startswith("POST /v1/chat HTTP/1.1\r\n")
    assert place.requests[0].json()["max_completion_tokens"] == 9
    assert (result.text("reasoning"), result.text()) == ("Hm.", "Hi")
    assert [seal.format for seal in result.events if isinstance(seal, ReasoningSealed)] == ["test"]


async def test_events_come_with_each_read_and_not_at_the_end(egress: Egress) -> None:
    release = asyncio.Event()

    async def two_halves(exchange: Exchange) -> None:
        await exchange.chunks(SAY)
        await release.wait()
        await exchange.write(framed(STOP), framed(DONE), b"0\r\n\r\n")

    async with upstream(two_halves) as place:
        stream = chat(egress, place.url).stream(request(), Assembly("s1"), StepOutcome())
        async with aclosing(stream) as events:
            assert len(await anext(events)) == 2
            release.set()
            assert [event async for event in events]


@pytest.mark.parametrize("patience", [0, 1, 2, 99])
async def test_a_sink_takes_what_it_will_and_the_rest_comes_by_the_stream_in_order(
    egress: Egress, patience: int
) -> None:
    shown, everything = asyncio.Semaphore(0), list[AnyEvent]()
    taken = 0

    def sink(events: list[AnyEvent]) -> bool:
        nonlocal taken
        if taken == patience or any(type(event) is not StreamChunk for event in events):
            return False
        taken += 1
        everything.extend(events)
        shown.release()
        return True

    async def one_by_one(exchange: Exchange) -> None:
        await exchange.chunks(SAY)
        for _ in range(3):
            await shown.acquire()
            await exchange.write(framed(SAY))
        await exchange.write(framed(STOP), framed(DONE), b"0\r\n\r\n")

    assembly = Assembly("s1")
    assembly.sink = sink
    async with upstream(one_by_one) as place:
        async for events in chat(egress, place.url).stream(request(), assembly, StepOutcome()):
            everything += events
            shown.release()
    kinds = [type(event) for event in everything]
    assert kinds == [PartStarted, *[StreamChunk] * 4, PartFinished]
    assert taken <= patience
    assert bool(taken) == bool(patience)


async def test_a_connection_is_used_again(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        for _ in range(3):
            assert (await ask(chat(egress, place.url))).error is None
            await asyncio.gather(*egress.draining)
    assert place.connections == 1


async def test_a_kept_connection_that_the_server_closed_is_replaced_silently(egress: Egress) -> None:
    async def answer_and_close(exchange: Exchange) -> None:
        await GOOD(exchange)
        exchange.writer.close()

    async with upstream(answer_and_close) as place:
        for _ in range(3):
            assert (await ask(chat(egress, place.url))).text() == "Hi"


@pytest.mark.parity("chat_completions", "errors instead of an answer")
@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (plain(401, OPENAI_401), "auth", "refused the key in OPENAI_API_KEY (401)"),
        (plain(403, b""), "auth", "OPENAI_API_KEY"),
        (
            plain(404, b'{"error":{"message":"model \'x\' not found"}}'),
            "not_found",
            "does not know 'gpt-test'",
        ),
        (plain(400, b'{"error":{"code":"context_length_exceeded"}}'), "context_too_long", "Start a new one"),
        (plain(413, b"<html><h1>Too large</h1></html>"), "context_too_long", "HTML page titled 'Too large'"),
        (plain(400, b'{"error":{"code":"content_filter","message":"no"}}'), "content_filtered", "Rephrase"),
        (plain(422, b'{"detail":[{"msg":"bad tools"}]}'), "bad_request", "bad tools"),
        (plain(402, b'{"message":"Insufficient credits"}'), "quota", "Add credit"),
        (plain(429, b'{"error":{"code":"insufficient_quota","message":"x"}}'), "quota", "Add credit"),
        (plain(429, b"slow down", Retry_After="90"), "rate_limit", "in 90 seconds"),
        (plain(503, b"", Retry_After="Fri, 01 Jan 2100 00:00:00 GMT"), "overloaded", "Try again in"),
        (
            plain(302, b"", Location="https://user:pw@elsewhere.example/v2?token=x"),
            "protocol",
            "to 'elsewhere.example' (302)",
        ),
        (plain(200, b"<html><title>Sign in</title></html>"), "protocol", "HTML"),
        (plain(200, b'{"models":[]}'), "protocol", "no answer"),
        (plain(200, b"\x1f\x8bnot gzip", Content_Encoding="gzip"), "protocol", "OPENAI_BASE_URL"),
    ],
)
async def test_a_refusal_is_sorted_and_says_what_to_do_after_one_request(
    egress: Egress, behaviour: Behaviour, kind: str, words: str
) -> None:
    error, requests = await failure(egress, behaviour)
    assert error.kind == kind
    assert words in error.message
    assert "pw@" not in error.message
    assert requests == 1


@pytest.mark.parity("chat_completions", "the provider's hint when to retry")
async def test_a_hint_of_the_provider_is_kept_with_the_error(egress: Egress) -> None:
    error, _ = await failure(egress, plain(429, b"", Retry_After="90"))
    assert error.retry_after == 90
    assert error.retryable


@pytest.mark.parity("chat_completions", "retries before the first event")
@pytest.mark.parametrize(
    "bad", [plain(429, b"", Retry_After="0"), plain(500, b"x"), plain(503), plain(529), hang_up, plain(200)]
)
async def test_a_passing_failure_is_retried_before_the_first_byte(egress: Egress, bad: Behaviour) -> None:
    async with upstream(bad, bad, GOOD) as place:
        result = await ask(chat(egress, place.url))
    assert result.error is None
    assert result.text() == "Hi"
    assert len(place.requests) == 3


async def test_a_failure_that_stays_is_told_after_two_retries(egress: Egress) -> None:
    error, requests = await failure(egress, plain(500, b"boom"))
    assert (error.kind, requests) == ("overloaded", 3)
    assert "boom" in error.message


async def test_nothing_is_retried_after_the_first_byte(egress: Egress) -> None:
    error, requests = await failure(egress, then(SAY, b'data: {"choi', end=hang_up), GOOD)
    assert (error.kind, requests) == ("cut", 1)


async def test_what_came_before_a_cut_is_closed_with_what_it_held(egress: Egress) -> None:
    async with upstream(then(SAY, SAY, end=hang_up)) as place:
        result = await ask(chat(egress, place.url))
    assert result.text() == "HiHi"
    assert result.error is not None


async def test_a_content_length_that_lies_is_a_cut(egress: Egress) -> None:
    async def short(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + SAY)
        exchange.writer.close()

    assert (await failure(egress, short))[0].kind == "cut"


@pytest.mark.parity("chat_completions", "silence")
@pytest.mark.parametrize("silent", [hang, then(end=hang), then(SAY, end=hang)])
async def test_silence_is_a_timeout_and_frees_the_connection(hasty: Egress, silent: Behaviour) -> None:
    async with upstream(silent) as place:
        result = await ask(chat(hasty, place.url))
        await asyncio.wait_for(place.hung_up.wait(), SOON)
    assert result.error is not None
    assert result.error.kind == "timeout"
    assert len(place.requests) == 1


async def test_a_stream_that_only_keeps_alive_comes_to_an_end() -> None:
    async def keep_alive(exchange: Exchange) -> None:
        await exchange.chunks(SAY)
        while not exchange.writer.is_closing():
            await exchange.write(framed(b": ping\n\n"))
            await asyncio.sleep(0.01)

    async with Egress(EgressSettings(answer_seconds=0.2)) as egress, upstream(keep_alive) as place:
        result = await ask(chat(egress, place.url))
    assert result.error is not None
    assert result.error.kind == "timeout"


async def test_silence_after_the_finish_reason_is_an_end(hasty: Egress) -> None:
    async with upstream(then(SAY, STOP, end=hang)) as place:
        result = await ask(chat(hasty, place.url))
    assert result.error is None
    assert result.outcome.reason == "stop"


async def test_a_cut_after_the_finish_reason_is_an_end(egress: Egress) -> None:
    async with upstream(then(SAY, STOP, end=hang_up)) as place:
        assert (await ask(chat(egress, place.url))).error is None


async def test_a_server_that_says_done_and_stays_silent_delays_nothing(egress: Egress) -> None:
    async with upstream(then(SAY, STOP, DONE, end=hang)) as place:
        result = await asyncio.wait_for(ask(chat(egress, place.url)), SOON)
    assert result.error is None


async def test_one_byte_at_a_time_is_the_same_answer(egress: Egress) -> None:
    async def drip(exchange: Exchange) -> None:
        body = SAY + STOP + DONE
        await exchange.write(HEAD)
        for at in range(len(body)):
            await exchange.write(framed(body[at : at + 1]))
            await asyncio.sleep(0)
        await exchange.write(b"0\r\n\r\n")

    async with upstream(drip) as place:
        assert (await ask(chat(egress, place.url))).text() == "Hi"


@pytest.mark.parity("chat_completions", "compressed answers")
async def test_a_compressed_answer_is_read(egress: Egress) -> None:
    body = gzip.compress(SAY + STOP + DONE)
    async with upstream(plain(200, body, Content_Encoding="gzip")) as place:
        assert (await ask(chat(egress, place.url))).text() == "Hi"


BOMB = gzip.compress(b": " + b"x" * 50_000_000 + b"\n\n")


def forever(piece: bytes) -> Behaviour:
    """A stream that goes on for as long as somebody reads it."""

    async def go_on(exchange: Exchange) -> None:
        while not exchange.writer.is_closing():
            await exchange.write(framed(piece))

    return then(end=go_on)


@pytest.mark.parametrize(
    "endless",
    [
        forever(b": still here\n\n" * 1000),
        forever(b"x" * 50_000),
        plain(200, BOMB, Content_Encoding="gzip"),
    ],
    ids=["comments", "frame", "gzip bomb"],
)
async def test_an_answer_without_end_is_stopped_at_the_cap(egress: Egress, endless: Behaviour) -> None:
    async with upstream(endless) as place:
        result = await ask(chat(egress, place.url))
    assert result.error is not None
    assert result.error.reason == "answer_too_large"
    assert len(place.requests) == 1


async def test_an_answer_over_the_cap_loses_its_connection(egress: Egress) -> None:
    async with upstream(forever(b": still here\n\n")) as place:
        await ask(chat(egress, place.url))
        await asyncio.wait_for(place.hung_up.wait(), SOON)


async def test_an_endless_error_body_is_read_no_further_than_needed(egress: Egress) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not exchange.writer.is_closing():
            await exchange.write(framed(b"x" * 10_000))

    error, _ = await failure(egress, endless)
    assert error.kind == "bad_request"
    assert len(error.message) < 1000


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX-Large: " + b"x" * 20_000 + b"\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"]
)
async def test_what_is_no_http_is_a_protocol_error(egress: Egress, head: bytes) -> None:
    async def odd(exchange: Exchange) -> None:
        await exchange.write(head)
        exchange.writer.close()

    error, _ = await failure(egress, odd)
    assert error.kind == "protocol"
    assert "OPENAI_BASE_URL" in error.message


async def test_nobody_at_the_address_says_where_and_what_to_check(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        url = place.url
    result = await ask(chat(egress, url))
    assert result.error is not None
    assert result.error.kind == "network"
    assert url in result.error.message
    assert "OPENAI_BASE_URL" in result.error.message


@pytest.mark.parity("chat_completions", "a cancelled call")
async def test_a_cancelled_call_frees_its_connection_at_once(egress: Egress) -> None:
    async with upstream(then(SAY, end=hang)) as place:
        stream = chat(egress, place.url).stream(request(), Assembly("s1"), StepOutcome())
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(place.hung_up.wait(), SOON)


async def test_a_call_cancelled_before_its_answer_frees_its_connection(egress: Egress) -> None:
    arrived = asyncio.Event()

    async def never(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hold()

    async with upstream(never) as place:
        asking = asyncio.ensure_future(ask(chat(egress, place.url)))
        await arrived.wait()
        asking.cancel()
        await asyncio.wait([asking])
        await asyncio.wait_for(place.hung_up.wait(), SOON)


async def test_a_closed_stream_frees_its_connection_at_once(egress: Egress) -> None:
    async with upstream(then(SAY, end=hang)) as place:
        stream = chat(egress, place.url).stream(request(), Assembly("s1"), StepOutcome())
        await anext(stream)
        await stream.aclose()
        await asyncio.wait_for(place.hung_up.wait(), SOON)


async def test_many_streams_at_once_do_not_wait_for_each_other() -> None:
    everybody = asyncio.Barrier(60)

    async def together(exchange: Exchange) -> None:
        await everybody.wait()
        await GOOD(exchange)

    async with Egress() as egress, upstream(together) as place:
        results = await asyncio.gather(*(ask(chat(egress, place.url)) for _ in range(60)))
    assert [result.error for result in results if result.error is not None] == []
    assert place.connections == 60
