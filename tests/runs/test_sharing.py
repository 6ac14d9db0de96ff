"""Runs ask only the providers that serve their agent's workspace: new ones, those that waited, those taken over."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from porch.contract.events import RunFailed, RunFinished
from porch.egress import Egress
from porch.models import Models
from porch.models.sharing import Sharing
from porch.plugins.service import Tools
from porch.runs.service import Runs
from tests.home import AT_HOME, EVERYBODY
from tests.providers.upstream import DONE, SAY, STOP, answer, hang, then, upstream
from tests.runs.conftest import LEASE, Desk, events_in
from tests.runs.sink import Sink

GOOD = answer(SAY, STOP, DONE)


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as egress:
        yield egress


async def serving(desk: Desk, egress: Egress, url: str, sharing: Sharing) -> Runs:
    """Another process' runs, which find a server in OpenAI's place; the desk's workspace is not the tests' home."""
    runs = Runs(
        desk.database, Models({"OPENAI_BASE_URL": url}, egress, sharing), Tools(), lease_seconds=LEASE
    )
    await runs.start()
    desk.others.append(runs)
    return runs


async def test_a_run_of_another_workspace_ends_without_asking_and_says_why(
    desk: Desk, egress: Egress
) -> None:
    async with upstream(GOOD) as place:
        desk.runs = await serving(desk, egress, place.url, AT_HOME)
        events = await desk.ask("Hi", model="openai:m")
        assert place.requests == []
    last = events[-1]
    assert isinstance(last, RunFailed)
    assert (last.error.code, last.error.category) == ("model_not_configured", "auth")
    assert "serve its first workspace only" in last.error.message


async def test_the_home_workspace_is_answered(desk: Desk, egress: Egress) -> None:
    async with upstream(GOOD) as place:
        desk.runs = await serving(desk, egress, place.url, Sharing(desk.principal.workspace))
        assert isinstance((await desk.ask("Hi", model="openai:m"))[-1], RunFinished)


async def test_a_message_that_waited_goes_by_the_next_model_that_serves_it(
    desk: Desk, egress: Egress
) -> None:
    async with upstream(GOOD) as place:
        desk.runs = await serving(desk, egress, place.url, AT_HOME)
        where = await desk.conversation(model=["openai:m", "scripted:test"], concurrency="queue")
        first = await desk.start("[[tokens 20 itl=5ms]]", where)
        second = await desk.start("[[say Second.]]", where)
        assert second.queued
        for started in (first, second):
            assert isinstance(events_in(await desk.replay(started.run))[-1], RunFinished)
        assert place.requests == []


async def test_a_run_that_is_taken_over_is_not_asked_for_where_it_is_not_served(
    desk: Desk, egress: Egress
) -> None:
    async with upstream(then(SAY, end=hang)) as place:
        desk.runs = await serving(desk, egress, place.url, EVERYBODY)
        started = await desk.start("Hi", model="openai:m")
        sink = Sink()
        reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
        await sink.until(b"Hi")
        asked = len(place.requests)
        following = await serving(desk, egress, place.url, AT_HOME)
        await desk.expire(desk.runs)
        events = events_in(await desk.replay(started.run, runs=following))
        assert len(place.requests) == asked
        await reading
    last = events[-1]
    assert isinstance(last, RunFailed)
    assert last.error.code == "model_not_configured"
