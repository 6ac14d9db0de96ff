"""From a decoder's findings to contract events: ids, starts and ends, full values, clean text.

Every dialect reports here what it saw; the laws on parts and calls are kept in this one place.
"""

import json
from collections.abc import Callable
from typing import Any, cast

import msgspec

from porch.contract.errors import ModelError
from porch.contract.events import (
    AnyEvent,
    Cost,
    Notice,
    PartFinished,
    PartKind,
    PartStarted,
    Raw,
    ReasoningSealed,
    SourceCited,
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
MAX_CALLS = 64
MAX_ARGUMENT_CHARACTERS = 256 * 1024
MAX_DEPTH = 64
TOO_DEEP = f"They nest more than {MAX_DEPTH} deep."
CALL_COST = 64  # so that calls without arguments cannot come without end
MAX_RAW_TEXT = 4096


class _Open:
    __slots__ = ("counted", "deltas", "half", "id", "kind", "length", "name")

    def __init__(self, item_id: str, kind: PartKind | None, name: str = "") -> None:
        self.id = item_id
        self.kind: PartKind | None = kind
        self.name = name
        self.deltas: list[str] = []
        self.half = ""  # a high surrogate whose other half is still to come
        self.counted = 0  # deltas whose characters are in `length`
        self.length = 0


class Assembly:
    """Collects one step's events. Keys are the dialect's own (an index, a kind); ids are ours."""

    __slots__ = (
        "_events",
        "_open",
        "_parts",
        "_raw_room",
        "_room",
        "_told_nul",
        "emitted",
        "sink",
        "step",
        "tool_calls",
    )

    def __init__(self, step: str, *, max_characters: int = MAX_STEP_CHARACTERS) -> None:
        self.step = step
        self.tool_calls = 0
        self.emitted = False
        self.sink: Callable[[list[AnyEvent]], bool] | None = None
        """Takes a read's events at once, without waking a task; False leaves them to whoever reads the stream."""
        self._events: list[AnyEvent] = []
        self._open: dict[object, _Open] = {}
        self._parts = 0
        self._room = max_characters
        self._raw_room = max_characters
        self._told_nul = False

    def take(self) -> list[AnyEvent]:
        """The events since the last call, in order."""
        events, self._events = self._events, []
        if events:
            self.emitted = True
        return events

    def hand_on(self) -> bool:
        """Give the events since the last call to the sink. False, and they stay, where it does not take them."""
        if self.sink is None or not self._events or not self.sink(self._events):
            return False
        self._events = []
        self.emitted = True
        return True

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
            self.spend(0)
        item.deltas.append(text)
        self._events.append(StreamChunk(step=self.step, part=item.id, delta=text))

    def seal(self, key: object, format: str, data: Any, *, part: str | None = None) -> None:  # noqa: A002
        """A sealed block, belonging to the open part of that key, or to an earlier one by its id, or to none."""
        kept = _storable(data)
        if kept is not None:
            self.spend(kept[1])
            self._events.append(
                ReasoningSealed(step=self.step, part=self.part(key) or part, format=format, data=kept[0])
            )

    def raw(self, provider: str, data: Any) -> None:
        """A provider's event that has no name here.

        Long texts in it are cut; one that nests too deep, or comes when there were too many, is left out: what
        nobody knows never fails an answer.
        """
        kept = _storable(data, longest=MAX_RAW_TEXT)
        if kept is not None and kept[1] <= self._raw_room:
            self._raw_room -= kept[1]
            self._events.append(Raw(step=self.step, provider=provider, data=kept[0]))

    def cite(self, part: str | None, **fields: Any) -> None:
        """A citation with the fields of SourceCited that are known, for a part by its id."""
        kept = _storable(fields, longest=MAX_RAW_TEXT)
        if kept is not None:
            self.spend(kept[1])
            self._events.append(SourceCited(step=self.step, part=part, **kept[0]))

    def part(self, key: object) -> str | None:
        """The id of the part that is open under this key."""
        item = self._open.get(key)
        return item.id if item and item.kind else None

    def so_far(self, key: object) -> str:
        """What came of an open part or call."""
        item = self._open.get(key)
        return "".join([*item.deltas, item.half]) if item else ""

    def position(self, key: object) -> int:
        """How many characters an open part has so far."""
        item = self._open.get(key)
        if item is None:
            return 0
        item.length += sum(len(text) for text in item.deltas[item.counted :])
        item.counted = len(item.deltas)
        return item.length

    def has(self, key: object) -> bool:
        """Whether something with this key is open."""
        return key in self._open

    def start_call(self, key: object, name: str) -> None:
        """A tool call begins. Raises ModelError for one too many."""
        if self.tool_calls >= MAX_CALLS:
            raise ModelError(
                f"The model called over {MAX_CALLS} tools at once and was stopped; ask for less at a time.",
                code="too_many_calls",
                category="protocol",
            )
        self.spend(len(name) + CALL_COST)
        name = clean_text(name)
        item = self._open[key] = _Open(new_id("call"), None, name)
        self.tool_calls += 1
        self._events.append(ToolCallStarted(step=self.step, call=item.id, name=name))

    def call_delta(self, key: object, text: str) -> None:
        """More of a call's argument text."""
        item = self._open[key]
        self.spend(len(text))
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
        cost: Cost | None = None,
    ) -> None:
        """Counts so far, and what the provider says it charged; cumulative."""
        self._events.append(
            UsageReported(
                step=self.step,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cached_input_tokens=cached_input_tokens,
                reasoning_tokens=reasoning_tokens,
                cost=cost,
            )
        )

    def spend(self, size: int) -> None:
        """Count characters that are kept, here or by a decoder, against the step's cap. Raises ModelError."""
        self._room -= size
        if self._room < 0:
            raise ModelError(
                "The model's answer grew over the limit for one step and was stopped; "
                "ask for less, or set max_output_tokens.",
                code="answer_too_large",
                category="protocol",
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


def finish_call(step: str, call: str, name: str, raw: str) -> ToolCallFinished:
    """A call's end, its arguments parsed; no text at all reads as no arguments."""
    if len(raw) > MAX_ARGUMENT_CHARACTERS:
        said = (
            f"The arguments are {len(raw):,} characters; the limit is {MAX_ARGUMENT_CHARACTERS:,}. Send less."
        )
        problem = ToolError(code="arguments_too_large", message=said)
        return ToolCallFinished(step=step, call=call, name=name, raw_arguments=raw, error=problem)
    try:
        arguments = _parse(raw)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        why = TOO_DEEP if isinstance(error, RecursionError) else str(error)[:200]
        problem = ToolError(code="invalid_arguments", message=f"{NO_OBJECT} {why}")
        return ToolCallFinished(step=step, call=call, name=name, raw_arguments=raw, error=problem)
    return ToolCallFinished(step=step, call=call, name=name, arguments=arguments)


def argument_text(value: object) -> str:
    """Arguments that came as JSON and not as text. Raises ModelError for what nests too deep."""
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError, RecursionError):
        pass
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):
        said = "The model's answer held a tool call whose arguments nest too deep. Try again."
        raise ModelError(said, code="bad_answer", category="protocol") from None


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


def _storable(data: Any, *, longest: int | None = None) -> tuple[Any, int] | None:
    """A provider's own JSON as the journal takes it, with what it costs; None for what nests too deep."""
    try:
        _check_depth(data, MAX_DEPTH)
        data = clean_json(data)
        if longest is not None:
            data = _shorten(data, longest)
        return data, len(data if isinstance(data, str) else msgspec.json.encode(data)) + CALL_COST
    except (ValueError, RecursionError, OverflowError):
        return None


def _shorten(value: Any, longest: int) -> Any:
    if isinstance(value, str) and len(value) > longest:
        return f"{value[:longest]}… ({len(value):,} characters)"
    if isinstance(value, dict):
        return {key: _shorten(item, longest) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_shorten(item, longest) for item in cast("list[Any]", value)]
    return value


def _check_depth(value: object, room: int) -> None:
    if room == 0:
        raise ValueError(TOO_DEEP)
    if isinstance(value, dict):
        value = list(cast("dict[str, object]", value).values())
    if isinstance(value, list):
        for item in cast("list[object]", value):
            _check_depth(item, room - 1)
