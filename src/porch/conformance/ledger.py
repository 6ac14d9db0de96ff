"""What is open in a run, and what came of it so far: laws 3 to 9 as each event must keep them."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from porch.conformance.model import Fault
from porch.contract.events import (
    TERMINAL,
    AnyEvent,
    ApprovalRequested,
    PartFinished,
    PartStarted,
    RunFinished,
    StepDiscarded,
    StepFinished,
    StepStarted,
    StreamChunk,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    ToolResultChunk,
    ToolResultFinished,
    ToolResultStarted,
    UsageReported,
)
from porch.contract.text import clean_json


class Open(NamedTuple):
    """A part, a call or a result that began: its kind or name, what came of it, and its step."""

    kind: str
    deltas: list[str]
    step: str | None


class Ledger:
    """Take a run's events one by one; each gives the faults that it makes plain."""

    def __init__(self) -> None:
        self.parts: dict[str, Open] = {}
        self.calls: dict[str, Open] = {}
        self.results: dict[str, Open] = {}
        self.steps: set[str] = set()
        self._begun: set[str] = set()
        self._unanswered: dict[str, str | None] = {}
        self._output: dict[str, int] = {}

    def take(self, event: AnyEvent) -> Iterator[Fault]:
        """Check one more event."""
        match event:
            case PartStarted():
                yield from self._begin(event, f"part {event.part}")
                self.parts[event.part] = Open(event.kind, [], event.step)
            case StreamChunk():
                yield from self._add(event, event.delta, "part", self.parts.get(event.part), event.part)
            case PartFinished():
                yield from self._end_part(event)
            case ToolCallStarted():
                yield from self._begin(event, f"call {event.call}")
                self.calls[event.call] = Open(event.name, [], event.step)
            case ToolCallDelta():
                yield from self._add(event, event.delta, "call", self.calls.get(event.call), event.call)
            case ToolCallFinished():
                yield from self._end_call(event)
            case ToolResultStarted():
                yield from self._begin(event, f"result {event.call}")
                self.results[event.call] = Open("result", [], event.step)
            case ToolResultChunk():
                yield from self._add(event, event.delta, "result", self.results.get(event.call), event.call)
            case ToolResultFinished():
                if self.results.pop(event.call, None) is None:
                    yield _at(event, "closers", f"the result of {event.call} ends, and none was open")
                self._unanswered.pop(event.call, None)
            case ApprovalRequested():
                yield from self._begin(event, f"approval {event.approval}")
            case _:
                yield from self._take_step(event)

    def left_open(self, seq: int | None = None) -> Iterator[Fault]:
        """A fault for everything that has begun and not ended."""
        for what, names in (
            ("parts", list(self.parts)),
            ("calls", list(self.calls)),
            ("results", list(self.results)),
            ("steps", sorted(self.steps)),
        ):
            if names:
                yield Fault("closers", f"{what} without an end: {', '.join(names)}", seq)

    def _take_step(self, event: AnyEvent) -> Iterator[Fault]:
        match event:
            case StepStarted(step=str(step)):
                if self.steps:
                    still = ", ".join(sorted(self.steps))
                    yield _at(
                        event, "retries", f"step {step} begins while {still} is neither over nor taken back"
                    )
                yield from self._begin(event, f"step {step}")
                self.steps.add(step)
            case UsageReported(step=str(step)):
                yield from self._count(event, step)
            case StepFinished(step=str(step)):
                yield from self._end_step(event, step)
            case StepDiscarded(step=str(step)):
                self._discard(step)
            case _:
                if isinstance(event, TERMINAL):
                    yield from self.left_open(event.seq)
                    yield from self._finish(event)

    def _begin(self, event: AnyEvent, what: str) -> Iterator[Fault]:
        if what in self._begun:
            yield _at(event, "names", f"{what} began twice")
        self._begun.add(what)

    def _add(self, event: AnyEvent, delta: str, kind: str, found: Open | None, name: str) -> Iterator[Fault]:
        yield from judge_text(delta, event.seq)
        if found is None:
            yield _at(event, "names", f"a delta came for {kind} {name}, which is not open")
        else:
            found.deltas.append(delta)

    def _end_part(self, event: PartFinished) -> Iterator[Fault]:
        found = self.parts.pop(event.part, None)
        if found is None:
            yield _at(event, "closers", f"part {event.part} ends, and was not open")
            return
        if found.kind != event.kind:
            yield _at(event, "names", f"part {event.part} began as {found.kind} and ends as {event.kind}")
        if event.value != "".join(found.deltas):
            yield _at(event, "values", f"the full value of part {event.part} is not its deltas joined")

    def _end_call(self, event: ToolCallFinished) -> Iterator[Fault]:
        found = self.calls.pop(event.call, None)
        self._unanswered[event.call] = event.step
        if found is None:
            yield _at(event, "closers", f"call {event.call} ends, and was not open")
            return
        if found.kind != event.name:
            yield _at(event, "names", f"call {event.call} began as {found.kind!r} and ends as {event.name!r}")
        raw = "".join(found.deltas)
        if event.arguments is not None:
            if event.error is not None:
                yield _at(event, "values", f"call {event.call} has arguments and an error")
            if event.arguments != _read(raw):
                yield _at(event, "values", f"the arguments of call {event.call} are not what its deltas say")
            return
        if event.raw_arguments != raw:
            yield _at(event, "values", f"the raw arguments of call {event.call} are not its deltas joined")
        if event.error is None:
            yield _at(event, "values", f"call {event.call} has no arguments, and no error that says why")

    def _count(self, event: UsageReported, step: str) -> Iterator[Fault]:
        if f"step {step}" in self._begun and step not in self.steps:
            yield _at(event, "usage", f"usage of step {step} comes after the step's end")
        if event.output_tokens < self._output.get(step, 0):
            yield _at(event, "usage", f"usage of step {step} is not cumulative: it falls")
        self._output[step] = event.output_tokens

    def _end_step(self, event: StepFinished, step: str) -> Iterator[Fault]:
        if step not in self.steps:
            yield _at(event, "closers", f"step {step} ends, and was not open")
        self.steps.discard(step)
        still = [name for name, item in [*self.parts.items(), *self.calls.items()] if item.step == step]
        if still:
            yield _at(event, "closers", f"open at the end of step {step}: {', '.join(still)}")

    def _discard(self, step: str) -> None:
        self.steps.discard(step)
        for things in (self.parts, self.calls, self.results):
            for name in [name for name, item in things.items() if item.step == step]:
                del things[name]
        for call in [call for call, where in self._unanswered.items() if where == step]:
            del self._unanswered[call]

    def _finish(self, event: AnyEvent) -> Iterator[Fault]:
        if isinstance(event, RunFinished) and event.reason == "stop" and self._unanswered:
            calls = ", ".join(self._unanswered)
            yield _at(event, "reasons", f"the run stops while the model's calls have no result: {calls}")


def judge_text(delta: str, seq: int | None = None) -> Iterator[Fault]:
    """A delta is not empty, holds whole code points, and no NUL."""
    if not delta:
        yield Fault("deltas", "a delta is empty", seq)
    if any("\ud800" <= sign <= "\udfff" for sign in delta):
        yield Fault("deltas", "a delta holds half of a surrogate pair", seq)
    if "\x00" in delta:
        yield Fault("deltas", "a delta holds NUL", seq)


def _read(raw: str) -> Any:
    try:
        return clean_json(json.loads(raw.strip() or "{}"))
    except ValueError:
        return None


def _at(event: AnyEvent, check: str, says: str) -> Fault:
    return Fault(check, says, event.seq)
