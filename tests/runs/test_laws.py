"""The laws of the stream contract as properties of whole runs, whatever the model does and whoever leaves."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import MutableMapping
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from porch.background import end
from porch.contract.events import (
    TERMINAL_TYPES,
    AnyEvent,
    RunCancelled,
    RunFinished,
    StepFinished,
    UsageReported,
)
from porch.contract.frames import Cursor, split_frames
from porch.contract.messages import Part, TextPart
from porch.runs import guard
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in, types
from tests.runs.sink import Sink

TEXT = st.text(
    st.characters(exclude_characters="[]{}", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40
)
CUES = st.one_of(
    TEXT.map(lambda text: f"[[say {text}]]"),
    TEXT.map(lambda text: f"[[think {text}]]"),
    st.sampled_from(
        [
            "[[tokens 30]]",
            "[[tokens 20 itl=1ms]]",
            "[[call clock {}]]",
            '[[call clock {"timezone":"Europe/Paris"}]]',
            "[[call clock {not json]]",
            "[[call nothing {}]]",
            "[[nul]]",
            "[[refuse Not this.]]",
            "[[finish length]]",
            "[[fail 500]]",
            "[[fail after=7 overloaded]]",
            "[[cut after=5]]",
        ]
    ),
)
SCRIPTS = st.lists(CUES, min_size=1, max_size=6).map(" ".join)
PROPERTY = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@PROPERTY
@given(script=SCRIPTS)
async def test_every_run_keeps_the_laws_and_replays_byte_equal(desk: Desk, script: str) -> None:
    conversation = await desk.conversation(tools=["clock"], settings={"max_steps": 4})
    started = await desk.start(script, conversation)
    live = (await desk.read(desk.runs.follow_new(desk.principal, started))).data
    events = events_in(live)
    check_run(events)
    check_usage(events)
    assert await desk.replay(started.run) == live
    assert await _first_message(desk, conversation) == [TextPart(text=script)]


@PROPERTY
@given(script=SCRIPTS, after=st.integers(1, 25))
async def test_a_cancel_at_any_moment_ends_the_run_once(desk: Desk, script: str, after: int) -> None:
    started = await desk.start(f"[[tokens 30 itl=1ms]] {script} [[stall 30s]]", tools=["clock"])
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    come_so_far = asyncio.create_task(sink.until(b"id: 1-%d\n" % after))
    await asyncio.wait([come_so_far, reading], return_when=asyncio.FIRST_COMPLETED)
    await end(come_so_far)
    await desk.runs.cancel(desk.principal, started.run)
    await reading
    events = events_in(sink.data)
    check_run(events)
    if isinstance(events[-1], RunCancelled):
        assert events[-1].by == desk.principal.label
    assert await desk.replay(started.run) == sink.data


@PROPERTY
@given(script=SCRIPTS, share=st.floats(0, 1, exclude_max=True))
async def test_any_cursor_continues_where_it_stands(desk: Desk, script: str, share: float) -> None:
    started = await desk.start(script, tools=["clock"], settings={"max_steps": 3})
    whole = await desk.replay(started.run)
    frames = split_frames(whole)
    seq = int(share * len(frames))
    assert await desk.replay(started.run, Cursor(1, seq)) == b"".join(frames[seq:])


async def test_a_cancel_right_after_the_start_ends_the_run(desk: Desk) -> None:
    started = await desk.start("[[stall 30s]]")
    live = desk.runs.live(started.run)
    assert live is not None
    live.cancel("user:test")
    events = events_in(await desk.replay(started.run))
    check_run(events)
    assert types(events) == ["run.started", "step.started", "step.finished", "run.cancelled"]


async def test_the_final_message_the_run_and_its_last_event_are_one_transaction(desk: Desk) -> None:
    started = await desk.start("[[say Hi]]")
    await desk.replay(started.run)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        rows = await connection.fetch(
            """
            SELECT xmin::text FROM porch.runs WHERE id = $1
            UNION SELECT xmin::text FROM porch.messages WHERE run_id = $1 AND role = 'assistant'
            UNION (SELECT xmin::text FROM porch.journal WHERE run_id = $1 ORDER BY first_seq DESC LIMIT 1)
            """,
            started.run,
        )
    assert len(rows) == 1


async def test_a_message_its_run_and_its_first_events_are_one_transaction(desk: Desk) -> None:
    started = await desk.start("[[stall 30s]]")
    async with desk.database.tenant(desk.principal.workspace) as connection:
        rows = await connection.fetch(
            """
            SELECT xmin::text FROM porch.runs WHERE id = $1
            UNION SELECT xmin::text FROM porch.messages WHERE run_id = $1
            UNION SELECT xmin::text FROM porch.journal WHERE run_id = $1
            """,
            started.run,
        )
    assert len(rows) == 1


async def test_boundaries_are_in_the_journal_before_anybody_sees_them(desk: Desk) -> None:
    started = await desk.start("[[call clock {}]] [[tokens 50 itl=1ms]]", tools=["clock"])
    live = desk.runs.live(started.run)
    assert live is not None
    boundaries = {
        b"step.started",
        b"step.finished",
        b"tool_call.finished",
        b"tool_result.finished",
        b"run.finished",
    }
    seen = 0

    class Watching(Sink):
        async def send(self, message: MutableMapping[str, Any]) -> None:
            nonlocal seen
            for frame in split_frames(message.get("body", b"")):
                if frame.partition(b"event: ")[2].partition(b"\n")[0] in boundaries:
                    seen += 1
                    assert live.committed_to >= _seqs(frame)[0]
            await super().send(message)

    sink = await desk.read(desk.runs.follow_new(desk.principal, started), Watching())
    check_run(events_in(sink.data))
    assert seen >= 5


async def test_deltas_reach_the_journal_within_a_quarter_of_a_second(desk: Desk) -> None:
    started = await desk.start("[[tokens 3]] [[stall 30s]]")
    async with asyncio.timeout(0.25 + 0.75):  # the law's bound, and patience for a busy machine
        while b"stream.chunk" not in await _journal(desk, started.run):
            await asyncio.sleep(0.01)


async def test_every_later_delta_too_reaches_the_journal_in_time_and_in_batches(desk: Desk) -> None:
    started = await desk.start("[[tokens 500 itl=4ms]]")
    live = desk.runs.live(started.run)
    assert live is not None
    waiting: deque[tuple[int, float]] = deque()
    longest = 0.0

    class Timing(Sink):
        async def send(self, message: MutableMapping[str, Any]) -> None:
            nonlocal longest
            now = time.monotonic()
            while waiting and waiting[0][0] <= live.committed_to:
                waiting.popleft()
            longest = max(longest, now - waiting[0][1] if waiting else 0)
            waiting.extend((seq, now) for seq in _seqs(message.get("body", b"")))
            await super().send(message)

    await desk.read(desk.runs.follow_new(desk.principal, started), Timing())
    assert 0.02 < longest < 0.25 + 0.75  # the law's bound, and patience for a busy machine
    assert await _journal_rows(desk, started.run) < 60


async def test_a_quiet_stream_is_kept_alive_by_comments(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "KEEP_ALIVE_SECONDS", 0.05)
    other = await desk.another()
    started = await other.start_run(
        desk.principal, await desk.conversation(), [TextPart(text="[[stall 30s]]")]
    )
    sink = Sink()
    reading = asyncio.create_task(desk.read(other.follow_new(desk.principal, started), sink))
    async with asyncio.timeout(5):
        await sink.until(b": keep-alive\n\n")
    await other.cancel(desk.principal, started.run)
    await reading
    check_run(events_in(sink.data))


async def test_a_long_conversation_is_cut_to_what_the_model_reads_and_says_so(desk: Desk) -> None:
    conversation = await desk.conversation()
    for _ in range(3):
        await desk.ask("word " * 20_000, conversation)
    events = await desk.ask("[[say Short]]", conversation)
    check_run(events)
    assert "notice" in types(events)
    assert isinstance(events[-1], RunFinished)


def check_usage(events: list[AnyEvent]) -> None:
    """Usage stands before its step's end, and a run's is the sum of its steps'."""
    steps = itertools.groupby((event for event in events if event.step), key=lambda event: event.step)
    total = 0
    for _, step in steps:
        reported = [event for event in step if isinstance(event, UsageReported | StepFinished)]
        if any(isinstance(event, UsageReported) for event in reported):
            assert isinstance(reported[0], UsageReported)
            total += [event for event in reported if isinstance(event, UsageReported)][-1].output_tokens
    last = events[-1]
    assert types([last])[0] in TERMINAL_TYPES
    if isinstance(last, RunFinished) and last.usage:
        assert last.usage.output_tokens == total


def _seqs(frames: bytes) -> list[int]:
    return [int(frame.partition(b"-")[2].partition(b"\n")[0]) for frame in split_frames(frames)]


async def _journal_rows(desk: Desk, run: object) -> int:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        return await connection.fetchval("SELECT count(*) FROM porch.journal WHERE run_id = $1", run)


async def _first_message(desk: Desk, conversation: UUID) -> list[Part]:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        parts = await connection.fetchval(
            "SELECT parts FROM porch.messages WHERE conversation_id = $1 AND role = 'user'", conversation
        )
    return msgspec.json.decode(parts, type=list[Part])


async def _journal(desk: Desk, run: object) -> bytes:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        rows = await connection.fetch("SELECT frames FROM porch.journal WHERE run_id = $1", run)
    return b"".join(row["frames"] for row in rows)
