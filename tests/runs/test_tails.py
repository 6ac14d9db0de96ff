"""Readers of runs that another process carries: live, the same bytes, one read of the journal for all of them."""

import asyncio
import time
from uuid import UUID

import pytest

from porch.contract.errors import Unauthenticated
from porch.contract.events import RunCancelled, RunFinished, RunResumed
from porch.contract.frames import START, Cursor
from porch.identity.store import insert_token, revoke_token
from porch.identity.tokens import mint
from porch.runs import guard, replicas, tails
from porch.runs.service import Runs
from porch.runs.tails import Tail
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in
from tests.runs.sink import Sink

SHORT = "[[tokens 60 itl=5ms]]"
LONG = "[[tokens 400 itl=3ms]]"


async def follow(
    desk: Desk, runs: Runs, run: UUID, cursor: Cursor = START
) -> tuple[Sink, asyncio.Task[Sink]]:
    """A reader at one of the processes."""
    stream = await runs.follow(desk.principal, run, cursor)
    assert stream is not None
    sink = Sink()
    return sink, asyncio.create_task(desk.read(stream, sink))


async def tail_of(runs: Runs, run: UUID) -> Tail:
    """The run's tail, once there is one."""
    async with asyncio.timeout(10):
        while (tail := runs.tails.get(run)) is None:
            await asyncio.sleep(0.005)
    return tail


async def test_a_reader_at_another_process_gets_the_same_bytes_while_they_are_made(desk: Desk) -> None:
    other = await desk.another()
    started = await desk.start(SHORT)
    own = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started)))
    sink, reading = await follow(desk, other, started.run)
    await sink.until(b"id: 1-10\n")
    assert not sink.ended
    assert desk.runs.live(started.run) is not None, "the run goes on while it is read elsewhere"
    assert (await reading).data == (await own).data == await desk.replay(started.run)
    check_run(events_in(sink.data))


async def test_two_hundred_readers_of_one_run_cost_one_read_of_the_journal_a_batch(desk: Desk) -> None:
    other = await desk.another()
    started = await desk.start("[[tokens 30 itl=20ms]] [[stall 3s]] [[tokens 100 itl=15ms]]")
    first, reading = await follow(desk, other, started.run)
    tail = await tail_of(other, started.run)
    others = [await follow(desk, other, started.run) for _ in range(200)]
    await asyncio.gather(*(sink.until(b"event: part.started\n") for sink, _ in others))
    before, reads, began = 0, 0, time.monotonic()
    original = other.read

    async def count(workspace: UUID, run: UUID, cursor: Cursor) -> object:
        nonlocal before, reads
        if not reads:
            before = tail.reads  # one that was under way as this came into place is among them
        reads += 1
        return await original(workspace, run, cursor)

    tail_source = vars(tail)["_source"]
    assert tail_source is other
    other.read = count  # pyright: ignore[reportAttributeAccessIssue]  # counts what goes to the database
    await asyncio.gather(reading, *(task for _, task in others))
    assert len({sink.data for sink, _ in [(first, reading), *others]}) == 1
    assert first.data == await desk.replay(started.run)
    # A batch each 50 ms at the most, and nothing more for 201 readers than for one.
    assert reads == tail.reads - before
    assert reads < (time.monotonic() - began) / 0.05


async def test_nothing_is_read_while_the_run_says_nothing_and_its_holder_answers(desk: Desk) -> None:
    other = await desk.another()
    started = await desk.start("[[say Well…]] [[stall 2500ms]] [[say Yes.]]")
    sink, reading = await follow(desk, other, started.run)
    await sink.until(b"event: stream.chunk\n")
    tail = await tail_of(other, started.run)
    async with asyncio.timeout(5):
        while not vars(tail)["_heard_until"]:
            await asyncio.sleep(0.01)
    heard, before = other.bus.heard, tail.reads
    await asyncio.sleep(1.6)
    assert other.bus.heard > heard, "the holder goes on answering"
    assert tail.reads <= before + 1
    await reading


async def test_a_remote_reader_lags_by_less_than_the_poll_that_it_had_without_messages(desk: Desk) -> None:
    other = await desk.another()
    started = await desk.start("[[tokens 100 itl=20ms]]")
    sink, reading = await follow(desk, other, started.run)
    await sink.until(b"id: 1-20\n")
    live = desk.runs.live(started.run)
    assert live is not None
    lags: list[float] = []
    for seq in range(30, 90, 5):
        while live.seq < seq:
            await asyncio.sleep(0.001)
        began = time.monotonic()
        await sink.until(b"id: 1-%d\n" % seq)
        lags.append(time.monotonic() - began)
    await reading
    lags.sort()
    assert lags[len(lags) // 2] < tails.POLL_SECONDS


async def test_without_messages_streams_follow_by_looking(desk: Desk) -> None:
    other = await desk.another()
    await other.bus.stop()
    started = await desk.start(SHORT)
    sink, reading = await follow(desk, other, started.run)
    await sink.until(b"id: 1-10\n")
    assert not sink.ended
    assert (await reading).data == await desk.replay(started.run)


async def test_a_cancel_at_another_process_ends_the_run_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await desk.another()
    started = await desk.start("[[stall 60s]]")
    sink, reading = await follow(desk, other, started.run)
    await sink.until(b"event: step.started\n")

    def miss(run: UUID, by: str) -> None:
        """No heartbeat brings the word: the message does."""

    monkeypatch.setattr(vars(desk.runs)["_lease"], "_on_cancel", miss)
    await other.cancel(desk.principal, started.run)
    events = events_in((await reading).data)
    check_run(events)
    assert isinstance(events[-1], RunCancelled)
    assert events[-1].by == desk.principal.label


async def test_readers_at_all_processes_tell_one_story_when_a_third_takes_the_run_over(desk: Desk) -> None:
    second = await desk.another()
    started = await desk.start(LONG)
    sinks = [await follow(desk, runs, started.run) for runs in (desk.runs, second, second)]
    for sink, _ in sinks:
        await sink.until(b"id: 1-60\n")
    third = await desk.another()
    await vars(second)["_recovery"].stop()  # so that it is the third who takes it
    await desk.expire(desk.runs)
    await asyncio.gather(*(task for _, task in sinks))
    whole = await desk.replay(started.run, runs=third)
    events = events_in(whole)
    check_run(events)
    assert next(type(event) for event in events if event.epoch == 2) is RunResumed
    for sink, _ in sinks:
        assert kept(sink.data) == events


async def test_a_reader_goes_on_with_the_process_that_takes_the_run_over_when_it_is_its_own(
    desk: Desk,
) -> None:
    other = await desk.another()
    started = await desk.start(LONG)
    sink, reading = await follow(desk, other, started.run)
    await sink.until(b"id: 1-60\n")
    await desk.runs.stop()
    assert (await reading).ended
    assert kept(sink.data) == events_in(await desk.replay(started.run, runs=other))
    assert isinstance(kept(sink.data)[-1], RunFinished)
    assert len(other.tails) == 0


async def test_runs_that_a_process_leaves_are_taken_within_a_second_whatever_the_lease(desk: Desk) -> None:
    other = await desk.another()
    recovery = vars(other)["_recovery"]
    recovery._every = 60.0  # only the word of the one who leaves wakes it
    recovery.hurry()
    started = await desk.start("[[stall 60s]]")
    began = time.monotonic()
    await desk.runs.stop()
    async with asyncio.timeout(3):
        while other.live(started.run) is None:
            await asyncio.sleep(0.01)
    assert time.monotonic() - began < 1.5
    await other.cancel(desk.principal, started.run)
    await desk.replay(started.run, runs=other)


async def test_a_cursor_ahead_of_the_journal_waits_until_the_run_gets_there(desk: Desk) -> None:
    other = await desk.another()
    started = await desk.start("[[tokens 30 itl=20ms]]")
    live = desk.runs.live(started.run)
    assert live is not None
    while live.seq < 20:
        await asyncio.sleep(0.005)
    sink, reading = await follow(desk, other, started.run, Cursor(1, live.seq + 10))
    await reading
    whole = events_in(await desk.replay(started.run))
    assert b"stream.resync" not in sink.data
    got = events_in(sink.data)
    assert got == whole[-len(got) :]


async def test_a_tail_ends_with_its_last_reader_and_the_run_goes_on(desk: Desk) -> None:
    other = await desk.another()
    started = await desk.start("[[stall 60s]]")
    sink, reading = await follow(desk, other, started.run)
    await sink.until(b"event: step.started\n")
    await tail_of(other, started.run)
    sink.leave()
    await reading
    assert len(other.tails) == 0
    assert desk.runs.live(started.run) is not None
    await desk.runs.cancel(desk.principal, started.run)


async def test_a_watch_that_is_not_renewed_is_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "WATCHED_SECONDS", 0.05)
    other = await desk.another()
    started = await desk.start("[[tokens 20 itl=5ms]] [[stall 60s]]")
    sink, reading = await follow(desk, other, started.run)
    live = desk.runs.live(started.run)
    assert live is not None
    async with asyncio.timeout(5):
        while not live.watchers:
            await asyncio.sleep(0.005)
    sink.leave()
    await reading
    await asyncio.sleep(0.1)
    desk.runs.replicas.committed(live)
    assert not live.watchers
    await desk.runs.cancel(desk.principal, started.run)


async def test_processes_count_one_another_and_not_the_one_that_leaves(desk: Desk) -> None:
    assert await desk.runs.replicas.count_others() == 0
    other = await desk.another()
    assert await desk.runs.replicas.count_others() == 1
    await other.stop()
    assert await desk.runs.replicas.count_others() == 0


async def test_others_are_counted_on_after_a_count_that_failed_unexpectedly(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "COUNT_SECONDS", 0.01)
    other, counted, errors = await desk.another(), asyncio.Event(), iter([RuntimeError("a fault")])

    async def count() -> int:
        if error := next(errors, None):
            raise error
        counted.set()
        return 0

    monkeypatch.setattr(other.replicas, "count_others", count)
    async with asyncio.timeout(5):
        await counted.wait()


class Lent:
    """A permit that ends when told."""

    ends: float | None = None

    def __init__(self, credential: UUID) -> None:
        self.concerns: tuple[UUID, ...] = (credential,)
        self.over = self.asked = False

    async def __call__(self) -> None:
        self.asked = True
        if self.over:
            raise Unauthenticated("This token was revoked.")


async def test_a_credential_that_ends_at_one_process_ends_the_streams_of_another_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, usual = await desk.another(), guard.LOOK_SECONDS
    told: list[str] = []
    desk.runs.replicas.on_revoked = lambda: told.append("revoked")
    workspace, user = desk.principal.workspace, desk.principal.id
    async with desk.database.tenant(workspace) as connection:
        made = await insert_token(
            connection, workspace, mint(), user=user, parent=None, name="reader", scopes=[], lifetime=None
        )
    started = await desk.start("[[stall 60s]]")
    stream = desk.runs.follow_new(desk.principal, started)
    stayer, token = desk.runs.follow_new(desk.principal, started), Lent(made.id)
    stream.permit = token
    stays = asyncio.create_task(desk.read(stayer))
    reading = asyncio.create_task(desk.read(stream))
    async with asyncio.timeout(5):
        while len(desk.runs.readers) < 2:
            await asyncio.sleep(0.005)
        while not token.asked:
            await asyncio.sleep(0.005)
        # From now on nothing is looked for unless somebody says so.
        monkeypatch.setattr(guard, "LOOK_SECONDS", 60.0)
        await asyncio.sleep(2 * usual)
        token.over = True
        async with desk.database.tenant(workspace) as connection:
            await revoke_token(connection, workspace, made.id)
        other.replicas.revoke()
        assert (await reading).ended
    assert told == ["revoked"] * 2  # by the word itself, and by what was found then
    assert not stays.done()
    await desk.runs.cancel(desk.principal, started.run)
    await stays


def kept(data: bytes) -> list[object]:
    """The events that a reader holds after what its resyncs took back."""
    held: list[object] = []
    for frame in data.split(b"\n\n"):
        if frame.startswith(b"event: stream.resync"):
            keep = int(frame.partition(b'"keep_through":')[2].partition(b"}")[0])
            del held[keep:]
        else:
            held += events_in(frame + b"\n\n")
    return held
