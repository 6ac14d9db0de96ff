"""Messages that wait for the answer before them: queued, interrupting, taken back; nothing interleaves."""

import asyncio
import re
import time
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from porch.contract.errors import Conflict, ConversationBusy, DatabaseUnavailable, NotFound, QueueFull
from porch.contract.events import RunCancelled, RunFailed, RunFinished, RunStarted
from porch.contract.ids import format_id, new_uuid
from porch.contract.messages import ImagePart, TextPart
from porch.runs import queue
from porch.runs.queue import MAX_WAITING
from porch.runs.service import Runs, Started
from porch.runs.store import Place
from tests.laws import check_run
from tests.pictures import coded, png
from tests.runs.conftest import Desk, events_in, types
from tests.runs.test_pauses import ASKS, actor, use

LONG = "[[say Word.]] [[stall]] [[say Never.]]"
SHORT = "[[say Word.]] [[stall 0.3s]] [[say Done.]]"


async def read(desk: Desk, started: Started, runs: Runs | None = None) -> list[Any]:
    stream = (runs or desk.runs).follow_new(desk.principal, started)
    events: list[Any] = []
    # A start whose answer was lost may be taken over, and who has read ahead of that is told to forget it.
    for at, stretch in enumerate((await desk.read(stream)).data.split(b"event: stream.resync\n")):
        told, _, after = stretch.partition(b"\n\n") if at else (b"", b"", stretch)
        if at:
            keep = int(told.partition(b'"keep_through":')[2].partition(b"}")[0])
            events = [event for event in events if event.seq <= keep]
        events += events_in(after)
    check_run(events)
    return events


async def said_in(desk: Desk, conversation: UUID) -> list[tuple[str, str]]:
    """The branch of the conversation's head, oldest first: who said what."""
    async with desk.database.tenant(desk.principal.workspace) as connection:
        rows = await connection.fetch(
            "WITH RECURSIVE branch AS (SELECT m.*, 1 AS n FROM porch.messages m JOIN porch.conversations c"
            "  ON c.head_message_id = m.id WHERE c.id = $1"
            " UNION ALL SELECT m.*, b.n + 1 FROM branch b JOIN porch.messages m ON m.id = b.parent_id)"
            " SELECT role, parts #>> '{0,text}' AS text FROM branch ORDER BY n DESC",
            conversation,
        )
    return [(row["role"], row["text"]) for row in rows]


async def waiting_in(desk: Desk, conversation: UUID) -> list[UUID]:
    return [each.run for each in await desk.runs.queued(desk.principal, conversation)]


async def status_of(desk: Desk, run: UUID) -> str:
    return (await desk.runs.get(desk.principal, run)).status


async def test_two_messages_at_once_are_answered_one_after_the_other(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue")
    first = await desk.start(SHORT, where)
    second = await desk.start("[[say Second.]]", where)
    assert not first.queued
    assert second.queued
    assert await status_of(desk, second.run) == "queued"
    assert await waiting_in(desk, where) == [second.run]
    one, two = await asyncio.gather(read(desk, first), read(desk, second))
    assert types(two)[:2] == ["run.started", "step.started"]
    assert isinstance(two[0], RunStarted)
    assert two[0].message == format_id("msg", second.message)
    assert two[0].ts >= one[-1].ts
    assert await said_in(desk, where) == [
        ("user", SHORT),
        ("assistant", "Word.Done."),
        ("user", "[[say Second.]]"),
        ("assistant", "Second."),
    ]
    assert await waiting_in(desk, where) == []


async def test_a_message_that_waits_is_neither_edited_nor_answered_anew(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue")
    first = await desk.start(LONG, where)
    second = await desk.start("[[say Second.]]", where)
    edited = desk.runs.start_run(
        desk.principal, where, [TextPart(text="x")], place=Place("after", second.message)
    )
    anew = desk.runs.regenerate(desk.principal, where, second.message)
    for asked in (edited, anew):
        with pytest.raises(Conflict, match="still waits") as refused:
            await asked
        assert format_id("run", second.run) in refused.value.message
    with pytest.raises(NotFound):
        await desk.runs.regenerate(desk.principal, where, new_uuid())
    assert await waiting_in(desk, where) == [second.run]
    for started in (second, first):
        await desk.runs.cancel(desk.principal, started.run)


async def test_without_a_word_about_it_a_second_message_is_refused_as_ever(desk: Desk) -> None:
    where = await desk.conversation()
    first = await desk.start(LONG, where)
    with pytest.raises(ConversationBusy) as refused:
        await desk.start("Again.", where)
    assert refused.value.retry_after
    await desk.runs.cancel(desk.principal, first.run)
    await read(desk, first)


async def test_many_wait_in_the_order_in_which_they_were_acknowledged(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue")
    other = await desk.another()
    started = [await desk.start(SHORT, where)]
    for at in range(8):
        runs = (desk.runs, other)[at % 2]
        started.append(await runs.start_run(desk.principal, where, [TextPart(text=f"[[say Number {at}.]]")]))
    assert [each.queued for each in started] == [False] + [True] * 8
    assert await waiting_in(desk, where) == [each.run for each in started[1:]]
    told = await asyncio.gather(
        *(read(desk, each, (desk.runs, other)[(at + 1) % 2]) for at, each in enumerate(started))
    )
    for before, after in pairwise(told):
        assert isinstance(before[-1], RunFinished)
        assert before[-1].ts <= after[0].ts
    said = await said_in(desk, where)
    assert [role for role, _ in said] == ["user", "assistant"] * 9
    assert [text for role, text in said if role == "assistant"][1:] == [f"Number {at}." for at in range(8)]


async def test_the_agent_answers_as_it_is_when_the_turn_comes(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue")
    first = await desk.start(LONG, where)
    second = await desk.start("Hello.", where)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute('UPDATE porch.agents SET draft = draft || \'{"model": "scripted:changed"}\'')
    await desk.runs.cancel(desk.principal, first.run)
    events = await read(desk, second)
    assert events[1].model == "scripted:changed"


@pytest.mark.parametrize("ending", ["[[fail 400]]", "[[say x]]"])
async def test_whatever_the_end_the_next_one_begins(desk: Desk, ending: str) -> None:
    where = await desk.conversation(concurrency="queue")
    first = await desk.start(f"[[stall 0.2s]] {ending}", where)
    second = await desk.start("[[say On.]]", where)
    assert isinstance((await read(desk, first))[-1], RunFailed | RunFinished)
    assert isinstance((await read(desk, second))[-1], RunFinished)


async def test_a_full_queue_refuses_and_says_so(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue")
    first = await desk.start(LONG, where)
    held = [await desk.start(f"[[say {at}]]", where) for at in range(MAX_WAITING)]
    with pytest.raises(QueueFull, match="16 messages wait"):
        await desk.start("One more.", where)
    await desk.runs.cancel(desk.principal, held[3].run)
    await desk.start("In its place.", where)
    for each in await waiting_in(desk, where):
        await desk.runs.cancel(desk.principal, each)
    await desk.runs.cancel(desk.principal, first.run)
    await read(desk, first)


async def test_a_queue_is_bounded_in_bytes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("porch.runs.store.MAX_WAITING_BYTES", 2000)
    where = await desk.conversation(concurrency="queue")
    first = await desk.start(LONG, where)
    await desk.start("a" * 1500, where)
    with pytest.raises(QueueFull):
        await desk.start("b" * 1500, where)
    await desk.start("c", where)
    for each in [*reversed(await waiting_in(desk, where)), first.run]:
        await desk.runs.cancel(desk.principal, each)
    await read(desk, first)


async def test_a_message_taken_back_keeps_its_words_and_leaves_the_branch_alone(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue")
    first = await desk.start(SHORT, where)
    second = await desk.start("Never mind.", where)
    third = await desk.start("[[say Third.]]", where)
    reading = asyncio.create_task(read(desk, second))
    record = await desk.runs.cancel(desk.principal, second.run)
    assert record.status == "cancelled"
    events = await reading
    assert types(events) == ["run.started", "run.cancelled"]
    assert isinstance(events[-1], RunCancelled)
    assert events[-1].by == desk.principal.label
    await asyncio.gather(read(desk, first), read(desk, third))
    assert [text for _, text in await said_in(desk, where)] == [
        SHORT,
        "Word.Done.",
        "[[say Third.]]",
        "Third.",
    ]
    async with desk.database.tenant(desk.principal.workspace) as connection:
        kept = await connection.fetchrow(
            "SELECT parts #>> '{0,text}' AS text, parent_id FROM porch.messages WHERE id = $1", second.message
        )
    assert kept
    assert (kept["text"], kept["parent_id"]) == ("Never mind.", first.message)
    assert (await desk.runs.cancel(desk.principal, second.run)).status == "cancelled"


async def test_whoever_interrupts_keeps_what_was_said_and_comes_next(desk: Desk) -> None:
    where = await desk.conversation(concurrency="interrupt")
    first = await desk.start(LONG, where)
    reading = asyncio.create_task(read(desk, first))
    await shown(desk, first.run)
    second = await desk.start("[[say Second.]]", where)
    one = await reading
    assert isinstance(one[-1], RunCancelled)
    assert one[-1].by == f"{desk.principal.label} (interrupted)"
    two = await read(desk, second)
    assert isinstance(two[-1], RunFinished)
    assert await said_in(desk, where) == [
        ("user", LONG),
        ("assistant", "Word."),
        ("user", "[[say Second.]]"),
        ("assistant", "Second."),
    ]


async def test_of_several_who_interrupt_the_last_is_answered_and_all_are_kept(desk: Desk) -> None:
    where = await desk.conversation(concurrency="interrupt")
    first = await desk.start(LONG, where)
    others = await asyncio.gather(*(desk.start(f"[[say Number {at}.]]", where) for at in range(6)))
    told = await asyncio.gather(*(read(desk, each) for each in (first, *others)))
    said = await said_in(desk, where)
    assert said[0] == ("user", LONG)
    assert {text for role, text in said if role == "user"} == {
        LONG,
        *(f"[[say Number {at}.]]" for at in range(6)),
    }
    assert [role for role, _ in said[-2:]] == ["user", "assistant"]
    last = next(started for started, text in zip(others, range(6), strict=True) if str(text) in said[-1][1])
    ends = {started.run: events[-1] for started, events in zip((first, *others), told, strict=True)}
    assert isinstance(ends[last.run], RunFinished)
    assert all(isinstance(end, RunCancelled | RunFinished) for end in ends.values())
    assert await waiting_in(desk, where) == []


async def test_another_answer_that_interrupts_stands_beside_what_came_of_the_first(desk: Desk) -> None:
    where = await desk.conversation(concurrency="interrupt")
    first = await desk.start("[[say Word.]] [[stall 0.5s]] [[say Done.]]", where)
    reading = asyncio.create_task(read(desk, first))
    await shown(desk, first.run)
    again = await desk.runs.regenerate(desk.principal, where, first.message)
    assert isinstance((await reading)[-1], RunCancelled)
    assert isinstance((await read(desk, again))[-1], RunFinished)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        answers = await connection.fetch(
            "SELECT run_id, parts #>> '{0,text}' AS text FROM porch.messages WHERE parent_id = $1",
            first.message,
        )
    assert {row["run_id"]: row["text"] for row in answers} == {first.run: "Word.", again.run: "Word.Done."}


async def test_a_message_that_the_new_version_cannot_take_ends_as_failed_and_is_kept(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue", model="scripted:demo")
    first = await desk.start(LONG, where)
    picture = ImagePart(media_type="image/png", data=coded(png()))
    second = await desk.runs.start_run(desk.principal, where, [picture, TextPart(text="See?")])
    third = await desk.start("[[say On.]]", where)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute('UPDATE porch.agents SET draft = draft || \'{"model": "local:smollm2"}\'')
    await desk.runs.cancel(desk.principal, first.run)
    events = await read(desk, second)
    assert isinstance(events[-1], RunFailed)
    assert "cannot look at pictures" in events[-1].error.message
    async with desk.database.tenant(desk.principal.workspace) as connection:
        assert await connection.fetchval("SELECT true FROM porch.messages WHERE id = $1", second.message)
    assert type((await read(desk, third))[-1]) in (RunFailed, RunFinished)


async def test_edits_and_new_answers_wait_their_turn_too(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue")
    first = await desk.start("[[say One.]]", where)
    await read(desk, first)
    second = await desk.start(SHORT, where)
    again = await desk.runs.regenerate(desk.principal, where, first.message)
    edit = await desk.runs.start_run(
        desk.principal, where, [TextPart(text="[[say Edited.]]")], place=Place("after")
    )
    assert (again.queued, edit.queued) == (True, True)
    assert again.message == first.message
    told = await asyncio.gather(*(read(desk, each) for each in (second, again, edit)))
    assert [type(events[-1]) for events in told] == [RunFinished] * 3
    assert told[0][-1].ts <= told[1][0].ts
    assert told[1][-1].ts <= told[2][0].ts
    assert await said_in(desk, where) == [("user", "[[say Edited.]]"), ("assistant", "Edited.")]


async def test_files_wait_with_their_message(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue", model="scripted:demo")
    first = await desk.start("[[stall 0.2s]] [[say One.]]", where)
    picture = ImagePart(media_type="image/png", data=coded(png()))
    second = await desk.runs.start_run(desk.principal, where, [picture, TextPart(text="[[say Seen.]]")])
    async with desk.database.tenant(desk.principal.workspace) as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.queued_files") == 1
    await read(desk, first)
    await read(desk, second)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        kept = await connection.fetch("SELECT message_id FROM porch.files")
        assert await connection.fetchval("SELECT count(*) FROM porch.queued_files") == 0
    assert [row["message_id"] for row in kept] == [second.message]


async def test_a_queue_that_its_process_left_is_moved_by_another(desk: Desk) -> None:
    other = await desk.another()
    where = await desk.conversation(concurrency="queue")
    first = await other.start_run(desk.principal, where, [TextPart(text=LONG)])
    second = await other.start_run(desk.principal, where, [TextPart(text="[[say On.]]")])
    await other.succession.stop()  # it dies between end and beginning
    other.carrier.after_end = lambda run: None
    await other.cancel(desk.principal, first.run)
    assert isinstance((await read(desk, second))[-1], RunFinished)
    assert desk.runs.taken_over == 0


async def test_a_run_that_began_from_the_queue_is_taken_over_as_any_other(desk: Desk) -> None:
    other = await desk.another()
    where = await desk.conversation(concurrency="queue")
    first = await other.start_run(desk.principal, where, [TextPart(text="[[say One.]]")])
    second = await other.start_run(desk.principal, where, [TextPart(text="[[stall 2s]] [[say Two.]]")])
    await read(desk, first, other)
    async with asyncio.timeout(10):
        while await status_of(desk, second.run) == "queued":
            await asyncio.sleep(0.02)
    await desk.expire(other)
    events = events_in(await desk.replay(second.run))
    check_run(events)
    assert isinstance(events[-1], RunFinished)


async def test_another_workspace_sees_nothing_of_a_queue(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue")
    first = await desk.start(LONG, where)
    second = await desk.start("Hello.", where)
    async with desk.database.tenant(new_uuid()) as connection:
        assert await connection.fetch("SELECT * FROM porch.queued_runs") == []
    await desk.runs.cancel(desk.principal, second.run)
    await desk.runs.cancel(desk.principal, first.run)
    await read(desk, first)


async def shown(desk: Desk, run: UUID) -> None:
    """Wait until the run has said something that is kept."""
    async with asyncio.timeout(10):
        while (live := desk.runs.live(run)) is None or live.committed_to < 4:
            await asyncio.sleep(0.01)


def lose_one_answer(monkeypatch: pytest.MonkeyPatch, *, before: bool) -> list[str]:
    """Let one beginning fail, before its commit or right after it, as when PostgreSQL dies."""
    begin, lost = queue.begin_queued, list[str]()

    async def ask(*args: Any, **named: Any) -> tuple[str, bool]:
        if lost:
            return await begin(*args, **named)
        lost.append("before" if before else (await begin(*args, **named))[0])
        raise DatabaseUnavailable("The connection to PostgreSQL was lost in the middle. Try again.")

    monkeypatch.setattr(queue, "begin_queued", ask)
    return lost


@pytest.mark.parametrize("before", [True, False])
async def test_a_beginning_whose_answer_is_lost_comes_to_its_end_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    lost = lose_one_answer(monkeypatch, before=before)
    where = await desk.conversation(concurrency="queue")
    first = await desk.start(SHORT, where)
    others = [await desk.start(f"[[say Number {at}.]]", where) for at in range(2)]
    told = await asyncio.gather(*(read(desk, each) for each in (first, *others)))
    assert lost == ["before" if before else "begun"]
    assert [type(events[-1]) for events in told] == [RunFinished] * 3
    assert [text for role, text in await said_in(desk, where) if role == "assistant"] == [
        "Word.Done.",
        "Number 0.",
        "Number 1.",
    ]


async def test_a_storm_of_interruptions_on_two_servers_loses_no_message(desk: Desk) -> None:
    where = await desk.conversation(concurrency="interrupt")
    servers = (desk.runs, await desk.another())
    sent: dict[str, Started] = {}

    async def say(at: int) -> None:
        text = f"[[say Number {at}.]] [[stall 0.05s]] [[say So.]]"
        await asyncio.sleep(0.02 * (at % 5))
        started = await servers[at % 2].start_run(desk.principal, where, [TextPart(text=text)])
        sent[text] = started

    await asyncio.gather(*(say(at) for at in range(14)))
    told = await asyncio.gather(
        *(read(desk, started, servers[at % 2]) for at, started in enumerate(sent.values()))
    )
    spans = sorted((events[0].ts, events[-1].ts) for events in told)
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
    assert {type(events[-1]) for events in told} <= {RunFinished, RunCancelled}
    said = await said_in(desk, where)
    assert sorted(text for role, text in said if role == "user") == sorted(sent)
    assert said[-1][0] == "assistant"
    assert await waiting_in(desk, where) == []


async def test_a_run_that_waits_for_a_person_holds_those_behind_it(desk: Desk) -> None:
    tools, _ = actor()
    runs = await use(desk, tools)
    where = await desk.conversation(concurrency="queue", **ASKS)
    first = await desk.start("[[call act]] [[say Done.]]", where)
    await desk.read(runs.follow_new(desk.principal, first))
    second = await desk.start("[[say On.]]", where)
    assert second.queued
    assert await queue.next_queued(desk.database, desk.principal.workspace, where) is None
    assert (await status_of(desk, first.run), await status_of(desk, second.run)) == ("paused", "queued")
    await runs.cancel(desk.principal, first.run)
    assert isinstance((await read(desk, second))[-1], RunFinished)


async def test_looking_at_those_who_wait_costs_the_same_among_many(desk: Desk) -> None:
    where = await desk.conversation(concurrency="queue")
    first = await desk.start(LONG, where)
    second = await desk.start("[[say On.]]", where)
    workspace = desk.principal.workspace
    async with desk.database.tenant(workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.queued_runs"
            " (workspace_id, id, conversation_id, how, message_id, parts, asked_by, size)"
            " SELECT $1, gen_random_uuid(), c.id, 'head', gen_random_uuid(), '[]', 'user:x', 2"
            " FROM porch.conversations c, generate_series(1, 20000) WHERE c.id <> $2",
            workspace,
            await crowd(desk, where),
        )
        plan = "\n".join(
            row[0]
            for row in await connection.fetch(
                "EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM porch.next_queued($1, $2, NULL)", workspace, where
            )
        )
    buffers = re.search(r"shared hit=(\d+)", plan)
    assert buffers
    assert int(buffers[1]) < 300, plan
    _, reached = await queue.find_queued(desk.database, 0, 100)
    assert reached > 0
    began = time.perf_counter()
    await queue.find_queued(desk.database, reached, 100)
    assert time.perf_counter() - began < 0.5
    async with desk.database.tenant(workspace) as connection:
        await connection.execute("DELETE FROM porch.queued_runs WHERE asked_by = 'user:x'")
    for run in (second.run, first.run):
        await desk.runs.cancel(desk.principal, run)
    await read(desk, first)


async def crowd(desk: Desk, where: UUID) -> UUID:
    """Another conversation that is at work, for as long as the test takes; answers the first one."""
    await desk.start(LONG, await desk.conversation(concurrency="queue"))
    return where
