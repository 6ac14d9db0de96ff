"""A run as AG-UI 1.0 tells it.

Source: the event types and the verifier of @ag-ui/core and @ag-ui/client 1.0. What AG-UI has no event for is a
CUSTOM event named `porch.<type>`; ids of ours stand under `porch` in an event's metadata.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from porch.contract.events import (
    AnyEvent,
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    PartFinished,
    PartStarted,
    Raw,
    ReasoningSealed,
    RunCancelled,
    RunFailed,
    RunFinished,
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
    ToolError,
    ToolResultFinished,
    UsageReported,
)
from porch.contract.frames import KEEP_ALIVE
from porch.faces.ag_ui.ledger import Ledger, Tokens
from porch.faces.projection import SSE
from porch.faces.wire import (
    CUT,
    CUT_CODE,
    data_frame,
    encode,
    error_fields,
    fields_of,
    present,
    text_of,
)

PROTOCOL_VERSION: Final = "1.0"
Told = Iterable[dict[str, Any]]

_TEXT: Final = b'data: {"type":"TEXT_MESSAGE_CONTENT","messageId":%b,"delta":'
_REASONING: Final = b'data: {"type":"REASONING_MESSAGE_CONTENT","messageId":%b,"delta":'
_ARGUMENTS: Final = b'data: {"type":"TOOL_CALL_ARGS","toolCallId":%b,"delta":'
_END: Final = b"}\n\n"


class AgUi:
    """One run for one AG-UI client."""

    media_type = SSE
    headers: Mapping[str, str] = {}

    def __init__(
        self, thread: str, run: str, messages: Sequence[Any] = (), notices: Sequence[Notice] = ()
    ) -> None:
        """`thread` and `run` are the client's ids, `messages` what it has of the conversation, as it sent them.

        `notices` are told after the start.
        """
        self._thread = thread
        self._client_run = run
        self._notices = notices
        self._run = ""
        self._ledger = Ledger(messages)
        self._tokens = Tokens()
        self._step: str | None = None
        self._parts: dict[str, bytes] = {}  # open parts, with the beginning of their content events
        self._calls: dict[str, bytes] = {}
        self._silent: set[str] = set()  # open calls of whose arguments nothing was shown yet
        self._paused: RunPaused | None = None
        self._approvals: dict[str, ApprovalRequested] = {}
        self._over = False
        self._by_type = self._tellers()

    def feed(self, event: AnyEvent) -> bytes:
        """AG-UI's events for this one."""
        if type(event) is StreamChunk:
            head = self._parts.get(event.part)
            return b"".join((head, encode(event.delta), _END)) if head else b""
        if type(event) is ToolCallDelta:
            return self._arguments(event.call, event.delta)
        return b"" if self._over else b"".join(map(data_frame, self._tell(event)))

    def forget(self, keep_through: int) -> bytes:
        """Nothing yet: the `step.discarded` of the takeover takes back what the client has."""
        return b""

    def keep_alive(self) -> bytes:
        """A comment, which AG-UI's reader skips."""
        return KEEP_ALIVE

    def cut(self) -> bytes:
        """The end of a paused run as AG-UI knows it, or an error where the run goes on unseen."""
        if self._over:
            return b""
        self._over = True
        if self._paused is not None:
            return b"".join(map(data_frame, self._pause(self._paused)))
        self._parts.clear()
        self._calls.clear()
        return data_frame({"type": "RUN_ERROR", "message": CUT, "code": CUT_CODE})

    def _tell(self, event: AnyEvent) -> Told:
        tell = self._by_type.get(type(event))
        return tell(event) if tell else (_custom(event),)

    def _tellers(self) -> dict[type, Callable[[Any], Told]]:
        return {
            RunStarted: self._begin,
            RunPaused: self._hold,
            RunResumed: self._resume,
            RunFinished: self._finish,
            RunFailed: self._finish,
            RunCancelled: self._finish,
            StepStarted: self._begin_step,
            StepFinished: self._end_step,
            StepDiscarded: self._drop_step,
            PartStarted: self._begin_part,
            PartFinished: self._end_part,
            ReasoningSealed: self._keep_sealed,
            ToolCallStarted: self._begin_call,
            ToolCallFinished: self._end_call,
            ToolResultFinished: self._result,
            ApprovalRequested: self._ask,
            ApprovalResolved: self._answer,
            UsageReported: self._count,
            Raw: self._pass_on,
        }

    # -- the run

    def _begin(self, event: RunStarted) -> Told:
        self._run = event.run
        yield {
            "type": "RUN_STARTED",
            "threadId": self._thread,
            "runId": self._client_run,
            "protocolVersion": PROTOCOL_VERSION,
            "metadata": {"porch": {"run": event.run, **fields_of(event)}},
        }
        for notice in self._notices:
            yield _custom(notice)

    def _finish(self, event: RunFinished | RunFailed | RunCancelled) -> Told:
        yield from self._leave_step()
        self._over = True
        usage = self._tokens.entries()
        if isinstance(event, RunFailed):
            error = event.error
            yield present(
                type="RUN_ERROR",
                message=error.message,
                code=error.code,
                usage=usage,
                metadata={"porch": error_fields(error)},
            )
            return
        outcome: dict[str, Any] = {"type": "cancelled"}
        if isinstance(event, RunFinished):
            pending = self._ledger.unanswered()
            outcome = {"type": "success"} | ({"pendingToolCallIds": pending} if pending else {})
        yield self._finished(outcome, usage, fields_of(event))

    def _pause(self, event: RunPaused) -> Told:
        yield from self._leave_step()
        waiting = [_interrupt(approval) for approval in self._approvals.values()]
        if not waiting:
            waiting = [{"id": f"{self._run}.{event.reason}", "reason": event.reason}]
        outcome = {"type": "interrupt", "interrupts": waiting}
        yield self._finished(outcome, self._tokens.entries(), fields_of(event))

    def _finished(
        self, outcome: dict[str, Any], usage: list[dict[str, Any]] | None, told: dict[str, Any]
    ) -> dict[str, Any]:
        return present(
            type="RUN_FINISHED",
            threadId=self._thread,
            runId=self._client_run,
            outcome=outcome,
            usage=usage,
            metadata={"porch": told},
        )

    def _hold(self, event: RunPaused) -> Told:
        """A pause is told when the stream ends with it: in a replay the run goes on behind it."""
        self._paused = event
        return ()

    def _resume(self, event: RunResumed) -> Told:
        self._paused = None
        return (_custom(event),)

    def _ask(self, event: ApprovalRequested) -> Told:
        self._approvals[event.approval] = event
        return (_custom(event),)

    def _answer(self, event: ApprovalResolved) -> Told:
        self._approvals.pop(event.approval, None)
        return (_custom(event),)

    # -- steps

    def _begin_step(self, event: StepStarted) -> Told:
        if self._step is not None:
            yield from self._discard("takeover")
        self._step = event.step or "step"
        yield {"type": "STEP_STARTED", "stepName": self._step, "metadata": {"porch": fields_of(event)}}

    def _end_step(self, event: StepFinished) -> Told:
        self._tokens.keep(event.model)
        return self._leave_step(fields_of(event))

    def _drop_step(self, event: StepDiscarded) -> Told:
        return self._discard(event.reason)

    def _leave_step(self, told: dict[str, Any] | None = None) -> Told:
        yield from self._close()
        self._ledger.keep()
        if self._step is not None:
            metadata = {"porch": told} if told else None
            yield present(type="STEP_FINISHED", stepName=self._step, metadata=metadata)
        self._step = None

    def _discard(self, reason: str) -> Told:
        yield from self._close()
        if self._step is not None:
            told = {"porch": {"discarded": reason}}
            yield {"type": "STEP_FINISHED", "stepName": self._step, "metadata": told}
        self._step = None
        self._tokens.drop()
        if self._ledger.discard():
            yield {"type": "MESSAGES_SNAPSHOT", "messages": self._ledger.messages()}

    def _count(self, event: UsageReported) -> Told:
        self._tokens.report(event)
        return ()

    def _close(self) -> Iterator[dict[str, Any]]:
        """Ends of what is still open; by the contract's laws there is something only in a step that is dropped."""
        for part in list(self._parts):
            yield from self._end_message(part)
        for call in self._calls:
            yield {"type": "TOOL_CALL_END", "toolCallId": call}
        self._calls.clear()
        self._silent.clear()

    # -- parts

    def _begin_part(self, event: PartStarted) -> Told:
        name = f"{self._run}.{event.part}"
        if event.kind == "reasoning":
            self._parts[event.part] = _REASONING % encode(name)
            self._ledger.begin(name, "reasoning")
            yield {"type": "REASONING_START", "messageId": name}
            yield {"type": "REASONING_MESSAGE_START", "messageId": name, "role": "reasoning"}
            return
        self._parts[event.part] = _TEXT % encode(name)
        self._ledger.begin(name, "assistant")
        told = {"porch": {"kind": "refusal"}} if event.kind == "refusal" else None
        yield present(type="TEXT_MESSAGE_START", messageId=name, role="assistant", metadata=told)

    def _end_part(self, event: PartFinished) -> Told:
        self._ledger.say(f"{self._run}.{event.part}", event.value)
        return self._end_message(event.part)

    def _end_message(self, part: str) -> Iterator[dict[str, Any]]:
        head = self._parts.pop(part, None)
        if head is None:
            return
        name = f"{self._run}.{part}"
        if head.startswith(_TEXT[:40]):
            yield {"type": "TEXT_MESSAGE_END", "messageId": name}
        else:
            yield {"type": "REASONING_MESSAGE_END", "messageId": name}
            yield {"type": "REASONING_END", "messageId": name}

    # -- tools

    def _begin_call(self, event: ToolCallStarted) -> Told:
        parent = self._ledger.begin_call(f"{self._run}.{self._step}", event.call, event.name)
        self._calls[event.call] = _ARGUMENTS % encode(event.call)
        self._silent.add(event.call)
        yield {
            "type": "TOOL_CALL_START",
            "toolCallId": event.call,
            "toolCallName": event.name,
            "parentMessageId": parent,
        }

    def _arguments(self, call: str, delta: str) -> bytes:
        head = self._calls.get(call)
        if head is None:
            return b""
        self._silent.discard(call)
        return b"".join((head, encode(delta), _END))

    def _end_call(self, event: ToolCallFinished) -> Told:
        arguments = event.raw_arguments
        if event.arguments is not None:
            arguments = encode(event.arguments).decode()
        self._ledger.end_call(event.call, arguments or "")
        if event.call not in self._calls:
            return
        if event.call in self._silent and arguments:
            yield {"type": "TOOL_CALL_ARGS", "toolCallId": event.call, "delta": arguments}
        self._silent.discard(event.call)
        del self._calls[event.call]
        told = {"porch": {"error": fields_of_error(event.error)}} if event.error else None
        yield present(type="TOOL_CALL_END", toolCallId=event.call, metadata=told)

    def _result(self, event: ToolResultFinished) -> Told:
        told: dict[str, Any] = {"duration_ms": event.duration_ms}
        if isinstance(event.error, ToolError):
            content = event.error.message
            told["error"] = fields_of_error(event.error)
        else:
            content = text_of(event.output)
        name, metadata = f"{self._run}.{event.call}", {"porch": told}
        result = {"role": "tool", "toolCallId": event.call, "content": content, "metadata": metadata}
        self._ledger.answer({"id": name, **result})
        yield {"type": "TOOL_CALL_RESULT", "messageId": name, **result}

    def _pass_on(self, event: Raw) -> Told:
        return ({"type": "RAW", "event": event.data, "source": event.provider},)

    def _keep_sealed(self, event: ReasoningSealed) -> Told:
        """It is for the provider, and Porch itself gives it back."""
        return ()


def fields_of_error(error: ToolError) -> dict[str, str]:
    """A tool's error for a program."""
    return {"code": error.code, "message": error.message}


def _interrupt(approval: ApprovalRequested) -> dict[str, Any]:
    return {
        "id": approval.approval,
        "reason": "approval",
        "message": approval.reason,
        "toolCallId": approval.call,
        "expiresAt": approval.expires,
        "metadata": {"porch": {"name": approval.name, "arguments": approval.arguments}},
    }


def _custom(event: AnyEvent) -> dict[str, Any]:
    return {
        "type": "CUSTOM",
        "name": f"porch.{event.__struct_config__.tag}",
        "value": fields_of(event),
    }
