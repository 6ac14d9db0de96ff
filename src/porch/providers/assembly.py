"""From a decoder's findings to contract events: ids, starts and ends, full values, clean text.

Every dialect reports here what it saw; the laws on parts and calls are kept in this one place.
"""

import json
from typing import Any, cast

import msgspec

from porch.contract.errors import ModelError
from porch.contract.events import (
    AnyEvent,
    Notice,
    PartFinished,
    PartKind,
    PartStarted,
    ReasoningSealed,
    StreamChunk,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    ToolError,
    UsageReported,
)
from porch.contract.ids import new_id
from porch.contract.text import NUL, REPLACEMENT, clean_json, clean_text, join_surrogates

NO_OBJECT = "The arguments must be one JSON object."
# Characters, not bytes: even if each is escaped, a full value stays within the 8 MiB that readers take.
MAX_STEP_CHARACTERS = 1024 * 1024
MAX_DEPTH = 64
CALL_COST = 64  # so that calls without arguments cannot come without end


class _Open:
    __slots__ = ("deltas", "half", "id", "kind", "name")

    def __init__(self, item_id: str, kind: PartKind | None, name: str = "") -> None:
        self.id = item_id
        self.kind: PartKind | None = kind
        self.name = name
        self.deltas: list[str] = []
        self.half = ""  # a high surrogate whose other half is still to come


class Assembly:
    """Collects one step's events. Keys are the dialect's own (an index, a kind); ids are ours."""

    def __init__(self, step: str, *, max_characters: int = MAX_STEP_CHARACTERS) -> None:
        self.step = step
        self.tool_calls = 0
        self.emitted = False
        self._events: list[AnyEvent] = []
        self._open: dict[object, _Open] = {}
        self._parts = 0
        self._room = max_characters
        self._told_nul = False

    def take(self) -> list[AnyEvent]:
        """The events since the last call, in order."""
        events, self._events = self._events, []
        if events:
            self.emitted = True
        return events

    def delta(self, key: object, kind: PartKind, text: str) -> None:
        """More of a part, which begins with its first text."""
        item = self._open.get(key)
        if item is None:
            if not text:
                return
            self._parts += 1
            item = self._open[key] = _Open(f"{self.step}p{self._parts}", kind)
            self._events.append(PartStarted(step=self.step, part=item.id, kind=kind))
        if item.half or NUL in text or not text.isascii():
            text = self._clean(item, text)
            if not text:
                return
        self._room -= len(text)
        if self._room < 0:
            self._spend(0)
        item.deltas.append(text)
        self._events.append(StreamChunk(step=self.step, part=item.id, delta=text))

    def seal(self, key: object, format: str, data: Any) -> None:  # noqa: A002
        """A sealed block, belonging to the open part of that key if there is one."""
        item = self._open.get(key)
        self._spend(len(data) if isinstance(data, str) else 0)
        part = item.id if item else None
        self._events.append(ReasoningSealed(step=self.step, part=part, format=format, data=data))

    def has(self, key: object) -> bool:
        """Whether something with this key is open."""
        return key in self._open

    def start_call(self, key: object, name: str) -> None:
        """A tool call begins."""
        self._spend(len(name) + CALL_COST)
        name = clean_text(name)
        item = self._open[key] = _Open(new_id("call"), None, name)
        self.tool_calls += 1
        self._events.append(ToolCallStarted(step=self.step, call=item.id, name=name))

    def call_delta(self, key: object, text: str) -> None:
        """More of a call's argument text."""
        item = self._open[key]
        self._spend(len(text))
        text = self._clean(item, text)
        if text:
            item.deltas.append(text)
            self._events.append(ToolCallDelta(step=self.step, call=item.id, delta=text))

    def end(self, key: object) -> None:
        """A part or call is complete; nothing happens when it is not open."""
        item = self._open.pop(key, None)
        if item is None:
            return
        if item.half:
            self._append(item, REPLACEMENT)
        value = "".join(item.deltas)
        if item.kind is None:
            self._events.append(finish_call(self.step, item.id, item.name, value))
        else:
            self._events.append(PartFinished(step=self.step, part=item.id, kind=item.kind, value=value))

    def usage(
        self,
        input_tokens: int,
        output_tokens: int,
        cached_input_tokens: int | None = None,
        reasoning_tokens: int | None = None,
    ) -> None:
        """Counts so far; cumulative."""
        self._events.append(
            UsageReported(
                step=self.step,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cached_input_tokens=cached_input_tokens,
                reasoning_tokens=reasoning_tokens,
            )
        )

    def add(self, event: AnyEvent) -> None:
        """An event that stands for itself: a notice, a source, a raw one."""
        self._events.append(event)

    def end_all(self) -> None:
        """Everything open is complete."""
        for key in list(self._open):
            self.end(key)

    def close(self) -> list[AnyEvent]:
        """Ends for all that is open, with what came, when the stream was cut. Calls end with an error."""
        for key, item in list(self._open.items()):
            if item.kind is not None:
                self.end(key)
                continue
            del self._open[key]
            cut = ToolError(code="interrupted", message="The model's answer ended within this call.")
            raw = "".join(item.deltas)
            self._events.append(
                ToolCallFinished(step=self.step, call=item.id, name=item.name, raw_arguments=raw, error=cut)
            )
        return self.take()

    def _append(self, item: _Open, text: str) -> None:
        item.deltas.append(text)
        if item.kind is None:
            self._events.append(ToolCallDelta(step=self.step, call=item.id, delta=text))
        else:
            self._events.append(StreamChunk(step=self.step, part=item.id, delta=text))

    def _clean(self, item: _Open, text: str) -> str:
        """Whole code points: the half of a pair waits for the other, NUL and what stays alone is replaced."""
        text, item.half = item.half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, item.half = text[:-1], text[-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            text = join_surrogates(text)
        return self._without_nul(text) if NUL in text else text

    def _without_nul(self, text: str) -> str:
        if not self._told_nul:
            self._told_nul = True
            said = "The model wrote a NUL character, which cannot be stored; it was replaced."
            self._events.append(Notice(step=self.step, code="nul_replaced", text=said))
        return text.replace(NUL, REPLACEMENT)

    def _spend(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise ModelError(
                "The model's answer grew over the limit for one step and was stopped; "
                "ask for less, or set max_output_tokens.",
                code="answer_too_large",
                category="protocol",
            )


def finish_call(step: str, call: str, name: str, raw: str) -> ToolCallFinished:
    """A call's end, its arguments parsed; no text at all reads as no arguments."""
    try:
        arguments = _parse(raw)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        problem = ToolError(code="invalid_arguments", message=f"{NO_OBJECT} {str(error)[:200]}")
        return ToolCallFinished(step=step, call=call, name=name, raw_arguments=raw, error=problem)
    return ToolCallFinished(step=step, call=call, name=name, arguments=arguments)


def _parse(raw: str) -> dict[str, Any]:
    if not raw.strip():
        return {}
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        # Lone surrogates, which msgspec refuses.
        value = json.loads(raw, parse_constant=_refuse, parse_float=_float)
    if not isinstance(value, dict):
        raise ValueError(f"They are a JSON {type(value).__name__}.")  # noqa: TRY004  # as JSON's own errors
    arguments = cast("dict[str, Any]", value)
    _check_depth(arguments, MAX_DEPTH)
    return clean_json(arguments)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON.")


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"The number {digits[:40]} is too large.")
    return number


def _check_depth(value: object, room: int) -> None:
    if room == 0:
        raise ValueError(f"They nest more than {MAX_DEPTH} deep.")
    if isinstance(value, dict):
        value = list(cast("dict[str, object]", value).values())
    if isinstance(value, list):
        for item in cast("list[object]", value):
            _check_depth(item, room - 1)
