"""Figures of runs that have ended, as they are written down and kept."""

import time
from typing import Any
from uuid import UUID

import msgspec
import pytest

from porch.contract.errors import DatabaseUnavailable
from porch.contract.frames import Cursor
from porch.contract.ids import new_uuid
from porch.runs import figure_store, ledger, store
from porch.runs.ledger import Ledger
from porch.runs.stopwatch import CallTimes, RunTimes
from porch.telemetry.instruments import Telemetry
from porch.telemetry.spread import BUCKETS
from tests.conftest import FreshUrls
from tests.runs.conftest import Desk
from tests.runs.test_pauses import actor, ask_act, asked_in, decide, use


def a_run(desk: Desk, began: float | None = None, **changes: Any) -> RunTimes:
    """A run of the desk's workspace."""
    return measured(desk.principal.workspace, began, **changes)


def measured(workspace: UUID, began: float | None = None, **changes: Any) -> RunTimes:
    """A run that was measured a moment ago."""
    began = time.time() if began is None else began
    run = new_uuid()
    call = CallTimes(workspace, run, "s1", "scripted:a", "scripted:a-1", began, 2.0, 0.1, 20, 7, 30, "stop")
    values: dict[str, Any] = {
        "workspace": workspace,
        "run": run,
        "agent": "actor",
        "began": began,
        "duration": 2.2,
        "outcome": "finished",
        "code": None,
        "asked": "scripted:a",
        "answered": "scripted:a-1",
        "epoch": 1,
        "takeovers": 0,
        "first_chunk": 0.15,
        "first_text": 0.2,
        "gap": None,
        "calls": [call],
        "tools": [],
        "conversation": None,
        "message": None,
    }
    return RunTimes(**{**values, **changes})


async def rows(desk: Desk, query: str) -> list[dict[str, Any]]:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        return [dict(row.items()) for row in await connection.fetch(query)]


async def test_a_run_and_its_calls_are_written_down(desk: Desk) -> None:
    await desk.ask("[[call clock]] [[say It is {result}.]]", tools=["clock"])
    await desk.ask("[[fail after=3 overloaded]]")
    await desk.runs.ledger.flush()
    runs = await rows(desk, "SELECT * FROM porch.run_figures ORDER BY run_id")
    assert [(row["outcome"], row["calls"], row["tools"], row["broke"]) for row in runs] == [
        ("finished", 2, 1, False),
        ("failed", 1, 0, True),
    ]
    assert [row["provider"] for row in runs] == ["scripted", "scripted"]
    assert all(0 < row["first_text_ms"] <= row["duration_ms"] for row in runs)
    calls = await rows(desk, "SELECT * FROM porch.call_figures ORDER BY run_id, place")
    assert [(row["step"], row["code"] is not None) for row in calls] == [
        ("s1", False),
        ("s2", False),
        ("s1", True),
    ]
    assert sum(row["chunks"] for row in calls[:2]) == runs[0]["chunks"]


async def test_sums_grow_by_time_and_model(desk: Desk) -> None:
    for _ in range(2):
        for text in ("[[say One]]", "[[fail 429]]"):
            await desk.ask(text)
        await desk.runs.ledger.flush()
    found = await rows(
        desk,
        "SELECT minutes, sum(finished) AS finished, sum(failed) AS failed FROM porch.figure_sums"
        " WHERE model = 'scripted:test' GROUP BY minutes ORDER BY minutes",
    )
    assert found == [
        {"minutes": 5, "finished": 2, "failed": 2},
        {"minutes": 60, "finished": 2, "failed": 2},
        {"minutes": 360, "finished": 2, "failed": 2},
    ]
    for row in await rows(desk, "SELECT * FROM porch.figure_sums WHERE model <> '' AND minutes = 60"):
        assert len(row["duration"]) == BUCKETS
        assert sum(row["duration"]) == row["finished"] + row["failed"]
        assert sum(row["first_text"]) == row["finished"]
        assert sum(msgspec.json.decode(row["codes"]).values()) == row["failed"]
    starts = await rows(
        desk, "SELECT sum(starts) AS n FROM porch.figure_sums WHERE model = '' AND minutes = 5"
    )
    assert starts == [{"n": 4}]


async def test_a_batch_that_is_sent_twice_counts_once(desk: Desk) -> None:
    from porch.runs.sums import Sums

    run, sums = a_run(desk), Sums()
    sums.add_run(run)
    for _ in range(2):
        await figure_store.record_figures(desk.database, [run], list(sums.found.values()))
    assert await rows(desk, "SELECT count(*) AS n FROM porch.run_figures") == [{"n": 1}]
    found = await rows(desk, "SELECT finished FROM porch.figure_sums WHERE minutes = 60")
    assert found == [{"finished": 1}]


async def test_nothing_is_lost_while_the_database_is_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.ask("[[say Hi]]")

    async def fail(*_: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as away:
        away.setattr(figure_store, "record_figures", fail)
        with pytest.raises(DatabaseUnavailable):
            await desk.runs.ledger.flush()
    await desk.runs.ledger.flush()
    assert await rows(desk, "SELECT outcome FROM porch.run_figures") == [{"outcome": "finished"}]
    found = await rows(desk, "SELECT sum(starts) AS starts FROM porch.figure_sums WHERE minutes = 5")
    assert found == [{"starts": 1}]


async def test_a_batch_whose_answer_was_lost_counts_once_with_whatever_came_since(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, write = Ledger(Telemetry(), desk.database), figure_store.record_figures

    async def lose(*batch: Any) -> None:
        await write(*batch)
        raise DatabaseUnavailable("the answer was lost")

    book.run_ended(a_run(desk))
    book.start_taken(desk.principal.workspace)
    with monkeypatch.context() as away:
        away.setattr(figure_store, "record_figures", lose)
        with pytest.raises(DatabaseUnavailable):
            await book.flush()
    book.run_ended(a_run(desk))
    book.start_taken(desk.principal.workspace)
    await book.flush()
    found = await rows(
        desk,
        "SELECT sum(finished) AS runs, sum(starts) AS starts FROM porch.figure_sums WHERE minutes = 60",
    )
    assert found == [{"runs": 2, "starts": 2}]


async def test_what_ends_while_figures_are_written_is_for_the_next_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, batches = Ledger(Telemetry(), desk.database), list[int]()
    write = figure_store.record_figures

    async def under_load(database: Any, runs: Any, sums: Any, begun: Any) -> None:
        batches.append(len(runs))
        book.run_ended(a_run(desk))
        await write(database, runs, sums, begun)

    monkeypatch.setattr(figure_store, "record_figures", under_load)
    for _ in range(ledger.BATCH + 1):
        book.run_ended(a_run(desk))
    await book.flush()
    assert batches == [ledger.BATCH, 2]
    await book.flush()
    assert batches == [ledger.BATCH, 2, 1]


async def test_a_first_answer_that_could_not_be_written_is_written_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Ledger(Telemetry(), desk.database)
    book.run_ended(a_run(desk))

    async def fail(*_: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as away:
        away.setattr(figure_store, "record_first_answers", fail)
        with pytest.raises(DatabaseUnavailable):
            await book.flush()
    await book.flush()
    assert len(await rows(desk, "SELECT * FROM porch.first_answers")) == 1


async def test_a_message_that_a_fault_nobody_foresaw_kept_out_counts_as_not_taken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(store, "start_run", fail)
    with pytest.raises(RuntimeError):
        await desk.start("Hello")
    await desk.runs.ledger.flush()
    found = await rows(desk, "SELECT starts, starts_failed FROM porch.figure_sums WHERE minutes = 60")
    assert found == [{"starts": 1, "starts_failed": 1}]


async def test_what_waits_is_bounded_and_what_is_left_out_is_counted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MOST_WAITING", 3)
    telemetry = Telemetry()
    full = Ledger(telemetry, desk.database)
    for _ in range(5):
        full.run_ended(a_run(desk))
    await full.flush()
    assert await rows(desk, "SELECT count(*) AS n FROM porch.run_figures") == [{"n": 3}]
    dropped = next(one for one in telemetry.instruments if one.name == "porch.figures.dropped")
    assert dropped.read() == 2  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


async def test_a_run_of_a_workspace_that_is_gone_takes_no_other_along(desk: Desk) -> None:
    book = Ledger(Telemetry(), desk.database)
    book.run_ended(measured(new_uuid()))
    book.run_ended(a_run(desk))
    await book.flush()
    assert await rows(desk, "SELECT count(*) AS n FROM porch.run_figures") == [{"n": 1}]


async def test_a_model_may_call_itself_anything(desk: Desk) -> None:
    book = Ledger(Telemetry(), desk.database)
    book.run_ended(a_run(desk, answered="odd:\0\ud800" + "x" * 500))
    await book.flush()
    (row,) = await rows(desk, "SELECT answered FROM porch.run_figures")
    assert len(row["answered"]) <= 200


async def test_conversations_that_go_on_are_counted_where_they_began(desk: Desk) -> None:
    one, other = await desk.conversation(), await desk.conversation()
    await desk.ask("[[say Hi]]", one)
    await desk.ask("[[say Again]]", one)
    await desk.ask("[[say And again]]", one)
    await desk.ask("[[say Hi]]", other)
    await desk.runs.ledger.flush()
    found = await rows(
        desk, "SELECT sum(begun) AS begun, sum(continued) AS on FROM porch.figure_sums WHERE minutes = 60"
    )
    assert found == [{"begun": 2, "on": 1}]
    assert len(await rows(desk, "SELECT * FROM porch.first_answers")) == 1


async def test_with_outcomes_off_none_are_counted(desk: Desk) -> None:
    book = Ledger(Telemetry(), desk.database, outcomes=False)
    book.start_taken(desk.principal.workspace)
    book.run_ended(a_run(desk, conversation=new_uuid(), message=1))
    await book.flush()
    found = await rows(
        desk,
        "SELECT sum(starts + begun) AS n, sum(finished) AS runs FROM porch.figure_sums WHERE minutes = 60",
    )
    assert found == [{"n": 0, "runs": 1}]
    assert await rows(desk, "SELECT * FROM porch.first_answers") == []


async def test_old_figures_go_and_young_ones_stay(desk: Desk) -> None:
    book = Ledger(Telemetry(), desk.database, days=10)
    for days in (0, 3, 11):
        book.run_ended(a_run(desk, time.time() - days * 86400))
    await book.flush()
    await book.purge()
    assert await rows(desk, "SELECT count(*) AS n FROM porch.run_figures") == [{"n": 2}]
    assert await rows(desk, "SELECT count(*) AS n FROM porch.call_figures") == [{"n": 2}]
    found = await rows(desk, "SELECT minutes, count(*) AS n FROM porch.figure_sums GROUP BY 1 ORDER BY 1")
    assert found == [{"minutes": 5, "n": 1}, {"minutes": 60, "n": 2}, {"minutes": 360, "n": 2}]


async def test_two_processes_add_up_the_same_sums_at_once(fresh_urls: FreshUrls, desk: Desk) -> None:
    import asyncio

    books = [Ledger(Telemetry(), desk.database) for _ in range(4)]
    for book in books:
        for number in range(20):
            book.run_ended(a_run(desk, calls=[], asked=f"scripted:{number}"))
    await asyncio.gather(*(book.flush() for book in books))
    found = await rows(
        desk, "SELECT count(*) AS n, min(finished) AS least FROM porch.figure_sums WHERE minutes = 60"
    )
    assert found == [{"n": 20, "least": 4}]


async def test_a_pause_is_no_end_and_the_wait_for_a_person_is_no_slowness(desk: Desk) -> None:
    tools, _ = actor()
    runs = await use(desk, tools)
    run, events = await ask_act(desk, script="[[stall 1ms]]")
    await runs.ledger.flush()
    assert await rows(desk, "SELECT * FROM porch.run_figures") == []
    assert [row["step"] for row in await rows(desk, "SELECT step FROM porch.call_figures")] == ["s1"]
    await decide(desk, run, asked_in(events)[0])
    await desk.replay(run, Cursor(1, events[-1].seq), runs)
    await runs.ledger.flush()
    (row,) = await rows(desk, "SELECT * FROM porch.run_figures")
    assert (row["outcome"], row["takeovers"], row["calls"]) == ("finished", 0, 1)
    steps = await rows(desk, "SELECT step, epoch FROM porch.call_figures ORDER BY epoch")
    assert [step["step"] for step in steps] == ["s1", "s2"]
    found = await rows(
        desk, "SELECT finished, takeover FROM porch.figure_sums WHERE minutes = 60 AND model <> ''"
    )
    assert found == [{"finished": 1, "takeover": []}]
