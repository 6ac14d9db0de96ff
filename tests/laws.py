"""The laws of the stream contract as checks over a list of events: of one model call, or of a whole run."""

import json
from collections.abc import Sequence

from porch.contract.events import (
    TERMINAL,
    AnyEvent,
    ApprovalRequested,
    PartFinished,
    PartStarted,
    RunPaused,
    RunResumed,
    RunStarted,
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


def check_step(events: Sequence[AnyEvent]) -> None:
    """What one provider's stream gave, closers included, keeps the laws on parts and calls."""
    ledger = _Ledger()
    for event in events:
        ledger.take(event)
    ledger.check_nothing_open()


def check_run(events: Sequence[AnyEvent], *, first_seq: int = 1) -> None:
    """A whole run as a reader got it from its start: also dense `seq`, and one terminal event, the last."""
    assert events, "a run has events"
    assert [event.seq for event in events] == list(range(first_seq, first_seq + len(events))), "seq is dense"
    assert len({event.run for event in events}) == 1, "one run"
    epochs = [event.epoch for event in events]
    assert epochs == sorted(epochs), "epochs never fall"
    if first_seq == 1:
        assert isinstance(events[0], RunStarted), "a run begins with run.started"
    assert isinstance(events[-1], TERMINAL), "a run ends with a terminal event"
    assert sum(isinstance(event, TERMINAL) for event in events) == 1, "exactly one terminal event"
    check_paused_run(events)


def check_paused_run(events: Sequence[AnyEvent]) -> None:
    """A stretch of a run up to its end or a pause: everything that began in it has ended."""
    ledger = _Ledger()
    for event in events:
        ledger.take(event)
    assert isinstance(events[-1], (*TERMINAL, RunPaused)), "a stream ends with an end or a pause"
    ledger.check_nothing_open()


class _Ledger:
    """What is open, and what came of it so far."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[str, list[str], str | None]] = {}
        self.calls: dict[str, tuple[str, list[str], str | None]] = {}
        self.results: dict[str, str | None] = {}
        self.steps: dict[str, bool] = {}
        self.seen: set[str] = set()
        self.asked: set[str] = set()

    def take(self, event: AnyEvent) -> None:
        """Check one more event."""
        match event:
            case PartStarted():
                self._begin(f"part {event.part}")
                self.parts[event.part] = (event.kind, [], event.step)
            case StreamChunk():
                check_text(event.delta)
                self.parts[event.part][1].append(event.delta)
            case PartFinished():
                kind, deltas, _ = self.parts.pop(event.part)
                assert kind == event.kind
                assert event.value == "".join(deltas), "the full value equals the deltas joined"
            case ToolCallStarted():
                self._begin(f"call {event.call}")
                self.calls[event.call] = (event.name, [], event.step)
            case ToolCallDelta():
                check_text(event.delta)
                self.calls[event.call][1].append(event.delta)
            case ToolCallFinished():
                self._end_call(event)
            case ToolResultStarted():
                self._begin(f"result {event.call}")
                self.results[event.call] = event.step
            case ToolResultChunk():
                check_text(event.delta)
                assert event.call in self.results
            case ToolResultFinished():
                assert event.call in self.results, "a result ends once, after it began"
                del self.results[event.call]
            case ApprovalRequested():
                self._begin(f"approval {event.approval}")
            case _:
                self._take_step(event)

    def check_nothing_open(self) -> None:
        """Every start has had its end."""
        assert not self.parts, f"parts without an end: {list(self.parts)}"
        assert not self.calls, f"calls without an end: {list(self.calls)}"
        assert not self.results, f"results without an end: {list(self.results)}"
        assert not self.steps, f"steps without an end: {list(self.steps)}"

    def _take_step(self, event: AnyEvent) -> None:
        match event:
            case StepStarted(step=str(step)):
                self._begin(f"step {step}")
                self.steps[step] = True
            case UsageReported(step=str(step)):
                assert f"step {step}" not in self.seen or step in self.steps, (
                    "usage stands before step.finished"
                )
            case StepFinished(step=str(step)):
                del self.steps[step]
                still = [
                    item
                    for item, (_, _, where) in [*self.parts.items(), *self.calls.items()]
                    if where == step
                ]
                assert not still, f"open at the end of their step: {still}"
            case StepDiscarded(step=str(step)):
                self.steps.pop(step, None)
                self.parts = {key: item for key, item in self.parts.items() if item[2] != step}
                self.calls = {key: item for key, item in self.calls.items() if item[2] != step}
                self.results = {key: where for key, where in self.results.items() if where != step}
            case RunResumed():
                pass
            case _:
                if isinstance(event, TERMINAL):
                    self.check_nothing_open()

    def _begin(self, what: str) -> None:
        assert what not in self.seen, f"{what} began twice"
        self.seen.add(what)

    def _end_call(self, event: ToolCallFinished) -> None:
        name, deltas, _ = self.calls.pop(event.call)
        raw = "".join(deltas)
        assert name == event.name
        if event.arguments is None:
            assert event.raw_arguments == raw, "raw arguments equal the deltas joined"
            assert event.error is not None, "arguments that do not parse say why"
        else:
            assert event.error is None
            assert event.arguments == clean_json(json.loads(raw.strip() or "{}")), (
                "the arguments are what the deltas joined say"
            )


def check_text(delta: str) -> None:
    """A delta is not empty, holds whole code points, and no NUL."""
    assert delta, "no empty deltas"
    delta.encode()
    assert "\x00" not in delta


__all__ = ["check_paused_run", "check_run", "check_step", "check_text"]
