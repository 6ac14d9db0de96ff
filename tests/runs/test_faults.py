"""Faults in the middle of things: each leaves one end, no gap, and nobody else harmed."""

import asyncio
import logging
import sys
from dataclasses import replace
from typing import Any, cast

import pytest
from msgspec import Struct

from porch.contract.errors import DatabaseUnavailable, Forbidden, Unavailable
from porch.contract.events import (
    Notice,
    RunCancelled,
    RunFailed,
    RunFinished,
    ToolError,
    ToolResultFinished,
)
from porch.plugins.service import Tools
from porch.plugins.tool import ToolFailure, tool
from porch.runs import claims, store
from porch.runs import journal as journal_module
from porch.runs import stream as stream_module
from porch.runs.lease import Lease
from porch.runs.live import Row
from porch.runs.service import Runs
from porch.storage.connection import Connection
from porch.storage.database import Database
from porch.storage.retrying import TransactionConflict
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in, types
from tests.runs.sink import Sink


class Nothing(Struct):
    """No arguments."""


async def with_tools(desk: Desk, tools: Tools) -> Runs:
    """The desk's runs replaced by those of a process that has these tools."""
    await desk.runs.stop()
    desk.runs = await desk.another(tools)
    return desk.runs


async def test_one_heartbeat_that_hangs_stops_the_producer_before_anybody_else_begins(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    took_effect: list[str] = []
    began = asyncio.Event()

    @tool("write")
    async def act(arguments: Nothing) -> str:
        """Acts."""
        began.set()
        await asyncio.sleep(60)
        took_effect.append("late")
        return "acted"

    runs = await with_tools(desk, Tools({"act": act}))
    started = await desk.start("[[call act {}]] [[say Done]]", tools=["act"])
    sink = Sink()
    reading = asyncio.create_task(desk.read(runs.follow_new(desk.principal, started), sink))
    await began.wait()
    stale = runs.live(started.run)
    assert stale is not None
    beat, hung = Lease._beat, asyncio.Event()  # pyright: ignore[reportPrivateUsage]  # the fault is a heartbeat's

    async def hang_once(lease: Lease) -> None:
        if not hung.is_set():
            hung.set()
            await asyncio.Event().wait()
        await beat(lease)

    monkeypatch.setattr(Lease, "_beat", hang_once)
    await reading
    assert stale.lost
    events = events_in(await desk.replay(started.run))
    check_run(events)
    assert {event.epoch for event in events} == {1, 2}
    [result] = [event for event in events if isinstance(event, ToolResultFinished)]
    assert isinstance(result.error, ToolError)
    assert result.error.code == "interrupted"
    assert took_effect == []


@pytest.mark.parametrize("said", ["bad \x00 page", "half \ud800 pair", "x" * 100_000])
async def test_what_a_tool_says_never_keeps_a_run_from_its_end(desk: Desk, said: str) -> None:
    @tool("read")
    async def fail(arguments: Nothing) -> str:
        """Fails."""
        raise ToolFailure(said)

    @tool("read")
    async def give(arguments: Nothing) -> tuple[str, ...]:
        """Gives a tuple."""
        return (said,)

    await with_tools(desk, Tools({"fail": fail, "give": give}))
    events = await desk.ask("[[call fail {}]] [[call give {}]] [[say Done]]", tools=["fail", "give"])
    check_run(events)
    assert isinstance(events[-1], RunFinished)
    assert types(events).count("tool_result.finished") == 2


async def test_a_tool_that_raises_its_own_timeout_is_not_told_as_ours(desk: Desk) -> None:
    @tool("read")
    async def wait(arguments: Nothing) -> str:
        """Waits."""
        raise TimeoutError

    await with_tools(desk, Tools({"wait": wait}))
    events = await desk.ask("[[call wait {}]] [[say Done]]", tools=["wait"])
    [result] = [event for event in events if isinstance(event, ToolResultFinished)]
    assert isinstance(result.error, ToolError)
    assert result.error.code == "internal"


@pytest.mark.parametrize("leaves", [False, True], ids=["cancels itself", "ends its process"])
async def test_a_tool_that_will_not_go_on_gets_its_result_all_the_same(desk: Desk, leaves: bool) -> None:
    @tool("read")
    async def give_up(arguments: Nothing) -> str:
        """Waits for what was called off, or leaves."""
        if leaves:
            sys.exit(1)
        called_off = asyncio.get_running_loop().create_future()
        called_off.cancel()
        await called_off
        return "unreachable"

    await with_tools(desk, Tools({"give_up": give_up}))
    events = await desk.ask("[[call give_up {}]] [[say Done]]", tools=["give_up"])
    check_run(events)
    [result] = [event for event in events if isinstance(event, ToolResultFinished)]
    assert isinstance(result.error, ToolError)
    assert result.error.code == "internal"


@pytest.mark.parametrize(
    "odd",
    [
        b'{"type":"step.finished","model":7}',
        b'{"type":"step.discarded","step":"s1","reason":"fallback"}\n\n'
        b'data: {"type":"usage","input_tokens":1,"output_tokens":1}',
        b"not JSON",
    ],
)
async def test_a_run_that_this_version_cannot_read_ends_instead_of_going_round(
    desk: Desk, odd: bytes
) -> None:
    started = await desk.start("[[stall 60s]]")
    await desk.expire(desk.runs)
    await desk.runs.stop()
    async with desk.database.tenant(desk.principal.workspace) as connection:
        frames = b"id: 1-3\nevent: odd\ndata: " + odd.replace(b"\n\n", b"\n\nid: 1-4\nevent: odd\n") + b"\n\n"
        await connection.execute(
            "INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames) "
            "VALUES ($1, $2, 3, 4, 1, $3)",
            desk.principal.workspace,
            started.run,
            frames,
        )
    following = await desk.another()
    async with asyncio.timeout(10):
        while (await following.get(desk.principal, started.run)).status == "running":
            await asyncio.sleep(0.05)
    record = await following.get(desk.principal, started.run)
    assert record.error is not None
    assert (record.status, record.error.code) == ("failed", "unreadable_run")


async def test_a_takeover_that_fails_harms_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    poor = await desk.start("[[stall 60s]]")
    good = await desk.start("[[tokens 400 itl=5ms]]")
    await desk.runs.stop()
    load, failures = claims.load_takeover, 0

    async def flaky(*arguments: object) -> object:
        nonlocal failures
        if arguments[2] == poor.run and failures < 4:
            failures += 1
            raise DatabaseUnavailable("All connections were busy. Try again.")
        return await load(*arguments)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(claims, "load_takeover", flaky)
    following = await desk.another()
    events = events_in(await desk.replay(good.run, runs=following))
    check_run(events)
    assert {event.epoch for event in events} == {1, 2}
    assert isinstance(events[-1], RunFinished)


async def test_a_row_that_fails_again_and_again_costs_its_own_run_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "PATIENCE", 1)
    poor, good = await desk.start("[[stall 60s]]"), await desk.start("[[stall 60s]]")
    journal = desk.runs._journal  # pyright: ignore[reportPrivateUsage]  # the fault is the journal's
    write = journal._write  # pyright: ignore[reportPrivateUsage]

    async def fail(connection: Connection, rows: list[Row]) -> object:
        if any(row.live.id == poor.run for row in rows):
            raise RuntimeError("nobody has thought of this")
        return await write(connection, rows)

    monkeypatch.setattr(journal, "_write", fail)
    rows: list[Row] = []
    for live in (desk.runs.live(poor.run), desk.runs.live(good.run)):
        assert live is not None
        live.emit([Notice(step="s1", code="odd", text="One more.")])
        row = live.take()
        assert row is not None
        rows.append(row)
    await journal._write_surely(rows)  # pyright: ignore[reportPrivateUsage]
    assert [row.live.lost for row in rows] == [True, False]
    assert rows[1].live.committed_to == rows[1].last


async def test_a_stop_while_the_database_is_slow_leaves_no_gap(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = await desk.start("[[tokens 2000 itl=2ms]]")
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-30\n")
    journal = desk.runs._journal  # pyright: ignore[reportPrivateUsage]  # the fault is the journal's
    write, inside = journal._write, asyncio.Event()  # pyright: ignore[reportPrivateUsage]

    async def slowly(connection: Connection, rows: list[Row]) -> object:
        inside.set()
        await asyncio.sleep(0.3)
        return await write(connection, rows)

    monkeypatch.setattr(journal, "_write", slowly)
    await inside.wait()
    await desk.runs.stop()
    await reading
    following = await desk.another()
    await following.cancel(desk.principal, started.run)
    check_run(events_in(await desk.replay(started.run, runs=following)))


async def test_a_tool_that_began_is_closed_when_its_run_is_cancelled_after_a_crash(desk: Desk) -> None:
    began = asyncio.Event()

    @tool("write")
    async def act(arguments: Nothing) -> str:
        """Acts."""
        began.set()
        await asyncio.Event().wait()
        return "acted"

    tools = Tools({"act": act})
    first = await with_tools(desk, tools)
    started = await desk.start("[[call act {}]] [[say Done]]", tools=["act"])
    await began.wait()
    live = first.live(started.run)
    assert live is not None
    await live.settle()
    await first.stop()
    await store.request_cancel(desk.database, desk.principal.workspace, started.run, "user:test")
    second = await desk.another(tools)
    events = events_in(await desk.replay(started.run, runs=second))
    check_run(events)
    assert isinstance(events[-1], RunCancelled)
    assert "tool_result.finished" in types(events)


async def test_an_acknowledged_cancel_outlives_the_process_that_took_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = await desk.start("[[stall 60s]]")

    async def never(connection: Connection, rows: list[Row]) -> object:
        return await asyncio.Event().wait()

    monkeypatch.setattr(desk.runs._journal, "_write", never)  # pyright: ignore[reportPrivateUsage]
    await desk.runs.cancel(desk.principal, started.run)
    await desk.expire(desk.runs)
    following = await desk.another()
    events = events_in(await desk.replay(started.run, runs=following))
    check_run(events)
    assert isinstance(events[-1], RunCancelled)


async def test_a_reader_that_never_reads_again_is_left(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "OVERFLOW_SECONDS", 0.1)
    started = await desk.start("[[tokens 400 itl=1ms]]")
    stuck = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), stuck))
    await stuck.until(b"id: 1-5\n")
    stuck.gate.clear()
    for reader in desk.runs.readers:
        reader.max_bytes = 2048
    await reading
    assert not stuck.ended
    assert not desk.runs.readers


async def test_a_start_without_a_lease_row_is_refused_and_leaves_nothing(desk: Desk) -> None:
    conversation = await desk.conversation()
    await desk.expire(desk.runs)
    with pytest.raises(Unavailable):
        await desk.start("[[say Hi]]", conversation)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.messages") == 0


async def test_a_credential_that_may_only_read_cancels_nothing(desk: Desk) -> None:
    started = await desk.start("[[stall 60s]]")
    narrow = replace(desk.principal, scopes=frozenset({"read:conversations"}))
    with pytest.raises(Forbidden):
        await desk.runs.cancel(narrow, started.run)
    await desk.runs.cancel(desk.principal, started.run)
    assert not isinstance(events_in(await desk.replay(started.run))[-1], RunFailed)


async def test_a_cancel_that_others_got_in_the_way_of_is_asked_for_again(desk: Desk) -> None:
    started = await desk.start("[[stall 60s]]")
    conflicts = iter([TransactionConflict("Others wrote at the same place.")])

    class Contended:
        def system(self) -> Any:
            if error := next(conflicts, None):
                raise error
            return desk.database.system()

    database = cast("Database", Contended())
    await store.request_cancel(database, desk.principal.workspace, started.run, "user:test")
    assert isinstance(events_in(await desk.replay(started.run))[-1], RunCancelled)


async def test_a_heartbeat_that_fails_without_words_is_logged_by_its_name(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = asyncio.Event()

    async def fail(lease: Lease) -> None:
        if not failed.is_set():
            raise TimeoutError

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            failed.set()

    told = Told()
    logging.getLogger("porch.runs.lease").addHandler(told)
    try:
        monkeypatch.setattr(Lease, "_beat", fail)
        async with asyncio.timeout(30):
            await failed.wait()
    finally:
        logging.getLogger("porch.runs.lease").removeHandler(told)
    assert "Heartbeat failed: TimeoutError()" in caplog.messages
