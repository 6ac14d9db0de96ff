"""An agent's answer as it arrives, told on a terminal."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import UNSET, to_builtins

from porch.cli.prose import Prose
from porch.client.items import Reconnecting, Resync, StreamItem, Timings
from porch.client.stream import RunStream
from porch.contract.canonical import canonical_json
from porch.contract.events import (
    ApprovalRequested,
    ErrorInfo,
    FileProduced,
    MemoryWriteEvent,
    Notice,
    PartFinished,
    PartStarted,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    SourceCited,
    StepDiscarded,
    StepFinished,
    StepStarted,
    StreamChunk,
    ToolCallFinished,
    ToolResultFinished,
    Usage,
)
from porch.contract.frames import Cursor

Status = Literal["finished", "failed", "cancelled", "paused", "open"]
LONGEST_ARGUMENT = 160


@dataclass(slots=True)
class Outcome:
    """How an answer ended, and what it came to. `text` is the answer's own words, without discarded ones."""

    status: Status = "open"
    reason: str = ""
    text: str = ""
    model: str = ""
    usage: Usage | None = None
    error: ErrorInfo | None = None
    run: str | None = None
    cursor: Cursor | None = None
    timings: Timings = field(default_factory=Timings)

    @property
    def figures(self) -> str:
        """`first token 0.21 s · 54 tokens/s · end to end 2.9 s`, as far as they are known."""
        return " · ".join(part for part in _figures(self) if part)


class Reply:
    """Shows one run."""

    def __init__(self, prose: Prose, aside: Prose | None = None, *, quiet: bool = False) -> None:
        """`aside` takes everything but the answer; without it that stands among it. `quiet` shows no answer.

        An answer alone that goes to no terminal is read by a program, which cannot take words back: it gets a
        step's words when the step has ended.
        """
        self._prose = prose
        self._aside = aside or prose
        self._held = not (quiet or prose.terminal or self._aside is prose)
        self._streams = not (quiet or self._held)
        self._given = 0
        self._kinds: dict[str, str] = {}
        self._steps: dict[str, int] = {}
        self._calls: dict[str, str] = {}
        self._told = False
        self.outcome = Outcome()

    async def follow(self, stream: RunStream, waiting: str = "…") -> Outcome:
        """Show the stream to its end. Raises what iterating raises."""
        self._aside.wait(waiting)
        stream.on_lost = self.show
        stream.on_queued = lambda: self._aside.wait("Waits for the answer before it …")
        try:
            async for item in stream:
                self.show(item)
        finally:
            self._aside.rest()
            self._prose.end()
            self.outcome.timings, self.outcome.run = stream.timings, stream.run
            self.outcome.cursor = stream.cursor
        return self.outcome

    def show(self, item: StreamItem) -> None:  # noqa: PLR0912
        """Show what one item brings; most bring nothing."""
        match item:
            case PartStarted():
                self._begin(item)
            case StreamChunk():
                self._speak(item)
            case PartFinished():
                if self._streams:
                    self._prose.end()
            case ToolCallFinished():
                self._calls[item.call] = item.name
                given = item.arguments if item.error is None else item.raw_arguments
                self._tell(f"→ {item.name} {_short(given)}")
            case ToolResultFinished():
                self._tell_result(item)
            case StepStarted():
                self.outcome.model = item.model
            case StepFinished():
                self.outcome.model = item.model
                self._give()
            case StepDiscarded():
                self._discard(item)
            case Notice():
                self._tell(f"· {item.text}", "yellow")
            case SourceCited():
                self._tell(f"· source: {item.title or ''} {item.url or ''}".rstrip())
            case FileProduced():
                self._tell(f"· file: {item.name} ({item.media_type}, {item.size:,} bytes)")
            case MemoryWriteEvent():
                self._tell(f"· remembered: {item.text}")
            case ApprovalRequested():
                self._tell(
                    f"? {item.name} {canonical_json(item.arguments)} waits for a person's yes: {item.reason}",
                    "yellow",
                )
            case Reconnecting():
                self._lost(item)
            case Resync():
                self._tell("· The server picked the answer up again.", "yellow")
            case RunFinished() | RunFailed() | RunCancelled() | RunPaused():
                self._close(item)
            case _:
                pass

    def _begin(self, item: PartStarted) -> None:
        self._kinds[item.part] = item.kind
        if item.step is not None:
            self._steps.setdefault(item.step, len(self.outcome.text))
        if item.kind != "reasoning" and self.outcome.text:
            self.outcome.text += "\n\n"
            if self._streams and not self._told:
                self._prose.line()

    def _speak(self, item: StreamChunk) -> None:
        if self._kinds.get(item.part) == "reasoning":
            self._aside.text(item.delta, "dim")
            self._told = True
            return
        self._part_from_asides()
        delta = item.delta if self.outcome.text else item.delta.lstrip("\n ")
        self.outcome.text += delta
        if self._streams:
            self._prose.text(delta)

    def _give(self) -> None:
        """What stands now, to a reader who takes nothing back."""
        if self._held:
            self._prose.text(self.outcome.text[self._given :])
            self._given = len(self.outcome.text)

    def _part_from_asides(self) -> None:
        """What was thought and done stands apart from what is said."""
        if self._told and self._aside.terminal:
            self._aside.line()
        elif self._told:
            self._aside.end()
        self._told = False

    def _discard(self, item: StepDiscarded) -> None:
        start = self._steps.pop(item.step or "", None)
        if start is not None:
            self.outcome.text = self.outcome.text[:start]
        elif item.reason == "quota":
            return  # the pause that follows is told, and nothing was shown
        self._tell("· The answer was cut off; the agent begins it again.", "yellow")

    def _lost(self, item: Reconnecting) -> None:
        if item.attempt == 1:
            self._tell(f"· Connection lost ({item.reason}); coming back to the answer …", "yellow")
        self._aside.wait(f"Trying again ({item.attempt}) …")

    def _tell_result(self, item: ToolResultFinished) -> None:
        name = self._calls.get(item.call, "the tool")
        if item.error is not UNSET:
            self._tell(f"✗ {name}: {item.error.message}", "yellow")
        else:
            output = None if item.output is UNSET else item.output
            self._tell(f"  {_short(output)} ({item.duration_ms} ms)")

    def _close(self, item: RunFinished | RunFailed | RunCancelled | RunPaused) -> None:
        outcome = self.outcome
        self._give()
        self._prose.end()
        match item:
            case RunFinished():
                outcome.status, outcome.usage, outcome.reason = "finished", item.usage, item.reason
            case RunFailed():
                outcome.status, outcome.error, outcome.reason = "failed", item.error, item.error.code
            case RunCancelled():
                outcome.status, outcome.reason = "cancelled", item.by
            case RunPaused():
                outcome.status, outcome.reason = "paused", item.reason

    def _tell(self, text: str, style: str = "dim") -> None:
        if self._prose.terminal or self._aside is self._prose:
            self._prose.end()
        self._aside.line(text, style)
        self._told = True


def result_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome for programs. Times are in seconds, null where nothing was measured."""
    timings, usage = outcome.timings, outcome.usage
    return {
        "run": outcome.run,
        "status": outcome.status,
        "answer": outcome.text,
        "model": outcome.model,
        "error": to_builtins(outcome.error),
        "figures": {
            "first_token_seconds": timings.to_first_text,
            "tokens_per_second": timings.tokens_per_second,
            "end_to_end_seconds": timings.end_to_end,
            "input_tokens": usage.input_tokens if usage else None,
            "output_tokens": usage.output_tokens if usage else None,
        },
    }


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_ARGUMENT else text[: LONGEST_ARGUMENT - 1] + "…"


def _figures(outcome: Outcome) -> list[str]:
    timings = outcome.timings
    first, whole = timings.to_first_text, timings.end_to_end
    pace = timings.tokens_per_second
    return [
        f"first token {first:.2f} s" if first is not None else "",
        f"{pace:.0f} tokens/s" if pace is not None else "",
        f"end to end {whole:.2f} s" if whole is not None else "",
    ]
