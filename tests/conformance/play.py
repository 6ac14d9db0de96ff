"""A run of the fake server: it obeys the cues that the kit sends, and gets one thing wrong where it is told to."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from porch.contract import events as e
from porch.contract.frames import encode_frame
from porch.contract.ids import new_id
from porch.providers.cues import Cue, read_cues, read_seconds

LOST = 6  # events that a kill takes back
USAGE = e.Usage(input_tokens=3, output_tokens=5)


class Cancelled(Exception):
    """Raised in a run that was cancelled."""


class Failed(Exception):
    """Raised in a step that fails; `shown` says whether words came before."""

    def __init__(self, *, shown: bool) -> None:
        super().__init__()
        self.shown = shown


class Run:
    """A journal that grows, and who waits for more of it."""

    def __init__(self, text: str, models: list[str], fault: str, holder: str, *, asks: bool) -> None:
        self.id, self.message, self.answer = new_id("run"), new_id("msg"), new_id("msg")
        self.conversation = ""
        self.frames: list[bytes] = []
        self.epoch, self.kept = 1, 0
        self.status = "running"
        self.holder = holder
        self.cancelled = asyncio.Event()
        self.decision: e.Decision | None = None
        self.decided = asyncio.Event()
        self._asks = asks
        self.changed = asyncio.Event()
        self.events: list[e.Event] = []
        self._fault = fault
        self._models = models
        self._cues = read_cues(text) or [Cue("say", "You said: " + text)]
        self._step, self._parts = "", itertools.count(1)
        self._open: tuple[str, e.PartKind, list[str]] | None = None

    async def go(self) -> None:
        """Play to the end."""
        self._put(
            e.RunStarted(
                agent="@home/a", version=None, workspace="home", conversation="c", message=self.message
            )
        )
        try:
            await self._play()
        except Cancelled:
            self._close()
            self._put(e.StepFinished(step=self._step, model="m"))
            self._put(e.RunCancelled(by="user:me"))
            self.status = "cancelled"
        if self._fault == "state":
            self.status = "running"
        self._wake()

    def take_over(self) -> Iterator[float]:
        """Go on in the next epoch without what was not committed; yields seconds to wait."""
        self.kept = len(self.frames) - LOST
        del self.frames[self.kept :]
        self.epoch += 1
        self._open = None
        self._put(e.RunResumed(reason="takeover"))
        self._put(e.StepDiscarded(step=self._step, reason="takeover"))
        self._begin("m")
        if self._fault == "runs the tool again":
            self._call("again")
        for _ in range(20):
            self._say("text", "word ")
            yield 0.005
        self._end_step()
        self._finish("stop")

    async def rest(self, seconds: float) -> None:
        """Wait. Raises Cancelled."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.cancelled.wait(), max(seconds, 0.0005))
            raise Cancelled

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def _play(self) -> None:
        for model in self._models:
            self._begin(model)
            try:
                await self._speak()
            except Failed as failure:
                if model != self._models[-1]:
                    self._put(e.StepDiscarded(step=self._step, reason="failed"))
                    self._open = None
                    continue
                self._close()
                self._put(e.StepFinished(step=self._step, model="m"))
                error = e.ErrorInfo(
                    code="x",
                    category="cut",
                    message="It failed.",
                    retryable=True,
                    emitted_any=failure.shown != (self._fault == "emitted_any"),
                )
                self._put(e.RunFailed(error=error))
                self.status = "failed"
            return

    async def _speak(self) -> None:
        reason: e.FinishReason = "stop"
        calls = 0
        for cue in self._cues:
            if cue.verb in ("say", "think", "refuse"):
                kind: e.PartKind = {"say": "text", "think": "reasoning"}.get(cue.verb, "refusal")  # pyright: ignore[reportAssignmentType]  # of the three
                reason = "refusal" if kind == "refusal" else reason
                for word in cue.text.split():
                    self._say(kind, word + " ")
                    await self.rest(0)
            elif cue.verb in ("tokens", "cut") or (cue.verb == "fail" and "after" in cue.options):
                for _ in range(cue.count()):
                    self._say("text", "word ")
                    await self.rest(cue.seconds("itl", 0.0))
                if cue.verb != "tokens":
                    raise Failed(shown=True)
            elif cue.verb == "fail":
                raise Failed(shown=False)
            elif cue.verb == "stall":
                await self.rest(read_seconds(cue.text, 1.0))
            elif cue.verb == "nul":
                self._put(e.Notice(step=self._step, code="nul_replaced", text="A NUL was replaced."))
                self._say("text", "Before." if self._fault == "nul kept" else "Before\ufffdafter.")
            elif cue.verb == "call":
                calls += 1
                if self._asks:
                    await self._ask(f"call{calls}")
                else:
                    self._call(f"call{calls}")
            elif cue.verb == "finish":
                reason = "length"
        self._end_step()
        self._finish(reason)

    def _begin(self, model: str) -> None:
        self._step = f"s{next(self._parts)}"
        self._put(e.StepStarted(step=self._step, model=model))

    def _end_step(self) -> None:
        self._close()
        usage = [e.UsageReported(step=self._step, input_tokens=3, output_tokens=count) for count in (2, 5)]
        end = e.StepFinished(step=self._step, model="m")
        if self._fault == "usage falls":
            usage.reverse()
        for event in [end, *usage] if self._fault == "usage late" else [*usage, end]:
            self._put(event)

    def _finish(self, reason: e.FinishReason) -> None:
        self._put(e.RunFinished(reason=reason, usage=USAGE, message=self.answer))
        self.status = "finished"
        self._wake()

    def _say(self, kind: e.PartKind, word: str) -> None:
        if self._open is None or self._open[1] != kind:
            self._close()
            part = "p" if self._fault == "part twice" else f"p{next(self._parts)}"
            self._open = part, kind, []
            self._put(e.PartStarted(step=self._step, part=part, kind=kind))
        self._open[2].append(word)
        self._put(e.StreamChunk(step=self._step, part=self._open[0], delta=word))

    def _close(self) -> None:
        if self._open is not None:
            part, kind, words = self._open
            self._open = None
            self._put(e.PartFinished(step=self._step, part=part, kind=kind, value="".join(words)))

    async def _ask(self, call: str) -> None:
        """A call that waits for a person; whoever answers is the next producer."""
        self._close()
        given = {"timezone": "Europe/Paris"}
        step = self._step
        self._put(e.ToolCallStarted(step=step, call=call, name="clock"))
        self._put(e.ToolCallDelta(step=step, call=call, delta=msgspec.json.encode(given).decode()))
        self._put(e.ToolCallFinished(step=step, call=call, name="clock", arguments=given))
        self._end_step()
        shown = {} if self._fault == "other parameters shown" else given
        if self._fault == "runs unasked":
            self._answer(call, "approve")
        self._put(self._asked(call, shown))
        self._put(e.RunPaused(reason="approval"))
        self.status = "paused"
        self._wake()
        await self.decided.wait()
        self.status = "running"
        self.epoch += self._fault != "same epoch"
        self._put(e.RunResumed(reason="approval"))
        decided = e.ApprovalResolved(approval="apr_1", decision=self.decision or "deny", by="user:me")
        for _ in range(1 + (self._fault == "decided twice")):
            self._put(decided)
        if self._fault != "runs unasked":
            self._answer(call, "approve" if self._fault == "denied runs" else decided.decision)
        self._begin("m")

    def _asked(self, call: str, shown: dict[str, Any]) -> e.ApprovalRequested:
        return e.ApprovalRequested(
            approval="apr_1",
            call=call,
            name="clock",
            arguments=shown,
            reason="tool",
            expires=datetime.now(UTC),
        )

    def _answer(self, call: str, decision: e.Decision) -> None:
        self._put(e.ToolResultStarted(call=call))
        if decision == "approve":
            self._put(e.ToolResultFinished(call=call, output="12:00", duration_ms=1))
        else:
            error = e.ToolError(code="denied", message="Somebody denied it.")
            self._put(e.ToolResultFinished(call=call, error=error, duration_ms=1))

    def _call(self, call: str) -> None:
        self._close()
        step = self._step
        self._put(e.ToolCallStarted(step=step, call=call, name="clock"))
        self._put(e.ToolCallDelta(step=step, call=call, delta='{"timezone": "UTC"}'))
        self._put(e.ToolCallFinished(step=step, call=call, name="clock", arguments={"timezone": "UTC"}))
        self._put(e.ToolResultStarted(step=step, call=call))
        self._put(e.ToolResultFinished(step=step, call=call, output="12:00", duration_ms=1))

    def _put(self, event: e.Event) -> None:
        for told in _with_fault(self._fault, event):
            self.events.append(told)
            skipped = self._fault == "gap" and len(self.frames) > 4
            seq = len(self.frames) + 1 + skipped
            epoch = self.epoch + _epoch_fault(self._fault, seq)
            frame = encode_frame(told, self.id.encode(), epoch, seq, time.time_ns())
            self.frames.append(_with_byte_fault(self._fault, frame))
        self._wake()


def _epoch_fault(fault: str, seq: int) -> int:
    return int((fault == "epoch unsaid" and seq > 5) or (fault == "epoch falls" and seq < 4))


def _with_fault(fault: str, event: e.Event) -> list[e.Event]:
    """What stands in the stream for an event."""
    dropped = {
        "no run.started": e.RunStarted,
        "part open": e.PartFinished,
        "step open": e.StepFinished,
        "no result": (e.ToolResultStarted, e.ToolResultFinished),
        "no notice": e.Notice,
        "no run.resumed": e.RunResumed,
    }
    if isinstance(event, dropped.get(fault, ())):
        return []
    match fault, event:
        case ("no takeback", e.StepDiscarded(reason="failed")) | (
            "no takeback after a kill",
            e.StepDiscarded(reason="takeover"),
        ):
            return []
        case "value", e.PartFinished():
            return [msgspec.structs.replace(event, value=event.value + "!")]
        case "arguments", e.ToolCallFinished():
            return [msgspec.structs.replace(event, arguments={})]
        case "empty delta", e.StreamChunk():
            return [event, msgspec.structs.replace(event, delta="")]
        case "NUL in a delta", e.StreamChunk():
            return [msgspec.structs.replace(event, delta="\x00")]
        case "two ends", e.RunFinished():
            return [event, event]
        case "late event", e.RunFinished():
            return [event, e.Notice(code="late", text="Late.")]
        case "cut is success", e.RunFailed():
            return [e.RunFinished(reason="stop", usage=USAGE, message="msg_x")]
        case "reason lost", e.RunFinished(reason="length"):
            return [msgspec.structs.replace(event, reason="stop")]
        case "call unknown", e.ToolCallDelta():
            return [msgspec.structs.replace(event, call="nobody")]
        case _:
            return [event]


def _with_byte_fault(fault: str, frame: bytes) -> bytes:
    """A frame's bytes, spoiled."""
    spoil = {
        "id": (b"id: 1-", b"id: 1-9"),
        "no id": (b"id: ", b"ID: "),
        "name": (b"event: stream.chunk", b"event: chunk"),
        "no JSON": (b"data: {", b"data: "),
        "version 2": (b'"v":1', b'"v":2'),
        "no time": (b'"ts":', b'"at":'),
        "another run": (b'"run":"run_0', b'"run":"run_f') if b"step" in frame else (b"", b""),
        "seq as text": (b'"seq":', b'"seq":"7","x":'),
        "delta as number": (b'"delta":', b'"delta":1,"x":'),
        "half a character": (b'"delta":"', b'"delta":"\\ud83d'),
    }
    old, new = spoil.get(fault, (b"", b""))
    return frame.replace(old, new) if old else frame
