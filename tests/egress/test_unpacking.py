"""Compressed bodies arrive whole and as they were, or as an error that says so."""

import gzip
import os
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import pytest

from porch.egress import Egress, EgressError, EgressSettings, Reach
from porch.egress.unpacking import PIECE_BYTES, Unpacker
from tests.providers.upstream import Behaviour, Exchange, framed, plain, upstream

MB = 1024 * 1024
WORDS = b"It was a dark and stormy night. " * 500
NOISE = os.urandom(3000)


def bare(data: bytes) -> bytes:
    """Deflate without its frame, as many servers send it."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(data) + engine.flush()


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(EgressSettings(first_byte_seconds=30, idle_seconds=30, max_body_bytes=MB)) as egress:
        yield egress


async def read(egress: Egress, behaviour: Behaviour) -> bytes:
    async with upstream(behaviour) as place:
        reply = await egress.get(place.url, headers={}, seconds=30, reach=Reach.OPERATOR)
        try:
            return await reply.read_whole()
        finally:
            reply.close()


async def cause(egress: Egress, behaviour: Behaviour) -> str:
    with pytest.raises(EgressError) as caught:
        await read(egress, behaviour)
    return caught.value.cause


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(WORDS)),
        ("GZip ", gzip.compress(WORDS)),
        ("x-gzip", gzip.compress(WORDS)),
        ("gzip", gzip.compress(WORDS) + b"\0\0rubbish behind the end"),
        ("deflate", zlib.compress(WORDS)),
        ("deflate", bare(WORDS)),
        ("identity", WORDS),
        ("", WORDS),
    ],
)
async def test_every_coding_that_is_asked_for_is_unpacked(egress: Egress, coding: str, body: bytes) -> None:
    assert await read(egress, plain(200, body, Content_Encoding=coding)) == WORDS


async def test_no_other_coding_is_asked_for(egress: Egress) -> None:
    async with upstream(plain(200, b"x")) as place:
        reply = await egress.post(place.url, headers={}, body=b"{}", reach=Reach.OPERATOR)
        reply.close()
    assert "\r\naccept-encoding: gzip, deflate\r\n" in place.requests[0].head.lower()


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "\xe9"])
async def test_a_coding_that_nobody_asked_for_is_said_to_be_one(egress: Egress, coding: str) -> None:
    behaviour = plain(200, gzip.compress(WORDS), Content_Encoding=coding)
    with pytest.raises(EgressError, match="compressed body could not be unpacked") as caught:
        await read(egress, behaviour)
    assert caught.value.cause == "protocol"


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", gzip.compress(NOISE)), ("deflate", zlib.compress(NOISE)), ("deflate", bare(NOISE))],
)
@pytest.mark.parametrize("kept", [1, 2000, -1])
async def test_half_a_compressed_body_is_a_cut_even_where_http_calls_it_whole(
    egress: Egress, coding: str, body: bytes, kept: int
) -> None:
    assert await cause(egress, plain(200, body[:kept], Content_Encoding=coding)) == "cut"


async def test_a_compressed_body_without_a_byte_is_empty(egress: Egress) -> None:
    assert await read(egress, plain(200, b"", Content_Encoding="gzip")) == b""


async def test_what_is_damaged_is_not_unpacked(egress: Egress) -> None:
    damaged = bytearray(gzip.compress(WORDS))
    damaged[-6] ^= 1
    assert await cause(egress, plain(200, bytes(damaged), Content_Encoding="gzip")) == "protocol"
    assert await cause(egress, plain(200, WORDS, Content_Encoding="gzip")) == "protocol"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_stopped_at_the_cap_in_little_memory(egress: Egress, coding: str) -> None:
    pack = gzip.compress if coding == "gzip" else zlib.compress
    behaviour = plain(200, pack(bytes(64 * MB)), Content_Encoding=coding)
    tracemalloc.start()
    try:
        assert await cause(egress, behaviour) == "too_large"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MB


async def test_a_body_that_unpacks_to_nothing_for_ever_is_stopped_at_the_cap(egress: Egress) -> None:
    async def empty_blocks(exchange: Exchange) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n"
        await exchange.write(head, framed(b"\x78\x9c"))
        while not exchange.writer.is_closing():
            await exchange.write(framed(b"\x00\x00\x00\xff\xff" * 10_000))

    assert await cause(egress, empty_blocks) == "too_large"


async def test_each_flush_of_a_compressed_stream_is_read_when_it_comes(egress: Egress) -> None:
    async def speak(exchange: Exchange) -> None:
        engine = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        await exchange.write(head)
        await exchange.write(framed(engine.compress(b"one") + engine.flush(zlib.Z_SYNC_FLUSH)))
        await exchange.hold()

    async with upstream(speak) as place:
        reply = await egress.post(place.url, headers={}, body=b"{}", reach=Reach.OPERATOR)
        assert await reply.read() == b"one"
        reply.close()


def test_a_piece_is_never_longer_than_was_promised() -> None:
    unpacker = Unpacker("gzip")
    unpacker.feed(gzip.compress(bytes(5 * PIECE_BYTES)))
    sizes: list[int] = []
    while piece := unpacker.take():
        sizes.append(len(piece))
    assert sum(sizes) == 5 * PIECE_BYTES
    assert max(sizes) == PIECE_BYTES
    assert unpacker.whole
