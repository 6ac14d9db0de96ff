"""The scripted model does what it is told, and docs/scripted-model.md says what that is."""

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from porch.contract.events import Notice, PartFinished, ToolCallFinished, ToolError
from porch.contract.messages import Part, TextPart, ToolCallPart, ToolResultPart
from porch.providers.assembly import Assembly
from porch.providers.cues import VERBS, Cue, read_cues
from porch.providers.request import ModelMessage, ModelRequest, StepOutcome
from porch.providers.scripted import DEMO_PACE, Scripted
from tests.providers.asking import ask, deltas, request
from tests.providers.decoding import Decoded

PAGE = (Path(__file__).parents[2] / "docs" / "scripted-model.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```\n> (.*?)\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)


def show(result: Decoded) -> list[str]:
    """One step as the page writes it."""
    lines: list[str] = []
    for event in result.events:
        if isinstance(event, PartFinished):
            verb = {"reasoning": "(thinks: {})", "refusal": "(refuses: {})"}.get(event.kind, "{}")
            lines.append(verb.format(event.value))
        elif isinstance(event, ToolCallFinished):
            arguments = msgspec.json.format(msgspec.json.encode(event.arguments), indent=0).decode()
            lines.append(f"(calls {event.name} {arguments})")
    return [*lines, f"(fails: {result.error.message})"] if result.error else lines


def results(calls: list[ToolCallFinished]) -> list[Part]:
    """What the tools of the page answer."""
    found: list[Part] = []
    for call in calls:
        if call.name == "clock":
            found.append(ToolResultPart(call=call.call, output="12:00"))
        else:
            error = ToolError(code="unknown_tool", message=f"There is no tool {call.name!r}.")
            found.append(ToolResultPart(call=call.call, error=error))
    return found


async def converse(text: str, model: str = "test") -> list[str]:
    """A whole turn, tools included."""
    messages = [ModelMessage(role="user", parts=[TextPart(text=text)])]
    lines: list[str] = []
    while True:
        result = await ask(Scripted(), ModelRequest(model=model, instructions="", messages=messages))
        lines += show(result)
        if result.outcome.reason != "tool_calls":
            return lines
        made: list[Part] = [
            ToolCallPart(call=call.call, name=call.name, arguments=call.arguments) for call in result.calls
        ]
        messages += [
            ModelMessage(role="assistant", parts=made),
            ModelMessage(role="tool", parts=results(result.calls)),
        ]


@pytest.mark.parametrize(("message", "expected"), EXAMPLES, ids=[message[:40] for message, _ in EXAMPLES])
async def test_an_example_of_the_page_is_true(message: str, expected: str) -> None:
    assert "\n".join(await converse(message)) == expected


def test_the_page_has_examples_and_names_every_cue() -> None:
    assert len(EXAMPLES) >= 10
    assert {verb for verb in VERBS if f"`[[{verb}" not in PAGE} == set()


async def test_the_same_message_gives_the_same_answer() -> None:
    assert await converse("[[tokens 30]]") == await converse("[[tokens 30]]")


async def test_every_word_travels_alone() -> None:
    steps: list[Any] = []
    async for events in Scripted().stream(request("[[tokens 40]]", "test"), Assembly("s1"), StepOutcome()):
        steps.append(events)
    assert len(deltas([event for events in steps for event in events])) == 40
    assert len(steps) >= 40


async def test_usage_is_counted_in_words() -> None:
    result = await ask(Scripted(), request("[[tokens 40]]", "test"))
    (usage,) = result.usage
    assert usage.output_tokens == 40


async def test_cues_in_the_instructions_count_when_the_message_has_none() -> None:
    result = await ask(Scripted(), request("Hello", "test", instructions="[[say From the instructions.]]"))
    assert result.text() == "From the instructions."


async def test_an_empty_answer_has_no_parts() -> None:
    result = await ask(Scripted(), request("[[empty]]", "test"))
    assert [type(event).__name__ for event in result.events] == ["UsageReported"]


async def test_a_nul_is_replaced_with_a_notice() -> None:
    result = await ask(Scripted(), request("[[nul]]", "test"))
    assert "\x00" not in result.text()
    assert any(isinstance(event, Notice) for event in result.events)


async def test_a_finish_reason_can_be_asked_for() -> None:
    result = await ask(Scripted(), request("[[say a]][[finish length]]", "test"))
    assert result.outcome.reason == "length"


async def test_a_stall_waits_until_it_is_cancelled() -> None:
    stream = Scripted().stream(request("[[say a]] [[stall]]", "test"), Assembly("s1"), StepOutcome())
    await anext(stream)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.05)


async def test_the_demo_speaks_at_a_readers_pace_unless_told_otherwise() -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await ask(Scripted(), request("[[pace 0ms]] [[tokens 100]]", "demo"))
    unpaced = loop.time() - started
    await ask(Scripted(), request("[[tokens 5]]", "demo"))
    assert unpaced < 1 < 100 * DEMO_PACE
    assert loop.time() - started - unpaced >= 5 * DEMO_PACE * 0.8


def test_brackets_inside_arguments_do_not_end_a_cue() -> None:
    (cue,) = read_cues('[[call f {"a": [[1], "]]"]}]]')
    assert cue == Cue("call", "f", arguments='{"a": [[1], "]]"]}')


def test_arguments_that_are_no_json_are_passed_as_they_stand() -> None:
    assert read_cues("[[call f {oops]]") == [Cue("call", "f", arguments="{oops")]


@pytest.mark.parametrize(
    "text", ["[[", "[[say", "[[call", "[[call ]]", "[[]]", "[[tokens x]]", "[[fail]]", "[[stall x"]
)
def test_a_half_written_cue_harms_nobody(text: str) -> None:
    read_cues(text)
