"""What was promised to whoever sent a message, checked afterwards for every one of them."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Any

from porch.contract.events import AnyEvent, RunFailed, RunResumed, ToolResultFinished
from porch.contract.frames import split_frames
from tests.chaos.talk import Sent, Talk
from tests.chaos.wire import Story, Wire
from tests.laws import check_run
from tests.runs.conftest import events_in


async def check_talks(
    wire: Wire, talks: Sequence[Talk], count: Callable[[Sent, list[AnyEvent]], None]
) -> None:
    """Everything that was promised, for every message; `count` gets each with its run's events."""
    for talk in talks:
        for conversation, told in groupby(sorted(talk.sent, key=_where), key=_where):
            messages = await _messages(wire, conversation)
            for sent in told:
                count(sent, await _check(wire, sent, messages))


async def _check(wire: Wire, sent: Sent, messages: list[dict[str, Any]]) -> list[AnyEvent]:
    assert sent.acknowledged
    text = [{"type": "text", "text": sent.text}]
    kept = [message for message in messages if message["parts"] == text]
    assert len(kept) == 1, f"{sent.text!r} is there {len(kept)} times"
    assert kept[0]["run"] == sent.run
    whole = await wire.replay(sent.run)
    events = events_in(whole)
    check_run(events)
    _check_epochs(events)
    for story in sent.stories:
        assert story.data == whole, _difference(story, whole)
    for tale in sent.tales:
        assert tale == events, f"a client of {sent.run} holds another story"
    state = await wire.get(f"/api/v1/runs/{sent.run}")
    end = events[-1]
    assert str(end.__struct_config__.tag) == f"run.{state['status']}"
    if isinstance(end, RunFailed):
        assert re.search(r" .*\.$", end.error.message), "a sentence says what happened"
    if state["output_message"]:
        answers = [message for message in messages if message["id"] == state["output_message"]]
        assert [answer["parent"] for answer in answers] == [kept[0]["id"]]
    return events


def _check_epochs(events: list[AnyEvent]) -> None:
    """Every epoch after the first begins with `run.resumed`; no result of a tool is there twice."""
    for before, after in pairwise(events):
        if after.epoch != before.epoch:
            assert isinstance(after, RunResumed)
            assert after.epoch > before.epoch
        else:
            assert not isinstance(after, RunResumed)
    results = Counter(event.call for event in events if isinstance(event, ToolResultFinished))
    assert all(count == 1 for count in results.values()), results


def _where(sent: Sent) -> str:
    return sent.conversation


def _difference(story: Story, whole: bytes) -> str:
    """Where a reader's story leaves the replay."""
    frames = split_frames(whole)
    pairs = enumerate(zip(story.frames, frames, strict=False))
    place, (seen, kept) = next(
        ((n, pair) for n, pair in pairs if pair[0] != pair[1]), (len(frames), (b"", b""))
    )
    return (
        f"a reader of {story.run} holds {len(story.frames)} events, the replay {len(frames)}; at {place} it has\n"
        f"{seen.decode()}and the replay\n{kept.decode()}(resyncs {story.resyncs}, {story.connections} connections)"
    )


async def _messages(wire: Wire, conversation: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await wire.get(f"/api/v1/conversations/{conversation}/messages?limit=100{cursor}")
        found += page["items"]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"
