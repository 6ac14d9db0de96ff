"""Runs that their process holds and does not carry: however that came about, each gets its end."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest

from porch.contract.errors import DatabaseUnavailable
from porch.contract.events import RunCancelled, RunFinished
from porch.runs import claims, recovery, store
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in
from tests.runs.sink import Sink


class Commit:
    """A start whose answer is lost at once, and which is committed when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.new: store.NewRun | None = None
        self._commit = store.start_run
        monkeypatch.setattr(store, "start_run", self._start_run)

    async def _start_run(self, database: Any, new: store.NewRun) -> Any:
        self.new = new
        raise DatabaseUnavailable("The connection to PostgreSQL was lost in the middle. Try again.")

    async def arrive(self, desk: Desk) -> UUID:
        """The server comes to it late: the statement had been waiting there."""
        assert self.new
        assert (await self._commit(desk.database, self.new))[0] == "started"
        return self.new.run


class Looks:
    """Counts the looks for runs that nobody carries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._claim = claims.claim_runs
        self._looked = asyncio.Condition()
        self.doubtful = 0
        monkeypatch.setattr(claims, "claim_runs", self._claim_runs)

    async def _claim_runs(self, database: Any, process: UUID, limit: int, known: Any = None) -> Any:
        found = await self._claim(database, process, limit, known)
        async with self._looked:
            self.doubtful += known is not None
            self._looked.notify_all()
        return found

    async def one(self) -> None:
        """Wait until a look at this process' own runs has found what there is."""
        async with asyncio.timeout(10), self._looked:
            await self._looked.wait_for(lambda: self.doubtful > 0)


async def test_a_start_that_is_committed_long_after_its_answer_was_lost_comes_to_its_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "LATE_SECONDS", 1.0, raising=False)
    commit, looks = Commit(monkeypatch), Looks(monkeypatch)
    with pytest.raises(DatabaseUnavailable):
        await desk.start("[[say Hello.]]")
    await looks.one()
    run = await commit.arrive(desk)
    events = events_in(await desk.replay(run))
    check_run(events)
    assert isinstance(events[-1], RunFinished)


async def test_a_cancel_ends_a_run_that_its_process_has_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, looks = Commit(monkeypatch), Looks(monkeypatch)
    with pytest.raises(DatabaseUnavailable):
        await desk.start("[[say Hello.]]")
    await looks.one()
    run = await commit.arrive(desk)
    await desk.runs.cancel(desk.principal, run)
    events = events_in(await desk.replay(run))
    check_run(events)
    assert isinstance(events[-1], RunCancelled)


async def test_a_producer_that_dies_before_its_start_is_committed_is_replaced(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, commit = Looks(monkeypatch), store.start_run

    async def start_run(database: Any, new: store.NewRun) -> Any:
        live = desk.runs.live(new.run)
        assert live is not None
        live.lose()
        await looks.one()
        return await commit(database, new)

    monkeypatch.setattr(store, "start_run", start_run)
    started = await desk.start("[[say Hello.]]")
    events = events_in(await desk.replay(started.run))
    check_run(events)
    assert isinstance(events[-1], RunFinished)


async def test_a_run_that_is_lost_before_its_first_step_is_let_go(desk: Desk) -> None:
    started = await desk.start("[[stall 60s]]")
    before = desk.runs.live(started.run)
    assert before is not None
    carry, seen = desk.runs.carrier.carry, 0

    def carry_and_lose(live: Any, turn: Any) -> None:
        nonlocal seen
        carry(live, turn)
        seen += 1
        if seen == 1:
            live.lose()

    desk.runs.carrier.carry = carry_and_lose  # type: ignore[method-assign]
    before.lose()
    async with asyncio.timeout(10):
        while seen < 2:
            await asyncio.sleep(0.01)
    live = desk.runs.live(started.run)
    assert live is not None
    assert not live.lost
    assert live.epoch == 3


async def test_what_this_process_carries_is_counted_when_it_is_asked_and_not_while_it_queues(
    desk: Desk,
) -> None:
    started = await desk.start("[[stall 60s]]")
    known: list[UUID] = []
    async with AsyncExitStack() as busy:
        for _ in range(desk.database.pool_size):
            await busy.enter_async_context(desk.database.system())
        claiming = asyncio.create_task(claims.claim_runs(desk.database, desk.runs.process, 64, lambda: known))
        await asyncio.sleep(0)
        known.append(started.run)  # begun while the look waited for a connection
    assert await claiming == []


async def test_a_run_whose_agent_is_deleted_in_mid_answer_stops_and_its_readers_are_let_go(
    desk: Desk,
) -> None:
    started = await desk.start("[[tokens 2000 itl=5ms]]")
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-30\n")
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute("DELETE FROM porch.agents")
    async with asyncio.timeout(10):
        await reading
        while desk.runs.active:
            await asyncio.sleep(0.01)
    assert sink.ended
    assert b"run.resumed" not in sink.data


async def test_a_cancel_that_comes_before_the_start_is_confirmed_ends_the_run_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = store.start_run

    async def start_run(database: Any, new: store.NewRun) -> Any:
        answer = await commit(database, new)
        await desk.runs.cancel(desk.principal, new.run)
        live = desk.runs.live(new.run)
        assert live is not None
        async with asyncio.timeout(10):
            while not live.ending:
                await asyncio.sleep(0)
        assert live.committed_to == new.last_seq
        return answer

    monkeypatch.setattr(store, "start_run", start_run)
    started = await desk.start("[[tokens 2000 itl=5ms]]")
    told = (await desk.read(desk.runs.follow_new(desk.principal, started))).data
    check_run(events_in(told))
    assert isinstance(events_in(told)[-1], RunCancelled)
    assert told == await desk.replay(started.run)
