"""What a stream gives beside the contract's events, and what is measured of it."""

import time
from dataclasses import dataclass, field

from msgspec import Struct

from porch.contract.events import (
    AnyEvent,
    PartStarted,
    RunCancelled,
    RunFailed,
    RunFinished,
    StepDiscarded,
    StepFinished,
    StepStarted,
    StreamChunk,
    ToolCallStarted,
    UsageReported,
)


class Resync(Struct, frozen=True, tag="stream.resync", tag_field="type"):
    """Forget every event after seq `keep_through`: another producer took over, or this reader fell behind.

    `reason` is "takeover" or "overflow".
    """

    reason: str
    keep_through: int


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection was lost; the stream goes on where it was, after `seconds`, if the server answers."""

    attempt: int
    seconds: float
    reason: str


StreamEvent = AnyEvent | Resync
StreamItem = StreamEvent | Reconnecting


@dataclass(slots=True)
class Timings:
    """When things happened, in seconds of `time.perf_counter`; None for what did not happen yet.

    What a step said that was discarded later is no answer: its times are forgotten with it.
    """

    sent: float | None = None
    ended: float | None = None
    _spoken: set[str] = field(default_factory=set[str])
    _words: dict[str | None, float] = field(default_factory=dict[str | None, float])
    _began: float | None = None
    _closed: float | None = None
    _tokens: int = 0

    @property
    def first_text(self) -> float | None:
        """When the answer's first words came, of those that stand."""
        return next(iter(self._words.values()), None)

    @property
    def to_first_text(self) -> float | None:
        """Seconds from sending the message to the answer's first words, of those that stand."""
        return None if self.sent is None or self.first_text is None else self.first_text - self.sent

    @property
    def end_to_end(self) -> float | None:
        """Seconds from sending the message to the stream's end."""
        return None if self.sent is None or self.ended is None else self.ended - self.sent

    @property
    def tokens_per_second(self) -> float | None:
        """The pace of the model that answered: its last step's tokens, from the step's first sign to its end."""
        if self._began is None or self._closed is None or self._closed <= self._began or not self._tokens:
            return None
        return self._tokens / (self._closed - self._began)

    def note(self, event: AnyEvent) -> None:
        """Take the time of an event that comes just now."""
        match event:
            case StreamChunk():
                if event.step not in self._words and event.part in self._spoken:
                    self._words[event.step] = time.perf_counter()
            case PartStarted() | ToolCallStarted():
                self._began = self._began or time.perf_counter()
                if isinstance(event, PartStarted) and event.kind != "reasoning":
                    self._spoken.add(event.part)
            case StepStarted():
                self._began, self._closed, self._tokens = None, None, 0
            case StepDiscarded():
                self._words.pop(event.step, None)
                self._began, self._closed, self._tokens = None, None, 0
            case UsageReported():
                self._tokens = event.output_tokens
            case StepFinished():
                self._closed = time.perf_counter()
            case RunFinished() | RunFailed() | RunCancelled():
                self.ended = time.perf_counter()
            case _:
                pass
