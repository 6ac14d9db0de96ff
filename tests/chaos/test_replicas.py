"""Several servers on one PostgreSQL: readers at any of them, kills, a stop in mid-step, a stand-still."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from porch.contract.events import RunResumed
from porch.storage.embedded import EmbeddedPostgres
from tests.chaos.server import Server, installed
from tests.chaos.wire import LOST, Story, Wire, check_problem
from tests.laws import check_run
from tests.valkey import PASSWORD, ValkeyServer

LEASE = 4.0
LONG = "[[tokens 180 itl=20ms]]"


@dataclass
class Replica:
    """One of the servers, and the way to it."""

    server: Server
    wire: Wire

    async def takes_messages(self) -> bool:
        """Whether it says that it does; one that has just begun to stop takes no connections either."""
        try:
            return (await self.wire.ask("GET", "/readyz")).status == 200
        except LOST:
            return False

    async def follow(self, story: Story) -> None:
        """Read one connection's stream to its end or its break."""
        try:
            await self.wire.stream_once(story, "GET", f"/api/v1/runs/{story.run}/events")
        except LOST:
            return


@dataclass
class Group:
    """Two servers on one database, an agent that obeys cues, and a Valkey that is away unless a test starts it."""

    first: Replica
    second: Replica
    agents: str
    valkey: ValkeyServer

    async def start(self, text: str, at: Replica) -> Story:
        """Send a message into a new conversation at one of them."""
        made = await at.wire.make(f"{self.agents}/actor/conversations")
        answer = await at.wire.make(f"/api/v1/conversations/{made['id']}/runs", {"input": text})
        return Story(answer["run"])

    async def revive(self) -> None:
        """Both are there and take messages."""
        for replica in (self.first, self.second):
            async with asyncio.timeout(20):
                while not await replica.takes_messages():
                    if replica.server.ended:
                        await replica.server.start()
                    else:
                        await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
async def pair(anyio_backend: str) -> AsyncIterator[Group]:
    with tempfile.TemporaryDirectory(prefix="porch-chaos-") as place:
        Path(place).chmod(0o755)
        postgres = EmbeddedPostgres(Path(place) / "database")
        await postgres.start()
        beside = {"database_url": postgres.urls.app, "migration_url": postgres.urls.owner}
        valkey = ValkeyServer(place)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(valkey.kill)
            stack.push_async_callback(postgres.stop)
            found: list[Replica] = []
            for _ in range(2):
                server = await stack.enter_async_context(
                    installed(
                        **beside,
                        lease_seconds=LEASE,
                        drain_seconds=3,
                        local_model=False,
                        live_url=valkey.url,
                    )
                )
                wire = await stack.enter_async_context(Wire(server.url, server.credentials.token))
                found.append(Replica(server, wire))
            agents = f"/api/v1/workspaces/{found[0].server.credentials.workspace}/agents"
            actor = {"name": "actor", "instructions": "Act.", "model": "scripted:test", "tools": ["clock"]}
            await found[0].wire.make(agents, actor)
            yield Group(found[0], found[1], agents, valkey)


@pytest.fixture
async def group(pair: Group) -> Group:
    await pair.revive()
    return pair


async def test_a_killed_server_s_run_streams_again_at_the_other_within_five_seconds(group: Group) -> None:
    story = await group.start(LONG, at=group.first)
    elsewhere = Story(story.run)
    reading = asyncio.create_task(group.second.follow(elsewhere))
    own = asyncio.create_task(group.first.follow(story))
    await elsewhere.reaches(40)
    await group.first.server.kill()
    killed = time.monotonic()
    await own
    seen = len(elsewhere.frames)
    while not any(isinstance(event, RunResumed) for event in elsewhere.events):
        elsewhere.changed.clear()
        await elsewhere.changed.wait()
    assert time.monotonic() - killed < 5.0, f"after {seen} events"
    await group.second.follow(story)
    await reading
    assert elsewhere.connections == 1, "the other server's readers never left"
    check_run(elsewhere.events)
    assert story.data == elsewhere.data == await group.second.wire.replay(story.run)


async def test_a_server_told_to_stop_takes_nothing_new_and_lets_its_answers_end(group: Group) -> None:
    async with asyncio.timeout(10):
        # One that was killed a moment ago counts until its lease is over.
        while (await group.first.wire.ask("GET", "/readyz")).json["replicas"] != 2:
            await asyncio.sleep(0.1)
    story = await group.start("[[tokens 60 itl=20ms]]", at=group.first)
    own = asyncio.create_task(group.first.follow(story))
    await story.reaches(20)
    group.first.server.signal(signal.SIGTERM)
    async with asyncio.timeout(3):
        while (ready := await group.first.wire.ask("GET", "/readyz")).status != 503:
            await asyncio.sleep(0.01)
    assert (ready.json["runs"], ready.json["replicas"]) == ("draining", 1)
    for refused in (
        await group.first.wire.ask("GET", f"/api/v1/runs/{story.run}/events"),
        await group.first.wire.ask("POST", await _runs(group), {"input": "[[say Hello.]]"}),
    ):
        assert refused.status == 503
        assert check_problem(refused) == "unavailable"
    assert await group.first.server.gone() == 0
    await own
    assert story.ended
    check_run(story.events)
    assert {event.epoch for event in story.events} == {1}, "it ended where it began"
    assert story.data == await group.second.wire.replay(story.run)


async def test_what_does_not_end_in_time_is_handed_over_and_goes_on_within_a_second(group: Group) -> None:
    story = await group.start("[[call clock]] " + LONG, at=group.first)
    elsewhere = Story(story.run)
    reading = asyncio.create_task(group.second.follow(elsewhere))
    own = asyncio.create_task(group.first.follow(story))
    await story.reaches(30)
    group.first.server.signal(signal.SIGTERM)
    await own
    left = time.monotonic()
    assert not story.ended
    while not any(isinstance(event, RunResumed) for event in elsewhere.events):
        elsewhere.changed.clear()
        await elsewhere.changed.wait()
    assert time.monotonic() - left < 1.5
    await group.second.follow(story)
    await reading
    assert await group.first.server.gone() == 0
    assert not story.resyncs, "all that was shown had been committed"
    check_run(story.events)
    assert story.data == elsewhere.data == await group.second.wire.replay(story.run)


async def test_a_second_signal_hands_over_at_once(group: Group) -> None:
    story = await group.start(LONG, at=group.first)
    own = asyncio.create_task(group.first.follow(story))
    await story.reaches(10)
    began = time.monotonic()
    group.first.server.signal(signal.SIGTERM)
    async with asyncio.timeout(3):
        while (await group.first.wire.ask("GET", "/readyz")).json["runs"] != "draining":
            await asyncio.sleep(0.01)
    group.first.server.signal(signal.SIGTERM)
    await own
    assert time.monotonic() - began < group.first.server.settings.drain_seconds - 1
    assert await group.first.server.gone() == 0
    await group.second.follow(story)
    check_run(story.events)


async def test_a_server_that_stood_still_for_longer_than_its_lease_neither_writes_nor_shows(
    group: Group,
) -> None:
    story = await group.start(LONG, at=group.first)
    elsewhere = Story(story.run)
    reading = asyncio.create_task(group.second.follow(elsewhere))
    own = asyncio.create_task(group.first.follow(story))
    await story.reaches(40)
    group.first.server.signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(15):
            while not any(isinstance(event, RunResumed) for event in elsewhere.events):
                elsewhere.changed.clear()
                await elsewhere.changed.wait()
        # What it sent before it stood still may be on the wire; behind the resync nothing of the first epoch comes.
        shown = len(story.frames)
    finally:
        group.first.server.signal(signal.SIGCONT)
    await own
    await reading
    await group.first.wire.stream_once(story, "GET", f"/api/v1/runs/{story.run}/events")
    whole = await group.second.wire.replay(story.run)
    check_run(elsewhere.events)
    assert story.data == elsewhere.data == whole
    first = [event for event in story.events if event.epoch == 1]
    assert len(first) <= shown, "nothing was added to the first epoch when it went on"
    await group.revive()


async def test_a_valkey_that_comes_and_dies_in_mid_answer_costs_no_byte(group: Group) -> None:
    async def told(word: str) -> None:
        async with asyncio.timeout(10):
            for replica in (group.first, group.second):
                while (await replica.wire.ask("GET", "/readyz")).json["valkey"] != word:
                    await asyncio.sleep(0.05)

    await told("down")
    await group.valkey.start()
    await told("ok")
    stories = [await group.start(LONG, at=group.first) for _ in range(3)]
    others = [Story(story.run) for story in stories]
    async with asyncio.TaskGroup() as tasks:
        for story, other in zip(stories, others, strict=True):
            tasks.create_task(group.first.follow(story))
            tasks.create_task(group.second.follow(other))
        await others[0].reaches(60)
        await group.valkey.kill()
    for story, other in zip(stories, others, strict=True):
        assert other.connections == 1
        check_run(other.events)
        assert story.data == other.data == await group.first.wire.replay(story.run)
    for replica in (group.first, group.second):
        log = replica.server.log.read_text()
        assert "Valkey is away" in log
        assert PASSWORD not in log


async def test_clocks_that_are_a_day_apart_take_nobody_s_runs(group: Group, tmp_path: Path) -> None:
    await group.second.server.stop()
    skew = "import time as t\n" + "".join(
        f"_{name} = t.{name}\nt.{name} = lambda _old=_{name}: _old() + 86400{zeros}\n"
        for name, zeros in (("time", ""), ("time_ns", "_000_000_000"))
    )
    (tmp_path / "sitecustomize.py").write_text(skew)
    group.second.server.environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    try:
        await group.revive()
        stories = [
            await group.start("[[tokens 150 itl=20ms]]", at=each) for each in (group.first, group.second)
        ]
        async with asyncio.TaskGroup() as tasks:
            for story in stories:
                for replica in (group.first, group.second):
                    other = Story(story.run)
                    tasks.create_task(replica.follow(other))
                tasks.create_task(group.first.follow(story))
        for story in stories:
            check_run(story.events)
            assert {event.epoch for event in story.events} == {1}
    finally:
        await group.second.server.stop()
        group.second.server.environ = None


async def _runs(group: Group) -> str:
    made = await group.second.wire.make(f"{group.agents}/actor/conversations")
    return f"/api/v1/conversations/{made['id']}/runs"
