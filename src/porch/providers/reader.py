"""A provider's answer read as its bytes come: a stream of frames, one JSON document, or a page by mistake.

What the dialects that stream JSON in server-sent events have in common; each adds what its frames mean.
"""

import json
from typing import Any, ClassVar, TypeVar, cast

import msgspec

from porch.contract.errors import ModelError, PorchError
from porch.contract.events import FinishReason, Usage
from porch.contract.sse import BOM, ServerSentEvent, SseDecoder
from porch.contract.text import clean_text
from porch.providers.assembly import Assembly
from porch.providers.complaints import read_complaint
from porch.providers.failures import Asked, cut_failure, protocol_failure, stream_failure
from porch.providers.request import StepOutcome

T = TypeVar("T")
MAX_FRAME_BYTES = 8 * 1024 * 1024
MAX_IDLE_BYTES = 4 * 1024 * 1024
END_MARK = b"[DONE]"
KEEP_ALIVES = frozenset({"ping", "heartbeat", "keepalive", "keep-alive"})
_SPACE = b" \t\r\n"


class NotAnAnswer(ValueError):  # says what it is
    """Raised when a payload is not JSON of the dialect's shape."""


class AnswerReader:
    """Reads one answer. Feed it bytes, then `finish()`; events come out of the assembly.

    Both raise ModelError. `ended` says that the answer's end was seen, so that a connection lost from here on
    costs nothing; `done`, that nothing more will count. `idle` counts the bytes since the last event that was more
    than a keep-alive; an answer may have `MAX_IDLE_BYTES` of them, and what is on the way of one event.
    """

    __slots__ = (
        "_asked",
        "_assembly",
        "_between",
        "_document",
        "_familiar",
        "_head",
        "_max",
        "_outcome",
        "_pings",
        "_single",
        "_sse",
        "_streaming",
        "_usage",
        "done",
        "ended",
        "idle",
    )

    # Names of events whose data means nothing and may be anything at all.
    quiet: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        assembly: Assembly,
        outcome: StepOutcome,
        asked: Asked,
        *,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        self.done = False
        self.ended = False
        self.idle = 0
        self._assembly = assembly
        self._outcome = outcome
        self._asked = asked
        self._sse = SseDecoder(max_bytes=max_frame_bytes)
        self._single = self._sse.single
        self._max = max_frame_bytes
        self._usage: Usage | None = None
        self._streaming = False
        self._between = False  # what comes next begins an event
        self._familiar = False  # and is most likely known at a glance
        self._head = b""  # the body until its kind is known
        self._document: bytearray | None = None  # a body that is one JSON document and no stream
        self._pings = 0  # events that were keep-alives

    def feed(self, data: bytes) -> None:
        """More of the body."""
        if self.done:
            return
        try:
            if self._familiar and self._between and len(data) <= self._max:
                rest = self._recognise(data)
                if len(rest) < len(data):
                    self.idle = 0
                    if not rest:
                        return
                    data = rest
            if not self._streaming:
                self._begin(data)
            elif (payload := self._single(data, b"delta")) is not None:
                self.idle = 0
                self._frame(payload)
            else:
                self._split(data)
        except PorchError as error:
            raise self._abandon(error) from None
        except RecursionError:
            raise self._abandon(protocol_failure(self._asked, "with JSON that nests too deep")) from None

    def finish(self) -> None:
        """The body is over: close what is open, report usage, fill the outcome."""
        try:
            if self._document is None:
                self._finish_stream()
            else:
                self._read_document(bytes(self._document))
            self._check_end()
            self._assembly.end_all()
        except PorchError as error:
            raise self._abandon(error) from None
        except RecursionError:
            raise self._abandon(protocol_failure(self._asked, "with JSON that nests too deep")) from None
        self._report_usage()
        self._outcome.reason = self._reason()

    def give_up(self, error: ModelError) -> ModelError:
        """The body broke off: report the usage seen so far. Answers with the error to raise."""
        return self._abandon(error)

    def _recognise(self, data: bytes) -> bytes:
        """Take whole events that need no reading from the beginning. Answers with the rest. May raise PorchError."""
        return data

    def _frame(self, data: bytes) -> None:
        """One frame's data. May raise PorchError."""
        raise NotImplementedError

    def _read_document(self, data: bytes) -> None:
        """A body that is one JSON document. May raise PorchError."""
        raise NotImplementedError

    def _check_end(self) -> None:
        """Raise PorchError when what came is no good answer after all."""

    def _reason(self) -> FinishReason:
        raise NotImplementedError

    def _begin(self, data: bytes) -> None:
        """Tell a stream from a JSON document and a page by the first character that is no space."""
        if self._document is not None:
            self.idle = 0
            self._document += data
            if len(self._document) > self._max:
                raise protocol_failure(self._asked, "with too large a body")
            return
        # White space keeps a connection alive until a JSON document is ready, however long that takes.
        head = (self._head + data).lstrip(_SPACE)
        self._head = head
        if BOM.startswith(head):
            self._note_idle(self.idle + len(data))
            return
        head = head.removeprefix(BOM).lstrip(_SPACE)
        if not head:
            self._head = BOM
            self._note_idle(self.idle + len(data))
            return
        self._head = b""
        if head[:1] == b"<":
            raise protocol_failure(self._asked, "with an HTML page")
        if head[:1] in (b"{", b"["):
            self._document = bytearray()
            self._begin(head)
        else:
            self._streaming = True
            self._split(head)

    def _split(self, data: bytes) -> None:
        events = self._sse.feed(data)
        self._between = self._sse.between
        idle, pings = self.idle + len(data), self._pings
        self._events(events)
        self._note_idle(idle if len(events) == self._pings - pings else 0)

    def _note_idle(self, idle: int) -> None:
        self.idle = idle
        if idle - self._sse.held > MAX_IDLE_BYTES:
            if not self.ended:
                what = f"with over {MAX_IDLE_BYTES:,} bytes of keep-alives and nothing between them"
                raise protocol_failure(self._asked, what)
            self.done = True

    def _keep_alive(self) -> None:
        """This event says no more than a comment does."""
        self._pings += 1
        self.idle += 1

    def _finish_stream(self) -> None:
        for event in self._sse.finish() if not self.done else ():
            # What lacks its blank line and is not JSON is the half of a frame whose rest was lost.
            data = event.data.strip()
            if data == END_MARK or event.event == "error" or is_json(data.removesuffix(END_MARK)):
                self._events([event])
        if not self.ended:
            raise cut_failure(self._asked)

    def _events(self, events: list[ServerSentEvent]) -> None:
        for name, data, _ in events:
            if self.done:
                return
            if name == "error":
                raise stream_failure(self._asked, read_complaint(data))
            if name not in self.quiet:
                self._frame(data)
            else:
                self._keep_alive()

    def _complain(self, error: object, data: bytes) -> ModelError:
        """The error for an `error` member of a payload, whose codes stand beside it where it is a mere text."""
        if isinstance(error, str) and (complaint := read_complaint(data)).codes:
            return stream_failure(self._asked, complaint)
        return stream_failure(self._asked, error)

    def _check_complaint(self, data: bytes) -> None:
        """Some servers put an error's members where the answer's should be."""
        complaint = read_complaint(data)
        if complaint.is_error:
            raise stream_failure(self._asked, complaint)

    def _abandon(self, error: PorchError) -> ModelError:
        self._report_usage()
        if isinstance(error, ModelError):
            return error
        return protocol_failure(self._asked, f"with an event of over {self._max:,} bytes")

    def _report_usage(self) -> None:
        usage, self._usage = self._usage, None
        if usage is not None:
            self._outcome.usage = usage
            self._assembly.usage(
                usage.input_tokens,
                usage.output_tokens,
                usage.cached_input_tokens,
                usage.reasoning_tokens,
                usage.cost,
            )


def json_values(data: bytes) -> list[Any]:
    """Every JSON value of a payload, lone surrogates and all. Raises NotAnAnswer."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise NotAnAnswer("bytes that are not UTF-8") from None
    decoder = json.JSONDecoder(parse_int=_integer)
    values: list[Any] = []
    at = 0
    try:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            values.append(value)
            while at < len(text) and text[at] in " \t\r\n":
                at += 1
    except (ValueError, RecursionError):
        raise NotAnAnswer("something that is not JSON") from None
    return values


def shaped(value: Any, shape: type[T]) -> T:
    """A JSON value as a Struct. Raises NotAnAnswer."""
    try:
        try:
            return msgspec.convert(value, shape)
        except UnicodeEncodeError:
            return msgspec.convert(_clean_names(value), shape)
    except (msgspec.MsgspecError, RecursionError):
        raise NotAnAnswer("JSON of another shape") from None


def _clean_names(value: Any) -> Any:
    """A JSON value whose members' names hold no half of a surrogate pair; texts keep theirs."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {clean_text(name): _clean_names(item) for name, item in fields.items()}
    return [_clean_names(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


def is_json(data: bytes) -> bool:
    """Whether a payload is whole."""
    try:
        return bool(json_values(data.strip()))
    except NotAnAnswer:
        return False


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)
