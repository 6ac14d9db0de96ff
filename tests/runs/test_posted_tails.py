"""Readers of another process's runs with a Valkey between: at once, the same bytes, whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest

from porch.contract.events import RunResumed
from porch.contract.frames import Cursor
from porch.models.service import Models
from porch.plugins.service import Tools
from porch.runs.live import LiveRun, Row
from porch.runs.service import Runs, Started
from tests.home import EVERYBODY
from tests.laws import check_run
from tests.runs.conftest import LEASE, Desk, events_in
from tests.runs.test_tails import follow, kept, tail_of
from tests.valkey import ValkeyServer, valkey_server

LONG = "[[tokens 300 itl=5ms]]"


@dataclass
class Posted:
    """Two processes with a Valkey between; the first one carries, readers come to the second."""

    desk: Desk
    valkey: ValkeyServer
    first: Runs
    second: Runs

    async def start(self, text: str) -> Started:
        self.desk.runs = self.first
        return await self.desk.start(text)

    def live(self, run: UUID) -> LiveRun:
        found = self.first.live(run)
        assert found is not None
        return found

    async def tapped(self) -> None:
        """The first one posts what it shows."""
        async with asyncio.timeout(10):
            while not self.first.replicas.taps:
                await asyncio.sleep(0.005)


@pytest.fixture
async def posted(desk: Desk) -> AsyncIterator[Posted]:
    assert desk.egress
    await desk.runs.stop()
    async with valkey_server() as valkey:
        found: list[Runs] = []
        for _ in range(2):
            models = Models({}, desk.egress, EVERYBODY)
            runs = Runs(desk.database, models, Tools(), lease_seconds=LEASE, live_url=valkey.url)
            await runs.start()
            found.append(runs)
        yield Posted(desk, valkey, found[0], found[1])
        for runs in found:
            await runs.stop()


async def test_frames_come_at_once_and_not_by_the_journal(posted: Posted) -> None:
    started = await posted.start(LONG)
    sink, reading = await follow(posted.desk, posted.second, started.run)
    await posted.tapped()
    live = posted.live(started.run)
    tail = await tail_of(posted.second, started.run)
    await sink.until(b"id: 1-60\n")
    reads = tail.reads
    lags: list[float] = []
    loop = asyncio.get_running_loop()
    for seq in range(live.seq + 20, live.seq + 170, 10):
        while live.seq < seq:
            await asyncio.sleep(0.001)
        began = loop.time()
        await sink.until(b"id: 1-%d\n" % seq)
        lags.append(loop.time() - began)
    assert sorted(lags)[len(lags) // 2] < 0.04, "sooner than the journal's batches of 50 ms"
    assert tail.reads <= reads + 2
    assert not live.watchers, "nobody is woken batch by batch besides"
    assert (await reading).data == await posted.desk.replay(started.run)


async def test_boundaries_are_seen_elsewhere_after_their_commit_alone(posted: Posted) -> None:
    started = await posted.start("[[tokens 40 itl=5ms]] [[call clock]] [[next]] [[tokens 40 itl=5ms]]")
    sink, reading = await follow(posted.desk, posted.second, started.run)
    original = posted.second.tails.receive
    ahead: list[str] = []

    def check(stretch: object) -> None:
        frames: bytes = getattr(stretch, "frames")  # noqa: B009 - a Stretch
        live = posted.first.live(started.run)
        for event in events_in(frames):
            if live is not None and type(event).__name__ not in (
                "StreamChunk",
                "PartStarted",
                "PartFinished",
            ):
                boundary = type(event).__name__ in (
                    "ToolCallFinished",
                    "StepFinished",
                    "StepStarted",
                    "RunFinished",
                )
                if boundary and event.seq > live.committed_to:
                    ahead.append(type(event).__name__)
        original(stretch)  # pyright: ignore[reportArgumentType]

    post = posted.second.replicas.post
    assert post is not None
    post.watch(hear=check, on_change=lambda: None)
    await reading
    assert ahead == []
    assert sink.data == await posted.desk.replay(started.run)


async def test_many_readers_hold_the_same_bytes_as_the_process_that_makes_them(posted: Posted) -> None:
    started = await posted.start(LONG)
    own = asyncio.create_task(posted.desk.read(posted.first.follow_new(posted.desk.principal, started)))
    readers = [await follow(posted.desk, posted.second, started.run) for _ in range(30)]
    await readers[0][0].until(b"id: 1-80\n")
    late = await follow(posted.desk, posted.second, started.run, Cursor(1, 40))
    await asyncio.gather(*(task for _, task in [*readers, late]))
    whole = await posted.desk.replay(started.run)
    assert (await own).data == whole
    assert {sink.data for sink, _ in readers} == {whole}
    assert whole.endswith(late[0].data)
    assert late[0].data.startswith(b"id: 1-41\n")
    assert not posted.first.replicas.taps


async def test_when_valkey_dies_and_comes_back_no_reader_misses_a_byte(posted: Posted) -> None:
    started = await posted.start("[[tokens 900 itl=5ms]]")
    sink, reading = await follow(posted.desk, posted.second, started.run)
    await posted.tapped()
    await sink.until(b"id: 1-60\n")
    await posted.valkey.kill()
    await sink.until(b"id: 1-300\n")
    assert not sink.ended
    await posted.valkey.start()
    await posted.tapped()
    live = posted.live(started.run)
    async with asyncio.timeout(10):
        while live.watchers:
            await asyncio.sleep(0.01)
    assert (await reading).data == await posted.desk.replay(started.run)


async def test_what_an_epoch_posted_and_never_committed_is_taken_back(
    posted: Posted, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = await posted.start(LONG)
    sink, reading = await follow(posted.desk, posted.second, started.run)
    await posted.tapped()
    await sink.until(b"id: 1-40\n")
    live = posted.live(started.run)
    # What stands still after this is shown, and never written.
    take = LiveRun.take

    def stand_still(each: LiveRun) -> Row | None:
        return None if each is live else take(each)

    monkeypatch.setattr(LiveRun, "take", stand_still)
    shown = live.seq + 5
    await sink.until(b"id: 1-%d\n" % shown)
    assert live.committed_to < shown
    third = await posted.desk.another()
    await vars(posted.second)["_recovery"].stop()
    await posted.desk.expire(posted.first)
    await reading
    whole = events_in(await posted.desk.replay(started.run, runs=third))
    check_run(whole)
    assert b"event: stream.resync\n" in sink.data
    assert kept(sink.data) == whole
    assert next(type(event) for event in whole if event.epoch == 2) is RunResumed


async def test_a_process_without_valkey_and_one_with_it_understand_each_other(posted: Posted) -> None:
    plain = await posted.desk.another()
    started = await posted.start(LONG)
    sinks = [await follow(posted.desk, runs, started.run) for runs in (plain, posted.second)]
    await asyncio.gather(*(task for _, task in sinks))
    assert {sink.data for sink, _ in sinks} == {await posted.desk.replay(started.run)}
