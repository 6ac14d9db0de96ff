"""The client against a real server: cut connections, a killed server, other processes, many streams at once."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import pytest

from porch.client import (
    Answer,
    AnswerCancelled,
    AnswerFailed,
    ApiError,
    AsyncPorch,
    Porch,
    Resync,
    StreamEvent,
)
from porch.contract.events import AnyEvent, Event, RunFinished, RunResumed, StreamChunk
from porch.contract.messages import Part
from tests.browser.shaky import shaky
from tests.chaos.server import Server, installed
from tests.laws import check_run

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds the processes to kill in /proc"
)
SHORT = "[[say One.]] [[stall 0.4s]]"
LONG = "[[tokens 60 itl=30ms]]"
elsewhere = asyncio.to_thread


@dataclass(frozen=True)
class House:
    """A running server with an agent that obeys cues."""

    server: Server
    porch: AsyncPorch
    agent: str

    def client(self, port: int | None = None) -> Porch:
        """A blocking client, through a wire of one's own where `port` names one."""
        url = f"http://127.0.0.1:{port}" if port else self.server.url
        return Porch(url, self.server.credentials.token)

    async def parts(self, answer: Answer) -> list[Part]:
        """What the server keeps of an answer."""
        assert answer.conversation
        messages = [message async for message in self.porch.conversations.messages(answer.conversation)]
        (kept,) = [message["parts"] for message in messages if message["id"] == answer.message]
        return msgspec.convert(kept, list[Part])


@pytest.fixture(scope="module")
async def house(anyio_backend: str) -> AsyncIterator[House]:
    async with installed(lease_seconds=4.0) as server:
        workspace = server.credentials.workspace
        async with AsyncPorch(server.url, server.credentials.token, attempts=60) as porch:
            actor = {"name": "actor", "instructions": "Act.", "model": "scripted:test", "tools": ["clock"]}
            await porch.agents.create(workspace, actor)
            yield House(server, porch, f"@{workspace}/actor")


def kept(events: list[StreamEvent]) -> list[AnyEvent]:
    """What a reader has who forgets what a resync says."""
    found: list[AnyEvent] = []
    for event in events:
        if isinstance(event, Resync):
            found = [old for old in found if old.seq <= event.keep_through]
        else:
            found.append(event)
    return found


async def test_an_answer_is_what_the_server_keeps_of_it(house: House) -> None:
    calls = '[[call clock {"timezone": "UTC"}]] [[call nothing {}]]'
    script = f"[[think Let me see.]] [[say First.]] {calls} [[say It is {{result}}.]]"
    with house.client() as porch:
        answer = await elsewhere(porch.ask, house.agent, script)
    assert answer.parts == await house.parts(answer)
    assert [(use.name, bool(use.output), use.error is None) for use in answer.tools] == [
        ("clock", True, True),
        ("nothing", False, False),
    ]
    assert answer.text.startswith("First.\n\nIt is ")
    assert answer.usage
    assert (answer.status, answer.model) == ("finished", "scripted:test")


async def test_a_conversation_goes_on(house: House) -> None:
    first = await house.porch.ask(house.agent, "[[say One.]]")
    assert first.conversation
    second = await house.porch.ask(first.conversation, "[[say Two.]]")
    again = await house.porch.regenerate(first.conversation, str(second.message)).answer()
    assert [second.text, again.text] == ["Two.", "Two."]
    assert second.message != again.message


@pytest.mark.parametrize("seed", range(2))
async def test_a_network_that_keeps_breaking_is_one_unbroken_stream(house: House, seed: int) -> None:
    async with shaky(house.server.settings.port, seed=seed, cuts=4, most=4000) as wire:
        wire.holds = True
        with house.client(wire.port) as porch:
            events = await elsewhere(list, porch.stream(house.agent, "[[tokens 150 itl=2ms]]"))
        assert wire.cut == 4
    story = kept(events)
    check_run(story)
    assert story == [event async for event in house.porch.resume(story[0].run)]


async def test_a_server_killed_in_mid_answer_and_started_again_is_one_story(house: House) -> None:
    speaking, events = asyncio.Event(), list[StreamEvent]()

    async def read() -> None:
        async for event in house.porch.stream(house.agent, LONG):
            events.append(event)
            if isinstance(event, StreamChunk):
                speaking.set()

    reading = asyncio.create_task(read())
    await speaking.wait()
    await house.server.kill()
    await house.server.start()
    await reading
    story = kept(events)
    check_run(story)
    assert [event.reason for event in story if isinstance(event, RunResumed)] == ["takeover"]
    assert isinstance(story[-1], RunFinished)
    assert story == [event async for event in house.porch.resume(story[0].run)]
    answer = await house.porch.resume(story[0].run).answer()
    assert answer.parts == await house.parts(answer)
    assert len(answer.text.split()) >= 50


async def test_a_message_is_taken_once_though_its_answer_is_asked_for_twice(house: House) -> None:
    first = await house.porch.ask(house.agent, "[[say Once.]]", key="order-17")
    second = await house.porch.ask(house.agent, "[[say Once.]]", key="order-17")
    assert (first.run, first.conversation) == (second.run, second.conversation)
    assert first == second


async def test_whoever_cancels_ends_the_answer_and_is_named(house: House) -> None:
    with house.client() as porch:
        stream = porch.stream(house.agent, "[[say Well.]] [[stall]]")

        def read() -> None:
            for event in stream:
                if isinstance(event, StreamChunk):
                    assert stream.run
                    porch.cancel(stream.run)
            stream.answer()

        with pytest.raises(AnswerCancelled, match="cancelled by user:usr_") as caught:
            await elsewhere(read)
    assert caught.value.answer.text.startswith("Well")


async def test_a_failed_answer_says_why(house: House) -> None:
    with pytest.raises(AnswerFailed) as caught:
        await house.porch.ask(house.agent, "[[fail after=2 overloaded]]")
    assert caught.value.category == "overloaded"
    assert caught.value.answer.text == "The porch"


async def test_a_wrong_token_an_unknown_agent_and_a_foreign_conversation_are_refused(house: House) -> None:
    async with AsyncPorch(house.server.url, "porch_pat_wrong") as stranger:
        with pytest.raises(ApiError) as caught:
            await stranger.ask(house.agent, "Hi")
    assert (caught.value.status, caught.value.code) == (401, "unauthenticated")
    with pytest.raises(ApiError, match="nobody") as caught:
        await house.porch.ask(f"{house.agent.partition('/')[0]}/nobody", "Hi")
    assert caught.value.status == 404
    with pytest.raises(ApiError) as caught:
        await house.porch.ask("conv_0199f3a1c2d47e10a5b6c7d8e9f00112", "Hi")
    assert caught.value.status == 404
    with pytest.raises(ApiError) as caught:
        await house.porch.resume("run_0199f3a1c2d47e10a5b6c7d8e9f00112").answer()
    assert caught.value.status == 404


async def test_an_approval_that_nobody_asked_for_is_refused(house: House) -> None:
    answer = await house.porch.ask(house.agent, "Hi")
    with pytest.raises(ApiError) as caught:
        await house.porch.approve(answer.run, "apr_1")
    assert caught.value.status == 404


ELSEWHERE = """
import sys
from porch.client import Porch

with Porch() as porch:
    for event in porch.resume(sys.argv[1], sys.argv[2]):
        print(event.seq)
"""


async def test_another_process_goes_on_from_a_cursor(house: House) -> None:
    stream = house.porch.stream(house.agent, "[[tokens 20]]")
    async with stream:
        events = [await anext(stream) for _ in range(7)]
    credentials = house.server.credentials
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ELSEWHERE, str(stream.run), str(stream.cursor)),
        env={**os.environ, "PORCH_URL": credentials.url, "PORCH_TOKEN": credentials.token},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    rest = [int(line) for line in printed.split()]
    whole = [event async for event in house.porch.resume(str(stream.run))]
    assert [event.seq for event in events if isinstance(event, Event)] + rest == list(
        range(1, len(whole) + 1)
    )


async def test_fifty_streams_of_one_client_are_open_at_once(house: House) -> None:
    speaking = asyncio.Semaphore(0)
    runs: list[str] = []

    async def read(number: int) -> str:
        stream, said = house.porch.stream(house.agent, f"[[say {number} speaks.]] [[stall]]"), ""
        async for event in stream:
            said += event.delta if isinstance(event, StreamChunk) else ""
            if said == f"{number} speaks." and isinstance(event, StreamChunk):
                runs.append(event.run)
                speaking.release()
        with pytest.raises(AnswerCancelled) as caught:
            await stream.answer()
        return caught.value.answer.text

    reading = [asyncio.create_task(read(number)) for number in range(50)]
    for _ in reading:
        await speaking.acquire()
    assert not any(task.done() for task in reading), "all of them are open"
    await asyncio.gather(*(house.porch.cancel(run) for run in runs))
    assert await asyncio.gather(*reading) == [f"{number} speaks." for number in range(50)]


async def test_fifty_threads_share_one_blocking_client(house: House) -> None:
    with house.client() as porch:
        asked = [elsewhere(porch.ask, house.agent, f"[[say Number {number}.]]") for number in range(50)]
        answers = await asyncio.gather(*asked)
    assert [answer.text for answer in answers] == [f"Number {number}." for number in range(50)]


async def test_a_stream_that_begins_later_says_so_and_brings_its_answer(house: House) -> None:
    workspace = house.server.credentials.workspace
    made = await house.porch.agents.create(
        workspace,
        {"name": "patient", "instructions": "Act.", "model": "scripted:test", "concurrency": "queue"},
    )
    conversation = (await house.porch.conversations.create(workspace, made["handle"]))["id"]
    first = house.porch.stream(conversation, SHORT)
    reading = asyncio.create_task(first.answer())
    await first.known()
    second = house.porch.stream(conversation, "[[say Two.]]")
    told: list[str] = []
    second.on_queued = lambda: told.append("queued")
    assert (await second.answer()).text == "Two."
    assert (await reading).text == "One."
    assert told == ["queued"]
