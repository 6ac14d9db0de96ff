"""The turn loop: ask the model, run the tools it called, ask again, end."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec

from porch.contract.definition import ModelSettings
from porch.contract.errors import PorchError
from porch.contract.events import (
    AnyEvent,
    ApprovalResolved,
    ErrorInfo,
    FinishReason,
    Notice,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    StepDiscarded,
    StepFinished,
    StepStarted,
    StreamChunk,
    ToolCallFinished,
    UsageReported,
    shows_answer,
)
from porch.contract.ids import format_id, new_uuid
from porch.models.service import Models, ResolvedModel
from porch.plugins.service import Tools
from porch.plugins.tool import Tool
from porch.providers.assembly import Assembly
from porch.providers.request import ModelRequest, StepOutcome, ToolSpec
from porch.runs.context import assemble
from porch.runs.failures import Failure, code_of, describe, own_fault, sum_up
from porch.runs.lease import LeaseLost
from porch.runs.limits import check_answer, time_is_up
from porch.runs.live import Ending, LiveRun
from porch.runs.notices import cut_notice, unseen_notice
from porch.runs.pauses import Ask, Gate, find_asks, pause_for
from porch.runs.stopwatch import Observer, Stopwatch
from porch.runs.toolbox import Toolbox, interrupted
from porch.runs.turn import Turn

log = logging.getLogger(__name__)

DEFAULT_STEPS = 16


class Engine:
    """Carries runs from their first model call to their one terminal event, or to a pause."""

    def __init__(self, models: Models, tools: Tools, observer: Observer, gate: Gate) -> None:
        self._models = models
        self._tools = tools
        self._observer = observer
        self._gate = gate

    async def execute(self, live: LiveRun, turn: Turn) -> None:
        """Run a turn to its end, to a pause, or until the lease is lost, which another process heals."""
        work = self._work(live, turn)
        live.begun = True
        if live.lost:
            return
        if live.cancel_by is not None or live.expired_after is not None:
            await _finally(work.stopped())
            return
        try:
            tools = self._tools.of(turn.definition)
            await work.go(tools)
        except LeaseLost:
            return
        except asyncio.CancelledError:
            if live.lost or (live.cancel_by is None and live.expired_after is None):
                raise
            if not live.ending:
                await _finally(work.stopped())
        except PorchError as error:
            await _finally(work.failed(describe(error, emitted_any=live.emitted_any)))
        except Exception:
            log.exception("%s failed by a fault of our own", live.name)
            await _finally(work.failed(own_fault(emitted_any=live.emitted_any)))
        finally:
            work.watch.leave()

    async def fail(self, live: LiveRun, turn: Turn, error: ErrorInfo) -> None:
        """End a run that cannot be carried on."""
        await self._work(live, turn).failed(error)

    def _work(self, live: LiveRun, turn: Turn) -> "_Work":
        return _Work(live, turn, self._models, self._observer, self._gate)


async def _finally(end: Coroutine[Any, Any, None]) -> None:
    """Write an ending even if the task is cancelled once more meanwhile."""
    task = asyncio.create_task(end)
    with contextlib.suppress(LeaseLost):
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await task


class _Work:
    """One run being carried: its transcript, its open step, and what closes them."""

    def __init__(self, live: LiveRun, turn: Turn, models: Models, observer: Observer, gate: Gate) -> None:
        self.live = live
        self.turn = turn
        self.transcript = turn.transcript
        self.models = models
        self.gate = gate
        self.counted = self.transcript.tokens()
        self.assembly: Assembly | None = None
        self.model = turn.definition.models[0]
        self.watch = Stopwatch(live, turn, observer)
        self.tools: dict[str, Tool] = {}
        self.toolbox: Toolbox | None = None
        self.told_cut = self.told_unseen = False
        self.step_seq = 0  # what was shown behind it belongs to the model that is being asked

    # -- the loop

    async def go(self, tools: dict[str, Tool]) -> None:
        self.tools = tools
        self.toolbox = Toolbox(self.live, self.transcript, tools, self.turn.verdicts, self.watch)
        options = self.turn.options
        settings = options.settle(self.turn.definition)
        max_steps = settings.max_steps or DEFAULT_STEPS
        offered = [*tools.values(), *options.offered]
        specs = [ToolSpec(tool.name, tool.description, tool.parameters) for tool in offered]
        if self.turn.resumed and await self._run_tools(self.transcript.open_calls, None, resumed=True):
            return
        while True:
            if len(self.transcript.steps) >= max_steps and self.transcript.open_step is None:
                await self._finish(StepOutcome(reason="limit"), [])
                return
            if full := check_answer(self.transcript.steps, self.live.seq):
                await self._finish(StepOutcome(reason="limit"), [full])
                return
            if await self.gate.closed(self.turn.workspace):
                await self._wait_for_quota()
                return
            outcome = await self._step(specs, settings)
            step = self.transcript.steps[-1]
            finished = StepFinished(step=step.id, model=_answered(self.model, outcome))
            if not step.calls:
                await self._finish(outcome, [finished])
                return
            self.transcript.add(finished)
            await self._commit([finished])
            if await self._run_tools(step.open_calls, outcome.raw_reason):
                return

    async def _run_tools(
        self, calls: list[ToolCallFinished], raw_reason: str | None, *, resumed: bool = False
    ) -> bool:
        """Run the agent's own tools. True when the run goes no further here: calls wait for a person, or are for the
        caller's tools, whose results it brings itself.
        """
        assert self.toolbox is not None
        names = {tool.name for tool in self.turn.options.offered}
        own = [call for call in calls if call.name not in names]
        asks = find_asks(own, self.tools, self.turn.definition, self.transcript)
        waiting = {ask.call.call for ask in asks}
        await self.toolbox.run([call for call in own if call.call not in waiting], resumed=resumed)
        if asks:
            await self._ask(asks)
            return True
        if all(call.name not in names for call in calls):
            return False
        await self._finish(StepOutcome(reason="tool_calls", raw_reason=raw_reason), [])
        return True

    async def _step(self, specs: list[ToolSpec], settings: ModelSettings) -> StepOutcome:
        """One model call, by the first model of the chain that answers."""
        models = self.turn.definition.models
        failures: list[Failure] = []
        for index, name in enumerate(models):
            self.model = name
            await self._begin_step(name)
            self.step_seq = self.live.seq
            step = self.transcript.steps[-1].id
            self.assembly = Assembly(step)
            try:
                outcome = await self._stream(name, specs, settings, self.assembly)
                self.watch.end(_answered(name, outcome), outcome.reason)
                return outcome
            except PorchError as error:
                if isinstance(error, LeaseLost):
                    raise
                self.watch.fail(code_of(error))
                failures.append(Failure(name, error))
                if index + 1 == len(models):
                    raise sum_up(failures) from error
                await self._fall_back(step, error, models[index + 1])
        raise AssertionError("a definition names at least one model")

    async def _begin_step(self, model: str) -> None:
        if self.transcript.open_step is None:
            started = StepStarted(step=f"s{self.transcript.count + 1}", model=model)
            self.transcript.add(started)
            await self.live.commit([started])

    async def _fall_back(self, step: str, error: PorchError, following: str) -> None:
        """Silent when nothing came of the step; else readers drop it first."""
        log.info("%s: falling back to %s: %s", self.live.name, following, error.message)
        left = self.assembly.take() if self.assembly else []
        # What was used of the model that failed was paid for all the same.
        events: list[AnyEvent] = [event for event in left if type(event) is UsageReported]
        if events or self.live.seq > self.step_seq:
            events.append(StepDiscarded(step=step, reason="fallback"))
            for event in events:
                self.transcript.add(event)
            await self._commit(events)
            self.watch.discard()
            self.told_cut = self.told_unseen = False

    async def _stream(
        self, name: str, specs: list[ToolSpec], settings: ModelSettings, assembly: Assembly
    ) -> StepOutcome:
        model = self.models.resolve(name, self.turn.workspace)
        request = self._request(model, specs, settings)
        outcome = StepOutcome()
        live, add = self.live, self._add
        self.watch.begin(assembly.step, name)
        assembly.sink = live.say
        async with contextlib.aclosing(model.provider.stream(request, assembly, outcome)) as stream:
            async for events in stream:
                boundary = False
                for event in events:
                    if type(event) is not StreamChunk:
                        add(event)
                        boundary = boundary or type(event) is ToolCallFinished
                if boundary:
                    await live.commit(events)
                else:
                    live.emit(events)
                if live.is_full:
                    await live.settle()
        assembly.sink = None  # which holds all of this
        return outcome

    def _add(self, event: AnyEvent) -> None:
        self.transcript.add(event)
        self.watch.note(event)

    def _request(self, model: ResolvedModel, specs: list[ToolSpec], settings: ModelSettings) -> ModelRequest:
        instructions = self.turn.options.instruct(self.turn.definition)
        reserve = settings.max_output_tokens or min(
            model.max_output_tokens or 4096, model.context_tokens // 4
        )
        takes = model.provider.takes
        context = assemble(
            self.turn.history,
            self.transcript.parts(),
            more=self.turn.more,
            instructions=instructions,
            tools=specs,
            budget=model.context_tokens - reserve,
            takes=replace(takes, pictures=takes.pictures and model.card.may_see),
        )
        if (context.left_out or context.at_least) and not self.told_cut:
            self.told_cut = True
            self.live.emit([cut_notice(self.transcript.steps[-1].id, context.left_out, name=model.name)])
        if context.unseen and not self.told_unseen:
            self.told_unseen = True
            self.live.emit([unseen_notice(self.transcript.steps[-1].id, context.unseen, name=model.name)])
        return ModelRequest(
            model=model.model,
            instructions=instructions,
            messages=context.messages,
            tools=specs,
            settings=settings,
        )

    # -- pauses

    async def _ask(self, asks: list[Ask]) -> None:
        """Pause until somebody has decided about these calls."""
        events, rows, expires = pause_for(asks, self.turn.definition, await self.gate.now())
        ending = self._ending("paused", None, None)
        await self._commit(
            events, msgspec.structs.replace(ending, pause="approval", approvals=rows, wake=expires)
        )
        self.watch.finish("paused")

    async def _wait_for_quota(self) -> None:
        """Pause until there is quota for the next step."""
        events: list[AnyEvent] = [RunPaused(reason="quota")]
        if step := self.transcript.open_step:
            events.insert(0, StepDiscarded(step=step.id, reason="quota"))
        await self._commit(events, msgspec.structs.replace(self._ending("paused", None, None), pause="quota"))
        self.watch.finish("paused")

    async def _commit(self, events: list[AnyEvent], ending: Ending | None = None) -> None:
        """Commit, and count with it what was used since."""
        used = self.transcript.tokens()
        if used > self.counted:
            self.live.count(used - self.counted)
            self.counted = used
        await self.live.commit(events, ending)

    # -- the three endings

    async def _finish(self, outcome: StepOutcome, closing: list[AnyEvent]) -> None:
        parts = self.transcript.parts()
        message = new_uuid()
        usage = self.transcript.usage()
        reason: FinishReason = outcome.reason
        if not parts and reason == "stop":
            text = "The model ended without saying anything. Ask again, or put it another way."
            self.live.emit([Notice(step=self.transcript.steps[-1].id, code="empty_answer", text=text)])
        finished = RunFinished(
            reason=reason, raw_reason=outcome.raw_reason, usage=usage, message=format_id("msg", message)
        )
        ending = self._ending("finished", message, None)
        await self._commit([*closing, finished], ending)
        self.turn.answer = message
        self.watch.finish("finished")

    async def failed(self, error: ErrorInfo) -> None:
        """Close what is open and end with the error; what was said until then is kept."""
        events = self._closers("system")
        # Words that came along with the failure are shown only now.
        seen = self.live.emitted_any or shows_answer(events)
        error = msgspec.structs.replace(error, emitted_any=seen)
        ending = self._ending("failed", self._kept_message(), error, denied_by="system")
        await self._commit([*events, RunFailed(error=error)], ending)
        self.watch.finish("failed", error.code)

    async def stopped(self) -> None:
        """End as somebody wished, or as failed since the time is up."""
        if self.live.cancel_by is not None:
            await self.cancelled(self.live.cancel_by)
        else:
            seconds = self.live.expired_after or 0.0
            await self.failed(time_is_up(seconds, emitted_any=self.live.emitted_any))

    async def cancelled(self, by: str) -> None:
        """Close what is open and end as cancelled; what was said until then is kept."""
        events = self._closers(by)
        ending = self._ending("cancelled", self._kept_message(), None, denied_by=by)
        await self._commit([*events, RunCancelled(by=by)], ending)
        self.watch.finish("cancelled")

    def _closers(self, by: str) -> list[AnyEvent]:
        events: list[AnyEvent] = [
            ApprovalResolved(step=asked.step, approval=asked.approval, decision="deny", by=by)
            for asked in self.transcript.open_approvals
        ]
        step = self.transcript.open_step
        if step is not None:
            if self.assembly is not None and self.assembly.step == step.id:
                events += self.assembly.close()
            events.append(StepFinished(step=step.id, model=self.model))
        if self.toolbox is not None:
            events += self.toolbox.close()
        for event in events:
            self.transcript.add(event)
        for call in self.transcript.open_results:
            events.append(interrupted(self.transcript.steps[-1].id, call))
            self.transcript.add(events[-1])
        return events

    def _kept_message(self) -> UUID | None:
        return new_uuid() if self.transcript.parts() else None

    def _ending(
        self, status: str, message: UUID | None, error: ErrorInfo | None, *, denied_by: str | None = None
    ) -> Ending:
        usage = self.transcript.usage()
        return Ending(
            status=status,
            message=message,
            parts=msgspec.json.encode(self.transcript.parts()),
            usage=msgspec.json.encode(usage) if usage else None,
            error=msgspec.json.encode(error) if error else None,
            denied_by=denied_by,
        )


def _answered(asked: str, outcome: StepOutcome) -> str:
    """The whole name of the model that answered, which may be a dated form of the one asked."""
    return f"{asked.partition(':')[0]}:{outcome.model}" if outcome.model else asked
