"""What happens to a run when its process loses it: the next epoch, once, from the last committed boundary."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import pytest
from msgspec import Struct

from porch.contract.errors import PorchError
from porch.contract.events import (
    RunCancelled,
    RunFailed,
    RunFinished,
    RunResumed,
    StepDiscarded,
    ToolError,
    ToolResultFinished,
)
from porch.contract.frames import Cursor
from porch.contract.ids import new_uuid
from porch.contract.messages import ImagePart, Part
from porch.models.service import Models
from porch.plugins.service import Tools
from porch.plugins.tool import Reversibility, tool
from porch.runs import claims, recovery, replay, store
from porch.runs.lease import LeaseLost
from porch.runs.service import Runs
from porch.storage.connection import Connection, Record
from porch.storage.database import Database
from tests.home import EVERYBODY
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in, types
from tests.runs.sink import Sink

LONG = "[[tokens 400 itl=3ms]]"


async def test_another_process_goes_on_and_says_so(desk: Desk) -> None:
    started = await desk.start(LONG)
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-100\n")
    await desk.another()
    await desk.expire(desk.runs)
    await reading
    events = events_in(await desk.replay(started.run))
    check_run(events)
    assert {event.epoch for event in events} == {1, 2}
    resumed = next(n for n, event in enumerate(events) if isinstance(event, RunResumed))
    assert isinstance(events[resumed + 1], StepDiscarded)
    assert isinstance(events[-1], RunFinished)


async def test_a_live_reader_of_the_lost_process_is_resynchronised_to_the_same_story(desk: Desk) -> None:
    started = await desk.start(LONG)
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-100\n")
    await desk.another()
    await desk.expire(desk.runs)
    await reading
    before, _, after = sink.data.partition(b"event: stream.resync\n")
    keep = int(after.partition(b'"keep_through":')[2].partition(b"}")[0])
    kept = events_in(before)[:keep]
    went_on = events_in(after.partition(b"\n\n")[2])
    assert kept + went_on == events_in(await desk.replay(started.run))


async def test_a_cursor_beyond_the_takeover_is_resynchronised_and_one_before_it_is_not(desk: Desk) -> None:
    started = await desk.start(LONG)
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-100\n")
    await desk.another()
    await desk.expire(desk.runs)
    await reading
    whole = await desk.replay(started.run)
    events = events_in(whole)
    first = next(event.seq for event in events if event.epoch == 2)
    ahead = await desk.replay(started.run, Cursor(1, first + 7))
    resync = b'event: stream.resync\ndata: {"type":"stream.resync","reason":"takeover","keep_through":%d}\n\n'
    assert ahead.startswith(resync % (first - 1))
    assert events_in(ahead) == events[first - 1 :]
    level = await desk.replay(started.run, Cursor(1, first - 1))
    assert b"stream.resync" not in level
    assert events_in(level) == events[first - 1 :]


async def test_a_producer_that_was_taken_over_cannot_write_any_more(desk: Desk) -> None:
    started = await desk.start("[[stall 60s]]")
    live = desk.runs.live(started.run)
    assert live is not None
    await desk.expire(desk.runs)
    await desk.another()
    with pytest.raises(LeaseLost):
        await live.commit([RunCancelled(by="nobody")])
    assert b"run.cancelled" not in (await _journal(desk, started.run))


async def test_a_run_that_was_cancelled_while_nobody_held_it_ends_as_cancelled(desk: Desk) -> None:
    started = await desk.start("[[stall 60s]]")
    await desk.expire(desk.runs)
    await desk.runs.stop()
    following = await desk.another()
    await following.cancel(desk.principal, started.run)
    events = events_in(await desk.replay(started.run, runs=following))
    check_run(events)
    assert isinstance(events[-1], RunCancelled)


async def test_a_process_that_stops_in_order_leaves_its_runs_to_the_next_at_once(desk: Desk) -> None:
    started = await desk.start(LONG)
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-100\n")
    await desk.runs.stop()
    await reading
    following = await desk.another()
    events = events_in(await desk.replay(started.run, runs=following))
    check_run(events)
    assert isinstance(events[-1], RunFinished)
    assert events[: len(events_in(sink.data))] == events_in(sink.data), "what was shown was committed"


async def test_a_run_that_stops_every_server_is_given_up_with_a_sentence(desk: Desk) -> None:
    started = await desk.start("[[stall 60s]]")
    following = await desk.another()
    for epoch in range(2, 13):
        async with desk.database.system() as connection:
            holder = (await _row(desk, started.run))["holder"]
            await connection.execute("SELECT porch.release_process($1)", holder)
        await _until(lambda epoch=epoch: _reached(desk, started.run, epoch))
    events = events_in(await desk.replay(started.run, runs=following))
    check_run(events)
    assert isinstance(events[-1], RunFailed)
    assert events[-1].error.code == "too_many_takeovers"


class Nothing(Struct):
    """No arguments."""


@pytest.mark.parametrize(("kind", "runs_again"), [("read", True), ("write", False)])
async def test_a_call_without_a_result_is_decided_by_its_reversibility(
    desk: Desk, kind: Reversibility, *, runs_again: bool
) -> None:
    calls = 0
    began = asyncio.Event()

    @tool(kind)
    async def act(arguments: Nothing) -> str:
        """Acts."""
        nonlocal calls
        calls += 1
        began.set()
        if calls == 1:
            await asyncio.Event().wait()
        return "acted"

    tools = Tools({"act": act})
    first = await desk.another(tools)
    runs, desk.runs = desk.runs, first
    started = await desk.start("[[call act {}]] [[say Done]]", tools=["act"])
    await began.wait()
    await runs.stop()
    second = await desk.another(tools)
    await desk.expire(first)
    events = events_in(await desk.replay(started.run, runs=second))
    check_run(events)
    [result] = [event for event in events if isinstance(event, ToolResultFinished)]
    if runs_again:
        assert calls == 2
        assert result.output == "acted"
    else:
        assert calls == 1
        assert isinstance(result.error, ToolError)
        assert result.error.code == "interrupted"
    assert isinstance(events[-1], RunFinished)


async def test_a_committed_result_is_never_computed_again(desk: Desk) -> None:
    calls = 0

    @tool("read")
    async def count(arguments: Nothing) -> int:
        """Counts."""
        nonlocal calls
        calls += 1
        return calls

    tools = Tools({"count": count})
    first = await desk.another(tools)
    runs, desk.runs = desk.runs, first
    await runs.stop()
    started = await desk.start("[[call count {}]] [[tokens 400 itl=3ms]]", tools=["count"])
    sink = Sink()
    reading = asyncio.create_task(desk.read(first.follow_new(desk.principal, started), sink))
    await sink.until(b'"step":"s2"')
    second = await desk.another(tools)
    await desk.expire(first)
    await reading
    events = events_in(await desk.replay(started.run, runs=second))
    check_run(events)
    assert calls == 1
    assert types(events).count("run.resumed") == 1


async def test_a_row_that_the_database_refuses_leaves_the_run_to_a_takeover(desk: Desk) -> None:
    started = await desk.start("[[tokens 400 itl=3ms]]")
    live = desk.runs.live(started.run)
    assert live is not None
    live.seq = -10_000  # a row that breaks the journal's check
    await desk.another()
    events = events_in(await desk.replay(started.run))
    check_run(events)
    assert {event.epoch for event in events} == {1, 2}


async def _journal(desk: Desk, run: object) -> bytes:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        rows = await connection.fetch(
            "SELECT frames FROM porch.journal WHERE run_id = $1 ORDER BY first_seq", run
        )
    return b"".join(row["frames"] for row in rows)


async def _row(desk: Desk, run: object) -> Record:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        row = await connection.fetchrow("SELECT holder, status, epoch FROM porch.runs WHERE id = $1", run)
    assert row is not None
    return row


async def _reached(desk: Desk, run: object, epoch: int) -> bool:
    row = await _row(desk, run)
    return row["epoch"] >= epoch or row["status"] == "failed"


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    try:
        async with asyncio.timeout(20):
            while not await condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise PorchError("The condition never came true.") from None


async def test_a_page_of_the_journal_is_of_one_moment_though_a_takeover_comes_between(desk: Desk) -> None:
    started = await desk.start("[[tokens 20]] [[stall 60s]]")
    live = desk.runs.live(started.run)
    assert live is not None
    while live.seq < 20:
        await asyncio.sleep(0.01)
    await live.settle()
    seen = Cursor(1, live.seq + 3)  # and three more events that were never committed

    async def take_over() -> None:
        other = await desk.another()
        await desk.expire(desk.runs)
        while (there := other.live(started.run)) is None or there.committed_to < seen.seq + 3:
            await asyncio.sleep(0.01)

    database = cast("Database", Interrupted(desk.database, take_over))
    page = await replay.read_journal(database, desk.principal.workspace, started.run, *seen)
    assert page is not None
    assert page.newer is not None or all(row.epoch == seen.epoch for row in page.rows)


class Interrupted:
    """A database in which something happens after the first statement of a transaction."""

    def __init__(self, database: Database, event: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._event = event

    @asynccontextmanager
    async def tenant(self, workspace: UUID) -> AsyncGenerator["Interrupted._Connection"]:
        async with self._database.tenant(workspace) as connection:
            yield self._Connection(connection, self._event)

    class _Connection:
        def __init__(self, connection: Connection, event: Callable[[], Awaitable[None]]) -> None:
            self._connection = connection
            self._event: Callable[[], Awaitable[None]] | None = event

        async def fetchrow(self, query: str, *arguments: object) -> Record | None:
            answer = await self._connection.fetchrow(query, *arguments)
            await self._go_on()
            return answer

        async def fetch(self, query: str, *arguments: object) -> list[Record]:
            answer = await self._connection.fetch(query, *arguments)
            await self._go_on()
            return answer

        async def _go_on(self) -> None:
            event, self._event = self._event, None
            if event:
                await event()


@pytest.mark.parametrize(("last_seq", "seen"), [(1, False), (2, True), (9, True)])
async def test_words_may_have_been_seen_that_never_reached_the_journal(
    desk: Desk, last_seq: int, seen: bool
) -> None:
    claimed = claims.Claimed(desk.principal.workspace, new_uuid(), 2)
    assert desk.runs.carrier.adopt(claimed, last_seq).emitted_any is seen
    desk.runs.carrier.release(claimed.run)


async def test_a_process_that_drains_brings_the_takeover_that_it_is_in_to_its_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough not to be over before its process is, on a busy machine too.
    started, load = await desk.start("[[tokens 40 itl=50ms]]"), store.load_turn
    entered, going = asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any) -> Any:
        entered.set()
        await going.wait()
        return await load(*args)

    monkeypatch.setattr(store, "load_turn", slowly)
    await desk.runs.stop()
    second = await desk.another()
    async with asyncio.timeout(20):
        await entered.wait()
        third = await desk.another()
        leaving = asyncio.create_task(second.leave(20, True, asyncio.Event()))
        while await third.replicas.count_others():  # until it is known that the second one leaves
            await asyncio.sleep(0.005)
        going.set()
        check_run(events_in(await desk.replay(started.run, runs=third)))
        await leaving


async def test_what_is_abandoned_is_taken_over_at_once_however_much_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "CLAIM_LIMIT", 2)
    started = [await desk.start("[[tokens 20 itl=5ms]]") for _ in range(5)]
    await desk.runs.stop()
    assert desk.egress
    # It looks but once in a minute.
    second = Runs(desk.database, Models({}, desk.egress, EVERYBODY), Tools(), lease_seconds=480)
    desk.others.append(second)
    await second.start()
    for each in started:
        check_run(events_in(await desk.replay(each.run, runs=second)))


async def test_a_process_that_freezes_in_mid_start_does_not_keep_others_from_its_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, frozen = await desk.start(LONG), asyncio.Event()

    async def freeze(*_: object) -> None:
        frozen.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(store, "insert_files", freeze)
    monkeypatch.setattr(store, "PAUSE_MS", 200)
    parts: list[Part] = [ImagePart(media_type="image/png", data="AAAA")]
    starting = asyncio.create_task(desk.runs.start_run(desk.principal, await desk.conversation(), parts))
    await frozen.wait()
    second = await desk.another()
    await desk.expire(desk.runs)
    async with asyncio.timeout(10):
        check_run(events_in(await desk.replay(started.run, runs=second)))
    starting.cancel()
    await asyncio.wait([starting])
