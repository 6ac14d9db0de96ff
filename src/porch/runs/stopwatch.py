"""How long a run and its model calls take, noted at their boundaries: no delta costs anything here."""

import time
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from porch.contract.events import (
    AnyEvent,
    PartStarted,
    ToolCallDelta,
    ToolCallStarted,
    ToolError,
    ToolResultFinished,
    UsageReported,
)
from porch.runs.live import LiveRun
from porch.runs.turn import Turn

FIRST_MESSAGES = 4
Outcome = Literal["finished", "failed", "cancelled", "paused", "left"]


@dataclass(slots=True)
class CallTimes:
    """One model call. Times are in seconds, `began` since 1970; `code` says how it failed."""

    workspace: UUID
    run: UUID
    step: str
    asked: str
    answered: str
    began: float
    duration: float = 0.0
    first_chunk: float | None = None
    chunks: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    reason: str | None = None
    code: str | None = None

    @property
    def broke(self) -> bool:
        """Whether it failed after it had begun to answer."""
        return self.code is not None and self.first_chunk is not None

    @property
    def per_chunk(self) -> float | None:
        """The mean time between its chunks; None of a call with fewer than two."""
        if self.first_chunk is None or self.chunks < 2:
            return None
        return max(0.0, self.duration - self.first_chunk) / (self.chunks - 1)


@dataclass(slots=True)
class ToolTimes:
    """One call of a tool."""

    call: str
    name: str
    began: float
    duration: float
    code: str | None = None


@dataclass(slots=True)
class RunTimes:
    """One run from its start, whoever began it, to its end here, or to where it paused or was left to
    another process; after a wait, also one behind another answer, from there on.

    First chunk and first text are those of the answer that stands, None where another process knows them; `gap` is
    how long it stood still, at most, before this process took it over. `message` counts what its person has said in
    the conversation, for the first few of a lasting one.
    """

    workspace: UUID
    run: UUID
    agent: str
    began: float
    duration: float
    outcome: Outcome
    code: str | None
    asked: str
    answered: str
    epoch: int
    takeovers: int
    first_chunk: float | None
    first_text: float | None
    gap: float | None
    calls: list[CallTimes]
    tools: list[ToolTimes]
    conversation: UUID | None
    message: int | None

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self.outcome not in ("paused", "left")

    @property
    def broke(self) -> bool:
        """Whether a model call failed in mid-answer."""
        return any(call.broke for call in self.calls)

    @property
    def model(self) -> str:
        """The model that answered, or failed last, as it was asked for."""
        return self.calls[-1].asked if self.calls else self.asked


class Observer(Protocol):
    """Who wants to know."""

    def run_ended(self, run: RunTimes) -> None:
        """A run came to its end, or to a pause, and that is committed; or it is left to another process."""
        ...


class Stopwatch:
    """Follows one run while this process carries it."""

    __slots__ = (
        "_call",
        "_calls",
        "_first_chunk",
        "_first_text",
        "_live",
        "_observer",
        "_offset",
        "_origin",
        "_others",
        "_seq",
        "_text_call",
        "_told",
        "_tools",
        "_turn",
        "_untold",
    )

    def __init__(self, live: LiveRun, turn: Turn, observer: Observer) -> None:
        self._live = live
        self._turn = turn
        self._observer = observer
        self._offset = time.time() - time.perf_counter()
        # Days may lie between a question and its answer by a person, or an answer before this one.
        self._origin = made_at(live.id) if turn.since is None else turn.since
        # What an earlier producer showed, and when, is not known here.
        self._untold = turn.resumed and any(step.finished for step in turn.transcript.steps)
        self._calls: list[CallTimes] = []
        self._tools: list[ToolTimes] = []
        self._call: CallTimes | None = None
        self._seq = self._others = 0
        self._first_chunk: float | None = None
        self._first_text: float | None = None
        self._text_call: CallTimes | None = None
        self._told = False

    @property
    def _now(self) -> float:
        return time.perf_counter() + self._offset

    def begin(self, step: str, model: str) -> None:
        """A model is asked now."""
        self._seq, self._others = self._live.seq, 0
        live = self._live
        self._call = CallTimes(live.workspace, live.id, step, model, model, self._now)
        self._calls.append(self._call)

    def note(self, event: AnyEvent) -> None:
        """An event of the step, deltas aside."""
        kind, call = type(event), self._call
        if kind is not ToolCallDelta:
            self._others += 1
        if call is None:
            return
        if isinstance(event, PartStarted | ToolCallStarted):
            self._first_sign(call, event)
        elif isinstance(event, UsageReported):
            call.input_tokens, call.output_tokens = event.input_tokens, event.output_tokens

    def _first_sign(self, call: CallTimes, event: PartStarted | ToolCallStarted) -> None:
        speaks = isinstance(event, PartStarted) and event.kind != "reasoning"
        if call.first_chunk is not None and (not speaks or self._first_text is not None):
            return
        now = self._now
        if call.first_chunk is None:
            call.first_chunk = now - call.began
        if self._first_chunk is None:
            self._first_chunk = now
        if speaks and self._first_text is None:
            self._first_text, self._text_call = now, call

    def end(self, answered: str, reason: str) -> None:
        """The call is complete."""
        if call := self._close():
            call.answered, call.reason = answered, reason

    def fail(self, code: str) -> None:
        """The call failed."""
        if call := self._close():
            call.code = code

    def discard(self) -> None:
        """What the last call showed is void, and another one follows."""
        if self._calls and self._text_call is self._calls[-1]:
            self._first_text = self._text_call = None

    def tool(self, name: str, result: ToolResultFinished) -> None:
        """A tool gave its result."""
        seconds = result.duration_ms / 1000
        code = result.error.code if isinstance(result.error, ToolError) else None
        self._tools.append(ToolTimes(result.call, name, self._now - seconds, seconds, code))

    def _close(self) -> CallTimes | None:
        call, self._call = self._call, None
        if call is not None:
            call.duration = self._now - call.began
            call.chunks = max(0, self._live.seq - self._seq - self._others)
        return call

    def leave(self) -> None:
        """Another process goes on with the run, if it has not come to its end: what is complete is told here."""
        if self._told or not self._live.confirmed:
            return
        if self._call is not None:
            self._calls.remove(self._call)
            self._call = None
        self._first_chunk = self._first_text = None
        if self._calls or self._tools or self._turn.gap is not None:
            self.finish("left")

    def finish(self, outcome: Outcome, code: str | None = None) -> None:
        """The run's end, or its pause, is committed."""
        self._told = True
        if self._call is not None:
            self._close()
        live, turn = self._live, self._turn
        last = self._calls[-1] if self._calls else None
        shown = live.shown_from + self._offset
        self._observer.run_ended(
            RunTimes(
                workspace=live.workspace,
                run=live.id,
                agent=turn.definition.name,
                began=self._origin,
                duration=max(0.0, self._now - self._origin),
                outcome=outcome,
                code=code,
                asked=turn.definition.models[0],
                answered=last.answered if last else turn.definition.models[0],
                epoch=live.epoch,
                takeovers=turn.takeovers,
                first_chunk=self._since(self._first_chunk, shown),
                first_text=self._since(self._first_text, shown),
                gap=turn.gap,
                calls=self._calls,
                tools=self._tools,
                conversation=turn.conversation,
                message=_place_of(turn),
            )
        )

    def _since(self, moment: float | None, shown: float) -> float | None:
        """From the run's start to what nobody saw before its message was committed."""
        if moment is None or self._untold:
            return None
        return max(0.0, max(moment, shown) - self._origin)


def _place_of(turn: Turn) -> int | None:
    if not turn.fresh or turn.more or len(turn.history) > FIRST_MESSAGES:
        return None
    return sum(message.role == "user" for message in turn.history)


def made_at(identifier: UUID) -> float:
    """When an id was made, in seconds since 1970: a UUIDv7 tells it to the millisecond."""
    return (identifier.int >> 80) / 1000
