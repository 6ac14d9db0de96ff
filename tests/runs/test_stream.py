"""Following a run: live, late, from a cursor, by many, slowly, and after the reader went away."""

import asyncio

import pytest

from porch.contract.events import RunCancelled, RunFinished
from porch.contract.frames import KEEP_ALIVE, START, Cursor, resync_frame, split_frames
from porch.runs import guard
from porch.runs.reader import Reader
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in
from tests.runs.sink import Sink

LONG = "[[tokens 300 itl=2ms]]"


async def test_a_replay_is_byte_equal_to_what_was_streamed_live(desk: Desk) -> None:
    started = await desk.start("[[think Hm.]] [[call clock {}]] [[tokens 200 itl=2ms]]", tools=["clock"])
    live = (await desk.read(desk.runs.follow_new(desk.principal, started))).data
    check_run(events_in(live))
    assert await desk.replay(started.run) == live


async def test_a_reader_continues_byte_equal_from_every_cursor(desk: Desk) -> None:
    started = await desk.start("[[tokens 60 itl=5ms]]")
    live = (await desk.read(desk.runs.follow_new(desk.principal, started))).data
    frames = split_frames(live)
    for seq in range(len(frames)):
        assert await desk.replay(started.run, Cursor(1, seq)) == b"".join(frames[seq:])


async def test_readers_that_come_at_different_times_get_the_same_bytes(desk: Desk) -> None:
    started = await desk.start(LONG)
    first = Sink()
    reading = [asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), first))]
    for mark in (b"id: 1-20\n", b"id: 1-100\n", b"id: 1-200\n"):
        await first.until(mark)
        stream = await desk.runs.follow(desk.principal, started.run)
        assert stream is not None
        reading.append(asyncio.create_task(desk.read(stream)))
    sinks = await asyncio.gather(*reading)
    assert len({sink.data for sink in sinks}) == 1
    check_run(events_in(sinks[0].data))


async def test_a_reader_that_lost_its_connection_in_mid_answer_misses_nothing(desk: Desk) -> None:
    started = await desk.start(LONG)
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-150\n")
    sink.leave()
    await reading
    got = split_frames(sink.data)
    rest = await desk.replay(started.run, Cursor(1, len(got)))
    assert b"".join(got) + rest == await desk.replay(started.run)
    assert isinstance(events_in(rest)[-1], RunFinished)


async def test_a_run_goes_on_when_all_its_readers_leave(desk: Desk) -> None:
    started = await desk.start(LONG)
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-10\n")
    sink.leave()
    await reading
    events = events_in(await desk.replay(started.run))
    check_run(events)
    assert isinstance(events[-1], RunFinished)


async def test_a_cursor_at_the_end_has_nothing_more(desk: Desk) -> None:
    started = await desk.start("[[say Hi]]")
    frames = split_frames(await desk.replay(started.run))
    assert await desk.runs.follow(desk.principal, started.run, Cursor(1, len(frames))) is None


async def test_a_slow_reader_is_told_to_resynchronise_and_nobody_else_notices(desk: Desk) -> None:
    started = await desk.start("[[tokens 400 itl=1ms]]")
    slow, quick = Sink(), Sink()
    slow_stream = desk.runs.follow_new(desk.principal, started)
    slow_reading = asyncio.create_task(desk.read(slow_stream, slow))
    quick_reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), quick))
    await slow.until(b"id: 1-5\n")
    slow.gate.clear()
    for reader in desk.runs.readers:
        reader.max_bytes = 2048
    await quick_reading
    slow.gate.set()
    await slow_reading
    check_run(events_in(quick.data))
    last = slow.data.split(b"\n\n")[-2]
    assert b"event: stream.resync" in last
    assert b'"reason":"overflow"' in last
    kept = len(events_in(slow.data))
    assert f'"keep_through":{kept}'.encode() in last
    assert (
        slow.data[: slow.data.index(b"event: stream.resync")]
        + await desk.replay(started.run, Cursor(1, kept))
        == quick.data
    )


async def test_a_reader_steps_its_socket_without_a_task_until_it_suspends() -> None:
    sink = Sink()
    reader = Reader(sink.send, START)
    reader.push(b"a")
    assert sink.data == b"a", "sent before push returned"
    sink.gate.clear()
    reader.push(b"b")
    reader.push(b"c")
    assert sink.data == b"a"
    sink.gate.set()
    await reader.settle()
    assert sink.data == b"abc"


async def test_a_reader_writes_past_send_what_it_may_and_nothing_before_what_still_waits() -> None:
    sink = Sink()

    def write(data: bytes) -> bool:
        if sink.gate.is_set():
            sink.data += data
        return sink.gate.is_set()

    reader = Reader(sink.send, START, write=write)
    reader.push(b"a")
    assert sink.data == b"a"
    sink.gate.clear()
    reader.push(b"b")
    reader.push(b"c")
    sink.gate.set()
    reader.push(b"d")  # it could be written, but two others are still on their way
    assert sink.data == b"a"
    await reader.settle()
    reader.push(b"e")
    assert sink.data == b"abcde"


async def test_a_reader_whose_socket_breaks_as_it_is_written_to_is_alone_in_that() -> None:
    def write(data: bytes) -> bool:
        raise RuntimeError("unable to perform operation; the handler is closed")

    reader = Reader(Sink().send, START, write=write)
    reader.push(b"a")
    assert reader.end == "disconnected"


async def test_a_reader_stands_where_its_last_words_say_also_when_they_were_queued() -> None:
    sink = Sink()
    reader = Reader(sink.send, Cursor(1, 57))
    sink.gate.clear()
    reader.push(b"a", Cursor(1, 57))
    reader.push(resync_frame("takeover", 50), Cursor(1, 50))
    sink.gate.set()
    await reader.settle()
    assert reader.cursor == Cursor(1, 50)


async def test_signs_of_life_do_not_push_a_full_reader_over_its_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "KEEP_ALIVE_SECONDS", 0.01)
    full, quiet = Sink(), Sink()
    full.gate.clear()
    reader = Reader(full.send, max_bytes=1000)
    reader.push(b"a")
    reader.hold(2000)  # a page of the journal of which the socket has not taken the first piece
    sending = asyncio.create_task(guard.send_keep_alives({reader, Reader(quiet.send)}))
    async with asyncio.timeout(5):
        await quiet.until(KEEP_ALIVE * 2)
    sending.cancel()
    assert reader.end is None
    reader.abandon()


async def test_cancelling_ends_the_run_once_with_what_was_said(desk: Desk) -> None:
    started = await desk.start("[[tokens 5000 itl=2ms]]")
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-30\n")
    await desk.runs.cancel(desk.principal, started.run)
    await desk.runs.cancel(desk.principal, started.run)
    await reading
    events = events_in(sink.data)
    check_run(events)
    assert isinstance(events[-1], RunCancelled)
    assert events[-1].by == desk.principal.label
    record = await desk.runs.get(desk.principal, started.run)
    assert record.status == "cancelled"
    assert record.output_message is not None


async def test_a_run_that_another_process_holds_is_followed_and_cancelled_through_the_database(
    desk: Desk,
) -> None:
    other = await desk.another()
    started = await desk.start("[[tokens 5000 itl=2ms]]")
    stream = await other.follow(desk.principal, started.run)
    assert stream is not None
    sink = Sink()
    reading = asyncio.create_task(desk.read(stream, sink))
    await sink.until(b"id: 1-50\n")
    await other.cancel(desk.principal, started.run)
    await reading
    check_run(events_in(sink.data))
    assert sink.data == await desk.replay(started.run)
