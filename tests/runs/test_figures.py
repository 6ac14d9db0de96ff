"""What a run's record tells of its times, held against the whole journal."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from porch.contract.events import (
    AnyEvent,
    PartStarted,
    StepFinished,
    StepStarted,
    StreamChunk,
    ToolCallStarted,
    UsageReported,
)
from porch.contract.ids import parse_id
from porch.egress import Egress
from porch.models import Models
from porch.plugins.service import Tools
from porch.runs.figures import Story, Told
from porch.runs.record import RunRecord, list_runs
from porch.runs.service import Runs
from tests.home import EVERYBODY
from tests.providers import messages as claude
from tests.providers.upstream import answer, upstream
from tests.runs.conftest import LEASE, Desk, types

BUSY = claude.event("error", error={"type": "overloaded_error", "message": "Overloaded"})
HALF = answer(claude.begin(), claude.text(0, "Half an", " answer"), BUSY)
SLOW = "[[think Hm.]] [[stall 150ms]] [[tokens 60 itl=5ms]]"


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as egress:
        yield egress


async def ask_chain(desk: Desk, egress: Egress, behaviour: object, text: str) -> list[AnyEvent]:
    """Ask a model that fails and then the scripted one."""
    async with upstream(behaviour) as place:  # pyright: ignore[reportArgumentType]  # what `answer` gives
        environ = {"ANTHROPIC_BASE_URL": place.url}
        runs = Runs(desk.database, Models(environ, egress, EVERYBODY), Tools(), lease_seconds=LEASE)
        await runs.start()
        desk.others += [desk.runs, runs]
        desk.runs = runs
        return await desk.ask(text, model=["anthropic:claude-haiku-4-5", "scripted:test"])


async def record_of(desk: Desk, events: Sequence[AnyEvent]) -> RunRecord:
    return await desk.runs.get(desk.principal, parse_id("run", events[0].run))


def ms_between(begin: AnyEvent, end: AnyEvent) -> int:
    assert begin.ts
    assert end.ts
    return round((end.ts - begin.ts).total_seconds() * 1000)


def word_of(events: Sequence[AnyEvent], step: str) -> StreamChunk:
    silent = {each.part for each in events if isinstance(each, PartStarted) and each.kind == "reasoning"}
    chunks = (each for each in events if isinstance(each, StreamChunk) and each.step == step)
    return next(each for each in chunks if each.part not in silent)


def pace_of(events: Sequence[AnyEvent], step: str) -> float:
    own = [each for each in events if each.step == step]
    sign = next(each for each in own if isinstance(each, PartStarted | ToolCallStarted))
    end = next(each for each in own if isinstance(each, StepFinished))
    used = next(each for each in own if isinstance(each, UsageReported))
    return round(used.output_tokens * 1000 / ms_between(sign, end), 1)


async def test_the_first_word_and_the_pace_are_those_of_the_model_whose_answer_stands(
    desk: Desk, egress: Egress
) -> None:
    events = await ask_chain(desk, egress, HALF, SLOW)
    assert "step.discarded" in types(events)
    record = await record_of(desk, events)
    assert record.model == "scripted:test"
    word = word_of(events, "s2")
    assert record.first_token_ms == ms_between(events[0], word) > 100
    assert record.tokens_per_second == pace_of(events, "s2")


async def test_a_model_that_failed_before_its_first_word_costs_its_time_and_nothing_else(
    desk: Desk, egress: Egress
) -> None:
    events = await ask_chain(desk, egress, answer(BUSY), SLOW)
    record = await record_of(desk, events)
    last = next(each for each in events if isinstance(each, StepFinished))
    assert last.step
    assert record.first_token_ms == ms_between(events[0], word_of(events, last.step))
    assert record.tokens_per_second == pace_of(events, last.step)


async def test_with_tools_the_first_word_is_the_first_steps_and_the_pace_the_last_ones(desk: Desk) -> None:
    text = "[[say Let me see.]] [[call clock]] [[tokens 60 itl=5ms]]"
    events = await desk.ask(text, tools=["clock"])
    assert [each.step for each in events if isinstance(each, StepStarted)] == ["s1", "s2"]
    record = await record_of(desk, events)
    assert record.first_token_ms == ms_between(events[0], word_of(events, "s1"))
    assert record.tokens_per_second == pace_of(events, "s2")


async def test_an_answer_without_a_word_has_neither_a_first_one_nor_a_pace(desk: Desk) -> None:
    events = await desk.ask("[[empty]]")
    record = await record_of(desk, events)
    assert (record.first_token_ms, record.tokens_per_second) == (None, None)


async def test_a_list_of_runs_tells_of_each_what_its_record_tells(desk: Desk) -> None:
    conversation = await desk.conversation(tools=["clock"])
    await desk.ask("[[call clock]] [[tokens 60 itl=3ms]]", conversation)
    events = await desk.ask("[[tokens 60 itl=3ms]]", conversation)
    records = await list_runs(desk.database, desk.principal.workspace, conversation, None, 10)
    assert [each.tokens_per_second is not None for each in records] == [True, True]
    assert records[0] == await record_of(desk, events)


def told(seq: int, name: str, step: str | None = "s1", **fields: Any) -> Told:
    """An event of a journal, as many seconds from its beginning as its number says."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seq)
    return Told(type=name, seq=seq, ts=at, step=step, **fields)


HEAD = [
    told(1, "run.started", None),
    told(2, "step.started"),
    told(3, "part.started", kind="text", part="p1"),
    told(4, "stream.chunk", part="p1"),
]


def test_a_run_that_was_given_up_after_a_crash_has_no_first_word() -> None:
    tail = [told(5, "run.resumed", None), told(6, "step.discarded"), told(7, "run.failed", None)]
    assert Story(HEAD, tail[2:]).first_token_ms() == 3000, "while nothing tells of the crash"
    assert Story(HEAD, tail).first_token_ms() is None


def test_nothing_is_told_of_a_last_step_whose_beginning_was_not_read() -> None:
    end = told(9, "step.finished", "s2")
    story = Story(HEAD, [told(8, "usage", "s2", output_tokens=50), end])
    assert story.goes_on
    assert (story.first_token_ms(), story.tokens_per_second(None)) == (None, None)
    begun = [told(6, "step.started", "s2"), told(7, "part.started", "s2", kind="text", part="p2")]
    story.add([told(5, "step.discarded")], [*begun, told(8, "stream.chunk", "s2", part="p2")])
    assert (story.first_token_ms(), story.tokens_per_second(None)) == (7000, 25.0)
