"""A run as the AI SDK's UI message stream (v1) tells it: one assistant message, whose id is the run's.

Source: the chunks' schema and the reader of the npm package `ai` 6 and 7. What the stream has no chunk for is a data
part named `data-porch-…`; ids of ours stand under `porch` in the message's metadata. Version 6 refuses a stream with
chunks that came after it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from porch.contract.events import (
    AnyEvent,
    ApprovalRequested,
    ApprovalResolved,
    FileProduced,
    FinishReason,
    MemoryWriteEvent,
    Notice,
    PartFinished,
    PartStarted,
    Raw,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    SourceCited,
    StepDiscarded,
    StepFinished,
    StepStarted,
    StreamChunk,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    ToolError,
    ToolResultChunk,
    ToolResultFinished,
    Usage,
)
from porch.contract.frames import KEEP_ALIVE
from porch.faces.projection import SSE
from porch.faces.wire import CUT, data_frame, encode, error_fields, fields_of, present

Told = Iterable[dict[str, Any]]

_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "refusal": "content-filter",
    "limit": "other",
}
_DELTA: Final = b'data: {"type":"%b-delta","id":%b,"delta":'
_INPUT: Final = b'data: {"type":"tool-input-delta","toolCallId":%b,"inputTextDelta":'
_END: Final = b"}\n\n"
_DONE: Final = b"data: [DONE]\n\n"
# The tools are run here, not by the client, and it knows none of them beforehand.
_HERE: Final = {"providerExecuted": True}
_OURS: Final = {**_HERE, "dynamic": True}


class UiMessageStream:
    """One run for one AI SDK client."""

    media_type = SSE
    headers: Mapping[str, str] = {"x-vercel-ai-ui-message-stream": "v1"}

    def __init__(self, *, version: int = 7) -> None:
        """`version` is that of the client's `ai`."""
        self._version = version
        self._parts: dict[
            str, tuple[str, bytes]
        ] = {}  # open parts: their chunks' name, and a delta's beginning
        self._calls: dict[str, tuple[str, bytes]] = {}  # open calls: the tool, and a delta's beginning
        self._known: set[str] = set()  # calls that the client has heard of
        self._asked: set[str] = set()  # approvals likewise
        self._step: str | None = None  # told as begun, and not as finished
        self._of_step: list[str] = []  # parts and calls of the step at work
        self._lasting: list[dict[str, Any]] = []  # chunks within it that stand even if it does not
        self._sources = 0
        self._paused: RunPaused | None = None
        self._over = False
        self._by_type = self._tellers()

    def feed(self, event: AnyEvent) -> bytes:
        """The chunks for this event."""
        if type(event) is StreamChunk:
            part = self._parts.get(event.part)
            return b"".join((part[1], encode(event.delta), _END)) if part else b""
        if type(event) is ToolCallDelta:
            call = self._calls.get(event.call)
            return b"".join((call[1], encode(event.delta), _END)) if call else b""
        if self._over:
            return b""
        tell = self._by_type.get(type(event))
        told = b"".join(map(data_frame, tell(event))) if tell else b""
        return told + _DONE if self._over else told

    def forget(self, keep_through: int) -> bytes:
        """Nothing yet: the takeover's `step.discarded` says what is void."""
        return b""

    def keep_alive(self) -> bytes:
        """A comment, which the reader skips."""
        return KEEP_ALIVE

    def cut(self) -> bytes:
        """The end of a paused run as the protocol knows it, or an error where the run goes on unseen."""
        if self._over:
            return b""
        told = list(self._leave_step())
        self._over = True
        if self._paused is None:
            told.append({"type": "error", "errorText": CUT})
        else:
            reason = "tool-calls" if self._paused.reason == "approval" else "other"
            metadata = {"porch": {"paused": self._paused.reason}}
            told.append({"type": "finish", "finishReason": reason, "messageMetadata": metadata})
        return b"".join(map(data_frame, told)) + _DONE

    def _tellers(self) -> dict[type, Callable[[Any], Told]]:
        return {
            RunStarted: self._begin,
            RunPaused: self._hold,
            RunResumed: self._resume,
            RunFinished: self._finish,
            RunFailed: self._fail,
            RunCancelled: self._abort,
            StepStarted: self._begin_step,
            StepFinished: self._end_step,
            StepDiscarded: self._discard,
            PartStarted: self._begin_part,
            PartFinished: self._end_part,
            ToolCallStarted: self._begin_call,
            ToolCallFinished: self._end_call,
            ToolResultChunk: self._show_output,
            ToolResultFinished: self._result,
            ApprovalRequested: self._ask,
            ApprovalResolved: self._answer,
            MemoryWriteEvent: lambda event: (_data("memory", event),),
            SourceCited: self._cite,
            FileProduced: lambda event: self._last(_data("file", event)),
            Notice: lambda event: self._last(_data("notice", event)),
            Raw: lambda event: (_data("raw", event, transient=True),),
        }

    # -- the run

    def _begin(self, event: RunStarted) -> Told:
        told = {"porch": {"run": event.run, **fields_of(event)}}
        return ({"type": "start", "messageId": event.run, "messageMetadata": told},)

    def _hold(self, event: RunPaused) -> Told:
        """A pause is told when the stream ends with it: in a replay the run goes on behind it."""
        self._paused = event
        return ()

    def _resume(self, event: RunResumed) -> Told:
        self._paused = None
        return ()

    def _finish(self, event: RunFinished) -> Told:
        yield from self._leave_step()
        self._over = True
        told = present(porch=present(message=event.message, reason=event.reason, raw_reason=event.raw_reason))
        if event.usage is not None:
            told["usage"] = _usage(event.usage)
        yield {"type": "finish", "finishReason": _REASONS[event.reason], "messageMetadata": told}

    def _fail(self, event: RunFailed) -> Told:
        yield from self._leave_step()
        self._over = True
        # Clients read nothing behind an error.
        yield {
            "type": "message-metadata",
            "messageMetadata": {"porch": {"error": error_fields(event.error)}},
        }
        yield {"type": "error", "errorText": event.error.message}

    def _abort(self, event: RunCancelled) -> Told:
        yield from self._leave_step()
        self._over = True
        yield {"type": "abort", "reason": f"cancelled by {event.by}"}

    # -- steps

    def _begin_step(self, event: StepStarted) -> Told:
        yield from self._leave_step()
        self._step = event.step or "step"
        yield {"type": "start-step"}

    def _end_step(self, event: StepFinished) -> Told:
        """Told with the next beginning: a step's tools, which run behind it, count as its part here."""
        self._of_step.clear()
        return self._close()

    def _leave_step(self) -> Told:
        yield from self._close()
        if self._step is not None:
            yield {"type": "finish-step"}
        self._step = None
        self._of_step.clear()
        self._lasting.clear()

    def _last(self, chunk: dict[str, Any]) -> Told:
        self._lasting.append(chunk)
        return (chunk,)

    def _discard(self, event: StepDiscarded) -> Told:
        """What the step showed is taken back. Version 6 has no word for that, so what is void is named too."""
        void = list(self._of_step)
        if void and self._version > 6:
            self._parts.clear()
            self._calls.clear()
            yield {"type": "reset-step"}
            yield from self._lasting
        yield from self._close()
        if void:
            told = {"step": event.step, "reason": event.reason, "void": void}
            yield {"type": "data-porch-discarded", "id": f"discarded-{event.step}", "data": told}
        yield from self._leave_step()

    def _close(self) -> Told:
        """Ends of what is still open; by the contract's laws there is something only in a step that is dropped."""
        for part, (name, _) in self._parts.items():
            yield {"type": f"{name}-end", "id": part}
        self._parts.clear()
        for call, (tool, _) in self._calls.items():
            text = "The call was not completed."
            yield {
                "type": "tool-input-error",
                "toolCallId": call,
                "toolName": tool,
                "input": None,
                "errorText": text,
                **_OURS,
            }
        self._calls.clear()

    # -- parts

    def _begin_part(self, event: PartStarted) -> Told:
        name = "reasoning" if event.kind == "reasoning" else "text"
        self._parts[event.part] = name, _DELTA % (name.encode(), encode(event.part))
        self._of_step.append(event.part)
        told = {"porch": {"kind": "refusal"}} if event.kind == "refusal" else None
        yield present(type=f"{name}-start", id=event.part, providerMetadata=told)

    def _end_part(self, event: PartFinished) -> Told:
        part = self._parts.pop(event.part, None)
        return ({"type": f"{part[0]}-end", "id": event.part},) if part else ()

    def _cite(self, event: SourceCited) -> Told:
        self._sources += 1
        place = fields_of(event)
        url, title = place.pop("url", None), place.pop("title", None)
        about = {"sourceId": f"source-{self._sources}", "providerMetadata": {"porch": place}}
        if url is not None:
            yield {"type": "source-url", "url": url, **present(title=title), **about}
        else:
            title = title or event.text or "source"
            yield {"type": "source-document", "mediaType": "text/plain", "title": title, **about}

    # -- tools

    def _begin_call(self, event: ToolCallStarted) -> Told:
        self._calls[event.call] = event.name, _INPUT % encode(event.call)
        self._known.add(event.call)
        self._of_step.append(event.call)
        yield {"type": "tool-input-start", "toolCallId": event.call, "toolName": event.name, **_OURS}

    def _end_call(self, event: ToolCallFinished) -> Told:
        if self._calls.pop(event.call, None) is None:
            return
        about = {"toolCallId": event.call, "toolName": event.name, **_OURS}
        if event.error is None:
            yield {"type": "tool-input-available", "input": event.arguments, **about}
        else:
            text = event.error.message
            yield {"type": "tool-input-error", "input": event.raw_arguments, "errorText": text, **about}

    def _show_output(self, event: ToolResultChunk) -> Told:
        return (_data("tool-output", event, transient=True),)

    def _result(self, event: ToolResultFinished) -> Told:
        if event.call not in self._known:
            return
        about = {"toolCallId": event.call, **_OURS}
        if isinstance(event.error, ToolError):
            told = {"porch": {"code": event.error.code, "duration_ms": event.duration_ms}}
            text = event.error.message
            yield {"type": "tool-output-error", "errorText": text, "providerMetadata": told, **about}
        else:
            told = {"porch": {"duration_ms": event.duration_ms}}
            yield {
                "type": "tool-output-available",
                "output": event.output,
                "providerMetadata": told,
                **about,
            }

    def _ask(self, event: ApprovalRequested) -> Told:
        if event.call in self._known:
            self._asked.add(event.approval)
            yield {"type": "tool-approval-request", "approvalId": event.approval, "toolCallId": event.call}
        yield _data("approval", event)

    def _answer(self, event: ApprovalResolved) -> Told:
        if event.approval in self._asked and self._version > 6:
            approved = event.decision == "approve"
            yield {
                "type": "tool-approval-response",
                "approvalId": event.approval,
                "approved": approved,
                **_HERE,
            }
        yield _data("approval", event)


def _data(name: str, event: AnyEvent, *, transient: bool | None = None) -> dict[str, Any]:
    return present(type=f"data-porch-{name}", data=fields_of(event), transient=transient)


def _usage(usage: Usage) -> dict[str, Any]:
    return present(
        inputTokens=usage.input_tokens,
        outputTokens=usage.output_tokens,
        totalTokens=usage.input_tokens + usage.output_tokens,
        cachedInputTokens=usage.cached_input_tokens,
        reasoningTokens=usage.reasoning_tokens,
    )
