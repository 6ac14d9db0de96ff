"""The model is asked while its message is being committed: what it says then waits, or never was."""

import asyncio
from typing import Any

import pytest

from porch.contract.errors import ConversationBusy, DatabaseUnavailable
from porch.contract.events import RunFailed
from porch.contract.frames import START, Cursor
from porch.runs import store
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in, types


class Gate:
    """Holds `start_run` back from the database until it is opened, and says what was asked to be committed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: asyncio.Future[store.NewRun] = asyncio.get_running_loop().create_future()
        self.open = asyncio.Event()
        self.answer: BaseException | None = None
        self._commit = store.start_run
        monkeypatch.setattr(store, "start_run", self._start_run)

    async def _start_run(self, database: Any, new: store.NewRun) -> Any:
        self.asked.set_result(new)
        await self.open.wait()
        if self.answer:
            raise self.answer
        return await self._commit(database, new)


async def journal_rows(desk: Desk) -> int:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        return await connection.fetchval("SELECT count(*) FROM porch.journal")


async def said(desk: Desk, new: store.NewRun, seq: int) -> None:
    """Wait until the run's producer has come so far."""
    async with asyncio.timeout(10):
        while (live := desk.runs.live(new.run)) is None or live.seq < seq:
            await asyncio.sleep(0)


async def test_the_model_is_asked_before_the_database(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, begun = store.start_run, list[bool]()

    async def start_run(database: Any, new: store.NewRun) -> Any:
        live = desk.runs.live(new.run)
        begun.append(live is not None and live.begun)
        return await commit(database, new)

    monkeypatch.setattr(store, "start_run", start_run)
    await desk.ask("[[say Hi.]]")
    assert begun == [True]


async def test_what_the_model_says_before_the_commit_is_shown_and_written_after_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    starting = asyncio.create_task(desk.start("[[say One two three.]] [[call clock]] [[say Four.]]"))
    new = await gate.asked
    await said(desk, new, 5)
    assert await journal_rows(desk) == 0
    live = desk.runs.live(new.run)
    assert live is not None
    assert live.committed_to == new.last_seq
    gate.open.set()
    started = await starting
    told = (await desk.read(desk.runs.follow_new(desk.principal, started))).data
    check_run(events_in(told))
    assert told == await desk.replay(started.run, START)
    assert types(events_in(told))[:4] == ["run.started", "step.started", "part.started", "stream.chunk"]


async def test_a_failure_before_the_commit_is_told_after_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    starting = asyncio.create_task(desk.start("Hello", model="nowhere:nothing"))
    new = await gate.asked
    await said(desk, new, 4)
    assert await journal_rows(desk) == 0
    gate.open.set()
    events = events_in(await desk.replay((await starting).run, Cursor(1, 0)))
    check_run(events)
    assert isinstance(events[-1], RunFailed)


async def test_a_message_that_cannot_be_committed_leaves_nothing_of_its_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    gate.answer = DatabaseUnavailable("PostgreSQL went away. Try again.")
    starting = asyncio.create_task(desk.start("[[tokens 1000 itl=1ms]]"))
    new = await gate.asked
    await said(desk, new, 20)
    live = desk.runs.live(new.run)
    assert live is not None
    assert live.task is not None
    gate.open.set()
    with pytest.raises(DatabaseUnavailable):
        await starting
    await asyncio.wait([live.task], timeout=5)
    assert live.task.done()
    assert desk.runs.active == 0
    assert await journal_rows(desk) == 0


async def test_no_model_is_asked_for_a_message_into_a_conversation_at_work(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await desk.conversation()
    await desk.start("[[stall]]", where)
    gate = Gate(monkeypatch)
    starting = asyncio.create_task(desk.start("[[say And me?]]", where))
    new = await gate.asked
    assert desk.runs.live(new.run) is None
    gate.open.set()
    with pytest.raises(ConversationBusy, match=r"^run_\w+ is still being written\. Stop it"):
        await starting
    assert desk.runs.active == 1
