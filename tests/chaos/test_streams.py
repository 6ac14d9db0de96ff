"""Streams of a real server over real connections: cut, left, and more of them than the database has connections."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from porch.contract.frames import split_frames
from tests.chaos.server import installed
from tests.chaos.wire import TERMINAL, Story, Wire
from tests.laws import check_run
from tests.runs.conftest import events_in

POOL_SIZE = 3
ANSWER = "[[call clock]] [[think Let me see.]] [[tokens 60 itl=10ms]]"


@dataclass
class House:
    """A running server with an agent that obeys cues."""

    wire: Wire
    agents: str

    async def conversation(self) -> str:
        """A new conversation's path for runs."""
        made = await self.wire.make(f"{self.agents}/actor/conversations")
        return f"/api/v1/conversations/{made['id']}/runs"


@pytest.fixture(scope="module")
async def house(anyio_backend: str) -> AsyncIterator[House]:
    async with installed(pool_size=POOL_SIZE) as server:
        credentials = server.credentials
        async with Wire(server.url, credentials.token) as wire:
            agents = f"/api/v1/workspaces/{credentials.workspace}/agents"
            actor = {"name": "actor", "instructions": "Act.", "model": "scripted:test", "tools": ["clock"]}
            await wire.make(agents, actor)
            yield House(wire, agents)


async def test_a_stream_is_contract_events_with_dense_seq_and_its_replay_is_the_same_bytes(
    house: House,
) -> None:
    story = Story()
    await house.wire.stream_once(story, "POST", await house.conversation(), {"input": ANSWER})
    check_run(story.events)
    assert story.connections == 1
    assert await house.wire.replay(story.run) == story.data


async def test_a_reader_cut_off_again_and_again_goes_on_byte_for_byte_where_it_was(house: House) -> None:
    story = Story()
    await house.wire.stream_once(story, "POST", await house.conversation(), {"input": ANSWER}, until=2)
    while not story.ended:
        path = f"/api/v1/runs/{story.run}/events"
        await house.wire.stream_once(story, "GET", path, until=len(story.frames) + 7)
    assert story.connections > 8
    assert not story.resyncs
    check_run(story.events)
    assert await house.wire.replay(story.run) == story.data


async def test_from_every_event_on_the_rest_of_a_run_is_the_same_bytes(house: House) -> None:
    story = Story()
    await house.wire.stream_once(story, "POST", await house.conversation(), {"input": "[[tokens 6]]"})
    path = f"/api/v1/runs/{story.run}/events"
    for count, frame in enumerate(story.frames[:-1], 1):
        cursor = frame[4 : frame.index(b"\n")].decode()
        rest = b"".join(story.frames[count:])
        assert (await house.wire.ask("GET", path, headers={"Last-Event-ID": cursor})).body == rest
        assert (await house.wire.ask("GET", f"{path}?after={cursor}")).body == rest
    assert (await house.wire.ask("GET", f"{path}?after={story.cursor}")).status == 204


async def test_a_run_goes_on_to_its_end_when_all_its_readers_have_left(house: House) -> None:
    story = Story()
    await house.wire.stream_once(story, "POST", await house.conversation(), {"input": ANSWER}, until=10)
    assert not story.ended
    while (await house.wire.get(f"/api/v1/runs/{story.run}"))["status"] == "running":
        await asyncio.sleep(0.05)
    whole = await house.wire.replay(story.run)
    assert whole.startswith(story.data)
    assert any(mark in split_frames(whole)[-1] for mark in TERMINAL)
    assert {event.epoch for event in events_in(whole)} == {1}


async def test_more_streams_are_open_than_the_database_has_connections(house: House) -> None:
    async def read(story: Story) -> None:
        await house.wire.stream_once(
            story, "POST", await house.conversation(), {"input": "[[tokens 50 itl=40ms]]"}
        )

    stories = [Story() for _ in range(40)]
    async with asyncio.TaskGroup() as group:
        for story in stories:
            group.create_task(read(story))
        for story in stories:
            await story.reaches(5)
        assert not any(story.ended for story in stories), "all of them are open"
        assert (await house.wire.get("/api/v1/me"))["scopes"], "others are still served"
    for story in stories:
        check_run(story.events)
        assert story.data == await house.wire.replay(story.run)
