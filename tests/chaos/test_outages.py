"""What a server does when it is told to stop in mid-answer, and when its database is away for a while."""

import asyncio
import os
import random
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from porch.contract.events import RunResumed, StepDiscarded
from porch.storage.embedded import EmbeddedPostgres
from porch.web.last_resort import EXIT_CODE
from tests.chaos.fleet import WITHIN
from tests.chaos.server import installed
from tests.chaos.wire import Story, Wire, check_problem
from tests.laws import check_run

LONG = "[[tokens 120 itl=20ms]]"


async def _conversation(wire: Wire, workspace: str) -> str:
    agents = f"/api/v1/workspaces/{workspace}/agents"
    await wire.make(agents, {"name": "actor", "instructions": "Act.", "model": "scripted:test"})
    return (await wire.make(f"{agents}/actor/conversations"))["id"]


async def test_a_server_stopped_in_mid_answer_goes_on_with_it_after_its_next_start() -> None:
    # The lease is given back: nobody waits thirty seconds for its end.
    async with installed(lease_seconds=30) as server:
        credentials = server.credentials
        async with Wire(server.url, credentials.token) as wire:
            path = f"/api/v1/conversations/{await _conversation(wire, credentials.workspace)}/runs"
            for number in (signal.SIGINT, signal.SIGTERM):
                story = Story()
                reading = asyncio.create_task(wire.stream_once(story, "POST", path, {"input": LONG}))
                await story.reaches(30)
                server.signal(number)
                assert await server.gone() == 0
                await reading
                assert not await server.abandoned()
                seen = len(story.frames)
                await server.start()
                async with asyncio.timeout(15):
                    await wire.follow(story)
                assert not story.resyncs, "all that was shown had been saved"
                check_run(story.events)
                assert story.data == await wire.replay(story.run)
                resumed, discarded = story.events[seen : seen + 2]
                assert isinstance(resumed, RunResumed)
                assert resumed.epoch == 2
                assert isinstance(discarded, StepDiscarded)


async def test_ctrl_c_at_any_moment_of_the_start_leaves_nothing_behind() -> None:
    async with installed() as server:
        await server.stop()
        server.anew = True
        for _ in range(3):
            server.launch()
            await asyncio.sleep(random.uniform(0.1, 1.2))
            server.signal(signal.SIGINT)
            await server.gone()
            assert not await server.abandoned()
        await server.start()


async def test_a_server_that_does_not_stop_says_why_and_is_ended_with_its_database() -> None:
    environ = {**os.environ, "PYTHONPATH": str(WITHIN), "PORCH_TEST_DEAF": "0.5"}
    async with installed(environ, drain_seconds=0) as server:
        server.signal(signal.SIGTERM)
        assert await server.gone() == EXIT_CODE
        assert "did not end in time" in server.words()
        assert "; watchdog at asyncio/tasks.py" in server.words()
        assert "MainThread at " in server.words()
        assert not await server.abandoned(), "PostgreSQL is told by the kernel"
        server.environ = None
        await server.start()


@pytest.fixture
async def database() -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL beside the server, which can be away for as long as a test likes."""
    with tempfile.TemporaryDirectory(prefix="porch-chaos-") as place:
        Path(place).chmod(0o755)
        postgres = EmbeddedPostgres(Path(place) / "database")
        await postgres.start()
        yield postgres
        await postgres.stop()


def _beside(database: EmbeddedPostgres) -> dict[str, object]:
    return {"database_url": database.urls.app, "migration_url": database.urls.owner}


async def test_a_message_sent_while_postgresql_is_away_is_refused_with_a_sentence_and_not_half_saved(
    database: EmbeddedPostgres,
) -> None:
    async with installed(**_beside(database)) as server:
        credentials = server.credentials
        async with Wire(server.url, credentials.token) as wire:
            conversation = await _conversation(wire, credentials.workspace)
            runs, messages = (f"/api/v1/conversations/{conversation}/{what}" for what in ("runs", "messages"))
            again, body = {"Idempotency-Key": "one"}, {"input": "[[say Hello.]]"}
            await database.stop()
            for headers in ({}, again, again):
                refused = await wire.ask("POST", runs, body, headers=headers)
                assert refused.status == 503
                assert check_problem(refused) in ("database_unavailable", "unavailable")
            assert (await wire.ask("GET", "/healthz")).status == 200
            ready = await wire.ask("GET", "/readyz")
            assert (ready.status, ready.json["database"]) == (503, "unavailable")
            await database.start()
            await _served(wire)
            assert (await wire.get(messages))["items"] == []
            run = (await wire.ask("POST", runs, body, headers=again)).json["run"]
            assert (await wire.ask("POST", runs, body, headers=again)).json["run"] == run
            story = Story(run)
            await wire.follow(story)
            check_run(story.events)
            assert [item["role"] for item in (await wire.get(messages))["items"]] == ["user", "assistant"]


async def test_a_stream_outlives_an_absence_of_postgresql_and_tells_one_story(
    database: EmbeddedPostgres,
) -> None:
    async with installed(**_beside(database)) as server:
        credentials = server.credentials
        async with Wire(server.url, credentials.token) as wire:
            path = f"/api/v1/conversations/{await _conversation(wire, credentials.workspace)}/runs"
            for leases in (0.25, 1.5):
                story = Story()
                reading = asyncio.create_task(wire.stream_once(story, "POST", path, {"input": LONG}))
                await story.reaches(30)
                await database.stop()
                await asyncio.sleep(leases * server.settings.lease_seconds)
                await database.start()
                async with asyncio.timeout(20):
                    await reading
                assert story.ended
                assert story.connections == 1
                check_run(story.events)
                assert story.data == await wire.replay(story.run)


async def _served(wire: Wire) -> None:
    """Wait until the server takes messages again."""
    async with asyncio.timeout(20):
        while (await wire.ask("GET", "/readyz")).status != 200:
            await asyncio.sleep(0.1)
