"""Runs for projections to tell: one that has everything, and any that keep the contract's laws."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from porch.contract.events import (
    AnyEvent,
    ApprovalRequested,
    ApprovalResolved,
    Cost,
    ErrorInfo,
    FileProduced,
    MemoryWriteEvent,
    Notice,
    PartFinished,
    PartKind,
    PartStarted,
    Provenance,
    Raw,
    ReasoningSealed,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    SourceCited,
    StepDiscarded,
    StepFinished,
    StepStarted,
    StreamChunk,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    ToolError,
    ToolResultChunk,
    ToolResultFinished,
    ToolResultStarted,
    Usage,
    UsageReported,
)
from porch.contract.frames import encode_frame
from porch.contract.sse import SseDecoder

RUN = "run_0199f3a1c2d47e10a5b6c7d8e9f00112"
MESSAGE = "msg_0199f3a1c2d47e10a5b6c7d8e9f00113"
STARTED = RunStarted(
    agent="@ada/helper", version=1, workspace="ada", conversation="conv_0", message="msg_0199"
)
FINISHED = RunFinished(reason="stop", usage=Usage(input_tokens=7, output_tokens=5), message=MESSAGE)
FAILURE = ErrorInfo(
    code="overloaded", category="overloaded", message="Too busy.", retryable=True, emitted_any=True
)
FAILED = RunFailed(error=FAILURE)
CANCELLED = RunCancelled(by="user:usr_1")
NO_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def frames(events: Sequence[AnyEvent], first: int = 1) -> bytes:
    """Events as they stand in the journal."""
    return b"".join(encode_frame(event, RUN.encode(), 1, seq, 0) for seq, event in enumerate(events, first))


def part(step: str, number: int, kind: PartKind, *deltas: str) -> list[AnyEvent]:
    """A whole part."""
    name = f"{step}p{number}"
    return [
        PartStarted(step=step, part=name, kind=kind),
        *(StreamChunk(step=step, part=name, delta=delta) for delta in deltas),
        PartFinished(step=step, part=name, kind=kind, value="".join(deltas)),
    ]


def call(step: str, name: str, tool: str, arguments: str) -> list[AnyEvent]:
    """A whole call, its arguments in two deltas."""
    half = len(arguments) // 2
    deltas = [text for text in (arguments[:half], arguments[half:]) if text]
    return [
        ToolCallStarted(step=step, call=name, name=tool),
        *(ToolCallDelta(step=step, call=name, delta=delta) for delta in deltas),
        ToolCallFinished(step=step, call=name, name=tool, arguments=json.loads(arguments)),
    ]


def everything() -> list[AnyEvent]:
    """A run in which every type of event occurs but the two other endings, and one step is discarded."""
    usage = UsageReported(step="s1", input_tokens=4, output_tokens=3, reasoning_tokens=1)
    bad = ToolError(code="invalid_arguments", message="The arguments must be one JSON object.")
    provenance = Provenance(writer="agent", run=RUN, channel="chat", trust="tool")
    return [
        STARTED,
        StepStarted(step="s1", model="scripted:test"),
        *part("s1", 1, "reasoning", "Hm, ", "yes."),
        ReasoningSealed(step="s1", part="s1p1", format="anthropic", data={"signature": "sealed-block"}),
        *part("s1", 2, "text", "Let me ", "look."),
        *call("s1", "call_1", "clock", '{"timezone":"UTC"}'),
        ToolCallStarted(step="s1", call="call_2", name="clock"),
        ToolCallDelta(step="s1", call="call_2", delta="[1"),
        ToolCallFinished(step="s1", call="call_2", name="clock", raw_arguments="[1", error=bad),
        usage,
        StepFinished(step="s1", model="scripted:test-1"),
        ApprovalRequested(
            step="s1",
            approval="apr_1",
            call="call_1",
            name="clock",
            arguments={"timezone": "UTC"},
            reason="It tells the time.",
            expires=NO_TIME,
        ),
        RunPaused(reason="approval"),
        ApprovalResolved(step="s1", approval="apr_1", decision="approve", by="user:usr_1"),
        RunResumed(reason="approval"),
        ToolResultStarted(step="s1", call="call_1"),
        ToolResultChunk(step="s1", call="call_1", delta="12:"),
        ToolResultFinished(step="s1", call="call_1", output={"time": "12:00"}, duration_ms=3),
        ToolResultFinished(step="s1", call="call_2", error=bad, duration_ms=0),
        MemoryWriteEvent(
            memory="mem_1", scope="agent", kind="fact", text="It is noon.", provenance=provenance
        ),
        StepStarted(step="s2", model="scripted:test"),
        *part("s2", 1, "reasoning", "Void thought."),
        PartStarted(step="s2", part="s2p2", kind="text"),
        StreamChunk(step="s2", part="s2p2", delta="Void words"),
        StepDiscarded(step="s2", reason="fallback"),
        StepStarted(step="s3", model="local:smollm2"),
        Notice(step="s3", code="context_truncated", text="The oldest part was left out."),
        *part("s3", 1, "text", "It is ", "noon", " ☼"),
        SourceCited(step="s3", part="s3p1", url="https://example.org", title="Noon"),
        SourceCited(step="s3", part="s3p1", text="A sundial"),
        FileProduced(step="s3", file="file_1", name="dial.png", media_type="image/png", size=9),
        Raw(step="s3", provider="local", data={"ping": 1}),
        *part("s3", 2, "refusal", "No more."),
        UsageReported(
            step="s3",
            input_tokens=3,
            output_tokens=2,
            cost=Cost(amount="0.01", currency="USD", priced_at="2026-01-01"),
        ),
        StepFinished(step="s3", model="local:smollm2"),
        FINISHED,
    ]


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
ENDS: list[AnyEvent] = [FINISHED, FAILED, CANCELLED]


@st.composite
def runs(draw: st.DrawFn) -> list[AnyEvent]:
    """Any lawful run: interleaved parts and calls, results behind their step, steps discarded at any place."""
    found: list[AnyEvent] = [STARTED]
    for number in range(1, draw(st.integers(1, 3)) + 1):
        step = f"s{number}"
        found.append(StepStarted(step=step, model="scripted:test"))
        strands = draw(st.lists(strand(step), max_size=3))
        body = _numbered(draw(woven(strands)), number)
        if draw(st.booleans()):
            found += body[: draw(st.integers(0, len(body)))]
            found.append(StepDiscarded(step=step, reason="takeover"))
            continue
        found += body
        found.append(UsageReported(step=step, input_tokens=1, output_tokens=2))
        found.append(StepFinished(step=step, model="scripted:test"))
        for event in body:
            if isinstance(event, ToolCallFinished) and draw(st.booleans()):
                found.append(ToolResultStarted(step=step, call=event.call))
                found.append(
                    ToolResultFinished(step=step, call=event.call, output=draw(words), duration_ms=1)
                )
    return [*found, draw(st.sampled_from(ENDS))]


@st.composite
def strand(draw: st.DrawFn, step: str) -> list[AnyEvent]:
    """A part or a call of a step."""
    kind: Any = draw(st.sampled_from(["text", "reasoning", "refusal", "call"]))
    deltas = draw(st.lists(words, min_size=1, max_size=3))
    if kind == "call":
        return call(step, "?", draw(words), json.dumps({"text": "".join(deltas)}))
    return part(step, 0, kind, *deltas)


@st.composite
def woven(draw: st.DrawFn, strands: list[list[AnyEvent]]) -> list[tuple[int, AnyEvent]]:
    """All strands' events, each strand's in order, with the strand's number."""
    rest = [list(events) for events in strands]
    found: list[tuple[int, AnyEvent]] = []
    while any(rest):
        at = draw(st.sampled_from([at for at, events in enumerate(rest) if events]))
        found.append((at, rest[at].pop(0)))
    return found


def _numbered(events: list[tuple[int, AnyEvent]], step: int) -> list[AnyEvent]:
    from msgspec.structs import replace

    named: list[AnyEvent] = []
    for at, event in events:
        name = {"part": f"s{step}p{at}"} if hasattr(event, "part") else {"call": f"call_{step}_{at}"}
        named.append(replace(event, **name))
    return named


def data_of(stream: bytes) -> list[bytes]:
    """The data of a stream's server-sent events, comments left out."""
    assert stream == b"" or stream.endswith(b"\n\n")
    return [event.data for event in SseDecoder().feed(stream)]
