"""A run as Chat Completions: chunks while it goes on, and the completion as a whole.

The caller sees words, reasoning, refusals and calls of its own tools. What the agent's own tools do stays inside.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec

from porch.contract.events import (
    AnyEvent,
    FinishReason,
    PartFinished,
    PartKind,
    PartStarted,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    StepDiscarded,
    StreamChunk,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    Usage,
)
from porch.faces.openai.errors import encode_error
from porch.faces.openai.outcome import CUT, PAUSED, RESTARTED, count_usage, end_error
from porch.faces.projection import SSE

FINISH: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "limit": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "stop",
}
FIELDS: Final[dict[PartKind, str]] = {
    "text": "content",
    "reasoning": "reasoning_content",
    "refusal": "refusal",
}
BETWEEN: Final = "\n\n"
"""Stands between what the agent said before and after it used a tool."""

_encode = msgspec.json.Encoder().encode
_HEADS: Final[dict[PartKind, bytes]] = {
    kind: b'{"index":0,"delta":{"%b":' % name.encode() for kind, name in FIELDS.items()
}
_TAIL: Final = b'},"finish_reason":null}],'


def chat_usage(usage: Usage) -> dict[str, Any]:
    """Token counts as Chat Completions names them."""
    asked, answered, cached, reasoned = count_usage(usage)
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoned},
    }


def completion_id(run: str) -> str:
    """The completion's id, from the run's."""
    return "chatcmpl-" + run.removeprefix("run_")


class ChatChunks:
    """A projection: `data:` frames of chat.completion.chunk, an error where the run has none to give, [DONE]."""

    media_type: str = SSE
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, tools: Collection[str], *, include_usage: bool = False) -> None:
        """`tools` are the names of the caller's own."""
        self._tools = frozenset(tools)
        self._include_usage = include_usage
        self._begin = b""
        self._end = b""
        self._kinds: dict[str, PartKind] = {}
        self._calls: dict[str, tuple[int, bool]] = {}  # of the caller's: which, and whether arguments came
        self._steps: set[str | None] = set()  # of which something was shown
        self._worded = False  # whether a part of text spoke
        self._declined = False
        self._heads: dict[str, bytes] = {}  # of the parts that speak: what stands before their words
        self._tail = b""
        self._shown_to = 0
        self._paused = False
        self._done = False

    def feed(self, event: AnyEvent) -> bytes:
        """What this event is in chunks."""
        if type(event) is StreamChunk:
            head = self._heads.get(event.part)
            if head is None:
                return self._speak(event)
            self._shown_to = event.seq
            return head + _encode(event.delta) + self._tail
        if self._done:
            return b""
        match event:
            case RunStarted():
                self._name(event)
                return self._chunk(b'{"index":0,"delta":{"role":"assistant"' + _TAIL)
            case PartStarted():
                self._kinds[event.part] = event.kind
            case PartFinished():
                self._kinds.pop(event.part, None)
                self._heads.pop(event.part, None)
            case ToolCallStarted() if event.name in self._tools:
                return self._call(event)
            case ToolCallDelta() if event.call in self._calls:
                return self._pass(event, event.delta)
            case ToolCallFinished() if event.call in self._calls and not self._calls[event.call][1]:
                return self._pass(event, arguments_text(event))
            case _:
                return self._take_end(event)
        return b""

    def _take_end(self, event: AnyEvent) -> bytes:
        match event:
            case StepDiscarded(step=step) if step in self._steps:
                return self._fail(RESTARTED)
            case RunPaused() | RunResumed():
                # A pause is told when the stream ends with it: in a replay the run goes on behind it.
                self._paused = isinstance(event, RunPaused)
                return b""
            case RunFailed() | RunCancelled():
                return self._fail(end_error(event)[1])
            case RunFinished():
                return self._finish(event)
            case _:
                return b""

    def forget(self, keep_through: int) -> bytes:
        """What was sent cannot be taken back: an error, unless nothing of that was shown."""
        return self._fail(RESTARTED) if self._shown_to > keep_through and not self._done else b""

    def keep_alive(self) -> bytes:
        """A comment."""
        return b"" if self._done else b": keep-alive\n\n"

    def cut(self) -> bytes:
        """An error, unless the end was told."""
        return b"" if self._done else self._fail(PAUSED if self._paused else CUT)

    def _speak(self, event: StreamChunk) -> bytes:
        """The first words of a part; those that follow have its head at hand."""
        kind = self._kinds.get(event.part)
        if kind is None or self._done:
            return b""
        head = self._heads[event.part] = self._begin + _HEADS[kind]
        between = BETWEEN if kind == "text" and self._worded else ""
        self._worded = self._worded or kind == "text"
        self._declined = self._declined or kind == "refusal"
        self._show(event)
        return head + _encode(between + event.delta) + self._tail

    def _call(self, event: ToolCallStarted) -> bytes:
        index = len(self._calls)
        self._calls[event.call] = (index, False)
        self._show(event)
        function = {"name": event.name, "arguments": ""}
        call = {"index": index, "id": event.call, "type": "function", "function": function}
        return self._tool_call(call)

    def _pass(self, event: ToolCallDelta | ToolCallFinished, text: str) -> bytes:
        index, _ = self._calls[event.call]
        self._calls[event.call] = (index, True)
        self._show(event)
        return self._tool_call({"index": index, "function": {"arguments": text}})

    def _tool_call(self, call: dict[str, Any]) -> bytes:
        return self._chunk(b'{"index":0,"delta":{"tool_calls":[' + _encode(call) + b"]" + _TAIL)

    def _show(self, event: AnyEvent) -> None:
        self._steps.add(event.step)
        self._shown_to = event.seq

    def _name(self, event: RunStarted) -> None:
        head = {
            "id": completion_id(event.run),
            "object": "chat.completion.chunk",
            "created": created(event.ts),
            "model": event.agent,
        }
        self._begin = b"data: " + _encode(head)[:-1] + b',"choices":['
        self._end = b'"usage":null}\n\n' if self._include_usage else b'"system_fingerprint":null}\n\n'
        self._tail = _TAIL + self._end

    def _chunk(self, choice: bytes) -> bytes:
        return self._begin + choice + self._end

    def _finish(self, event: RunFinished) -> bytes:
        self._done = True
        self._heads.clear()
        reason = FINISH[event.reason].encode()
        # As in the whole: no content beside a call or a refusal, and an empty one where there is nothing.
        delta = b"" if self._worded or self._declined or self._calls else b'"content":""'
        last = self._chunk(b'{"index":0,"delta":{%b},"finish_reason":"%b"}],' % (delta, reason))
        if self._include_usage:
            usage = _encode(chat_usage(event.usage) if event.usage else None)
            last += self._begin + b'],"usage":' + usage + b"}\n\n"
        return last + b"data: [DONE]\n\n"

    def _fail(self, error: dict[str, Any]) -> bytes:
        self._done = True
        self._heads.clear()
        return b"data: " + encode_error(error) + b"\n\n"


def complete_chat(events: Iterable[AnyEvent], tools: Collection[str]) -> dict[str, Any]:
    """The chat.completion of a run that finished, from its settled events."""
    said: dict[PartKind, list[str]] = {"text": [], "reasoning": [], "refusal": []}
    calls: list[dict[str, Any]] = []
    head: dict[str, Any] = {}
    reason, usage = "stop", None
    for event in events:
        match event:
            case RunStarted():
                head = {
                    "id": completion_id(event.run),
                    "object": "chat.completion",
                    "created": created(event.ts),
                    "model": event.agent,
                }
            case PartFinished(kind=kind, value=value) if value:
                said[kind].append(value)
            case ToolCallFinished() if event.name in tools:
                function = {"name": event.name, "arguments": arguments_text(event)}
                calls.append({"id": event.call, "type": "function", "function": function})
            case RunFinished():
                reason, usage = FINISH[event.reason], event.usage
            case _:
                pass
    message: dict[str, Any] = {
        "role": "assistant",
        "content": BETWEEN.join(said["text"]) or (None if calls or said["refusal"] else ""),
        "refusal": "".join(said["refusal"]) or None,
    }
    if said["reasoning"]:
        message["reasoning_content"] = "".join(said["reasoning"])
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return {**head, "choices": [choice], "usage": chat_usage(usage) if usage else None}


def arguments_text(event: ToolCallFinished) -> str:
    """A call's arguments as JSON text, or as the model wrote them where they are none."""
    if event.arguments is None:
        return event.raw_arguments or ""
    return _encode(event.arguments).decode()


def created(at: datetime | None) -> int:
    """Unix time in seconds."""
    return int(at.timestamp()) if at else 0
