"""Keep-alives prolong the wait for an answer, but not for ever, and a flood of them is no answer."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from porch.egress import Egress, EgressSettings
from porch.providers.chat_completions.decoder import Decoder as ChatDecoder
from porch.providers.endpoint import fixed
from porch.providers.messages import Messages, find_quirks
from porch.providers.messages.decoder import Decoder as MessagesDecoder
from porch.providers.reader import MAX_IDLE_BYTES, AnswerReader
from porch.providers.request import Provider
from porch.providers.responses import Quirks, Responses
from porch.providers.responses.decoder import Decoder as ResponsesDecoder
from tests.providers import messages as claude
from tests.providers.asking import ask, chat, endpoint
from tests.providers.decoding import decode
from tests.providers.upstream import DONE, HEAD, SAY, STOP, Behaviour, Exchange, answer, framed, upstream

COMMENT = b": OPENROUTER PROCESSING\n\n"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
NAMELESS = b'data: {"type":"ping"}\n\n'
RESPONSE = b'data: {"type":"response.completed","response":{"status":"completed","output":[]}}\n\n'
DIALECTS = pytest.mark.parametrize(
    "dialect", [ChatDecoder, MessagesDecoder, ResponsesDecoder], ids=["chat", "messages", "responses"]
)
FLOODS = pytest.mark.parametrize(
    "flood",
    [COMMENT, PING, b"\r\n", b"id: %b\n\n" % (b"1" * 40)],
    ids=["comments", "pings", "blank lines", "no data"],
)


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(EgressSettings(first_byte_seconds=20, idle_seconds=20, event_seconds=0.2)) as egress:
        yield egress


def alive(*pieces: bytes, by: bytes) -> Behaviour:
    """A stream that begins like this, and then only says that it is there."""

    async def behave(exchange: Exchange) -> None:
        await exchange.write(HEAD, *(framed(piece) for piece in pieces))
        while True:
            await exchange.write(framed(by))
            await asyncio.sleep(0.02)

    return behave


def claude_at(egress: Egress, url: str) -> Provider:
    """Messages at that address."""
    return Messages(egress, fixed(endpoint(url)), find_quirks)


def responses_at(egress: Egress, url: str) -> Provider:
    """Responses at that address."""
    return Responses(egress, fixed(endpoint(url)), Quirks())


@pytest.mark.parametrize(
    ("ask_at", "by"),
    [
        (chat, COMMENT),
        (chat, PING),
        (chat, b"\n"),
        (claude_at, PING),
        (claude_at, NAMELESS),
        (responses_at, NAMELESS),
    ],
)
async def test_an_answer_that_is_only_kept_alive_is_given_up(
    egress: Egress, ask_at: Callable[[Egress, str], Provider], by: bytes
) -> None:
    async with upstream(alive(by=by)) as place, asyncio.timeout(15):
        result = await ask(ask_at(egress, place.url))
        await place.hung_up.wait()
    assert result.error is not None
    assert (result.error.kind, result.error.reason) == ("timeout", "model_timeout")
    assert "sent nothing of an answer for 0.2 seconds" in result.error.message
    assert "provider_event_timeout" in result.error.message
    assert len(place.requests) == 1


async def test_so_is_one_that_has_begun_and_what_came_is_kept(egress: Egress) -> None:
    async with upstream(alive(SAY, by=COMMENT)) as place, asyncio.timeout(15):
        result = await ask(chat(egress, place.url))
    assert result.error is not None
    assert result.error.kind == "timeout"
    assert result.text() == "Hi"


async def test_keep_alives_behind_the_end_keep_no_answer_from_it(egress: Egress) -> None:
    async with upstream(alive(SAY, STOP, by=COMMENT)) as place, asyncio.timeout(15):
        result = await ask(chat(egress, place.url))
    assert result.error is None
    assert (result.text(), result.outcome.reason) == ("Hi", "stop")


async def test_words_between_keep_alives_begin_the_wait_anew() -> None:
    pieces = [COMMENT, SAY] * 20
    async with (
        Egress(EgressSettings(first_byte_seconds=20, idle_seconds=20, event_seconds=20)) as egress,
        upstream(answer(*pieces, STOP, COMMENT, DONE)) as place,
    ):
        result = await ask(chat(egress, place.url))
    assert result.error is None
    assert result.text() == "Hi" * 20


async def test_a_flood_of_comments_is_no_answer_long_before_it_is_too_large(egress: Egress) -> None:
    sent = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.write(HEAD)
        piece = framed(b": x\n\n" * 10_000)
        while sent < egress.settings.max_body_bytes:
            await exchange.write(piece)
            sent += len(piece)

    # Not what is tested here: a slow machine may take longer over the flood.
    async with Egress(EgressSettings(event_seconds=60)) as patient, upstream(flood) as place:
        result = await ask(chat(patient, place.url))
        await place.hung_up.wait()
    assert result.error is not None
    assert (result.error.kind, result.error.reason) == ("protocol", "bad_answer")
    assert "keep-alives" in result.error.message
    assert len(place.requests) == 1


@DIALECTS
@FLOODS
def test_a_flood_without_an_event_fails_in_every_dialect(
    dialect: Callable[..., AnswerReader], flood: bytes
) -> None:
    piece = flood * (65536 // len(flood))
    pieces = [COMMENT] + [piece] * (MAX_IDLE_BYTES // len(piece) + 2)
    result = decode(pieces, dialect=dialect)
    assert result.error is not None
    assert result.error.kind == "protocol"
    assert "keep-alives" in result.error.message


def test_as_much_with_words_between_or_in_one_event_is_none() -> None:
    comments = [COMMENT * (MAX_IDLE_BYTES // len(COMMENT) // 2)]
    spaces = b"data: " + b" " * (MAX_IDLE_BYTES * 3 // 2)
    large = [spaces[start : start + 65536] for start in range(0, len(spaces), 65536)]
    pieces = [
        *comments,
        SAY,
        *comments,
        SAY,
        *comments,
        *large,
        SAY.removeprefix(b"data: "),
        *comments,
        STOP,
        DONE,
    ]
    result = decode(pieces, max_frame_bytes=8 * 1024 * 1024)
    assert result.error is None
    assert result.text() == "Hi" * 3


def test_each_word_that_is_known_at_a_glance_begins_the_count_anew() -> None:
    words = SAY.replace(b'"choices"', b'"model":"m","choices"')
    pieces = [words] * 100 + [words + COMMENT * 10_000] * (MAX_IDLE_BYTES // len(COMMENT) // 5_000)
    result = decode([*pieces, STOP, DONE])
    assert result.error is None
    assert result.text() == "Hi" * len(pieces)


def test_a_flood_behind_the_end_costs_nothing() -> None:
    pieces = [SAY, STOP] + [COMMENT * 10_000] * (MAX_IDLE_BYTES // len(COMMENT) // 10_000 + 2)
    result = decode(pieces)
    assert result.error is None
    assert result.done
    assert result.text() == "Hi"


@pytest.mark.parametrize(
    ("dialect", "before", "after"),
    [
        (ChatDecoder, [SAY], [SAY, STOP, DONE]),
        (MessagesDecoder, [claude.begin()], [claude.text(0, "HiHi"), claude.END]),
        (ResponsesDecoder, [], [RESPONSE]),
    ],
    ids=["chat", "messages", "responses"],
)
@pytest.mark.parametrize("stray", [b"null", b"[1,2]", b"5", b'"hm"', b"null\n\ndata: [1]"])
def test_a_stray_value_is_passed_on_and_does_not_fail_the_stream(
    dialect: Callable[..., AnswerReader], before: list[bytes], after: list[bytes], stray: bytes
) -> None:
    result = decode([*before, b"data: " + stray + b"\n\n", *after], dialect=dialect)
    assert result.error is None, result.error
    raws = [event for event in result.events if type(event).__name__ == "Raw"]
    assert len(raws) == stray.count(b"data:") + 1
    assert result.text() in ("", "HiHi")


@DIALECTS
def test_a_list_with_an_error_in_it_is_one(dialect: Callable[..., AnswerReader]) -> None:
    stray = b'data: [{"error":{"code":429,"message":"Slow down","status":"RESOURCE_EXHAUSTED"}}]\n\n'
    result = decode([stray], dialect=dialect)
    assert result.error is not None
    assert result.error.kind == "rate_limit"
