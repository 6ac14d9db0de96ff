"""Runs the tools that a step called, side by side, and reports what they gave."""

import asyncio
import logging
import time
from collections.abc import Mapping

import msgspec

from porch.background import is_cancelled
from porch.contract.errors import PorchError
from porch.contract.events import (
    AnyEvent,
    ToolCallFinished,
    ToolError,
    ToolResultFinished,
    ToolResultStarted,
)
from porch.contract.text import clean_json, clean_text
from porch.plugins.tool import Tool
from porch.runs.lease import LeaseLost
from porch.runs.limits import MAX_ANSWER_BYTES, MAX_OUTPUT_BYTES
from porch.runs.live import LiveRun
from porch.runs.stopwatch import Stopwatch
from porch.runs.transcript import Transcript
from porch.runs.verdict import Verdict

log = logging.getLogger(__name__)

TOOL_SECONDS = 30.0
MAX_ERROR_CHARACTERS = 4000
MAX_AT_ONCE = 16
UNKNOWN = "unknown"
INTERRUPTED = ToolError(
    code="interrupted", message="The call was interrupted; whether it took effect is not known."
)


def interrupted(step: str | None, call: str, duration_ms: int = 0) -> ToolResultFinished:
    """The end of a call that did not come to its own."""
    return ToolResultFinished(step=step, call=call, error=INTERRUPTED, duration_ms=duration_ms)


class Toolbox:
    """The tools of one run."""

    __slots__ = ("_live", "_open", "_room", "_tools", "_transcript", "_verdicts", "_watch")

    def __init__(
        self,
        live: LiveRun,
        transcript: Transcript,
        tools: dict[str, Tool],
        verdicts: Mapping[str, Verdict],
        watch: Stopwatch,
    ) -> None:
        """`verdicts` are what people decided about calls."""
        self._live = live
        self._transcript = transcript
        self._tools = tools
        self._verdicts = verdicts
        self._watch = watch
        self._open: dict[str, tuple[str | None, float]] = {}
        self._room: asyncio.Semaphore | None = None

    async def run(self, calls: list[ToolCallFinished], *, resumed: bool = False) -> None:
        """Give every call its result. Of a resumed run only tools that change nothing are run again."""
        try:
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(self._run(call, resumed=resumed))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def close(self) -> list[AnyEvent]:
        """Results for the calls that are still running, as interrupted."""
        return [self._finished(call, error=INTERRUPTED) for call in list(self._open)]

    async def _run(self, call: ToolCallFinished, *, resumed: bool) -> None:
        if self._room is None:
            self._room = asyncio.Semaphore(MAX_AT_ONCE)
        async with self._room:
            await self._run_now(call, resumed=resumed)

    async def _run_now(self, call: ToolCallFinished, *, resumed: bool) -> None:
        self._open[call.call] = (call.step, time.monotonic())
        started = ToolResultStarted(step=call.step, call=call.call)
        if call.call not in self._transcript.steps[-1].started:
            self._transcript.add(started)
            self._live.emit([started])
        result = await self._result(call, resumed=resumed)
        self._transcript.add(result)
        await self._live.commit([result])
        # What a model makes up names no tool: a series for each would fill the memory of who counts them.
        self._watch.tool(call.name if call.name in self._tools else UNKNOWN, result)

    async def _result(self, call: ToolCallFinished, *, resumed: bool) -> ToolResultFinished:
        tool = self._tools.get(call.name)
        if call.error is not None or call.arguments is None:
            return self._finished(call.call, error=call.error or INTERRUPTED)
        if tool is None:
            names = ", ".join(sorted(self._tools)) or "none"
            message = f"There is no tool {call.name[:60]!r}; the tools are: {names}."
            return self._finished(call.call, error=ToolError(code="unknown_tool", message=message))
        arguments, verdict = call.arguments, self._verdicts.get(call.call)
        if verdict is not None:
            if verdict.arguments is None:
                return self._finished(call.call, error=verdict.error or INTERRUPTED)
            arguments = verdict.arguments
        never_begun = verdict is not None and verdict.fresh
        if resumed and not never_begun and tool.reversibility != "read":
            return self._finished(call.call, error=INTERRUPTED)
        limit = asyncio.timeout(TOOL_SECONDS)
        try:
            async with limit:
                output = await tool.run(arguments)
            return self._checked(call, clean_json(output))
        except LeaseLost:
            raise
        except PorchError as error:
            return self._finished(call.call, error=ToolError(code=error.code, message=error.message))
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            if limit.expired():
                message = f"The tool {call.name!r} took longer than {TOOL_SECONDS:g} s and was stopped."
                return self._finished(call.call, error=ToolError(code="timeout", message=message))
            log.exception("The tool %r failed", call.name)
            message = f"The tool {call.name!r} failed by a fault of its own; the server's log says more."
            return self._finished(call.call, error=ToolError(code="internal", message=message))

    def _checked(self, call: ToolCallFinished, output: object) -> ToolResultFinished:
        size = len(msgspec.json.encode(output))
        if size > MAX_OUTPUT_BYTES:
            message = f"The output of {call.name!r} is {size:,} bytes; the limit is {MAX_OUTPUT_BYTES:,}. Ask for less."
            return self._finished(call.call, error=ToolError(code="output_too_large", message=message))
        if self._transcript.size + size > MAX_ANSWER_BYTES:
            message = (
                f"The output of {call.name!r} does not fit any more: the answer is as large as one may be."
            )
            return self._finished(call.call, error=ToolError(code="answer_full", message=message))
        return self._finished(call.call, output=output)

    def _finished(
        self, call: str, *, output: object = None, error: ToolError | None = None
    ) -> ToolResultFinished:
        step, since = self._open.pop(call)
        duration = round((time.monotonic() - since) * 1000)
        if error is not None:
            said = ToolError(code=error.code, message=clean_text(error.message)[:MAX_ERROR_CHARACTERS])
            return ToolResultFinished(step=step, call=call, error=said, duration_ms=duration)
        return ToolResultFinished(step=step, call=call, output=output, duration_ms=duration)
