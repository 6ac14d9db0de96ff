"""What comes is handed on in the moment it came, and nothing of it is lost, doubled or mixed up."""

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest

from porch.egress import Egress, EgressError, EgressSettings, Reach, Reply
from porch.egress.reply import TURN_BYTES
from porch.egress.wire import Pieces
from tests.providers.upstream import HEAD, Behaviour, Exchange, answer, framed, hang, plain, then, upstream

BIG = b"".join(b"%07d\n" % n for n in range(250_000))


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(EgressSettings(first_byte_seconds=30, idle_seconds=30)) as egress:
        yield egress


async def ask(egress: Egress, url: str) -> Reply:
    return await egress.post(url, headers={}, body=b"{}", reach=Reach.OPERATOR)


def into(got: list[bytes], *, most: int = 1_000_000) -> Callable[[bytes], bool]:
    """Keeps what it is given, and has had enough with the piece of that number."""

    def take(data: bytes) -> bool:
        got.append(data)
        return len(got) < most

    return take


async def test_each_read_is_handed_on_whole_while_no_task_wakes(egress: Egress) -> None:
    wanted = asyncio.Event()
    awake: list[bool] = []
    got: list[bytes] = []

    async def behave(exchange: Exchange) -> None:
        await exchange.chunks(b"one")
        for piece in (b"two", b"three"):
            await wanted.wait()
            wanted.clear()
            await exchange.write(framed(piece) + framed(b"!"))
        await exchange.write(b"0\r\n\r\n")

    def take(data: bytes) -> bool:
        awake.append(asyncio.current_task() is not None)
        got.append(data)
        wanted.set()
        return True

    async with upstream(behave) as place:
        reply = await ask(egress, place.url)
        assert await reply.pour(take) is False
        egress.settle(reply)
    assert got == [b"one", b"two!", b"three!"]
    assert awake[1:] == [False, False]


async def test_who_has_had_enough_reads_on_later_from_there(egress: Egress) -> None:
    async with upstream(answer(b"one", b"two", b"three")) as place:
        reply = await ask(egress, place.url)
        got: list[bytes] = []
        assert await reply.pour(into(got, most=1)) is True
        assert await reply.pour(into(got)) is False
        assert await reply.read() == b""
        egress.settle(reply)
        again = await ask(egress, place.url)
        assert await again.read_whole() == b"".join(got) == b"onetwothree"
        egress.settle(again)
    assert place.connections == 1


async def test_a_body_that_outran_its_reader_comes_whole(egress: Egress) -> None:
    async def behave(exchange: Exchange) -> None:
        pieces = (BIG[at : at + 1000] for at in range(0, len(BIG), 1000))
        await exchange.write(HEAD + b"".join(map(framed, pieces)) + b"0\r\n\r\n")

    async with upstream(behave) as place:
        reply = await ask(egress, place.url)
        got: list[bytes] = []
        while await reply.pour(into(got, most=len(got) + 1)):
            await asyncio.sleep(0)
        assert b"".join(got) == BIG
        egress.settle(reply)


@pytest.mark.parametrize("most", [3, 1_000_000])
async def test_a_compressed_body_is_unpacked_on_the_way(egress: Egress, most: int) -> None:
    async with upstream(plain(200, gzip.compress(BIG), Content_Encoding="gzip")) as place:
        reply = await ask(egress, place.url)
        got: list[bytes] = []
        if await reply.pour(into(got, most=most)):
            assert len(got) == most
            assert await reply.pour(into(got)) is False
        assert b"".join(got) == BIG
        egress.settle(reply)


async def test_what_the_taker_raises_is_raised_to_its_caller(egress: Egress) -> None:
    def refuse(data: bytes) -> bool:
        raise ValueError(data.decode())

    async with upstream(then(b"bad", end=hang)) as place:
        reply = await ask(egress, place.url)
        with pytest.raises(ValueError, match="bad"):
            await reply.pour(refuse)
        reply.close()
        await asyncio.wait_for(place.hung_up.wait(), 5)


async def cut(exchange: Exchange) -> None:
    exchange.writer.close()


@pytest.mark.parametrize(("end", "cause"), [(hang, "timeout"), (cut, "cut")])
async def test_silence_and_a_cut_are_told_behind_what_came(end: Behaviour, cause: str) -> None:
    async with (
        Egress(EgressSettings(idle_seconds=0.2)) as egress,
        upstream(then(b"one", end=end)) as place,
    ):
        reply = await ask(egress, place.url)
        got: list[bytes] = []
        with pytest.raises(EgressError) as caught:
            await reply.pour(into(got))
        assert (got, caught.value.cause) == ([b"one"], cause)
        await asyncio.wait_for(place.hung_up.wait(), 5)


async def test_a_body_over_its_bound_is_given_up(egress: Egress) -> None:
    async with upstream(then(b"x" * 2000, b"y" * 2000, end=hang)) as place:
        reply = await egress.get(place.url, headers={}, seconds=5, reach=Reach.OPERATOR, max_bytes=3000)
        with pytest.raises(EgressError) as caught:
            await reply.pour(into([]))
        assert caught.value.cause == "too_large"
        await asyncio.wait_for(place.hung_up.wait(), 5)


async def test_who_is_cancelled_is_given_nothing_more(egress: Egress) -> None:
    first, got = asyncio.Event(), list[bytes]()
    release = asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.chunks(b"one")
        await release.wait()
        await exchange.write(framed(b"two"), b"0\r\n\r\n")

    def take(data: bytes) -> bool:
        got.append(data)
        first.set()
        return True

    async with upstream(behave) as place:
        reply = await ask(egress, place.url)
        task = asyncio.create_task(reply.pour(take))
        await first.wait()
        task.cancel()
        await asyncio.wait([task])
        release.set()
        assert await reply.read_whole() == b"two"
        egress.settle(reply)
    assert (task.cancelled(), got) == (True, [b"one"])


@pytest.mark.parametrize("again", [1, 5, 10_000], ids=["a task always", "a task now and then", "no task"])
@pytest.mark.parametrize("packed", [False, True])
async def test_what_comes_at_once_is_handed_on_in_pieces_with_turns_for_others_between(
    egress: Egress, *, packed: bool, again: int
) -> None:
    got: list[int] = []
    turns: list[int] = []
    turn = 0
    loop = asyncio.get_running_loop()

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    def take(data: bytes) -> bool:
        got.append(len(data))
        turns.append(turn)
        return len(got) % again > 0

    coding = {"Content-Encoding": "gzip"} if packed else {}
    async with upstream(plain(200, gzip.compress(BIG) if packed else BIG, **coding)) as place:
        reply = await ask(egress, place.url)
        count()
        while await reply.pour(take):
            pass
        reply.close()
    assert sum(got) == len(BIG)
    assert max(got) <= TURN_BYTES
    assert max(turns.count(one) for one in set(turns)) <= 2


async def read_on(reply: Reply, got: list[bytes]) -> None:
    while data := await reply.read():
        got.append(data)


@pytest.mark.parametrize("poured", [True, False])
async def test_what_came_before_a_cut_is_read_however_late_its_reader_is(
    egress: Egress, poured: bool
) -> None:
    """The connection breaks while most of what came is still unread."""
    sent, broken = BIG[: 16 * TURN_BYTES], asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.chunks(sent)
        exchange.writer.close()
        broken.set()

    got: list[bytes] = []
    async with upstream(behave) as place:
        reply = await ask(egress, place.url)
        await broken.wait()
        while reply._content.exception() is None:  # pyright: ignore[reportPrivateUsage]  # until aiohttp has heard of it
            await asyncio.sleep(0)
        with pytest.raises(EgressError) as failure:
            await (reply.pour(into(got)) if poured else read_on(reply, got))
    assert b"".join(got) == sent
    assert failure.value.cause == "cut"


def test_what_waits_in_many_pieces_is_taken_in_turn_each_as_fast_as_the_first() -> None:
    many = range(300_000)
    pieces, began = Pieces(many), time.perf_counter()
    for number in many:
        assert pieces[0] == number
        assert pieces.popleft() == number
    assert time.perf_counter() - began < 3, "a list takes many times as long"
    assert not pieces
    pieces.append(b"x")
    assert (len(pieces), pieces[0], pieces.popleft(), len(pieces)) == (1, b"x", b"x", 0)
    with pytest.raises(IndexError):
        pieces.popleft()


async def test_what_is_asked_over_a_kept_connection_is_written_in_the_turn_in_which_it_is_asked(
    egress: Egress,
) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        first = asyncio.create_task(ask(egress, url))
        server, _ = await loop.sock_accept(listening)
        with server:
            head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            assert (await loop.sock_recv(server, 65536)).endswith(b"{}")
            await loop.sock_sendall(server, head)
            reply = await first
            assert await reply.read_whole() == b"ok"
            egress.settle(reply)
            second = asyncio.create_task(ask(egress, url))
            await asyncio.sleep(0)
            assert server.recv(65536).endswith(b"\r\n\r\n{}")  # it waits for nothing
            await loop.sock_sendall(server, head)
            (await second).close()


async def test_what_is_too_large_to_be_written_at_once_goes_out_as_the_peer_takes_it(egress: Egress) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.chunks(b"%d" % len(exchange.body))
        await exchange.write(b"0\r\n\r\n")

    async with upstream(behave) as place:
        body = b"x" * 8_000_000
        reply = await egress.post(place.url, headers={}, body=body, reach=Reach.OPERATOR)
        assert await reply.read_whole() == b"8000000"
