"""A run as a response of OpenAI's Responses interface: its events while it goes on, and the object as a whole."""

from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from porch.contract.events import (
    AnyEvent,
    PartFinished,
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
from porch.faces.openai.chat_stream import arguments_text, created
from porch.faces.openai.outcome import CUT, PAUSED, RESTARTED, count_usage, end_error
from porch.faces.openai.response_items import Call, Item, Thought, Words
from porch.faces.projection import SSE

_encode = msgspec.json.Encoder().encode
_CODES = {"rate_limit_exceeded": "rate_limit_exceeded", "context_length_exceeded": "invalid_prompt"}


def response_id(run: str) -> str:
    """The response's id, from the run's."""
    return "resp_" + run.removeprefix("run_")


def response_usage(usage: Usage) -> dict[str, Any]:
    """Token counts as the Responses interface names them."""
    asked, answered, cached, reasoned = count_usage(usage)
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": answered,
        "output_tokens_details": {"reasoning_tokens": reasoned},
        "total_tokens": asked + answered,
    }


class ResponseEvents:
    """A projection: `event:` and `data:` frames with a sequence_number; `response` is the object as it stands."""

    media_type: str = SSE
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, tools: Collection[str], request: Mapping[str, Any]) -> None:
        """`tools` are the names of the caller's own; `request` is what the response says again of its request."""
        self._tools = frozenset(tools)
        self._request = {**request, "object": "response"}
        self.response: dict[str, Any] = {}
        self._output: list[dict[str, Any]] = []
        self._open: dict[str, Item] = {}
        self._steps: set[str | None] = set()
        self._shown_to = 0
        self._number = 0
        self._run = ""
        self._paused = False
        self._done = False

    def feed(self, event: AnyEvent) -> bytes:
        """What this event is in theirs."""
        if self._done:
            return b""
        if type(event) is StreamChunk:
            return self._grow(event.part, event.delta, event)
        match event:
            case ToolCallDelta():
                return self._grow(event.call, event.delta, event)
            case PartStarted(kind=kind):
                made = Thought if kind == "reasoning" else Words
                return self._add(event.part, made(self._item_id(), len(self._output), kind), event)
            case ToolCallStarted() if event.name in self._tools:
                item = Call(self._item_id(), len(self._output), event.call, event.name)
                return self._add(event.call, item, event)
            case PartFinished():
                return self._close(event.part, event.value)
            case ToolCallFinished() if event.call in self._open:
                return self._close(event.call, arguments_text(event))
            case _:
                return self._turn(event)

    def forget(self, keep_through: int) -> bytes:
        """What was sent cannot be taken back: an error, unless nothing of that was shown."""
        return self._fail(RESTARTED) if self._shown_to > keep_through and not self._done else b""

    def keep_alive(self) -> bytes:
        """A comment."""
        return b"" if self._done else b": keep-alive\n\n"

    def cut(self) -> bytes:
        """An error, unless the end was told."""
        return b"" if self._done else self._fail(PAUSED if self._paused else CUT)

    def _turn(self, event: AnyEvent) -> bytes:
        match event:
            case RunStarted():
                return self._begin(event)
            case StepDiscarded(step=step) if step in self._steps:
                return self._fail(RESTARTED)
            case RunPaused() | RunResumed():
                # A pause is told when the stream ends with it: in a replay the run goes on behind it.
                self._paused = isinstance(event, RunPaused)
                return b""
            case RunFailed() | RunCancelled():
                return self._break_off(event)
            case RunFinished():
                return self._finish(event)
            case _:
                return b""

    def begin(self, run: str, agent: str, at: datetime | None) -> None:
        """The response of which nothing is there yet."""
        self._run = run.removeprefix("run_")
        self.response = {
            "id": response_id(run),
            "created_at": created(at),
            "status": "in_progress",
            "model": agent,
            "error": None,
            "incomplete_details": None,
            "output": self._output,
            "usage": None,
            **self._request,
        }

    def _begin(self, event: RunStarted) -> bytes:
        self.begin(event.run, event.agent, event.ts)
        return self._say("response.created", response=self.response) + self._say(
            "response.in_progress", response=self.response
        )

    def _add(self, key: str, item: Item, event: AnyEvent) -> bytes:
        self._open[key] = item
        self._output.append(item.shown("in_progress"))
        self._show(event)
        return b"".join(self._say(name, **values) for name, values in item.begin())

    def _grow(self, key: str, delta: str, event: AnyEvent) -> bytes:
        item = self._open.get(key)
        if item is None:
            return b""
        item.pieces.append(delta)
        self._shown_to = event.seq
        number, self._number = self._number, self._number + 1
        return b"".join((item.delta_head, _encode(delta), b',"sequence_number":', _encode(number), b"}\n\n"))

    def _close(self, key: str, value: str) -> bytes:
        item = self._open.pop(key, None)
        if item is None:
            return b""
        told = b""
        if not item.pieces and value:
            number, self._number = self._number, self._number + 1
            told = item.delta_head + _encode(value) + b',"sequence_number":%d}\n\n' % number
        value = "".join(item.pieces) or value
        self._output[item.index] = item.shown("completed", value)
        return told + b"".join(self._say(name, **values) for name, values in item.end(value))

    def _finish(self, event: RunFinished) -> bytes:
        status, reason = "completed", None
        if event.reason in ("length", "limit"):
            status, reason = "incomplete", "max_output_tokens"
        elif event.reason == "content_filter":
            status, reason = "incomplete", "content_filter"
        self.response |= {
            "status": status,
            "incomplete_details": {"reason": reason} if reason else None,
            "usage": response_usage(event.usage) if event.usage else None,
        }
        self._done = True
        return self._say(f"response.{status}", response=self.response)

    def _break_off(self, event: RunFailed | RunCancelled) -> bytes:
        _, error, _ = end_error(event)
        code = _CODES.get(error["code"], "server_error")
        status = "cancelled" if isinstance(event, RunCancelled) else "failed"
        self.response |= {"status": status, "error": {"code": code, "message": error["message"]}}
        self._done = True
        return self._say("response.failed", response=self.response)

    def _fail(self, error: dict[str, Any]) -> bytes:
        """The stream's own end, and not the response's: that goes on and can be fetched by its id.

        Their clients raise for what stands under `error`, and hand out the rest as an event like any other.
        """
        self._done = True
        return self._say("error", code=error["code"], message=error["message"], param=None, error=error)

    def _show(self, event: AnyEvent) -> None:
        self._steps.add(event.step)
        self._shown_to = event.seq

    def _item_id(self) -> str:
        return f"{self._run}_{len(self._output)}"

    def _say(self, name: str, /, **values: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        data = _encode({"type": name, **values, "sequence_number": number})
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
