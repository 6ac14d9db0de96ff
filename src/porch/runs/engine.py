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
from porch.contract.errors import ModelError, PorchError
from porch.contract.events import (
    AnyEvent,
    ErrorInfo,
    FinishReason,
    Notice,
    RunCancelled,
    RunFailed,
    RunFinished,
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
from porch.runs.failures import Failure, sum_up
from porch.runs.lease import LeaseLost
from porch.runs.live import Ending, LiveRun
from porch.runs.toolbox import Toolbox, interrupted
from porch.runs.turn import Turn

log = logging.getLogger(__name__)

DEFAULT_STEPS = 16
MAX_UNCOMMITTED_BYTES = 1024 * 1024


class Engine:
    """Carries runs from their first model call to their one terminal event."""

    def __init__(self, models: Models, tools: Tools) -> None:
        self._models = models
        self._tools = tools

    async def execute(self, live: LiveRun, turn: Turn) -> None:
        """Run a turn to its end, or until the lease is lost, which another process heals."""
        work = _Work(live, turn, self._models)
        live.begun = True
        if live.lost:
            return
        if live.cancel_by is not None:
            await _finally(work.cancelled(live.cancel_by))
            return
        try:
            tools = self._tools.of(turn.definition)
            await work.go(tools)
        except LeaseLost:
            return
        except asyncio.CancelledError:
            if live.lost or live.cancel_by is None:
                raise
            if not live.ending:
                await _finally(work.cancelled(live.cancel_by))
        except PorchError as error:
            await _finally(work.failed(_describe(error, live)))
        except Exception:
            log.exception("%s failed by a fault of our own", live.name)
            message = (
                "Porch failed within this run by a fault of its own; the server's log says more. Try again."
            )
            error = ErrorInfo(
                code="internal",
                category="internal",
                message=message,
                retryable=True,
                emitted_any=live.emitted_any,
            )
            await _finally(work.failed(error))

    async def fail(self, live: LiveRun, turn: Turn, error: ErrorInfo) -> None:
        """End a run that cannot be carried on."""
        await _Work(live, turn, self._models).failed(error)


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

    def __init__(self, live: LiveRun, turn: Turn, models: Models) -> None:
        self.live = live
        self.turn = turn
        self.transcript = turn.transcript
        self.models = models
        self.assembly: Assembly | None = None
        self.model = turn.definition.models[0]
        self.toolbox: Toolbox | None = None
        self.told_cut = self.told_unseen = False
        self.step_seq = 0  # what was shown behind it belongs to the model that is being asked

    # -- the loop

    async def go(self, tools: dict[str, Tool]) -> None:
        self.toolbox = Toolbox(self.live, self.transcript, tools)
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
            outcome = await self._step(specs, settings)
            step = self.transcript.steps[-1]
            finished = StepFinished(step=step.id, model=_answered(self.model, outcome))
            if not step.calls:
                await self._finish(outcome, [finished])
                return
            self.transcript.add(finished)
            await self.live.commit([finished])
            if await self._run_tools(step.open_calls, outcome.raw_reason):
                return

    async def _run_tools(
        self, calls: list[ToolCallFinished], raw_reason: str | None, *, resumed: bool = False
    ) -> bool:
        """Run the agent's own tools; True when the caller's were called too, whose results it brings itself."""
        assert self.toolbox is not None
        names = {tool.name for tool in self.turn.options.offered}
        await self.toolbox.run([call for call in calls if call.name not in names], resumed=resumed)
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
                return await self._stream(name, specs, settings, self.assembly)
            except PorchError as error:
                if isinstance(error, LeaseLost):
                    raise
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
            await self.live.commit(events)
            self.told_cut = self.told_unseen = False

    async def _stream(
        self, name: str, specs: list[ToolSpec], settings: ModelSettings, assembly: Assembly
    ) -> StepOutcome:
        model = self.models.resolve(name)
        request = self._request(model, specs, settings)
        outcome = StepOutcome()
        live, add = self.live, self.transcript.add
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
                if live.waiting_bytes > MAX_UNCOMMITTED_BYTES:
                    await live.settle()
        return outcome

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
            self.live.emit([_cut_notice(self.transcript.steps[-1].id, context.left_out, name=model.name)])
        if context.unseen and not self.told_unseen:
            self.told_unseen = True
            self.live.emit([_unseen_notice(self.transcript.steps[-1].id, context.unseen, name=model.name)])
        return ModelRequest(
            model=model.model,
            instructions=instructions,
            messages=context.messages,
            tools=specs,
            settings=settings,
        )

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
        await self.live.commit([*closing, finished], ending)

    async def failed(self, error: ErrorInfo) -> None:
        """Close what is open and end with the error; what was said until then is kept."""
        events = self._closers()
        # Words that came along with the failure are shown only now.
        seen = self.live.emitted_any or shows_answer(events)
        error = msgspec.structs.replace(error, emitted_any=seen)
        ending = self._ending("failed", self._kept_message(), error)
        await self.live.commit([*events, RunFailed(error=error)], ending)

    async def cancelled(self, by: str) -> None:
        """Close what is open and end as cancelled; what was said until then is kept."""
        events = self._closers()
        ending = self._ending("cancelled", self._kept_message(), None)
        await self.live.commit([*events, RunCancelled(by=by)], ending)

    def _closers(self) -> list[AnyEvent]:
        events: list[AnyEvent] = []
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

    def _ending(self, status: str, message: UUID | None, error: ErrorInfo | None) -> Ending:
        usage = self.transcript.usage()
        return Ending(
            status=status,
            message=message,
            parts=msgspec.json.encode(self.transcript.parts()),
            usage=msgspec.json.encode(usage) if usage else None,
            error=msgspec.json.encode(error) if error else None,
        )


def _answered(asked: str, outcome: StepOutcome) -> str:
    """The whole name of the model that answered, which may be a dated form of the one asked."""
    return f"{asked.partition(':')[0]}:{outcome.model}" if outcome.model else asked


def _cut_notice(step: str, left_out: int, *, name: str) -> Notice:
    count = f"the oldest {left_out} messages were" if left_out > 1 else "its oldest part was"
    text = f"The conversation is longer than {name} can read at once, so {count} left out."
    return Notice(step=step, code="context_truncated", text=text)


def _unseen_notice(step: str, unseen: int, *, name: str) -> Notice:
    count = (
        f"{unseen} of the conversation's pictures and files were" if unseen > 1 else "one picture or file was"
    )
    text = f"Not everything could be shown to {name}: {count} left out of its sight, and it was told so."
    return Notice(step=step, code="files_left_out", text=text)


def _describe(error: PorchError, live: LiveRun) -> ErrorInfo:
    if isinstance(error, ModelError):
        return ErrorInfo(
            code=error.reason,
            category=error.kind,
            message=error.message,
            retryable=error.retryable,
            emitted_any=live.emitted_any,
        )
    return ErrorInfo(
        code=error.code,
        category=error.category,
        message=error.message,
        retryable=error.status >= 500,
        emitted_any=live.emitted_any,
    )
