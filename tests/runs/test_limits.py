"""How far one run may go: time, calls, arguments, output, the whole answer, and what is not committed yet."""

import asyncio
from uuid import UUID

import pytest
from msgspec import Struct

from porch.contract.events import (
    Notice,
    RunFailed,
    RunFinished,
    ToolCallFinished,
    ToolError,
    ToolResultFinished,
)
from porch.contract.ids import parse_id
from porch.plugins.service import Tools
from porch.plugins.tool import tool
from porch.providers.assembly import MAX_ARGUMENT_CHARACTERS, MAX_CALLS
from porch.runs import limits
from porch.runs.journal import Journal
from porch.runs.limits import LEAST_UNCOMMITTED_BYTES, MAX_ANSWER_BYTES
from porch.runs.live import Row
from porch.runs.service import Runs
from porch.storage.connection import Connection
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in, types

KIB = 1024


class Nothing(Struct):
    """No arguments."""


@tool("read")
async def wait(arguments: Nothing) -> str:
    """Waits."""
    await asyncio.sleep(60)
    return "late"


@tool("read")
async def give(arguments: Nothing) -> str:
    """Gives as much as a tool may."""
    return "x" * 250 * KIB


@tool("read")
async def pour(arguments: Nothing) -> str:
    """Gives far too much."""
    return "x" * 16 * KIB * KIB


async def with_tools(desk: Desk, tools: Tools) -> Runs:
    """The desk's runs replaced by those of a process that has these tools."""
    await desk.runs.stop()
    desk.runs = await desk.another(tools)
    return desk.runs


@pytest.mark.parametrize("cues", ["[[say So far.]] [[stall]]", "[[say So far.]] [[call wait {}]]"])
async def test_a_run_whose_time_is_up_fails_with_all_closed_and_what_it_said_kept(
    desk: Desk, cues: str
) -> None:
    runs = await with_tools(desk, Tools({"wait": wait}))
    runs.carrier.run_seconds = 0.3
    events = await desk.ask(cues, tools=["wait"])
    check_run(events)
    failed = events[-1]
    assert isinstance(failed, RunFailed)
    assert (failed.error.code, failed.error.category) == ("run_timeout", "timeout")
    assert "0.3 seconds" in failed.error.message
    assert failed.error.emitted_any
    record = await runs.get(desk.principal, parse_id("run", failed.run))
    assert record.status == "failed"
    assert record.output_message is not None


async def test_a_run_that_ends_in_time_hears_nothing_of_its_clock(desk: Desk) -> None:
    desk.runs.carrier.run_seconds = 5.0
    assert isinstance((await desk.ask("[[say Hi]]"))[-1], RunFinished)
    assert desk.runs.active == 0


async def test_a_model_that_calls_too_many_tools_at_once_is_stopped(desk: Desk) -> None:
    events = await desk.ask("[[call clock {}]]" * (MAX_CALLS + 1), tools=["clock"])
    check_run(events)
    assert isinstance(events[-1], RunFailed)
    assert events[-1].error.code == "too_many_calls"
    assert types(events).count("tool_call.started") == MAX_CALLS
    assert "tool_result.started" not in types(events)


async def test_as_many_calls_as_there_may_be_all_get_their_results(desk: Desk) -> None:
    events = await desk.ask("[[call clock {}]]" * MAX_CALLS, tools=["clock"])
    check_run(events)
    assert isinstance(events[-1], RunFinished)
    assert types(events).count("tool_result.finished") == MAX_CALLS


async def test_arguments_over_their_limit_are_told_to_the_model_and_not_to_the_tool(desk: Desk) -> None:
    text = "x" * MAX_ARGUMENT_CHARACTERS
    started = await desk.start('[[call clock {"zone": "' + text + '"}]] [[say Then.]]', tools=["clock"])
    live = desk.runs.live(started.run)
    assert live is not None
    assert live.task
    await live.task
    events = events_in(await desk.replay(started.run))
    check_run(events)
    [call] = [event for event in events if isinstance(event, ToolCallFinished)]
    assert isinstance(call.error, ToolError)
    assert call.error.code == "arguments_too_large"
    assert isinstance(events[-1], RunFinished)


async def test_an_output_of_16_mebibytes_costs_the_call_and_not_the_run(desk: Desk) -> None:
    await with_tools(desk, Tools({"pour": pour}))
    events = await desk.ask("[[call pour {}]] [[say Then.]]", tools=["pour"])
    check_run(events)
    [result] = [event for event in events if isinstance(event, ToolResultFinished)]
    assert isinstance(result.error, ToolError)
    assert result.error.code == "output_too_large"
    assert isinstance(events[-1], RunFinished)
    assert events[-1].reason == "stop"


async def test_an_answer_ends_at_its_limit_and_what_came_of_it_is_kept(desk: Desk) -> None:
    await with_tools(desk, Tools({"give": give}))
    cues = ("[[call give {}]]" * 20 + "[[say More.]]") * 3
    events = await desk.ask(cues, tools=["give"], settings={"max_steps": 10})
    check_run(events)
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert finished.reason == "limit"
    [notice] = [event for event in events if isinstance(event, Notice) and event.code == "answer_limit"]
    assert "8 MiB" in notice.text
    results = [event for event in events if isinstance(event, ToolResultFinished)]
    kept = sum(len(result.output) for result in results if isinstance(result.output, str))
    assert MAX_ANSWER_BYTES - 250 * KIB < kept <= MAX_ANSWER_BYTES
    full = [result.error.code for result in results if isinstance(result.error, ToolError)]
    assert set(full) == {"answer_full"}


async def test_an_answer_of_too_many_events_ends_before_its_next_step(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_EVENTS", 30)
    events = await desk.ask("[[tokens 40]] [[call clock {}]] [[say More.]]", tools=["clock"])
    check_run(events)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].reason == "limit"
    assert types(events).count("step.started") == 1
    assert types(events).count("tool_result.finished") == 1


async def test_many_runs_wait_for_a_journal_that_hangs_within_what_all_may_have(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_UNCOMMITTED_BYTES", 256 * KIB)
    write, opened = Journal._write, asyncio.Event()  # pyright: ignore[reportPrivateUsage]  # the fault is there

    async def hang(journal: Journal, connection: Connection, rows: list[Row]) -> set[UUID]:
        await opened.wait()
        return await write(journal, connection, rows)

    journal = desk.runs._journal  # pyright: ignore[reportPrivateUsage]  # which adds up for all
    started = [await desk.start("[[stall 0.1s]] [[tokens 1500]]") for _ in range(10)]
    monkeypatch.setattr(Journal, "_write", hang)
    held, before = 0, -1
    while not held or held != before:
        await asyncio.sleep(0.15)  # until nothing grows any more
        held, before = desk.runs.waiting_bytes, held
    assert 256 * KIB < held <= 256 * KIB + len(started) * (LEAST_UNCOMMITTED_BYTES + KIB)
    opened.set()
    for run in started:
        events = events_in(await desk.replay(run.run))
        check_run(events)
        assert isinstance(events[-1], RunFinished)
    assert desk.runs.waiting_bytes == journal.waiting == 0
