"""A fetched file arrives whole, within its size and time, or not at all."""

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import pytest

from porch.egress import Egress, EgressError, EgressSettings, Fetched, Reach
from tests.egress.conftest import Names
from tests.providers.upstream import Behaviour, Exchange, Upstream, framed, plain, then, upstream

MB = 1024 * 1024
SETTINGS = EgressSettings(idle_seconds=30, first_byte_seconds=5)


@pytest.fixture
async def egress(call_public: Callable[[str], None]) -> AsyncIterator[Egress]:
    call_public("127.0.0.1")
    async with Egress(SETTINGS, names=Names(files_example=[["127.0.0.1"]])) as egress:
        yield egress


def address(place: Upstream) -> str:
    return f"http://files.example:{urlsplit(place.url).port}/file"


async def cause(egress: Egress, behaviour: Behaviour, seconds: float = 30, max_bytes: int = 100) -> str:
    async with upstream(behaviour) as place:
        with pytest.raises(EgressError) as caught:
            await egress.fetch(address(place), seconds=seconds, max_bytes=max_bytes)
        await place.hung_up.wait()
    return caught.value.cause


async def test_a_file_comes_with_the_type_it_claims(egress: Egress) -> None:
    async with upstream(plain(200, b"pixels", Content_Type="Image/PNG; x=y")) as place:
        fetched = await egress.fetch(address(place), seconds=30, max_bytes=6, accept="image/*")
    assert fetched == Fetched(b"pixels", "image/png")
    assert "accept: image/*" in place.requests[0].head.lower()
    async with upstream(plain(200, b"")) as place:
        assert await egress.fetch(address(place), seconds=30, max_bytes=6) == Fetched(b"", "")


async def test_what_is_too_large_is_not_read(egress: Egress) -> None:
    async def announce(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n")
        await exchange.hold()

    async def flood(exchange: Exchange) -> None:
        while True:
            await exchange.write(framed(b"x" * 4096))

    assert await cause(egress, announce) == "too_large"
    assert await cause(egress, then(end=flood)) == "too_large"


async def test_a_gzip_bomb_is_counted_unpacked_and_fills_no_memory(egress: Egress) -> None:
    bomb = gzip.compress(bytes(64 * MB))
    behaviour = plain(200, bomb, Content_Encoding="gzip")
    tracemalloc.start()
    try:
        async with upstream(behaviour) as place:
            with pytest.raises(EgressError) as caught:
                await egress.fetch(address(place), seconds=30, max_bytes=MB)
        assert caught.value.cause == "too_large"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MB


async def test_a_file_that_drips_is_given_up_in_the_end(egress: Egress) -> None:
    async def drip(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while True:
            await exchange.write(b"x")
            if await waited(exchange):
                return

    assert await cause(egress, drip, seconds=0.3) == "timeout"


async def waited(exchange: Exchange) -> bool:
    """Whether the client hung up within a moment."""
    try:
        async with asyncio.timeout(0.02):
            return await exchange.reader.read(1) == b""
    except TimeoutError:
        return False


async def test_a_head_that_drips_is_given_up_in_the_end(egress: Egress) -> None:
    async def drip(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            await exchange.write(b"x")
            if await waited(exchange):
                return

    assert await cause(egress, drip, seconds=0.3) == "timeout"


async def test_headers_have_a_limit(egress: Egress) -> None:
    long = plain(200, b"x", X="a" * 9000)
    many = plain(200, b"x", **{f"X-{number}": "a" for number in range(200)})
    assert await cause(egress, long) == "protocol"
    assert await cause(egress, many) == "protocol"


@pytest.mark.parametrize("status", [204, 304, 401, 404, 500])
async def test_anything_but_the_file_is_an_error(egress: Egress, status: int) -> None:
    async with upstream(plain(status, b"")) as place:
        with pytest.raises(EgressError, match=f"answered {status}") as caught:
            await egress.fetch(address(place), seconds=30, max_bytes=100)
    assert caught.value.cause == "status"


async def test_a_cut_file_is_none(egress: Egress) -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc")
        exchange.writer.close()

    assert await cause(egress, cut) == "cut"


async def test_a_whole_body_can_be_asked_of_any_reply(egress: Egress) -> None:
    async with upstream(plain(200, b"x" * 100)) as place:
        reply = await egress.get(place.url, headers={}, seconds=30, reach=Reach.OPERATOR, max_bytes=100)
        assert await reply.read_whole() == b"x" * 100
        reply.close()
