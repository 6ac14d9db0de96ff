"""Recorded runs with every type of event, read by the protocols' own clients."""

from typing import Any

import pytest

from porch.contract.events import AnyEvent
from porch.faces.ag_ui.projection import AgUi
from porch.faces.ai_sdk.projection import UiMessageStream
from porch.faces.projection import Projection, project
from porch.faces.wire import CUT
from tests.faces.foreign.conftest import Script
from tests.faces.journals import CANCELLED, everything, frames

pytestmark = pytest.mark.timeout(400)  # the packages may have to come first
QUESTION = {"id": "m1", "role": "user", "content": "What time is it?"}


def stream(projection: Projection, events: list[AnyEvent]) -> str:
    """What a client gets of these events when the stream ends with them."""
    return (project(projection, frames(events)) + projection.cut()).decode()


def beginnings() -> list[list[AnyEvent]]:
    """All of the run's, and the run cancelled."""
    events = everything()
    return [events[:until] for until in range(1, len(events) + 1)] + [[*events[:-1], CANCELLED]]


async def test_ag_uis_client_has_nothing_to_say_against_any_beginning_of_a_run(replay: Script) -> None:
    streams = [stream(AgUi("t1", "r1", [QUESTION]), events) for events in beginnings()]
    broken = streams[-2].replace("TEXT_MESSAGE_END", "TEXT_MESSAGE_START")
    found: list[Any] = await replay("replays", client="agUi", asked=[QUESTION], streams=[*streams, broken])
    assert "already in progress" in found.pop()["errors"][0], "the client does look"
    assert {error for one in found for error in one["errors"]} == {CUT}
    whole = found[-2]
    assert whole["errors"] == []
    assert [(message["role"], message.get("content")) for message in whole["messages"]] == [
        ("user", "What time is it?"),
        ("reasoning", "Hm, yes."),
        ("assistant", "Let me look."),
        ("tool", '{"time":"12:00"}'),
        ("tool", "The arguments must be one JSON object."),
        ("assistant", "It is noon ☼"),
        ("assistant", "No more."),
    ]


async def test_the_ai_sdks_client_reads_any_beginning_of_a_run(replay: Script) -> None:
    streams = [stream(UiMessageStream(), events) for events in beginnings()]
    broken = streams[-2].replace("text-start", "text-end")
    found: list[Any] = await replay("replays", client="aiSdk", asked=[], streams=[*streams, broken])
    assert "text-end" in found.pop()["errors"][0], "the client does look"
    assert {error for one in found for error in one["errors"]} == {CUT}
    whole = found[-2]
    assert whole["errors"] == []
    [message] = whole["messages"]
    tools = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert [(tool["state"], tool.get("output"), tool.get("errorText")) for tool in tools] == [
        ("output-available", {"time": "12:00"}, None),
        ("output-error", None, "The arguments must be one JSON object."),
    ]
    kinds = [part["type"] for part in message["parts"]]
    assert {"source-url", "source-document", "data-porch-file", "data-porch-discarded"} <= set(kinds)
    assert message["metadata"]["usage"]["totalTokens"] == 12
    said = [part["text"] for part in message["parts"] if part["type"] in ("text", "reasoning")]
    assert said == ["Hm, yes.", "Let me look.", "It is noon ☼", "No more."], "what was discarded is gone"
    assert tools[0]["approval"] == {"id": "apr_1", "approved": True}
