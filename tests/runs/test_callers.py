"""Runs with what a caller added: tools of its own, more instructions, settings; in conversations that pass."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from porch.agents.conversations import Conversations
from porch.agents.upkeep import Upkeep
from porch.contract.definition import Definition, ModelSettings
from porch.contract.errors import InvalidInput, NotFound
from porch.contract.events import AnyEvent, RunFinished, ToolCallFinished, ToolResultFinished
from porch.contract.ids import format_id
from porch.contract.messages import Part, TextPart, ToolCallPart, ToolResultPart
from porch.providers.assembly import Assembly
from porch.providers.request import ModelRequest, StepOutcome
from porch.providers.scripted import Scripted
from porch.runs.context import StoredMessage, assemble
from porch.runs.options import CallerTool, RunOptions
from porch.runs.service import Started
from porch.runs.start import Asked
from porch.runs.store import Place
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in

DAY = timedelta(days=1)
WEATHER = CallerTool(name="weather", description="Tells the weather.")


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[ModelRequest]:
    """Whatever the scripted model is asked."""
    found: list[ModelRequest] = []
    play = Scripted.stream

    def stream(
        self: Scripted, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> AsyncGenerator[list[AnyEvent], None]:
        found.append(request)
        return play(self, request, assembly, outcome)

    monkeypatch.setattr(Scripted, "stream", stream)
    return found


async def agent_of(desk: Desk, conversation: UUID) -> str:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        agent = await connection.fetchval(
            "SELECT agent_id FROM porch.conversations WHERE id = $1", conversation
        )
    return format_id("agt", agent)


async def open_run(desk: Desk, text: str | list[Part], agent: str | None = None, **asked: Any) -> Started:
    """Ask in a conversation made for it, with a new agent that has a clock unless one is given."""
    parts: list[Part] = [TextPart(text=text)] if isinstance(text, str) else text
    agent = agent or await agent_of(desk, await desk.conversation(tools=["clock"]))
    given: dict[str, Any] = {"keep": DAY, "options": RunOptions(tools=[WEATHER]), **asked}
    return await desk.runs.open_run(desk.principal, Asked(parts, agent=agent, **given))


async def end(desk: Desk, started: Started) -> list[AnyEvent]:
    events = events_in(await desk.replay(started.run))
    check_run(events)
    return events


async def test_a_call_of_the_callers_tool_ends_the_run_and_its_own_tools_have_run(desk: Desk) -> None:
    started = await open_run(desk, '[[call weather {"at": "here"}]] [[call clock]] [[say Never said.]]')
    events = await end(desk, started)
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert finished.reason == "tool_calls"
    called = {event.name: event.call for event in events if isinstance(event, ToolCallFinished)}
    results = [event.call for event in events if isinstance(event, ToolResultFinished)]
    assert results == [called["clock"]]


async def test_the_next_call_brings_the_callers_results_and_the_agents_own_are_still_there(
    desk: Desk, requests: list[ModelRequest]
) -> None:
    started = await open_run(desk, "[[call weather]] [[call clock]] [[say It is {result}.]]")
    events = await end(desk, started)
    called = {event.name: event.call for event in events if isinstance(event, ToolCallFinished)}
    record = await desk.runs.get(desk.principal, started.run)
    brought = Asked(
        [ToolResultPart(call=called["weather"], output="rain")],
        place=Place("after", record.output_message),
        options=RunOptions(tools=[WEATHER]),
        keep=DAY,
    )
    events = await end(desk, await desk.runs.ask(desk.principal, record.conversation, brought))
    assert isinstance(events[-1], RunFinished)
    assert events[-1].reason == "stop"
    assert [message.role for message in requests[-1].messages] == ["user", "assistant", "tool"]
    results = [part.call for part in requests[-1].messages[2].parts if isinstance(part, ToolResultPart)]
    assert results == [called["clock"], called["weather"]]


async def test_a_caller_brings_its_whole_conversation_and_the_model_reads_it_in_order(
    desk: Desk, requests: list[ModelRequest]
) -> None:
    before = [
        StoredMessage("user", [TextPart(text="How is it?")]),
        StoredMessage("assistant", [ToolCallPart(call="c1", name="weather", arguments={})]),
        StoredMessage("user", [ToolResultPart(call="c1", output="sun")]),
        StoredMessage("assistant", [TextPart(text="Sunny.")]),
    ]
    await end(desk, await open_run(desk, "Thanks.", before=before))
    roles = [message.role for message in requests[0].messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    assert requests[0].messages[-1].parts == [TextPart(text="Thanks.")]


def test_a_cut_leaves_the_question_whose_results_are_brought() -> None:
    long = "word " * 2000
    history = [
        StoredMessage("user", [ToolResultPart(call="c1", output=long)]),
        StoredMessage("assistant", [ToolCallPart(call="c1", name="weather", arguments={})]),
        StoredMessage("user", [TextPart(text="How is it?")]),
        StoredMessage("assistant", [TextPart(text="Well.")]),
        StoredMessage("user", [TextPart(text="Hi.")]),
    ]
    context = assemble(history, [], more=False, instructions="", tools=[], budget=100)
    assert [message.role for message in context.messages] == ["user", "assistant", "tool"]
    assert context.left_out == 2


def test_a_call_that_nobody_answered_is_left_out() -> None:
    history = [
        StoredMessage("user", [TextPart(text="Never mind.")]),
        StoredMessage("assistant", [ToolCallPart(call="c1", name="weather", arguments={})]),
        StoredMessage("user", [TextPart(text="How is it?")]),
    ]
    context = assemble(history, [], more=False, instructions="", tools=[], budget=10_000)
    assert [message.role for message in context.messages] == ["user", "user"]


async def test_a_result_without_its_call_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="no call of that id"):
        await open_run(desk, [ToolResultPart(call="c9", output="sun")])


async def test_a_tool_with_the_name_of_the_agents_own_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="'clock'"):
        await open_run(desk, "Hi", options=RunOptions(tools=[CallerTool(name="clock")]))
    with pytest.raises(InvalidInput, match="named it twice"):
        await open_run(desk, "Hi", options=RunOptions(tools=[WEATHER, WEATHER]))


async def test_the_callers_words_stand_behind_the_agents_instructions(
    desk: Desk, requests: list[ModelRequest]
) -> None:
    options = RunOptions(
        instructions="Speak French.", tools=[WEATHER], settings=ModelSettings(temperature=0.5)
    )
    await end(desk, await open_run(desk, "Hi", options=options))
    [asked] = requests
    assert asked.instructions == "Act.\n\nSpeak French."
    assert [tool.name for tool in asked.tools] == ["clock", "weather"]
    assert asked.settings.temperature == 0.5


def test_a_callers_settings_go_before_the_agents_but_not_above_its_limits() -> None:
    own = ModelSettings(temperature=0.1, max_output_tokens=100, max_steps=3, seed=1)
    definition = Definition(name="a", instructions="", model="scripted:test", settings=own)
    asked = ModelSettings(temperature=0.9, max_output_tokens=500, max_steps=60)
    settled = RunOptions(settings=asked).settle(definition)
    assert (settled.temperature, settled.max_output_tokens, settled.max_steps, settled.seed) == (
        0.9,
        100,
        3,
        1,
    )
    shorter = RunOptions(settings=ModelSettings(max_output_tokens=7)).settle(definition)
    assert shorter.max_output_tokens == 7


async def test_with_tool_choice_none_the_model_sees_only_the_agents_own_tools(
    desk: Desk, requests: list[ModelRequest]
) -> None:
    options = RunOptions(tools=[WEATHER], settings=ModelSettings(tool_choice="none"))
    await end(desk, await open_run(desk, "Hi", options=options))
    assert [tool.name for tool in requests[0].tools] == ["clock"]
    assert requests[0].settings.tool_choice is None


async def test_a_takeover_goes_on_with_what_the_caller_added(
    desk: Desk, requests: list[ModelRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, begun = Scripted.stream, asyncio.Event()

    async def hang(*_: object) -> AsyncGenerator[list[AnyEvent], None]:
        begun.set()
        await asyncio.Event().wait()
        yield []

    monkeypatch.setattr(Scripted, "stream", hang)
    options = RunOptions(instructions="Speak French.", tools=[WEATHER])
    started = await open_run(desk, "[[call weather]]", options=options)
    await begun.wait()
    monkeypatch.setattr(Scripted, "stream", answer)
    await desk.expire(desk.runs)
    following = await desk.another()
    events = events_in(await desk.replay(started.run, runs=following))
    check_run(events)
    assert isinstance(events[-1], RunFinished)
    assert (events[-1].reason, events[-1].epoch) == ("tool_calls", 2)
    [asked] = requests
    assert asked.instructions == "Act.\n\nSpeak French."


async def test_an_ephemeral_conversation_is_in_no_list_and_in_no_search(desk: Desk) -> None:
    conversation = await desk.conversation(tools=["clock"])
    agent = await agent_of(desk, conversation)
    await end(desk, await desk.start("wombat in sight", conversation))
    await end(desk, await open_run(desk, "wombat at night", agent))
    await Upkeep(desk.database).index()
    conversations = Conversations(desk.database)
    listed = await conversations.page(desk.principal, agent, before=None, limit=9)
    recent = await conversations.own(desk.principal, limit=9)
    found = await conversations.own(desk.principal, search="wombat", limit=9)
    assert [row.id for row in listed] == [conversation]
    assert [hit.conversation.id for hit in recent] == [conversation]
    assert [hit.conversation.id for hit in found] == [conversation]


async def test_an_ephemeral_conversation_goes_for_good_when_its_time_has_come(desk: Desk) -> None:
    passing = await open_run(desk, "Hi", keep=timedelta(0))
    kept = await open_run(desk, "Hi")
    for started in (passing, kept):
        await end(desk, started)
    assert await Upkeep(desk.database).purge() == 1
    with pytest.raises(NotFound):
        await desk.runs.get(desk.principal, passing.run)
    assert (await desk.runs.get(desk.principal, kept.run)).status == "finished"


async def test_a_running_answer_is_not_purged_under_its_run(desk: Desk) -> None:
    started = await open_run(desk, "[[stall 60s]]", keep=timedelta(0))
    assert await Upkeep(desk.database).purge() == 0
    await desk.runs.cancel(desk.principal, started.run)
    await end(desk, started)
    assert await Upkeep(desk.database).purge() == 1


async def test_calls_at_the_same_time_do_not_wait_for_each_other(desk: Desk) -> None:
    agent = await agent_of(desk, await desk.conversation())
    started = await asyncio.gather(*(open_run(desk, f"[[say {n}]]", agent) for n in range(5)))
    ended = [await end(desk, one) for one in started]
    assert all(isinstance(events[-1], RunFinished) for events in ended)


async def test_an_agent_that_is_not_there_is_not_found(desk: Desk) -> None:
    for named in ("nobody", "agt_" + "0" * 32, "Not a handle\x00"):
        with pytest.raises(NotFound):
            await open_run(desk, "Hi", named)
