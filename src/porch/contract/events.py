"""Everything an agent does while it answers, as typed events: the one vocabulary of the platform.

A producer makes an event without its envelope; the journal stamps `v`, `run`, `epoch`, `seq` and `ts` onto
the encoded bytes (see `frames`). A reader decodes the same classes with the envelope filled in.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType, ValidationError
from msgspec.json import Decoder, Encoder

from porch.contract.errors import Category

PartKind = Literal["text", "reasoning", "refusal"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "limit"]
PauseReason = Literal["approval", "quota"]
ResumeReason = Literal["takeover", "approval", "quota"]
Decision = Literal["approve", "deny"]
Trust = Literal["operator", "participant", "tool", "web"]


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", gc=False):
    """The envelope that every event carries on the wire."""

    v: int = 0
    run: str = ""
    epoch: int = 0
    seq: int = 0
    ts: datetime | None = None
    step: str | None = None
    ext: dict[str, Any] | None = None


class Cost(Struct, frozen=True, kw_only=True):
    """What a step cost: a decimal as text, an ISO 4217 currency, and the date of the price used."""

    amount: str
    currency: str
    priced_at: str


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens and cost; an absent count is unknown, not zero."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Cost | None = None


class ErrorInfo(Struct, frozen=True, kw_only=True):
    """Why a run failed. `emitted_any` says whether a reader may have seen part of an answer."""

    code: str
    category: Category
    message: str
    retryable: bool
    emitted_any: bool


class ToolError(Struct, frozen=True, kw_only=True):
    """Why a tool gave no output; the model reads it too."""

    code: str
    message: str


class Provenance(Struct, frozen=True, kw_only=True):
    """Who wrote a memory, in which run, over which channel, and how far its source is trusted."""

    writer: str
    run: str
    channel: str
    trust: Trust


class RunStarted(Event, frozen=True, kw_only=True, tag="run.started"):
    """First event of a run. `version` is null for a draft."""

    agent: str
    version: int | None
    workspace: str
    conversation: str
    message: str


class RunPaused(Event, frozen=True, kw_only=True, tag="run.paused"):
    """The run waits for a person or for quota; the stream ends here, the run does not."""

    reason: PauseReason


class RunResumed(Event, frozen=True, kw_only=True, tag="run.resumed"):
    """The run goes on: what it waited for was resolved, or another producer took it over."""

    reason: ResumeReason


class RunFinished(Event, frozen=True, kw_only=True, tag="run.finished"):
    """The run came to its end; `message` is the id of the answer's message. Unknown usage is null."""

    reason: FinishReason
    raw_reason: str | None = None
    usage: Usage | None
    message: str


class RunFailed(Event, frozen=True, kw_only=True, tag="run.failed"):
    """The run ended by an error."""

    error: ErrorInfo


class RunCancelled(Event, frozen=True, kw_only=True, tag="run.cancelled"):
    """Somebody stopped the run; `by` names them ("user:usr_…", "system")."""

    by: str


class StepStarted(Event, frozen=True, kw_only=True, tag="step.started"):
    """One model call begins; `model` is the one asked."""

    model: str


class StepFinished(Event, frozen=True, kw_only=True, tag="step.finished"):
    """One model call ended; `model` is the one that answered."""

    model: str


class StepDiscarded(Event, frozen=True, kw_only=True, tag="step.discarded"):
    """Readers drop what this step showed; it ends everything that was open in it."""

    reason: str


class PartStarted(Event, frozen=True, kw_only=True, tag="part.started"):
    """A part of the answer begins."""

    part: str
    kind: PartKind


class StreamChunk(Event, frozen=True, kw_only=True, tag="stream.chunk"):
    """More of a part: whole code points, never empty."""

    part: str
    delta: str


class PartFinished(Event, frozen=True, kw_only=True, tag="part.finished"):
    """A part's end with its full value, equal to its deltas joined."""

    part: str
    kind: PartKind
    value: str


class ReasoningSealed(Event, frozen=True, kw_only=True, tag="reasoning.sealed"):
    """A signature or encrypted block that goes back to the provider unchanged; opaque to everyone else."""

    part: str | None = None
    format: str
    data: Any


class ToolCallStarted(Event, frozen=True, kw_only=True, tag="tool_call.started"):
    """The model begins to call a tool."""

    call: str
    name: str


class ToolCallDelta(Event, frozen=True, kw_only=True, tag="tool_call.delta"):
    """More of a call's argument text."""

    call: str
    delta: str


class ToolCallFinished(Event, frozen=True, kw_only=True, tag="tool_call.finished"):
    """A call's end: `arguments` when they parse to an object, else `raw_arguments` and `error`."""

    call: str
    name: str
    arguments: dict[str, Any] | None = None
    raw_arguments: str | None = None
    error: ToolError | None = None


class ToolResultStarted(Event, frozen=True, kw_only=True, tag="tool_result.started"):
    """A tool begins to run."""

    call: str


class ToolResultChunk(Event, frozen=True, kw_only=True, tag="tool_result.chunk"):
    """More of a tool's output."""

    call: str
    delta: str


class ToolResultFinished(Event, frozen=True, kw_only=True, tag="tool_result.finished"):
    """A tool's end: `output` (any JSON value) or `error`, and its duration in milliseconds."""

    call: str
    output: Any | UnsetType = UNSET
    error: ToolError | UnsetType = UNSET
    duration_ms: int


class ApprovalRequested(Event, frozen=True, kw_only=True, tag="approval.requested"):
    """A call waits for a person, who sees exactly these canonical arguments; `arguments_hash` is of their JSON."""

    approval: str
    call: str
    name: str
    arguments: dict[str, Any]
    reason: str
    expires: datetime
    arguments_hash: str | None = None


class ApprovalResolved(Event, frozen=True, kw_only=True, tag="approval.resolved"):
    """Somebody decided."""

    approval: str
    decision: Decision
    by: str


class MemoryWriteEvent(Event, frozen=True, kw_only=True, tag="memory.write"):
    """Something was remembered, with where it came from."""

    memory: str
    scope: str
    kind: str
    text: str
    provenance: Provenance


class SourceCited(Event, frozen=True, kw_only=True, tag="source"):
    """A citation, for a stretch of a part where the provider says which."""

    part: str | None = None
    url: str | None = None
    title: str | None = None
    text: str | None = None
    start: int | None = None
    end: int | None = None


class FileProduced(Event, frozen=True, kw_only=True, tag="file"):
    """A file that the run made."""

    file: str
    name: str
    media_type: str
    size: int


class UsageReported(Event, frozen=True, kw_only=True, tag="usage"):
    """Cumulative counts for the step; the last one wins."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Cost | None = None


class Notice(Event, frozen=True, kw_only=True, tag="notice"):
    """Something a person should know: truncated, retried, degraded."""

    code: str
    text: str


class Raw(Event, frozen=True, kw_only=True, tag="raw"):
    """A provider's event that has no name here, passed through."""

    provider: str
    data: Any


AnyEvent = (
    RunStarted
    | RunPaused
    | RunResumed
    | RunFinished
    | RunFailed
    | RunCancelled
    | StepStarted
    | StepFinished
    | StepDiscarded
    | PartStarted
    | StreamChunk
    | PartFinished
    | ReasoningSealed
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallFinished
    | ToolResultStarted
    | ToolResultChunk
    | ToolResultFinished
    | ApprovalRequested
    | ApprovalResolved
    | MemoryWriteEvent
    | SourceCited
    | FileProduced
    | UsageReported
    | Notice
    | Raw
)

ANSWERING: Final = frozenset(
    {
        PartStarted,
        StreamChunk,
        PartFinished,
        ToolCallStarted,
        ToolCallDelta,
        ToolCallFinished,
        ToolResultStarted,
        ToolResultChunk,
        ToolResultFinished,
        ApprovalRequested,
        SourceCited,
        FileProduced,
    }
)
TERMINAL: Final = (RunFinished, RunFailed, RunCancelled)
TERMINAL_TYPES: Final = frozenset({"run.finished", "run.failed", "run.cancelled"})

encode_event = Encoder(decimal_format="string").encode
_decode = Decoder(AnyEvent).decode


class _Tag(Struct, gc=False):
    type: str


_decode_tag = Decoder(_Tag).decode
TYPES: Final = frozenset(str(cls.__struct_config__.tag) for cls in AnyEvent.__args__)


def decode_event(data: bytes | str) -> AnyEvent | None:
    """An event from its JSON, or None for a type this version does not know (readers skip those).

    Raises msgspec.DecodeError when the text is no event at all.
    """
    try:
        return _decode(data)
    except ValidationError:
        if _decode_tag(data).type in TYPES:
            raise
        return None


def shows_answer(events: Iterable[AnyEvent]) -> bool:
    """Whether a person sees part of an answer in these: no counts, notices, seals or raw ones."""
    return any(type(event) in ANSWERING for event in events)
