"""A run as spans: the run, its model calls and its tools below it. No word of what was said is in them."""

import os
from collections.abc import Iterator

from porch.contract.ids import format_id
from porch.runs.stopwatch import CallTimes, RunTimes, ToolTimes
from porch.telemetry import names
from porch.telemetry.spans import Span


def spans_of(run: RunTimes) -> Iterator[Span]:
    """The spans of a run that has ended. Its id is the trace's, so that one can be found by the other."""
    own = os.urandom(8)
    conversation = format_id("conv", run.conversation) if run.conversation else None
    yield Span(
        trace=run.run.bytes,
        id=own,
        parent=b"",
        name=f"{names.INVOKE_AGENT} {run.agent}",
        kind="internal",
        began=run.began,
        ended=run.began + run.duration,
        attributes={
            names.OPERATION_NAME: names.INVOKE_AGENT,
            names.AGENT_NAME: run.agent,
            names.CONVERSATION: conversation,
            names.PROVIDER_NAME: names.provider_of(run.asked),
            names.REQUEST_MODEL: names.own_name(run.asked),
            names.RUN: format_id("run", run.run),
            names.WORKSPACE: format_id("ws", run.workspace),
            names.TAKEOVERS: run.takeovers,
            names.SECONDS_TO_FIRST_TEXT: run.first_text,
        },
        error=run.code if run.outcome == "failed" else None,
    )
    for call in run.calls:
        yield _call(call, run, own, conversation)
    for tool in run.tools:
        yield _tool(tool, run, own)


def _call(call: CallTimes, run: RunTimes, parent: bytes, conversation: str | None) -> Span:
    model = names.own_name(call.asked)
    return Span(
        trace=run.run.bytes,
        id=os.urandom(8),
        parent=parent,
        name=f"{names.CHAT} {model}",
        kind="client",
        began=call.began,
        ended=call.began + call.duration,
        attributes={
            names.OPERATION_NAME: names.CHAT,
            names.PROVIDER_NAME: names.provider_of(call.asked),
            names.REQUEST_MODEL: model,
            names.STREAMED: True,
            names.RESPONSE_MODEL: names.own_name(call.answered),
            names.FINISH_REASONS: [call.reason] if call.reason else None,
            names.SECONDS_TO_FIRST_CHUNK: call.first_chunk,
            names.INPUT_TOKENS: call.input_tokens,
            names.OUTPUT_TOKENS: call.output_tokens,
            names.CONVERSATION: conversation,
        },
        error=call.code,
    )


def _tool(tool: ToolTimes, run: RunTimes, parent: bytes) -> Span:
    return Span(
        trace=run.run.bytes,
        id=os.urandom(8),
        parent=parent,
        name=f"{names.EXECUTE_TOOL} {tool.name}",
        kind="internal",
        began=tool.began,
        ended=tool.began + tool.duration,
        attributes={
            names.OPERATION_NAME: names.EXECUTE_TOOL,
            names.TOOL_NAME: tool.name,
            names.TOOL_CALL: tool.call,
        },
        error=tool.code,
    )
