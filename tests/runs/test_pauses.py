"""Runs that wait for a person: what is shown, what runs, and who carries them on."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from msgspec import Struct

from porch.agents.conversation_store import mark_deleted
from porch.contract.canonical import canonical_hash, canonical_json
from porch.contract.definition import Definition
from porch.contract.errors import ConversationBusy, DatabaseUnavailable, NotFound
from porch.contract.events import (
    AnyEvent,
    ApprovalRequested,
    ApprovalResolved,
    Decision,
    RunFinished,
    RunPaused,
    RunResumed,
    ToolCallFinished,
    ToolError,
    ToolResultFinished,
)
from porch.contract.frames import Cursor
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.plugins.service import Tools
from porch.plugins.tool import Reversibility, Tool, tool
from porch.runs import approvals, claims, quota
from porch.runs.approvals import Approval
from porch.runs.inbox import DecidedAlready, may_decide
from porch.runs.journal import WRITE
from porch.runs.service import Runs
from porch.storage.connection import connected
from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from tests.conftest import FreshUrls
from tests.laws import check_paused_run, check_run
from tests.runs.conftest import Desk, events_in, types

Rewrite = Callable[[str], Awaitable[None]]
ASKS: dict[str, Any] = {"tools": ["act"], "approval": {"tools": ["act"]}}


@pytest.fixture
async def urls(fresh_urls: FreshUrls) -> PostgresUrls:
    return await fresh_urls()


@pytest.fixture
async def database(urls: PostgresUrls) -> AsyncIterator[Database]:
    database = await Database.connect(urls.app)
    yield database
    await database.close()


@pytest.fixture
def rewrite(urls: PostgresUrls) -> Rewrite:
    """Changes rows behind everybody's back: the clock is moved by them."""

    async def execute(statement: str) -> None:
        async with connected(urls.owner) as owner:
            for table in ("approvals", "runs", "token_use"):
                await owner.execute(f"ALTER TABLE porch.{table} NO FORCE ROW LEVEL SECURITY")
            await owner.execute(statement)

    return execute


class Deed(Struct):
    """What to do."""

    what: str = "nothing"
    often: int = 1


def actor() -> tuple[Tools, list[Deed]]:
    """A tool that notes what it was called with."""
    done: list[Deed] = []

    @tool("write")
    async def act(arguments: Deed) -> str:
        """Acts."""
        done.append(arguments)
        return f"did {arguments.what}"

    return Tools({"act": act}), done


async def use(desk: Desk, tools: Tools) -> Runs:
    """Let one process with these tools be the only one."""
    await desk.runs.stop()
    desk.runs = await desk.another(tools)
    return desk.runs


async def ask_act(
    desk: Desk, arguments: str = '{"what": "it"}', script: str = ""
) -> tuple[UUID, list[AnyEvent]]:
    """A run that has paused, and its events."""
    started = await desk.start(f"[[call act {arguments}]]{script} [[say Done]]", **ASKS)
    data = (await desk.read(desk.runs.follow_new(desk.principal, started))).data
    return started.run, events_in(data)


def asked_in(events: list[AnyEvent]) -> list[ApprovalRequested]:
    return [event for event in events if isinstance(event, ApprovalRequested)]


def result_in(events: list[AnyEvent]) -> ToolResultFinished:
    [result] = [event for event in events if isinstance(event, ToolResultFinished)]
    return result


async def test_a_call_that_needs_approval_ends_the_stream_with_a_pause(desk: Desk) -> None:
    tools, done = actor()
    await use(desk, tools)
    run, events = await ask_act(desk)
    check_paused_run(events)
    assert types(events)[-2:] == ["approval.requested", "run.paused"]
    [asked] = asked_in(events)
    assert asked.arguments == {"often": 1, "what": "it"}
    assert asked.arguments_hash == canonical_hash('{"often":1,"what":"it"}')
    assert done == []
    record = await desk.runs.get(desk.principal, run)
    assert (record.status, record.paused_for) == ("paused", "approval")
    assert desk.runs.active == 0


async def test_an_approved_call_runs_with_what_was_shown_and_the_run_goes_on(desk: Desk) -> None:
    tools, done = actor()
    await use(desk, tools)
    run, events = await ask_act(desk)
    [asked] = asked_in(events)
    decided = await desk.runs.inbox.resolve(desk.principal, run, parse_id("apr", asked.approval), "approve")
    assert decided.decided_by == desk.principal.label
    cursor = Cursor(1, events[-1].seq)
    data = await desk.replay(run, cursor)
    assert b"stream.resync" not in data
    whole = events_in(await desk.replay(run))
    check_run(whole)
    assert whole[len(events) :] == events_in(data)
    assert types(events_in(data))[:2] == ["run.resumed", "approval.resolved"]
    assert isinstance(whole[-1], RunFinished)
    assert [(deed.what, deed.often) for deed in done] == [("it", 1)]
    assert result_in(whole).output == "did it"


async def decide(desk: Desk, run: UUID, asked: ApprovalRequested, decision: Decision = "approve") -> Approval:
    return await desk.runs.inbox.resolve(desk.principal, run, parse_id("apr", asked.approval), decision)


async def test_a_denied_call_is_told_to_the_model_and_never_runs(desk: Desk) -> None:
    tools, done = actor()
    await use(desk, tools)
    run, events = await ask_act(desk)
    [asked] = asked_in(events)
    await desk.runs.inbox.resolve(desk.principal, run, parse_id("apr", asked.approval), "deny", "Not today")
    whole = events_in(await desk.replay(run))
    check_run(whole)
    error = result_in(whole).error
    assert isinstance(error, ToolError)
    assert error.code == "denied"
    assert error.message.endswith("They said: Not today")
    assert done == []
    assert isinstance(whole[-1], RunFinished)


async def test_the_same_decision_again_answers_the_same_and_another_one_is_refused(desk: Desk) -> None:
    tools, done = actor()
    await use(desk, tools)
    run, events = await ask_act(desk)
    [asked] = asked_in(events)
    first = await decide(desk, run, asked)
    whole = await desk.replay(run)
    assert await decide(desk, run, asked) == first
    with pytest.raises(DecidedAlready, match=r"^You approved this call"):
        await decide(desk, run, asked, "deny")
    assert await desk.replay(run) == whole
    assert len(done) == 1


async def test_calls_that_need_nobody_run_first_and_each_of_the_others_is_decided_by_itself(
    desk: Desk,
) -> None:
    tools, done = actor()
    tools = Tools({**tools_of(tools), **tools_of(Tools())})
    await use(desk, tools)
    started = await desk.start(
        '[[call clock {}]][[call act {"what": "a"}]][[call act {"what": "b"}]] [[say Done]]',
        tools=["act", "clock"],
        approval={"tools": ["act"]},
    )
    events = events_in((await desk.read(desk.runs.follow_new(desk.principal, started))).data)
    assert [event.call for event in events if isinstance(event, ToolResultFinished)] == [
        _call(events, "clock")
    ]
    first, second = asked_in(events)
    await decide(desk, started.run, first)
    assert (await desk.runs.get(desk.principal, started.run)).status == "paused"
    assert done == []
    await decide(desk, started.run, second, "deny")
    whole = events_in(await desk.replay(started.run))
    check_run(whole)
    assert [deed.what for deed in done] == [first.arguments["what"]]
    results = {event.call: event for event in whole if isinstance(event, ToolResultFinished)}
    assert isinstance(results[second.call].error, ToolError)
    assert results[first.call].output == f"did {first.arguments['what']}"


@pytest.mark.parametrize(
    "arguments",
    [
        '{"b": 1, "a": {"z": 1, "y": [2, {"d": 1, "c": 2}]}}',
        '{"π": "naïve 😀 \\u00e9", "a\\n": "\\"\\\\/"}',
        '{"n": 123456789012345678901234567890, "m": -9007199254740993}',
        '{"f": 1e16, "g": 0.1, "h": 1.0, "i": 1e-7, "j": -0.0, "k": 1E400}',
        '{"pair": "\\ud83d\\ude00", "lone": "\\ud800", "nul": "\\u0000"}',
        "{}",
    ],
)
async def test_what_was_shown_is_what_runs(desk: Desk, arguments: str) -> None:
    seen: list[dict[str, Any]] = []

    async def act(given: Free) -> str:
        seen.append(given.value)
        return "done"

    free = FreeTool("act", "Acts.", {"type": "object"}, "write", act, Free)
    await use(desk, Tools({"act": free}))
    run, events = await ask_act(desk, arguments)
    if not (asked := asked_in(events)):
        assert "1E400" in arguments, "a number that is none asks nobody"
        return
    [row] = await desk.runs.inbox.list_approvals(desk.principal, None, 10)
    assert row.canonical == canonical_json(asked[0].arguments)
    assert row.hash == asked[0].arguments_hash == canonical_hash(row.canonical)
    await decide(desk, run, asked[0])
    await desk.replay(run)
    assert canonical_json(seen[0]) == row.canonical


async def test_stored_parameters_that_are_not_those_shown_never_run(desk: Desk, rewrite: Rewrite) -> None:
    tools, done = actor()
    await use(desk, tools)
    run, events = await ask_act(desk)
    [asked] = asked_in(events)
    other = '{"often":1,"what":"something else"}'
    await rewrite(
        f"UPDATE porch.approvals SET arguments = '{other}', arguments_hash = '{canonical_hash(other)}'"
    )
    await decide(desk, run, asked)
    error = result_in(events_in(await desk.replay(run))).error
    assert isinstance(error, ToolError)
    assert "not those that were approved" in error.message
    assert done == []


async def test_nobodys_word_in_time_denies(desk: Desk, rewrite: Rewrite) -> None:
    tools, done = actor()
    await use(desk, tools)
    run, events = await ask_act(desk)
    await expire_approvals(rewrite)
    whole = events_in(await desk.replay(run, Cursor(1, events[-1].seq)))
    resolved = next(event for event in whole if isinstance(event, ApprovalResolved))
    assert (resolved.decision, resolved.by) == ("deny", "system:expiry")
    error = result_in(whole).error
    assert isinstance(error, ToolError)
    assert error.message.startswith("Nobody approved this call in time")
    assert done == []
    with pytest.raises(DecidedAlready, match="system:expiry denied"):
        await decide(desk, run, asked_in(events)[0])


async def test_an_approval_that_comes_too_late_is_a_denial(desk: Desk, rewrite: Rewrite) -> None:
    tools, done = actor()
    await use(desk, tools)
    run, events = await ask_act(desk)
    await rewrite("UPDATE porch.approvals SET expires_at = now() - interval '1 s'")
    with pytest.raises(DecidedAlready, match="system:expiry denied"):
        await decide(desk, run, asked_in(events)[0])
    check_run(events_in(await desk.replay(run)))
    assert done == []


async def test_cancelling_a_paused_run_ends_it_and_its_approvals(desk: Desk) -> None:
    tools, done = actor()
    await use(desk, tools)
    run, events = await ask_act(desk)
    await desk.runs.cancel(desk.principal, run)
    whole = events_in(await desk.replay(run))
    check_run(whole)
    assert types(whole[len(events) :]) == ["run.resumed", "approval.resolved", "run.cancelled"]
    [approval] = await desk.runs.inbox.of_run(desk.principal, run)
    assert (approval.decision, approval.decided_by) == ("deny", desk.principal.label)
    with pytest.raises(DecidedAlready):
        await decide(desk, run, asked_in(events)[0])
    assert done == []


async def test_a_paused_run_survives_its_process_and_goes_on_in_another(desk: Desk) -> None:
    tools, done = actor()
    await use(desk, tools)
    run, events = await ask_act(desk)
    await desk.runs.stop()
    desk.runs = await desk.another(tools)
    assert (await desk.runs.get(desk.principal, run)).status == "paused"
    assert events_in(await desk.replay(run)) == events
    await decide(desk, run, asked_in(events)[0])
    whole = events_in(await desk.replay(run))
    check_run(whole)
    assert len(done) == 1


async def test_decided_on_two_replicas_at_once_it_runs_once(desk: Desk) -> None:
    tools, done = actor()
    await use(desk, tools)
    other = await desk.another(tools)
    run, events = await ask_act(desk)
    approval = parse_id("apr", asked_in(events)[0].approval)
    answers = await asyncio.gather(
        *(runs.inbox.resolve(desk.principal, run, approval, "approve") for runs in (desk.runs, other) * 4)
    )
    assert all(answer == answers[0] for answer in answers)
    whole = events_in(await desk.replay(run))
    check_run(whole)
    assert types(whole).count("run.resumed") == 1
    assert len(done) == 1


async def test_opposite_decisions_at_once_leave_one_that_stands(desk: Desk) -> None:
    tools, done = actor()
    await use(desk, tools)
    other = await desk.another(tools)
    run, events = await ask_act(desk)
    approval = parse_id("apr", asked_in(events)[0].approval)
    answers = await asyncio.gather(
        desk.runs.inbox.resolve(desk.principal, run, approval, "approve"),
        other.inbox.resolve(desk.principal, run, approval, "deny"),
        return_exceptions=True,
    )
    [refused] = [answer for answer in answers if isinstance(answer, DecidedAlready)]
    [stands] = [answer for answer in answers if answer is not refused]
    assert isinstance(stands, Approval)
    check_run(events_in(await desk.replay(run)))
    assert len(done) == (stands.decision == "approve")


async def test_who_dies_between_the_decision_and_the_resumption_is_followed_by_another(desk: Desk) -> None:
    tools, done = actor()
    await use(desk, tools)
    run, _ = await ask_act(desk)
    [approval] = await desk.runs.inbox.of_run(desk.principal, run)
    await desk.runs.stop()
    workspace, label, ghost = desk.principal.workspace, desk.principal.label, new_uuid()
    assert await approvals.resolve(desk.database, workspace, approval, "approve", label, None) == "decided"
    assert (await desk.runs.get(desk.principal, run)).status == "running", "its wait is over"
    async with desk.database.system() as connection:
        await connection.execute("SELECT porch.register_process($1, 'ghost', 1, '60 s')", ghost)
    # It claims the run, and that is the last that is heard of it.
    assert [claimed.epoch for claimed in await claims.claim_paused(desk.database, ghost, 8)] == [2]
    async with desk.database.system() as connection:
        await connection.execute("SELECT porch.release_process($1)", ghost)
    whole = events_in(await desk.replay(run, runs=await desk.another(tools)))
    check_run(whole)
    assert [event.reason for event in whole if isinstance(event, RunResumed)] == ["approval"]
    assert {event.epoch for event in whole} == {1, 3}
    assert len(done) == 1


@pytest.mark.parametrize(("kind", "times"), [("read", 2), ("write", 1)])
async def test_who_dies_in_an_approved_call_leaves_it_to_its_reversibility(
    desk: Desk, kind: Reversibility, times: int
) -> None:
    began = asyncio.Event()
    done: list[str] = []

    @tool(kind, approval=True)
    async def act(arguments: Deed) -> str:
        """Acts."""
        done.append(arguments.what)
        began.set()
        if len(done) == 1:
            await asyncio.Event().wait()
        return "acted"

    tools = Tools({"act": act})
    first = await use(desk, tools)
    run, events = await ask_act(desk)
    await decide(desk, run, asked_in(events)[0])
    await began.wait()
    second = await desk.another(tools)
    await desk.expire(first)
    whole = events_in(await desk.replay(run, runs=second))
    check_run(whole)
    assert [event.reason for event in whole if isinstance(event, RunResumed)] == ["approval", "takeover"]
    assert done == ["it"] * times
    result = result_in(whole)
    if kind == "read":
        assert result.output == "acted"
    else:
        assert isinstance(result.error, ToolError)
        assert result.error.code == "interrupted"


async def test_a_call_is_asked_about_though_the_database_was_away_for_a_moment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tools, _ = actor()
    runs = await use(desk, tools)
    answers = iter([DatabaseUnavailable("PostgreSQL starts.")] * 2)

    class Away:
        def system(self) -> Any:
            if error := next(answers, None):
                raise error
            return desk.database.system()

    async def unseen() -> None: ...

    monkeypatch.setattr(runs.quotas, "look", unseen)
    monkeypatch.setattr(runs.quotas, "_database", Away())
    _, events = await ask_act(desk)
    check_paused_run(events)
    assert next(answers, None) is None, "it was asked while it was away"
    assert isinstance(events[-1], RunPaused), events[-1]
    assert caplog.text.count("A run waits for the database: PostgreSQL starts.") == 1


async def test_a_second_message_into_a_paused_conversation_waits_or_is_told(desk: Desk) -> None:
    tools, _ = actor()
    await use(desk, tools)
    conversation = await desk.conversation(**ASKS)
    started = await desk.start("[[call act {}]] [[say Done]]", conversation)
    await desk.read(desk.runs.follow_new(desk.principal, started))
    answers = await asyncio.gather(
        desk.start("More", conversation), desk.start("And more", conversation), return_exceptions=True
    )
    assert all(isinstance(answer, ConversationBusy) for answer in answers)
    # The chat says "An answer here" in place of the id.
    said = f"{format_id('run', started.run)} waits for a decision"
    assert all(str(answer).startswith(said) for answer in answers)
    assert all("/inbox" in str(answer) for answer in answers)


async def test_a_run_may_pause_more_often_than_servers_may_die(desk: Desk) -> None:
    tools, done = actor()
    await use(desk, tools)
    turns = 12
    script = "".join(f'[[call act {{"what": "{n}"}}]] [[next]]' for n in range(turns))
    run, events = await ask_act(desk, '{"what": "first"}', " [[next]] " + script)
    for _ in range(turns + 1):
        open_now = await desk.runs.inbox.list_approvals(desk.principal, None, 10)
        assert len(open_now) == 1
        await desk.runs.inbox.resolve(desk.principal, run, open_now[0].id, "approve")
        await desk.replay(run, Cursor(1, events[-1].seq))
    check_run(events_in(await desk.replay(run)))
    assert len(done) == turns + 1


async def test_a_guest_decides_only_where_the_definition_says_so(desk: Desk) -> None:
    approval = await any_approval(desk)
    guest = replace(desk.principal, kind="guest", scopes=frozenset({"run:agents", "read:conversations"}))
    mine = replace(approval, participant_kind="guest", participant=guest.id)
    assert not may_decide(guest, mine)
    assert may_decide(guest, replace(mine, guests=True))
    assert not may_decide(replace(guest, kind="agent"), replace(mine, guests=True))
    assert not may_decide(replace(desk.principal, scopes=frozenset({"read:*"})), approval)
    assert may_decide(desk.principal, approval)


async def test_an_approval_leaves_every_read_with_its_conversation(desk: Desk) -> None:
    tools, _ = actor()
    await use(desk, tools)
    run, events = await ask_act(desk)
    decided = await decide(desk, run, asked_in(events)[0], "deny")
    await desk.replay(run)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await mark_deleted(connection, desk.principal.workspace, decided.conversation)
    with pytest.raises(NotFound):
        await desk.runs.inbox.get(desk.principal, decided.id)


async def test_another_tenants_approval_is_not_there(desk: Desk) -> None:
    approval = await any_approval(desk)
    stranger = replace(desk.principal, workspace=new_uuid(), id=new_uuid())
    with pytest.raises(NotFound):
        await desk.runs.inbox.resolve(stranger, approval.run, approval.id, "approve")
    assert await desk.runs.inbox.list_approvals(stranger, None, 10) == []


async def any_approval(desk: Desk) -> Approval:
    tools, _ = actor()
    await use(desk, tools)
    run, _ = await ask_act(desk)
    [approval] = await desk.runs.inbox.of_run(desk.principal, run)
    return approval


class Free(Struct):
    """Any arguments at all."""

    value: dict[str, Any]


class FreeTool(Tool):
    """A tool that takes its arguments as they are."""

    async def run(self, arguments: dict[str, Any]) -> Any:
        return await self.function(Free(value=arguments))

    def settle(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return arguments


def tools_of(tools: Tools) -> dict[str, Tool]:
    return tools.of(Definition(name="any", instructions="", model="a:b", tools=tools.names()))


def _call(events: list[AnyEvent], name: str) -> str:
    return next(event.call for event in events if isinstance(event, ToolCallFinished) and event.name == name)


async def expire_approvals(rewrite: Rewrite) -> None:
    """Let the time to decide be over."""
    await rewrite("UPDATE porch.approvals SET expires_at = now() - interval '1 s'")
    await rewrite("UPDATE porch.runs SET wake_at = now() - interval '1 s' WHERE status = 'paused'")


async def test_a_quota_that_is_used_up_pauses_before_the_next_step_and_more_of_it_lets_it_go_on(
    desk: Desk,
) -> None:
    await desk.runs.quotas.put(desk.principal, 1, "day")
    first = await desk.ask("[[tokens 5]]")
    assert isinstance(first[-1], RunFinished), "what is begun is ended"
    conversation = await desk.conversation()
    events = await desk.ask("[[tokens 5]]", conversation)
    check_paused_run(events)
    assert types(events) == ["run.started", "step.started", "step.discarded", "run.paused"]
    run = parse_id("run", events[0].run)
    record = await desk.runs.get(desk.principal, run)
    assert (record.status, record.paused_for) == ("paused", "quota")
    quota = await desk.runs.quotas.get(desk.principal)
    assert quota.used > 1
    assert quota.waiting == 1
    assert record.wake_at is not None
    assert record.wake_at >= quota.resets_at
    await desk.runs.quotas.put(desk.principal, quota.used + 1000, "day")
    whole = events_in(await desk.replay(run))
    check_run(whole)
    assert types(whole)[4:6] == ["run.resumed", "step.started"]
    assert isinstance(whole[-1], RunFinished)


async def test_the_next_period_lets_go_on_what_waits_for_quota(desk: Desk, rewrite: Rewrite) -> None:
    await desk.runs.quotas.put(desk.principal, 1, "month")
    await desk.ask("[[tokens 5]]")
    events = await desk.ask("[[tokens 5]]")
    assert types(events)[-1] == "run.paused"
    await rewrite("UPDATE porch.token_use SET day = day - 40")
    await rewrite("UPDATE porch.runs SET wake_at = now() WHERE status = 'paused'")
    whole = events_in(await desk.replay(parse_id("run", events[0].run), Cursor(1, events[-1].seq)))
    assert isinstance(whole[-1], RunFinished)


async def test_what_wakes_without_quota_waits_on_unseen(desk: Desk, rewrite: Rewrite) -> None:
    await desk.runs.quotas.put(desk.principal, 1, "month")
    await desk.ask("[[tokens 5]]")
    events = await desk.ask("[[tokens 5]]")
    run = parse_id("run", events[0].run)
    await rewrite("UPDATE porch.runs SET wake_at = '-infinity' WHERE status = 'paused'")
    assert await claims.claim_paused(desk.database, desk.runs.process, 8) == []
    record = await desk.runs.get(desk.principal, run)
    assert record.status == "paused"
    assert events_in(await desk.replay(run)) == events


async def test_who_claims_does_not_wait_for_who_changes_the_quota_since_that_one_waits_for_the_runs(
    desk: Desk,
) -> None:
    await desk.runs.quotas.put(desk.principal, 0, "day")
    run = parse_id("run", (await desk.ask("[[tokens 1]]"))[0].run)
    await desk.runs.stop()
    workspace, ghost = desk.principal.workspace, new_uuid()
    async with desk.database.tenant(workspace) as connection:
        await connection.execute("SELECT porch.register_process($1, 'ghost', 1, '60 s')", ghost)
        await connection.execute("UPDATE porch.runs SET wake_at = '-infinity'")
    async with desk.database.tenant(workspace) as changing, asyncio.timeout(5):
        await changing.execute("UPDATE porch.quotas SET tokens = 50")
        assert await claims.claim_paused(desk.database, ghost, 8) == []
        await changing.execute("SELECT porch.set_quota($1, 100, 'day', 'Ada')", workspace)
    assert [claimed.run for claimed in await claims.claim_paused(desk.database, ghost, 8)] == [run]


async def test_a_process_that_drains_still_hears_of_quotas_that_are_set_elsewhere(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "LOOK_SECONDS", 0.0)
    run, other = (await desk.start("[[stall 60s]]")).run, await desk.another()
    leaving = asyncio.create_task(desk.runs.leave(20, True, asyncio.Event()))
    async with asyncio.timeout(10):
        while await other.replicas.count_others():
            await asyncio.sleep(0.005)
        await other.quotas.put(desk.principal, 0, "day")
        while not await desk.runs.quotas.closed(desk.principal.workspace):
            await asyncio.sleep(0.01)
    await other.cancel(desk.principal, run)
    await leaving


async def test_what_waits_for_quota_is_woken_oldest_first_and_not_all_at_once(desk: Desk) -> None:
    await desk.runs.quotas.put(desk.principal, 0, "day")
    paused = [parse_id("run", (await desk.ask("[[tokens 1]]"))[0].run) for _ in range(4)]
    await desk.runs.stop()
    await desk.runs.quotas.put(desk.principal, None, "day")
    async with desk.database.tenant(desk.principal.workspace) as connection:
        rows = await connection.fetch("SELECT id FROM porch.runs ORDER BY wake_at")
        apart = await connection.fetchval("SELECT max(wake_at) - min(wake_at) FROM porch.runs")
    assert [row["id"] for row in rows] == paused
    assert apart.total_seconds() >= 0.03
    other = await desk.another()
    for run in paused:
        check_run(events_in(await desk.replay(run, runs=other)))


async def test_tokens_are_counted_once_though_a_batch_is_sent_again(desk: Desk) -> None:
    await desk.ask("[[tokens 5]]")
    used = (await desk.runs.quotas.get(desk.principal)).used
    started = await desk.start("[[stall 60s]]")
    live = desk.runs.carrier.get(started.run)
    assert live is not None
    await live.settle()
    nothing: list[None] = []
    row = [[live.workspace], [live.id], [live.epoch], [live.seq + 1], [live.seq + 1], [b"x"], [7]]
    async with desk.database.system() as connection:
        for _ in range(3):
            assert await connection.fetch(WRITE, desk.runs.process, *row, *([nothing] * 12)) == []
    assert (await desk.runs.quotas.get(desk.principal)).used == used + 7
    live.lose()


async def test_a_step_counts_what_it_read_and_wrote(desk: Desk) -> None:
    events = await desk.ask("[[call clock {}]] [[say {result}]]", tools=["clock"])
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert finished.usage
    used = (await desk.runs.quotas.get(desk.principal)).used
    assert used == finished.usage.input_tokens + finished.usage.output_tokens


async def test_what_may_go_on_is_found_without_walking_past_those_that_wait(desk: Desk) -> None:
    due = "(CASE WHEN r.cancel_by IS NULL THEN r.wake_at ELSE '-infinity' END)"
    async with desk.database.system() as connection:
        # As in porch.claim_paused, whose settings these are.
        await connection.execute("BEGIN")
        await connection.execute("SET LOCAL enable_seqscan = off")
        rows = await connection.fetch(
            f"EXPLAIN SELECT r.id FROM porch.runs r WHERE r.status = 'paused' AND {due} <= now() ORDER BY {due} LIMIT 8"
        )
        await connection.execute("ROLLBACK")
    plan = "\n".join(row[0] for row in rows)
    assert "runs_waking" in plan, plan
    assert "Sort" not in plan, plan
