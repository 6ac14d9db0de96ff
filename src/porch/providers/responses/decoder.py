"""Responses bytes into contract events: pure, and the same for every split of the bytes."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import msgspec

from porch.contract.errors import ModelError
from porch.contract.events import FinishReason
from porch.contract.text import clean_text
from porch.providers.assembly import Assembly
from porch.providers.complaints import read_complaint
from porch.providers.failures import Asked, protocol_failure, stream_failure
from porch.providers.reader import (
    END_MARK,
    KEEP_ALIVES,
    MAX_FRAME_BYTES,
    AnswerReader,
    NotAnAnswer,
    json_values,
    shaped,
)
from porch.providers.request import StepOutcome
from porch.providers.responses.items import Items
from porch.providers.responses.quirks import FORMAT
from porch.providers.responses.wire import Event, decode_ascii, decode_event, decode_text
from porch.providers.usage import read_usage

MAX_TRIES = 64
TEXT_DELTA = "response.output_text.delta"
_FAILED = frozenset({"failed", "cancelled", "canceled", "expired"})


class Decoder(AnswerReader):
    """Reads one answer of Responses; see `AnswerReader`.

    `seal` names who can read its sealed reasoning; with `seal_plain`, reasoning in plain words goes back too.
    """

    quiet = KEEP_ALIVES

    def __init__(
        self,
        assembly: Assembly,
        outcome: StepOutcome,
        asked: Asked,
        *,
        seal: str = FORMAT,
        seal_plain: bool = False,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        super().__init__(assembly, outcome, asked, max_frame_bytes=max_frame_bytes)
        self._new_items = partial(Items, assembly, seal, seal_plain)
        self._items = self._new_items()
        self._status = ""
        self._plain = False  # the last event was output text, and the next is most likely more of it
        self._tries = MAX_TRIES  # until a stream is known for one whose texts come by other events
        self._spoiled: ModelError | None = None  # by a frame that is no JSON; told when the stream is over

    def _finish_stream(self) -> None:
        try:
            super()._finish_stream()
        except ModelError as error:
            raise self._spoiled or error from None

    def _check_end(self) -> None:
        self._items.settle()
        if self._items.nameless():
            raise protocol_failure(self._asked, "with a tool call that has no name")

    def _reason(self) -> FinishReason:
        if self._status == "incomplete":
            filtered = "content_filter" in (self._outcome.raw_reason or "")
            return "content_filter" if filtered else "length"
        if self._assembly.tool_calls:
            return "tool_calls"
        return "refusal" if self._items.refused else "stop"

    def _frame(self, data: bytes) -> None:
        if self._plain:
            try:
                if not data.isascii():
                    data.decode()
                more = decode_text(data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self._plain = False
                self._tries -= 1
            else:
                if self._items.more(more.output_index, more.content_index, more.delta):
                    return
        try:
            event = decode_ascii(data) if data.isascii() else decode_event(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._odd_frame(data.strip())
            return
        if event.type == TEXT_DELTA:
            self._items.say(event, "text", "content", event.content_index)
            self._plain = self._tries > 0
        else:
            self._event(event, data)

    def _odd_frame(self, data: bytes) -> None:
        if data == END_MARK:
            self.done = True
        elif data:
            try:
                values = json_values(data)
            except NotAnAnswer as error:
                spoiled = protocol_failure(self._asked, f"with {error} in its stream", data[:200])
                self._spoiled = self._spoiled or spoiled
                return
            for value in values:
                if not self.done:
                    self._odd_event(value, data)

    def _odd_event(self, value: Any, data: bytes) -> None:
        try:
            event = shaped(value, Event)
        except NotAnAnswer:
            self._check_complaint(data)
            self._assembly.raw(FORMAT, value)
        else:
            self._event(event, data, value)

    def _event(self, event: Event, data: bytes, value: Any = None) -> None:
        act = _ACTS.get(event.type) if type(event.type) is str else None
        if act is not None:
            act(self, event)
        elif event.type in ("error", "response.error") or (type(event.type) is not str and event.error):
            raise stream_failure(self._asked, read_complaint(data) if value is None else value)
        elif type(event.type) is not str:
            self._check_complaint(data)
            self._pass_on(data, value)
        elif event.type in KEEP_ALIVES:
            self._keep_alive()
        elif event.type not in _SILENT:
            self._pass_on(data, value)

    def _pass_on(self, data: bytes, value: Any) -> None:
        if value is None:
            value = msgspec.json.decode(data)
        if isinstance(value, dict):
            cast("dict[str, Any]", value).pop("obfuscation", None)
        self._assembly.raw(FORMAT, value)

    def begin_answer(self, event: Event) -> None:
        """The answer's frame, before there is anything in it. A server that runs tools may give several."""
        if self.ended and event.type == "response.created":
            self.ended = False
            self._items.settle()
            self._assembly.end_all()
            self._items = self._new_items()
        response = _record(event.response)
        self._note_model(response)
        if response.get("error"):
            raise stream_failure(self._asked, response["error"])

    def end_answer(self, event: Event) -> None:
        """One of the terminal events. What follows still counts: an error, or another answer."""
        self._end(_record(event.response), str(event.type).removeprefix("response."))

    def say(self, event: Event) -> None:
        """A delta of what is no output text."""
        kind, where = _DELTAS[event.type]
        index = event.summary_index if where == "summary" else event.content_index
        self._items.say(event, kind, where, index)

    def end_part(self, event: Event) -> None:
        """The full text of a part."""
        kind, where = _DELTAS[event.type.removesuffix("done") + "delta"]
        index = event.summary_index if where == "summary" else event.content_index
        self._items.end_part(event, kind, where, index, event.refusal if kind == "refusal" else event.text)

    def end_arguments(self, event: Event) -> None:
        """The full arguments of a call."""
        self._items.end_arguments(event, event.input if event.arguments is None else event.arguments)

    @property
    def items(self) -> Items:
        """What came so far."""
        return self._items

    def _end(self, response: dict[str, Any], status: str) -> None:
        self._note_model(response)
        self._usage = read_usage(response.get("usage"), response.get("created_at")) or self._usage
        given = response.get("status")
        status = given if isinstance(given, str) and given not in ("in_progress", "queued") else status
        if response.get("error") or status in _FAILED:
            said = response.get("error") or {"message": f"The answer's status is {status[:40]!r}."}
            raise stream_failure(self._asked, said)
        if self._spoiled is not None:
            raise self._spoiled
        self._items.take_output(response.get("output"))
        self._status = status
        why = _record(response.get("incomplete_details")).get("reason")
        self._outcome.raw_reason = clean_text((why if isinstance(why, str) and why else status)[:100])
        self.ended = True

    def _read_document(self, data: bytes) -> None:
        try:
            values = json_values(data)
        except NotAnAnswer as error:
            raise protocol_failure(self._asked, f"with {error}", data[:200]) from None
        response = _record(values[0]) if len(values) == 1 else {}
        if response.get("error"):
            raise self._complain(response["error"], data)
        if not isinstance(response.get("output"), list):
            self._check_complaint(data)
            raise protocol_failure(self._asked, "with JSON that holds no answer", data[:200])
        self._end(response, "completed")

    def _note_model(self, response: dict[str, Any]) -> None:
        model = response.get("model")
        if isinstance(model, str) and model:
            self._outcome.model = clean_text(model[:200])


def _record(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


_DELTAS: dict[str, Any] = {
    TEXT_DELTA: ("text", "content"),
    "response.refusal.delta": ("refusal", "content"),
    "response.reasoning_text.delta": ("reasoning", "content"),
    "response.reasoning.delta": ("reasoning", "content"),
    "response.reasoning_summary_text.delta": ("reasoning", "summary"),
}
_ACTS: dict[str, Callable[[Decoder, Event], None]] = {
    **dict.fromkeys(("response.created", "response.in_progress", "response.queued"), Decoder.begin_answer),
    **dict.fromkeys(_DELTAS, Decoder.say),
    **{name.removesuffix("delta") + "done": Decoder.end_part for name in _DELTAS},
    "response.function_call_arguments.delta": lambda decoder, event: decoder.items.call_delta(event),
    "response.custom_tool_call_input.delta": lambda decoder, event: decoder.items.call_delta(event),
    "response.function_call_arguments.done": Decoder.end_arguments,
    "response.custom_tool_call_input.done": Decoder.end_arguments,
    "response.output_item.added": lambda decoder, event: decoder.items.open(event),
    "response.output_item.done": lambda decoder, event: decoder.items.end_item(event),
    "response.content_part.done": lambda decoder, event: decoder.items.end_content(event),
    "response.output_text.annotation.added": lambda decoder, event: decoder.items.cite(event),
    **dict.fromkeys(
        (
            "response.completed",
            "response.incomplete",
            "response.failed",
            "response.cancelled",
            "response.done",
        ),
        Decoder.end_answer,
    ),
}
_SILENT = frozenset(
    {
        "response.content_part.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
    }
)
