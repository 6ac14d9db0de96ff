"""Chat Completions bytes into contract events: pure, and the same for every split of the bytes."""

from typing import Any, cast

import msgspec

from porch.contract.errors import ModelError, PorchError
from porch.contract.events import FinishReason, PartKind, Usage
from porch.contract.sse import BOM, ServerSentEvent, SseDecoder
from porch.contract.text import clean_text
from porch.providers.assembly import Assembly
from porch.providers.chat_completions.calls import Calls
from porch.providers.chat_completions.usage import read_usage
from porch.providers.chat_completions.wire import (
    Chunk,
    Delta,
    NotAChunk,
    decode_ascii,
    decode_chunk,
    decode_chunks,
    decode_completion,
)
from porch.providers.complaints import read_complaint
from porch.providers.failures import Asked, cut_failure, protocol_failure, stream_failure
from porch.providers.request import StepOutcome

MAX_FRAME_BYTES = 8 * 1024 * 1024

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
    "refusal": "refusal",
}
_FAILURES = frozenset({"error", "network_error", "insufficient_system_resource", "abort"})


class Decoder:
    """Reads one answer. Feed it bytes, then `finish()`; events come out of the assembly.

    Both raise ModelError. `ended` says that a finish reason or the end mark was seen, so that a connection
    lost from here on costs nothing; `done`, that the end mark was seen and nothing more will count.
    """

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
        self._assembly = assembly
        self._outcome = outcome
        self._asked = asked
        self._sse = SseDecoder(max_bytes=max_frame_bytes)
        self._max = max_frame_bytes
        self._calls = Calls(assembly)
        self._open: PartKind | None = None
        self._usage: Usage | None = None
        self._refused = False
        self._model: Any = None
        self._streaming = False
        self._head = b""  # the body until its kind is known
        self._document: bytearray | None = None  # a body that is one JSON document and no stream

    def feed(self, data: bytes) -> None:
        """More of the body."""
        if self.done:
            return
        try:
            if self._streaming:
                data_only = self._sse.single(data)
                if data_only is not None:
                    self._frame(data_only)
                else:
                    self._events(self._sse.feed(data))
            else:
                self._begin(data)
        except PorchError as error:
            raise self._abandon(error) from None

    def finish(self) -> None:
        """The body is over: close what is open, report usage, fill the outcome."""
        try:
            if self._document is None:
                self._finish_stream()
            else:
                self._finish_document(bytes(self._document))
            raw = self._outcome.raw_reason
            if raw is not None and raw.lower() in _FAILURES:
                raise stream_failure(self._asked, {"message": f"finish_reason {raw!r}", "code": raw})
            if self._calls.nameless():
                raise protocol_failure(self._asked, "with a tool call that has no name")
        except PorchError as error:
            raise self._abandon(error) from None
        self._assembly.end_all()
        self._report_usage()
        self._outcome.reason = self._reason()

    def _begin(self, data: bytes) -> None:
        """Tell a stream from a JSON document and a page by the first character that is no space."""
        if self._document is not None:
            self._document += data
            if len(self._document) > self._max:
                raise protocol_failure(self._asked, "with too large a body")
            return
        self._head += data
        text = self._head[:1024].removeprefix(BOM).lstrip(b" \t\r\n")
        if BOM.startswith(self._head) or (not text and len(self._head) < 1024):
            return
        if text[:1] == b"<":
            raise protocol_failure(self._asked, "with an HTML page")
        head, self._head = self._head, b""
        if text[:1] in (b"{", b"["):
            self._document = bytearray()
            self._begin(head.removeprefix(BOM))
        else:
            self._streaming = True
            self._events(self._sse.feed(head))

    def _finish_stream(self) -> None:
        for event in self._sse.finish() if not self.done else ():
            # What lacks its blank line and is not JSON is the half of a frame whose rest was lost.
            if event.data.strip() == b"[DONE]" or _is_json(event.data):
                self._events([event])
        if not self.ended:
            raise cut_failure(self._asked)

    def _finish_document(self, data: bytes) -> None:
        try:
            completion = decode_completion(data)
        except NotAChunk as error:
            raise protocol_failure(self._asked, f"with {error}", data[:200]) from None
        if completion.error:
            raise stream_failure(self._asked, completion.error)
        self._note(completion.model, completion.usage)
        for choice in completion.choices or ():
            if choice.index in (0, None) and choice.message is not None:
                self._delta(choice.message)
                self._note_reason(choice.finish_reason)
                self.ended = True
        if not self.ended:
            self._check_complaint(data)
            raise protocol_failure(self._asked, "with JSON that holds no answer", data[:200])

    def _events(self, events: list[ServerSentEvent]) -> None:
        for event in events:
            if self.done:
                return
            if event.event == "error":
                raise stream_failure(self._asked, read_complaint(event.data))
            self._frame(event.data)

    def _frame(self, data: bytes) -> None:
        try:
            chunk = decode_ascii(data) if data.isascii() else decode_chunk(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._odd_frame(data.strip())
        else:
            self._chunk(chunk, data)

    def _odd_frame(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.done = self.ended = True
        elif data:
            try:
                chunks = decode_chunks(data)
            except NotAChunk as error:
                raise protocol_failure(self._asked, f"with {error} in its stream", data[:200]) from None
            for chunk in chunks:
                self._chunk(chunk, data)

    def _chunk(self, chunk: Chunk, data: bytes) -> None:
        if chunk.error:
            raise stream_failure(self._asked, chunk.error)
        if chunk.usage or chunk.x_groq or self._model is None:
            self._note(chunk.model, chunk.usage or _inner_usage(chunk.x_groq))
        if chunk.choices is None:
            if chunk.usage is None:
                self._check_complaint(data)
            return
        for choice in chunk.choices:
            # One candidate is asked for; others that a server sends all the same are left out.
            if choice.index == 0 or choice.index is None:
                if choice.delta is not None:
                    self._delta(choice.delta)
                if choice.finish_reason:
                    self._note_reason(choice.finish_reason)

    def _check_complaint(self, data: bytes) -> None:
        """Some servers put an error's members where the answer's should be."""
        complaint = read_complaint(data)
        if complaint.is_error:
            raise stream_failure(self._asked, complaint)

    def _delta(self, delta: Delta) -> None:
        content = delta.content
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            self._say("reasoning", thought)
        if content:
            if self._open == "text" and type(content) is str:
                self._assembly.delta("text", "text", content)
            else:
                self._say("text", content)
        if delta.refusal:
            self._refused = True
            self._say("refusal", delta.refusal)
        if delta.tool_calls:
            self._end_part()
            self._calls.fragments(delta.tool_calls)
        elif delta.function_call is not None:
            self._end_part()
            self._calls.legacy(delta.function_call)

    def _say(self, kind: PartKind, content: Any) -> None:
        if type(content) is not str:
            for inner, text in _flatten(kind, content):
                self._say(inner, text)
            return
        if self._open != kind:
            self._end_part()
            self._open = kind
        self._assembly.delta(kind, kind, content)

    def _end_part(self) -> None:
        if self._open is not None:
            self._assembly.end(self._open)
            self._open = None

    def _note(self, model: Any, usage: Any) -> None:
        if self._model is None and isinstance(model, str) and model:
            self._model = self._outcome.model = clean_text(model[:200])
        if usage:
            self._usage = read_usage(usage) or self._usage

    def _note_reason(self, reason: Any) -> None:
        self.ended = True
        if isinstance(reason, str) and reason:
            self._outcome.raw_reason = clean_text(reason[:100])

    def _reason(self) -> FinishReason:
        reason = _REASONS.get((self._outcome.raw_reason or "").lower())
        if reason is not None:
            return reason
        if self._assembly.tool_calls:
            return "tool_calls"
        return "refusal" if self._refused else "stop"

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
                usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.reasoning_tokens
            )


def _inner_usage(value: Any) -> Any:
    return cast("dict[str, Any]", value).get("usage") if isinstance(value, dict) else None


def _is_json(data: bytes) -> bool:
    try:
        return bool(decode_chunks(data.strip()))
    except NotAChunk:
        return False


def _flatten(kind: PartKind, content: Any) -> list[tuple[PartKind, str]]:
    """The texts of content given as a list: Mistral's `text` and `thinking`."""
    found: list[tuple[PartKind, str]] = []
    items = cast("list[Any]", content if isinstance(content, list) else [content])
    for item in items:
        if isinstance(item, str):
            found.append((kind, item))
        elif isinstance(item, dict):
            fields = cast("dict[str, Any]", item)
            if "thinking" in fields:
                found += _flatten("reasoning", fields["thinking"])
            else:
                text = fields.get("text")
                if isinstance(text, str):
                    found.append((kind, text))
    return [(inner, text) for inner, text in found if text]
