"""The turn loop against a real database, with a model that does as it is told."""

import msgspec

from porch.contract.events import (
    Notice,
    RunFailed,
    RunFinished,
    StreamChunk,
    ToolError,
    ToolResultFinished,
)
from porch.contract.messages import Part, TextPart, ToolCallPart, ToolResultPart
from tests.laws import check_run
from tests.runs.conftest import Desk, types


async def test_an_answer_streams_by_the_laws_and_becomes_a_message(desk: Desk) -> None:
    conversation = await desk.conversation()
    events = await desk.ask("[[say Hello there, friend]]", conversation)
    check_run(events)
    assert types(events)[:3] == ["run.started", "step.started", "part.started"]
    assert types(events)[-3:] == ["usage", "step.finished", "run.finished"]
    assert "".join(event.delta for event in events if isinstance(event, StreamChunk)) == "Hello there, friend"
    assert await _stored(desk, "assistant") == [[TextPart(text="Hello there, friend")]]


async def test_a_tool_is_called_and_its_result_used(desk: Desk) -> None:
    events = await desk.ask('[[call clock {"timezone":"UTC"}]] [[say Done]]', tools=["clock"])
    check_run(events)
    results = [event for event in events if isinstance(event, ToolResultFinished)]
    assert len(results) == 1
    assert msgspec.to_builtins(results[0])["output"]["timezone"] == "UTC"
    assert types(events).count("step.started") == 2
    [parts] = await _stored(desk, "assistant")
    assert [type(part) for part in parts] == [ToolCallPart, ToolResultPart, TextPart]


async def test_a_call_that_does_not_fit_its_tool_comes_back_to_the_model_as_an_error(desk: Desk) -> None:
    events = await desk.ask('[[call clock {"zone":1}]] [[say Sorry]]', tools=["clock"])
    check_run(events)
    [result] = [event for event in events if isinstance(event, ToolResultFinished)]
    assert isinstance(result.error, ToolError)
    assert "clock" in result.error.message
    assert isinstance(events[-1], RunFinished)


async def test_a_model_that_keeps_calling_is_stopped_at_the_step_limit(desk: Desk) -> None:
    events = await desk.ask("[[call clock {}]] [[say again]]" * 5, tools=["clock"], settings={"max_steps": 2})
    check_run(events)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].reason == "limit"


async def test_a_failing_provider_ends_the_run_with_its_error(desk: Desk) -> None:
    events = await desk.ask("[[fail 429]]")
    check_run(events)
    assert isinstance(events[-1], RunFailed)
    assert events[-1].error.category == "rate_limit"
    assert events[-1].error.emitted_any is False


async def test_a_cut_stream_keeps_what_came(desk: Desk) -> None:
    events = await desk.ask("[[cut after=3]] [[tokens 40]]")
    check_run(events)
    assert isinstance(events[-1], RunFailed)
    assert events[-1].error.emitted_any is True
    [[part]] = await _stored(desk, "assistant")
    assert isinstance(part, TextPart)
    assert part.text


async def test_the_next_model_of_a_chain_answers_when_the_first_cannot(desk: Desk) -> None:
    events = await desk.ask("[[say Hi]]", model=["openai:gpt-5", "scripted:test"])
    check_run(events)
    assert isinstance(events[-1], RunFinished)
    assert types(events).count("step.started") == 1


async def test_an_unknown_model_fails_the_run_with_a_sentence(desk: Desk) -> None:
    events = await desk.ask("hello", model="nowhere:model")
    check_run(events)
    assert isinstance(events[-1], RunFailed)
    assert "nowhere" in events[-1].error.message


async def test_an_empty_answer_is_told(desk: Desk) -> None:
    events = await desk.ask("[[empty]]")
    check_run(events)
    assert [event.code for event in events if isinstance(event, Notice)] == ["empty_answer"]


async def test_a_nul_from_the_model_is_replaced_with_a_notice(desk: Desk) -> None:
    events = await desk.ask("[[nul]]")
    check_run(events)
    assert [event.code for event in events if isinstance(event, Notice)] == ["nul_replaced"]


async def _stored(desk: Desk, role: str) -> list[list[Part]]:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        rows = await connection.fetch("SELECT parts FROM porch.messages WHERE role = $1 ORDER BY id", role)
    return [msgspec.json.decode(row["parts"], type=list[Part]) for row in rows]
