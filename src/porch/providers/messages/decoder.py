"""Messages bytes into contract events: pure, and the same for every split of the bytes."""

from typing import Any, cast

import msgspec

from porch.contract.errors import ModelError, PorchError
from porch.contract.events import FinishReason, Notice
from porch.contract.text import clean_text
from porch.providers.assembly import Assembly
from porch.providers.complaints import quote
from porch.providers.failures import Asked, protocol_failure
from porch.providers.messages.blocks import Blocks
from porch.providers.messages.usage import Counts
from porch.providers.messages.wire import (
    FORMAT,
    Frame,
    as_object,
    decode_ascii,
    decode_frame,
    decode_text,
)
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

MAX_TRIES = 64
_REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    # The provider's own tools or its compaction came to a halt before the model had said its last word.
    "pause_turn": "limit",
    "compaction": "limit",
}


class Decoder(AnswerReader):
    """Reads one answer; see `AnswerReader`. Only `message_stop` ends a stream: an end of file without it is a cut."""

    quiet = KEEP_ALIVES - {"ping"}  # which is an event of the API's own

    def __init__(
        self,
        assembly: Assembly,
        outcome: StepOutcome,
        asked: Asked,
        *,
        answer_tool: str | None = None,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        super().__init__(assembly, outcome, asked, max_frame_bytes=max_frame_bytes)
        self._blocks = Blocks(assembly, asked, answer_tool)
        self._open = self._blocks.open
        self._counts = Counts()
        self._plain = False  # the last event was text, and the next is most likely more of it
        self._tries = MAX_TRIES  # until a stream is known for one whose texts come by other events
        self._refusal: str | None = None

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
                block = self._open.get(more.index)
                if block is not None and block.kind == "text":
                    if more.delta.text:
                        self._assembly.delta(block.key, "text", more.delta.text)
                    return
        try:
            frame = decode_ascii(data) if data.isascii() else decode_frame(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._odd_frame(data.strip())
            return
        self._event(frame, data)
        delta = frame.delta
        self._plain = delta is not None and delta.type == "text_delta" and self._tries > 0

    def _odd_frame(self, data: bytes) -> None:
        if data == END_MARK:
            # Some gateways add OpenAI's mark; it ends what has already said why it ends.
            self.done = self.ended = self._outcome.raw_reason is not None
            return
        try:
            values = json_values(data)
        except NotAnAnswer as error:
            raise protocol_failure(self._asked, f"with {error} in its stream", data[:200]) from None
        for value in values:
            if self.done:
                return
            try:
                frame = shaped(value, Frame)
            except NotAnAnswer:
                self._check_complaint(data)
                self._assembly.raw(FORMAT, value)
            else:
                self._event(frame, data, value)

    def _event(self, frame: Frame, data: bytes, value: object = None) -> None:
        kind, delta = frame.type, frame.delta
        if kind == "error" or frame.error:
            raise self._complain(frame.error or "an error without words", data)
        index = frame.index if isinstance(frame.index, int | str) else None
        if kind == "content_block_delta" and delta is not None:
            if not self._blocks.delta(index, delta):
                self._pass_delta(index, self._whole(data, value))
        elif kind == "content_block_start" and (block := as_object(frame.content_block)) is not None:
            self._blocks.start(index, block, len(data))
        elif kind == "content_block_stop":
            self._blocks.stop(index)
        elif kind == "message_start" and (message := as_object(frame.message)) is not None:
            self._note(message)
        elif kind == "message_delta":
            self._counts.add(frame.usage)
            if delta is not None:
                self._note_reason(delta.stop_reason, delta.stop_details)
        elif kind == "message_stop":
            self.done = self.ended = True
        elif kind == "ping":
            self._keep_alive()
        else:
            self._pass(data, value, kind)

    def _pass_delta(self, index: object, value: object) -> None:
        delta = as_object((as_object(value) or {}).get("delta"))
        if delta is None or not self._blocks.fold(index, delta):
            self._assembly.raw(FORMAT, value)

    def _pass(self, data: bytes, value: object, kind: object) -> None:
        """An event that is not known here. Without a type it may be an error in another server's words."""
        if not isinstance(kind, str):
            self._check_complaint(data)
        self._assembly.raw(FORMAT, self._whole(data, value))

    def _whole(self, data: bytes, value: object) -> Any:
        if value is not None:
            return value
        try:
            return json_values(data)[0]
        except NotAnAnswer as error:
            raise protocol_failure(self._asked, f"with {error} in its stream", data[:200]) from None

    def _read_document(self, data: bytes) -> None:
        try:
            values = json_values(data)
        except NotAnAnswer as error:
            raise protocol_failure(self._asked, f"with {error}", data[:200]) from None
        message = (as_object(values[0]) if len(values) == 1 else None) or {}
        if message.get("error"):
            raise self._complain(cast("object", message["error"]), data)
        content: object = message.get("content")
        if not isinstance(content, list) or message.get("type") == "error":
            self._check_complaint(data)
            raise protocol_failure(self._asked, "with JSON that holds no answer", data[:200])
        self._note(message)
        for index, fields in enumerate(cast("list[object]", content)):
            if (block := as_object(fields)) is not None:
                self._blocks.start(index, block, 0)
                self._blocks.stop(index)
        self._note_reason(message.get("stop_reason"), message.get("stop_details"))
        self.ended = True

    def _check_end(self) -> None:
        self._blocks.stop_all()
        self._assembly.end_all()
        if self._outcome.raw_reason == "refusal":
            said = (
                self._refusal or f"{self._asked.opening} stopped this answer as one that must not be given."
            )
            self._notice("refusal", f"{said} Rephrase the message, or start a new conversation.")
        elif _REASONS.get(self._outcome.raw_reason or "") == "limit":
            self._notice("turn_paused", f"{self._asked.opening} paused a long turn here. Ask it to go on.")

    def _notice(self, code: str, text: str) -> None:
        self._assembly.add(Notice(step=self._assembly.step, code=code, text=text))

    def _note(self, message: dict[str, Any]) -> None:
        model: object = message.get("model")
        if isinstance(model, str) and model:
            self._outcome.model = clean_text(model[:200])
        self._counts.add(message.get("usage"))

    def _note_reason(self, reason: object, details: object) -> None:
        if isinstance(reason, str) and reason:
            self._outcome.raw_reason = clean_text(reason[:100])
        said: object = (as_object(details) or {}).get("explanation")
        if isinstance(said, str) and said:
            self._refusal = quote(said, self._asked.endpoint.key)

    def _reason(self) -> FinishReason:
        reason = _REASONS.get(self._outcome.raw_reason or "")
        if reason is not None:
            return reason
        return "tool_calls" if self._assembly.tool_calls else "stop"

    def _report_usage(self) -> None:
        self._usage = self._counts.usage()
        super()._report_usage()

    def _abandon(self, error: PorchError) -> ModelError:
        self._blocks.cut()
        return super()._abandon(error)
