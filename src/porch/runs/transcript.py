"""What a run's events amount to: the answer so far, and where a takeover goes on."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from porch.contract.events import (
    AnyEvent,
    PartFinished,
    ReasoningSealed,
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


@dataclass(slots=True)
class Step:
    """One model call and what its tools gave."""

    id: str
    parts: list[Part] = field(default_factory=list[Part])
    calls: dict[str, ToolCallFinished] = field(default_factory=dict[str, ToolCallFinished])
    started: set[str] = field(default_factory=set[str])
    results: dict[str, ToolResultPart] = field(default_factory=dict[str, ToolResultPart])
    usage: UsageReported | None = None
    finished: bool = False

    @property
    def open_calls(self) -> list[ToolCallFinished]:
        """Calls without a result."""
        return [call for call in self.calls.values() if call.call not in self.results]


class Transcript:
    """A fold over a run's events, deltas aside."""

    def __init__(self, events: Iterable[AnyEvent] = ()) -> None:
        self.steps: list[Step] = []
        self.count = 0
        for event in events:
            self.add(event)

    def add(self, event: AnyEvent) -> None:
        """Take one event in; deltas change nothing and need not come."""
        match event:
            case StepStarted(step=str(step)):
                self.count += 1
                self.steps.append(Step(step))
            case StepDiscarded(step=step):
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
                self.steps[-1].results[call] = ToolResultPart(call=call, output=output, error=error)
            case _:
                pass

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
        """All steps' counts together; None when no step reported any."""
        reports = [step.usage for step in self.steps if step.usage]
        if not reports:
            return None
        return Usage(
            input_tokens=sum(report.input_tokens for report in reports),
            output_tokens=sum(report.output_tokens for report in reports),
            cached_input_tokens=_sum(report.cached_input_tokens for report in reports),
            reasoning_tokens=_sum(report.reasoning_tokens for report in reports),
        )

    @staticmethod
    def _add_part(step: Step, event: PartFinished | ReasoningSealed | ToolCallFinished) -> None:
        match event:
            case PartFinished(kind="text", value=value):
                step.parts.append(TextPart(text=value))
            case PartFinished(kind="reasoning", value=value):
                step.parts.append(ReasoningPart(text=value))
            case PartFinished(value=value):
                step.parts.append(RefusalPart(text=value))
            case ReasoningSealed(format=name, data=data):
                step.parts.append(ReasoningPart(text="", format=name, sealed=data))
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


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
