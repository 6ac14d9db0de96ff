"""What a run's events amount to: the answer so far, and where a takeover goes on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import msgspec

from porch.contract.events import (
    AnyEvent,
    ApprovalRequested,
    ApprovalResolved,
    Cost,
    PartFinished,
    PauseReason,
    ReasoningSealed,
    RunPaused,
    RunResumed,
    StepDiscarded,
    StepFinished,
    StepStarted,
    ToolCallFinished,
    ToolError,
    ToolResultFinished,
    ToolResultStarted,
    Usage,
    UsageReported,
)
from porch.contract.messages import (
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from porch.models.prices import spell


@dataclass(slots=True)
class Step:
    """One model call and what its tools gave."""

    id: str
    parts: list[Part] = field(default_factory=list[Part])
    thoughts: dict[str, int] = field(default_factory=dict[str, int])
    calls: dict[str, ToolCallFinished] = field(default_factory=dict[str, ToolCallFinished])
    started: set[str] = field(default_factory=set[str])
    results: dict[str, ToolResultPart] = field(default_factory=dict[str, ToolResultPart])
    usage: UsageReported | None = None
    finished: bool = False
    size: int = 0  # bytes, about: what its parts and results come to

    @property
    def open_calls(self) -> list[ToolCallFinished]:
        """Calls without a result."""
        return [call for call in self.calls.values() if call.call not in self.results]

    def add_thought(self, part: str, text: str) -> None:
        """The words of a part of reasoning, joined to its seal if that came before them."""
        at = self.thoughts.setdefault(part, len(self.parts))
        if at == len(self.parts):
            self.parts.append(ReasoningPart(text=text))
        elif isinstance(before := self.parts[at], ReasoningPart):
            self.parts[at] = msgspec.structs.replace(before, text=text)

    def add_seal(self, event: ReasoningSealed) -> None:
        """A sealed block, joined to the words of its part; one of no part, or a second one, stands for itself.

        Encoders take words and seal from one part, since a signature is worth nothing without its words.
        """
        at = len(self.parts)
        if event.part is not None:
            at = self.thoughts.setdefault(event.part, at)
        before = self.parts[at] if at < len(self.parts) else None
        if isinstance(before, ReasoningPart) and before.sealed is None:
            self.parts[at] = ReasoningPart(text=before.text, format=event.format, sealed=event.data)
        else:
            self.parts.append(ReasoningPart(text="", format=event.format, sealed=event.data))


class Transcript:
    """A fold over a run's events, deltas aside.

    `requests` are the approvals asked for, by call, `decisions` what came of them, by approval. `paused` is what the
    run waits for where its last event says so, `waits` how many pauses it came back from.
    """

    __slots__ = ("_discarded", "count", "decisions", "paused", "requests", "steps", "waits")

    def __init__(self, events: Iterable[AnyEvent] = ()) -> None:
        self.steps: list[Step] = []
        self.count = 0
        self.requests: dict[str, ApprovalRequested] = {}
        self.decisions: dict[str, ApprovalResolved] = {}
        self.paused: PauseReason | None = None
        self.waits = 0
        self._discarded: list[UsageReported] = []
        for event in events:
            self.add(event)

    def add(self, event: AnyEvent) -> None:
        """Take one event in; deltas change nothing and need not come."""
        match event:
            case StepStarted(step=str(step)):
                self.count += 1
                self.steps.append(Step(step))
            case StepDiscarded(step=step):
                self._discarded += [gone.usage for gone in self.steps if gone.id == step and gone.usage]
                self.steps = [kept for kept in self.steps if kept.id != step]
            case StepFinished():
                self.steps[-1].finished = True
            case PartFinished() | ReasoningSealed() | ToolCallFinished():
                self._add_part(self.steps[-1], event)
            case UsageReported():
                self.steps[-1].usage = event
            case ToolResultStarted(call=call):
                self.steps[-1].started.add(call)
            case ToolResultFinished(call=call):
                error = event.error if isinstance(event.error, ToolError) else None
                output = None if error else event.output
                result = ToolResultPart(call=call, output=output, error=error)
                self.steps[-1].results[call] = result
                self.steps[-1].size += len(msgspec.json.encode(result))
            case _:
                self._add_pause(event)

    def _add_pause(self, event: AnyEvent) -> None:
        match event:
            case ApprovalRequested(call=call):
                self.requests[call] = event
            case ApprovalResolved(approval=approval):
                self.decisions[approval] = event
            case RunPaused(reason=reason):
                self.paused = reason
            case RunResumed(reason=reason):
                self.paused = None
                self.waits += reason != "takeover"
            case _:
                pass

    @property
    def size(self) -> int:
        """What the answer comes to so far, in bytes."""
        return sum(step.size for step in self.steps)

    @property
    def open_approvals(self) -> list[ApprovalRequested]:
        """What somebody was asked to approve and nobody has decided."""
        return [asked for asked in self.requests.values() if asked.approval not in self.decisions]

    @property
    def open_step(self) -> Step | None:
        """The step whose model call is not complete."""
        return self.steps[-1] if self.steps and not self.steps[-1].finished else None

    @property
    def open_calls(self) -> list[ToolCallFinished]:
        """Calls of the last complete step that have no result yet."""
        return self.steps[-1].open_calls if self.steps and self.steps[-1].finished else []

    @property
    def open_results(self) -> list[str]:
        """Calls of the last step whose tool began and has not ended."""
        last = self.steps[-1] if self.steps else None
        return [call for call in last.calls if call in last.started - last.results.keys()] if last else []

    def parts(self) -> list[Part]:
        """The answer as one message's parts: each step's own, then its tools' results."""
        found: list[Part] = []
        for step in self.steps:
            found += step.parts
            found += (step.results[call] for call in step.calls if call in step.results)
        return found

    def usage(self) -> Usage | None:
        """All steps' counts together, with those of discarded ones, which were paid for as well.

        None when no step reported any. The cost is unknown as soon as that of one step is.
        """
        reports = self._discarded + [step.usage for step in self.steps if step.usage]
        if not reports:
            return None
        return Usage(
            input_tokens=sum(report.input_tokens for report in reports),
            output_tokens=sum(report.output_tokens for report in reports),
            cached_input_tokens=_sum(report.cached_input_tokens for report in reports),
            reasoning_tokens=_sum(report.reasoning_tokens for report in reports),
            cost=_sum_costs([report.cost for report in reports]),
        )

    def tokens(self) -> int:
        """What counts against a quota: all that was read and written, as far as it was reported."""
        reports = self._discarded + [step.usage for step in self.steps if step.usage]
        return sum(report.input_tokens + report.output_tokens for report in reports)

    @staticmethod
    def _add_part(step: Step, event: PartFinished | ReasoningSealed | ToolCallFinished) -> None:
        step.size += _size(event)
        match event:
            case PartFinished(kind="text", value=value):
                step.parts.append(TextPart(text=value))
            case PartFinished(kind="reasoning", part=part, value=value):
                step.add_thought(part, value)
            case PartFinished(value=value):
                step.parts.append(RefusalPart(text=value))
            case ReasoningSealed():
                step.add_seal(event)
            case ToolCallFinished():
                step.calls[event.call] = event
                step.parts.append(
                    ToolCallPart(
                        call=event.call,
                        name=event.name,
                        arguments=event.arguments,
                        raw_arguments=event.raw_arguments,
                    )
                )


def _size(event: PartFinished | ReasoningSealed | ToolCallFinished) -> int:
    match event:
        case PartFinished(value=value):
            return len(value) if value.isascii() else len(value.encode())
        case ReasoningSealed(data=data):
            return len(msgspec.json.encode(data))
        case ToolCallFinished():
            return len(msgspec.json.encode(event))


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _sum_costs(costs: Sequence[Cost | None]) -> Cost | None:
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs) or len({cost.currency for cost in known}) != 1:
        return None
    try:
        amount = sum((Decimal(cost.amount) for cost in known), Decimal(0))
    except InvalidOperation:
        return None
    # Of several prices, the oldest says how far the sum can be trusted.
    return Cost(
        amount=spell(amount), currency=known[0].currency, priced_at=min(cost.priced_at for cost in known)
    )
