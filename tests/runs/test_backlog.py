"""What waits for slow readers: bounded for each, and for all of them together."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from porch.contract.frames import START, Cursor, split_frames
from porch.runs.backlog import Backlog
from porch.runs.packs import JournalRow
from porch.runs.reader import PIECE_BYTES, Reader
from porch.runs.replay import pieces
from tests.runs.conftest import Desk
from tests.runs.sink import Sink

KIB = 1024


def stuck(backlog: Backlog, *, page: bool = False) -> Reader:
    """A reader whose socket takes nothing more."""
    sink = Sink()
    sink.gate.clear()
    reader = Reader(sink.send, START, backlog=backlog, page=page)
    reader.push(b"first", Cursor(1, 1))
    return reader


def fill(reader: Reader, kib: int) -> None:
    for _ in range(kib):
        reader.push(b"x" * KIB)


async def test_the_reader_furthest_behind_goes_when_all_together_have_too_much() -> None:
    backlog = Backlog(100 * KIB)
    little, much, some = (stuck(backlog) for _ in range(3))
    fill(little, 20)
    fill(much, 50)
    fill(some, 30)
    assert [reader.end for reader in (little, much, some)] == [None, None, None]
    little.push(b"one more")
    assert [reader.end for reader in (little, much, some)] == [None, "overflow", None]
    assert backlog.bytes == little.queued + some.queued == 50 * KIB + len(b"one more")
    assert backlog.let_go == 1
    for reader in (little, much, some):
        reader.abandon()
    assert backlog.bytes == 0


async def test_a_page_s_stream_goes_last_however_far_behind_it_is() -> None:
    backlog = Backlog(100 * KIB)
    page, program = stuck(backlog, page=True), stuck(backlog)
    fill(page, 80)
    fill(program, 21)
    assert [page.end, program.end] == [None, "overflow"]
    for reader in (page, program):
        reader.abandon()


async def test_room_is_made_for_more_than_the_next_token() -> None:
    backlog = Backlog(100 * KIB)
    readers = [stuck(backlog) for _ in range(50)]
    for reader in readers:
        fill(reader, 2)
    readers[0].push(b"x")
    assert sum(reader.end == "overflow" for reader in readers) >= 5
    for reader in readers:
        reader.abandon()


async def test_what_is_replayed_to_a_reader_counts_as_what_waits_for_it() -> None:
    backlog = Backlog(100 * KIB)
    replayed, live = stuck(backlog), stuck(backlog)
    replayed.hold(90 * KIB)
    fill(live, 11)
    assert [replayed.end, live.end] == ["overflow", None]
    replayed.hold(-90 * KIB)
    assert backlog.bytes == live.queued
    for reader in (replayed, live):
        reader.abandon()


async def test_a_reader_that_takes_what_it_gets_outlasts_those_that_are_stuck() -> None:
    backlog = Backlog(100 * KIB)
    idle, replayed = stuck(backlog), stuck(backlog)
    fill(idle, 20)
    idle.last_sent -= 10
    replayed.hold(90 * KIB)
    assert [idle.end, replayed.end] == ["overflow", None]
    replayed.hold(-90 * KIB)
    for reader in (idle, replayed):
        reader.abandon()


async def test_a_slow_socket_is_handed_no_more_than_a_piece_at_a_time() -> None:
    sent: list[bytes] = []
    gate = asyncio.Event()

    async def send(message: dict[str, object]) -> None:
        await gate.wait()
        body = message["body"]
        assert isinstance(body, bytes)
        sent.append(body)

    reader = Reader(send, START)  # pyright: ignore[reportArgumentType]  # a plain dict is what it gives
    for seq in range(1, 501):
        reader.push(b"%04d" % seq * 256, Cursor(1, seq))
    gate.set()
    await reader.settle()
    assert b"".join(sent) == b"".join(b"%04d" % seq * 256 for seq in range(1, 501))
    assert max(map(len, sent)) <= PIECE_BYTES
    assert reader.cursor == Cursor(1, 500)
    assert reader.queued == 0


async def test_the_cursor_never_runs_ahead_of_what_the_server_was_handed() -> None:
    sink = Sink()
    sink.gate.clear()
    reader = Reader(sink.send, START, max_bytes=300 * KIB)
    for seq in range(1, 200):
        reader.push(b"x" * KIB, Cursor(1, seq))
    assert reader.cursor == Cursor(1, 1)
    fill(reader, 200)
    assert reader.end == "overflow"
    assert b'"keep_through":1}' in reader.overflow_frame()
    reader.abandon()


async def test_a_replay_is_handed_over_in_pieces_whose_cursors_are_where_they_end(desk: Desk) -> None:
    started = await desk.start("[[tokens 1500]]")
    live = desk.runs.live(started.run)
    assert live is not None
    assert live.task
    await live.task
    sizes: list[int] = []

    class Measured(Sink):
        async def send(self, message: MutableMapping[str, Any]) -> None:
            sizes.append(len(message.get("body", b"")))
            await super().send(message)

    stream = await desk.runs.follow(desk.principal, started.run)
    assert stream is not None
    data = (await desk.read(stream, Measured())).data
    assert len(data) > 3 * PIECE_BYTES
    assert max(sizes) <= PIECE_BYTES
    frames = split_frames(data)
    row = JournalRow(1, len(frames), 1, data)
    for seq in (0, 7, len(frames) - 1):
        got = list(pieces(row, seq, PIECE_BYTES))
        assert b"".join(piece for piece, _ in got) == b"".join(frames[seq:])
        at = seq
        for piece, cursor in got:
            at += len(split_frames(piece))
            assert cursor == Cursor(1, at)


class Stuck(Sink):
    """A client that reads the headers and nothing more."""

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await super().send(message)
        if message["type"] == "http.response.start":
            self.gate.clear()


async def test_a_replay_to_a_reader_that_must_go_is_let_go_though_its_socket_is_stuck(desk: Desk) -> None:
    started = await desk.start("[[tokens 1500]]")
    live = desk.runs.live(started.run)
    assert live is not None
    assert live.task
    await live.task
    stuck_sink = Stuck()
    stream = await desk.runs.follow(desk.principal, started.run)
    assert stream is not None
    backlog = desk.runs.backlog
    reading = asyncio.create_task(desk.read(stream, stuck_sink))
    async with asyncio.timeout(10):
        while not backlog.bytes:
            await asyncio.sleep(0.01)
        [reader] = desk.runs.readers
        reader.overflow()
        while backlog.bytes:
            await asyncio.sleep(0.01)
    stuck_sink.gate.set()
    data = (await reading).data
    assert b"event: stream.resync" in split_frames(data)[-1]
    kept = len(split_frames(data)) - 1
    assert b'"keep_through":%d}' % kept in data
