"""Servers that lie about what they send, and callers who leave: no answer is mixed up and no connection is left."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from porch.egress import Egress, EgressError, EgressSettings, Reach
from tests.providers.upstream import Behaviour, Exchange, plain, upstream

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(
        EgressSettings(first_byte_seconds=30, idle_seconds=30, max_body_bytes=100_000)
    ) as egress:
        yield egress


def raw(data: bytes, *, close: bool = True) -> Behaviour:
    """An answer of these very bytes."""

    async def behave(exchange: Exchange) -> None:
        await exchange.write(data)
        if close:
            exchange.writer.close()

    return behave


async def read(egress: Egress, url: str) -> bytes:
    reply = await egress.post(url, headers={}, body=b"{}", reach=Reach.OPERATOR)
    try:
        return await reply.read_whole()
    finally:
        egress.settle(reply)
        await asyncio.gather(*egress.draining)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "reset"),
        (b"hello there\r\n", "protocol"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "protocol"),
        (OK + b"Content-Length: 100\r\n\r\nabc", "cut"),
        (OK + b"Content-Length: -3\r\n\r\nabc", "protocol"),
        (OK + b"Content-Length: 99999999999999999999\r\n\r\nabc", "protocol"),
        (OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "protocol"),
        (OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "protocol"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", "protocol"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nabc", "cut"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3;" + b"x" * 200_000, "cut"),
        (OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n", "protocol"),
        (OK + b"X Y: a\r\nContent-Length: 0\r\n\r\n", "protocol"),
    ],
)
async def test_an_answer_that_contradicts_itself_is_an_error_of_ours(
    egress: Egress, data: bytes, cause: str
) -> None:
    async with upstream(raw(data)) as place:
        with pytest.raises(EgressError) as caught:
            await read(egress, place.url)
    assert caught.value.cause == cause


async def test_what_follows_an_answer_is_never_taken_for_the_next_one(egress: Egress) -> None:
    smuggled = OK + b"Content-Length: 4\r\n\r\nEVIL"
    first = raw(OK + b"Content-Length: 3\r\n\r\nabc" + smuggled, close=False)
    async with upstream(first, plain(200, b"good")) as place:
        assert await read(egress, place.url) == b"abc"
        assert await read(egress, place.url) == b"good"
    assert place.connections == 2


async def test_heads_that_announce_more_heads_for_ever_end_with_the_time_for_one() -> None:
    async def announce(exchange: Exchange) -> None:
        while not exchange.writer.is_closing():
            await exchange.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await asyncio.sleep(0.001)

    async with Egress(EgressSettings(first_byte_seconds=0.3)) as egress, upstream(announce) as place:
        with pytest.raises(EgressError) as caught:
            await read(egress, place.url)
        await place.hung_up.wait()
    assert caught.value.cause == "timeout"


@pytest.mark.parametrize("turns", [0, 1, 3, 10])
async def test_whoever_leaves_while_asking_leaves_no_connection_behind(egress: Egress, turns: int) -> None:
    async def never(exchange: Exchange) -> None:
        await exchange.hold()

    async with upstream(never) as place:
        asking = [asyncio.create_task(read(egress, place.url)) for _ in range(20)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asking:
            task.cancel()
        assert all(isinstance(end, asyncio.CancelledError) for end in await gather(asking))
        while any(not exchange.writer.is_closing() for exchange in place.requests):
            await asyncio.sleep(0.01)
        # Another question is not held up by what was left.
        place.behaviours[:] = [plain(200, b"x")]
        assert await read(egress, place.url) == b"x"


async def gather(tasks: list[asyncio.Task[bytes]]) -> list[object]:
    """How each of them ended."""
    return [*await asyncio.gather(*tasks, return_exceptions=True)]
