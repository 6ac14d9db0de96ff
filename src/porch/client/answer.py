"""What a run's events amount to: an answer with its words, parts, tools and figures."""

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Struct

from porch.client.errors import AnswerCancelled, AnswerFailed
from porch.client.items import Resync, StreamEvent
from porch.contract.events import (
    AnyEvent,
    ApprovalRequested,
    ApprovalResolved,
    FileProduced,
    Notice,
    PartFinished,
    PartStarted,
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
    ToolError,
    ToolResultChunk,
    ToolResultFinished,
    Usage,
)
from porch.contract.frames import START, Cursor
from porch.contract.messages import (
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

Status = Literal["finished", "failed", "cancelled", "paused", "open"]
BETWEEN: Final = "\n\n"
# Law 4: the ends carry the full value.
_DELTAS = (StreamChunk, ToolCallDelta, ToolResultChunk)


class ToolUse(Struct, frozen=True, kw_only=True):
    """One tool call and what it gave: `output` (any JSON value) or `error`; neither while it waits.

    `arguments` are None where the model's were no JSON object; `raw_arguments` has them then.
    """

    call: str
    name: str
    arguments: dict[str, Any] | None = None
    raw_arguments: str | None = None
    output: Any = None
    error: ToolError | None = None
    duration_ms: int | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """An answer as far as its stream was read; `status` is "open" where that was not to an end or a pause.

    `text` is what the agent said, its parts parted by a blank line. `parts` are those of the message that the
    server keeps. `usage` is the whole run's, None until it has finished. `reason` says why it finished or waits.
    `approvals` wait for a person.
    """

    run: str
    conversation: str | None
    message: str | None
    status: Status
    text: str
    parts: list[Part]
    tools: list[ToolUse]
    usage: Usage | None
    model: str | None
    reason: str | None
    sources: list[SourceCited]
    files: list[FileProduced]
    notices: list[Notice]
    approvals: list[ApprovalRequested]
    cursor: Cursor

    def __str__(self) -> str:
        return self.text


class Tale:
    """Takes a stream's events in, in order, and tells what they amount to. A resync is obeyed."""

    def __init__(self, run: str | None = None, after: Cursor = START) -> None:
        self.run = run
        self.cursor = after
        self._events: list[AnyEvent] = []

    def take(self, event: StreamEvent) -> None:
        """Take one in."""
        if isinstance(event, Resync):
            keep = min(self.cursor.seq, event.keep_through)
            self.cursor = Cursor(self.cursor.epoch, keep)
            self._events = [kept for kept in self._events if kept.seq <= keep]
            return
        self.run = self.run or event.run
        self.cursor = Cursor(event.epoch, event.seq)
        if not isinstance(event, _DELTAS):
            self._events.append(event)

    @property
    def answer(self) -> Answer:
        """What came so far; a part that is still being said is left out."""
        fold = _Fold()
        for event in self._events:
            fold.take(event)
        return fold.answer(self.run or "", self.cursor)

    @property
    def verdict(self) -> Answer:
        """The answer. Raises AnswerFailed and AnswerCancelled, which have what came before."""
        answer, last = self.answer, self._events[-1] if self._events else None
        if isinstance(last, RunFailed):
            raise AnswerFailed(last.error, answer)
        if isinstance(last, RunCancelled):
            raise AnswerCancelled(last.by, answer)
        return answer


class _Fold:
    def __init__(self) -> None:
        self.started: RunStarted | None = None
        self.status: Status = "open"
        self.reason: str | None = None
        self.model: str | None = None
        self.finished: RunFinished | None = None
        self.steps: dict[str | None, list[Part]] = {}
        self.thoughts: dict[tuple[str | None, str], int] = {}
        self.results: dict[str, ToolResultFinished] = {}
        self.waiting: dict[str, ApprovalRequested] = {}
        self.told: list[SourceCited | FileProduced | Notice] = []

    def take(self, event: AnyEvent) -> None:  # noqa: PLR0912  # one line for each kind of event
        match event:
            case RunStarted():
                self.started = event
            case RunFinished():
                self.status, self.reason, self.finished = "finished", event.reason, event
            case RunPaused():
                self.status, self.reason = "paused", event.reason
            case RunResumed():
                self.status, self.reason = "open", None
            case RunFailed():
                self.status, self.reason = "failed", event.error.code
            case RunCancelled():
                self.status, self.reason = "cancelled", event.by
            case StepStarted() | StepFinished():
                self.model = event.model
            case StepDiscarded():
                self.steps.pop(event.step, None)
                self.thoughts = {key: at for key, at in self.thoughts.items() if key[0] != event.step}
                self.told = [kept for kept in self.told if not _goes_with(kept, event)]
            case ApprovalRequested():
                self.waiting[event.approval] = event
            case ApprovalResolved():
                self.waiting.pop(event.approval, None)
            case SourceCited() | FileProduced() | Notice():
                self.told.append(event)
            case ToolResultFinished():
                self.results[event.call] = event
            case PartFinished() | ReasoningSealed() | ToolCallFinished():
                self._add(event, self.steps.setdefault(event.step, []))
            case _:
                pass

    def _add(self, event: PartFinished | ReasoningSealed | ToolCallFinished, parts: list[Part]) -> None:
        match event:
            case PartFinished(kind="text", value=value):
                parts.append(TextPart(text=value))
            case PartFinished(kind="reasoning", part=part, value=value):
                self._think(parts, (event.step, part), value)
            case PartFinished(value=value):
                parts.append(RefusalPart(text=value))
            case ReasoningSealed():
                self._seal(parts, event)
            case ToolCallFinished(call=call, name=name):
                given, raw = event.arguments, event.raw_arguments
                parts.append(ToolCallPart(call=call, name=name, arguments=given, raw_arguments=raw))

    def _think(self, parts: list[Part], part: tuple[str | None, str], text: str) -> None:
        at = self.thoughts.setdefault(part, len(parts))
        before = parts[at] if at < len(parts) else None
        if isinstance(before, ReasoningPart):
            parts[at] = msgspec.structs.replace(before, text=text)
        else:
            parts.append(ReasoningPart(text=text))

    def _seal(self, parts: list[Part], event: ReasoningSealed) -> None:
        """A seal belongs to the words of its part, whichever comes first; a second one stands for itself."""
        at = len(parts)
        if event.part is not None:
            at = self.thoughts.setdefault((event.step, event.part), at)
        before = parts[at] if at < len(parts) else None
        if isinstance(before, ReasoningPart) and before.sealed is None:
            parts[at] = msgspec.structs.replace(before, format=event.format, sealed=event.data)
        else:
            parts.append(ReasoningPart(text="", format=event.format, sealed=event.data))

    def answer(self, run: str, cursor: Cursor) -> Answer:
        said = [part for parts in self.steps.values() for part in parts]
        return Answer(
            run=run,
            conversation=self.started.conversation if self.started else None,
            message=self.finished.message if self.finished else None,
            status=self.status,
            text=BETWEEN.join(part.text for part in said if isinstance(part, TextPart | RefusalPart)),
            parts=self._parts(),
            tools=[self._use(part) for part in said if isinstance(part, ToolCallPart)],
            usage=self.finished.usage if self.finished else None,
            model=self.model,
            reason=self.reason,
            sources=[item for item in self.told if isinstance(item, SourceCited)],
            files=[item for item in self.told if isinstance(item, FileProduced)],
            notices=[item for item in self.told if isinstance(item, Notice)],
            approvals=list(self.waiting.values()),
            cursor=cursor,
        )

    def _parts(self) -> list[Part]:
        """Each step's own, then its tools' results."""
        found: list[Part] = []
        for parts in self.steps.values():
            calls = [part.call for part in parts if isinstance(part, ToolCallPart)]
            found += parts
            found += (_result(self.results[call]) for call in calls if call in self.results)
        return found

    def _use(self, part: ToolCallPart) -> ToolUse:
        use = ToolUse(
            call=part.call, name=part.name, arguments=part.arguments, raw_arguments=part.raw_arguments
        )
        if (event := self.results.get(part.call)) is None:
            return use
        result = _result(event)
        return msgspec.structs.replace(
            use, output=result.output, error=result.error, duration_ms=event.duration_ms
        )


def _result(event: ToolResultFinished) -> ToolResultPart:
    error = event.error if isinstance(event.error, ToolError) else None
    output = None if error or event.output is UNSET else event.output
    return ToolResultPart(call=event.call, output=output, error=error)


def _goes_with(item: SourceCited | FileProduced | Notice, gone: StepDiscarded) -> bool:
    return isinstance(item, SourceCited) and item.step == gone.step


class Words:
    """What of a stream is said, piece by piece: text and refusals, with a blank line between parts.

    What was said and is discarded stays said; what follows then begins after a blank line.
    """

    def __init__(self) -> None:
        self._spoken: dict[str, bool] = {}
        self._held: dict[str, str] = {}
        self._last: str | None = None
        self._at = START

    def take(self, event: StreamEvent) -> str:
        """The words that an event brings; most bring none."""
        match event:
            case PartStarted():
                self._spoken[event.part] = event.kind != "reasoning"
            case StreamChunk() if event.part not in self._spoken:
                # Read from the middle on: whether these are thoughts is told at their end.
                self._held[event.part] = self._held.get(event.part, "") + event.delta
            case StreamChunk() if self._spoken[event.part]:
                return self._say(event, event.delta)
            case PartFinished() if held := self._held.pop(event.part, ""):
                return "" if event.kind == "reasoning" else self._say(event, held)
            case StepDiscarded() if self._last is not None:
                self._last = ""
            case Resync():
                self._held.clear()
            case _:
                pass
        return ""

    def _say(self, event: StreamChunk | PartFinished, text: str) -> str:
        if event.epoch == self._at.epoch and event.seq <= self._at.seq:
            return ""  # once more, after a resync of a reader that fell behind
        self._at = Cursor(event.epoch, event.seq)
        between = BETWEEN if self._last not in (None, event.part) else ""
        self._last = event.part
        return between + text
