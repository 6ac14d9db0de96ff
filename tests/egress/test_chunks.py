"""Chunks that pass the parser by come as they would have come through it, however a server frames and splits them."""

import asyncio
import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from porch.egress import EgressError, Reply
from porch.egress.chunks import unframe
from porch.egress.wire import Wire
from tests.providers.upstream import HEAD, framed

EVENTS = [b'data: {"n":%d}\n\n' % n for n in range(6)]
LINES = [b"data: a\r\n\r\n", b"5\r\nhello\r\n", b"\r\n", b"\n", b"0\r\n\r\n", b"x" * 300]
LAST = b"0\r\n\r\n"
LF_HEAD = HEAD.replace(b"\r\n", b"\n")


def sized(line: bytes, piece: bytes) -> bytes:
    return line % len(piece) + b"\r\n" + piece + b"\r\n"


def padded(piece: bytes) -> bytes:
    return sized(b"00%x", piece)


def extended(piece: bytes) -> bytes:
    return sized(b"%x;name=value", piece)


def capital(piece: bytes) -> bytes:
    return sized(b"%X", piece)


BODIES = {
    "events": HEAD + b"".join(map(framed, EVENTS)) + LAST,
    "what looks like framing": HEAD + b"".join(map(framed, LINES)) + LAST,
    "padded sizes": HEAD + b"".join(map(padded, LINES)) + LAST,
    "extensions": HEAD + b"".join(map(extended, LINES)) + LAST,
    "capital sizes": HEAD + b"".join(map(capital, LINES)) + LAST,
    "trailers": HEAD + b"".join(map(framed, LINES)) + b"0\r\nName: 5\r\n\r\n",
    "a head of bare line feeds": LF_HEAD + b"".join(map(framed, LINES)) + LAST,
    "an early head": b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + b"".join(map(framed, LINES)) + LAST,
}


class Line(asyncio.Transport):
    """Goes nowhere."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        asyncio.get_running_loop().call_soon(self.wire.connection_lost, None)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def receive(reads: list[bytes], *, enough: int = 1_000_000) -> tuple[list[bytes], Wire]:
    """What a reader is given of an answer that comes in these reads; each `enough` pieces a task must be woken.

    Raises EgressError.
    """
    wire, got = Wire(asyncio.get_running_loop()), list[bytes]()
    wire.connection_made(Line(wire))
    wire.set_response_params(auto_decompress=False)
    rest = list(reads)
    while True:
        while not len(wire):
            wire.data_received(rest.pop(0))
        message, content = await wire.read()
        if message.code == 200:
            break
    reply = Reply(
        cast(
            "Any",
            SimpleNamespace(
                status=200,
                headers={},
                content=content,
                connection=SimpleNamespace(protocol=wire),
                close=lambda: None,
                release=lambda: None,
            ),
        ),
        idle_seconds=60,
        answer_seconds=60,
        max_bytes=1_000_000,
    )

    def take(data: bytes) -> bool:
        got.append(data)
        return len(got) % enough > 0

    async def pour() -> None:
        try:
            while await reply.pour(take):
                await asyncio.sleep(0)
        finally:
            reply.close()

    pouring = asyncio.create_task(pour())
    await asyncio.sleep(0)
    for number, read in enumerate(rest):
        if number % 2:
            await asyncio.sleep(0)
        wire.data_received(read)
    await pouring
    return got, wire


def body_of(answer: bytes) -> bytes:
    pieces = EVENTS if answer is BODIES["events"] else LINES
    return b"".join(pieces)


def seen_by_parser(wire: Wire) -> int:
    """How many bytes of the body came by aiohttp's parser."""
    content = wire._payload  # pyright: ignore[reportPrivateUsage]  # nothing else tells
    assert content is not None
    return content.total_bytes


@pytest.mark.parametrize("kind", BODIES)
async def test_a_body_is_the_same_however_it_is_cut_into_reads(kind: str) -> None:
    answer = BODIES[kind]
    chance = random.Random(kind)
    for _ in range(200):
        cuts = sorted(chance.sample(range(1, len(answer)), chance.randint(1, 12)))
        reads = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
        got, _ = await receive(reads, enough=3)
        assert b"".join(got) == body_of(answer), reads


@pytest.mark.parametrize("frame", [framed, capital])
async def test_whole_chunks_pass_the_parser_by(frame: Any) -> None:
    reads = [HEAD + frame(EVENTS[0]), *map(frame, EVENTS[1:4]), frame(EVENTS[4]) + frame(EVENTS[5]), LAST]
    got, wire = await receive(reads)
    assert b"".join(got) == b"".join(EVENTS)
    assert seen_by_parser(wire) == len(EVENTS[0])


async def test_a_chunk_in_two_reads_goes_through_the_parser_and_the_next_one_past_it() -> None:
    one, two = framed(EVENTS[1])[:7], framed(EVENTS[1])[7:]
    got, wire = await receive([HEAD + framed(EVENTS[0]), one, two, framed(EVENTS[2]), LAST])
    assert b"".join(got) == b"".join(EVENTS[:3])
    assert seen_by_parser(wire) == len(b"".join(EVENTS[:2]))


@pytest.mark.parametrize(
    "bad", [b"+5\r\nhello\r\n", b"5\r\nhello!\r\n", b"5_0\r\nhello\r\n", b"-1\r\nhello\r\n"]
)
async def test_bad_framing_still_breaks_the_answer(bad: bytes) -> None:
    with pytest.raises(EgressError):
        await receive([HEAD + framed(EVENTS[0]), framed(EVENTS[1]), bad, framed(EVENTS[2])])


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"5\r\nhello\r\n", b"hello"),
        (b"5\r\nhello\r\n1\r\n!\r\n", b"hello!"),
        (b"5\r\nhello\r\n1\r\n!", None),
        (b"5\r\nhello\r\n0\r\n\r\n", None),
        (b"0\r\n\r\n", None),
        (b"5\r\nhello", None),
        (b"5\nhello\r\n", None),
        (b"5", None),
        (b"", None),
        (b"5\r\nhello\n\n", None),
        (b"0x5\r\nhello\r\n", None),
    ],
)
def test_only_whole_chunks_are_taken_for_such(data: bytes, body: bytes | None) -> None:
    assert unframe(data) == body
