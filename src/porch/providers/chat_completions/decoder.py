"""Chat Completions bytes into contract events: pure, and the same for every split of the bytes."""

from typing import Any, cast

import msgspec

from porch.contract.events import FinishReason, PartKind
from porch.contract.text import clean_text
from porch.providers.assembly import Assembly
from porch.providers.chat_completions.calls import Calls
from porch.providers.chat_completions.details import Details, detail_words
from porch.providers.chat_completions.mould import Moulds
from porch.providers.chat_completions.tags import ThinkTags
from porch.providers.chat_completions.wire import (
    Chunk,
    Delta,
    decode_ascii,
    decode_chunk,
    decode_completion,
    decode_text,
    mended_chunk,
    whole_message,
)
from porch.providers.citations import cite
from porch.providers.failures import Asked, protocol_failure, stream_failure
from porch.providers.reader import (
    END_MARK,
    KEEP_ALIVES,
    MAX_FRAME_BYTES,
    AnswerReader,
    NotAnAnswer,
    json_values,
)
from porch.providers.request import StepOutcome
from porch.providers.usage import read_usage

_REASONS: dict[str, FinishReason] = {
    **dict.fromkeys(
        ("length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"),
        "length",
    ),
    # Gemini's own words among them, which its servers do not always translate.
    **dict.fromkeys(
        ("content_filter", "safety", "sensitive", "recitation", "prohibited_content", "blocklist", "spii"),
        "content_filter",
    ),
    "refusal": "refusal",
}
MAX_TRIES = 16
_FAILURES = frozenset({"error", "network_error", "insufficient_system_resource", "abort"})


class Decoder(AnswerReader):
    """Reads one answer of Chat Completions; see `AnswerReader`. `ended` comes with a finish reason.

    `seal` names who can read what must go back sealed: reasoning details, or what stands beside calls.
    """

    __slots__ = (
        "_calls",
        "_cited",
        "_details",
        "_ids",
        "_in_details",
        "_model",
        "_moulds",
        "_open",
        "_plain",
        "_refused",
        "_seal",
        "_sources",
        "_tags",
        "_tries",
    )

    quiet = KEEP_ALIVES

    def __init__(
        self,
        assembly: Assembly,
        outcome: StepOutcome,
        asked: Asked,
        *,
        seal: str = "",
        think_tags: bool = False,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        super().__init__(assembly, outcome, asked, max_frame_bytes=max_frame_bytes)
        self._calls = Calls(assembly)
        self._open: PartKind | None = None
        self._plain = False  # a text is open, and what comes is most likely more of it
        self._tries = MAX_TRIES  # until a stream is known for one whose chunks hold more than text
        self._moulds = Moulds()
        self._refused = False
        self._model: Any = None
        self._seal = seal
        self._tags = ThinkTags() if think_tags else None
        self._details = Details(assembly)
        self._in_details = True  # thoughts have come in their details alone
        self._ids: dict[PartKind, str | None] = {}  # of the parts that ended last
        self._cited = False
        self._sources: Any = None  # the whole answer's, told again with every chunk

    def _recognise(self, data: bytes) -> bytes:
        mould = self._moulds.mould
        if mould is None:
            return data
        if words := mould.read(data):
            self._moulds.fits += 1
            self._assembly.delta(mould.kind, mould.kind, words)
            return b""
        many, rest = self._moulds.several(data)
        for words in many:
            self._assembly.delta(mould.kind, mould.kind, words)
        return rest

    def _learn(self, data: bytes, kind: PartKind) -> None:
        """Take a chunk of words of the open part for what those to come are like."""
        self._moulds.learn(data, kind)
        self._familiar = self._moulds.mould is not None

    def _check_end(self) -> None:
        self._release()
        raw = self._outcome.raw_reason
        if raw is not None and raw.lower() in _FAILURES:
            raise stream_failure(self._asked, {"message": f"finish_reason {raw!r}", "code": raw})
        if self._calls.nameless():
            raise protocol_failure(self._asked, "with a tool call that has no name")
        self._calls.settle()
        if not self._cited:
            self._cite(self._sources)
        if self._seal and (blocks := self._details.blocks() or self._calls.extras()):
            self._assembly.seal(None, self._seal, blocks, part=self._part("reasoning"))

    def _read_document(self, data: bytes) -> None:
        try:
            completion = decode_completion(data)
        except NotAnAnswer as error:
            self._check_complaint(data)  # Google puts its errors into a list
            raise protocol_failure(self._asked, f"with {error}", data[:200]) from None
        if completion.error:
            raise self._complain(completion.error, data)
        self._note(completion.model, completion.usage, completion.created)
        self._sources = completion.search_results or completion.citations
        for choice in completion.choices or ():
            if choice.error:
                raise stream_failure(self._asked, choice.error)
            if choice.index in (0, None) and choice.message is not None:
                self._delta(choice.message)
                self._note_reason(choice.finish_reason)
                self.ended = True
        if not self.ended:
            self._check_complaint(data)
            raise protocol_failure(self._asked, "with JSON that holds no answer", data[:200])

    def _frame(self, data: bytes) -> None:
        if self._plain:
            try:
                if not data.isascii():
                    data.decode()
                text = decode_text(data).choices[0].delta.content
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self._plain = False
                self._tries -= 1
            else:
                if text:
                    if self._moulds.wanted:
                        self._learn(data, "text")
                    self._assembly.delta("text", "text", text)
                return
        try:
            chunk = decode_ascii(data) if data.isascii() else decode_chunk(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._odd_frame(data.strip())
        else:
            self._chunk(chunk, data)
            if self._moulds.wanted and self._open == "reasoning":
                self._learn(data, "reasoning")

    def _odd_frame(self, data: bytes) -> None:
        last, data = data.endswith(END_MARK), data.removesuffix(END_MARK)
        if data:
            try:
                values = json_values(data)
            except NotAnAnswer as error:
                self._check_complaint(data)
                raise protocol_failure(self._asked, f"with {error} in its stream", data[:200]) from None
            for value in values:
                self._odd_chunk(value, data)
        if last:
            self.done = self.ended = True

    def _odd_chunk(self, value: Any, data: bytes) -> None:
        try:
            chunk = mended_chunk(value)
        except NotAnAnswer:
            self._check_complaint(data)  # Google puts its errors into a list
            self._assembly.raw("chat-completions", value)
        else:
            self._chunk(chunk, data)

    def _chunk(self, chunk: Chunk, data: bytes) -> None:
        if chunk.error:
            raise self._complain(chunk.error, data)
        if chunk.usage or chunk.x_groq or self._model is None:
            groq = _record(chunk.x_groq)
            self._note(chunk.model, chunk.usage or groq.get("usage"), chunk.created)
            if groq.get("error"):
                raise stream_failure(self._asked, groq["error"])
        if chunk.citations or chunk.search_results:
            self._sources = chunk.search_results or chunk.citations
        if chunk.choices is None:
            if chunk.usage is None:
                self._check_complaint(data)
            return
        for choice in chunk.choices:
            # One candidate is asked for; others that a server sends all the same are left out.
            if choice.index == 0 or choice.index is None:
                delta = choice.delta if choice.delta is not None else self._instead(choice.message)
                if delta is not None:
                    self._delta(delta)
                if choice.error:
                    raise stream_failure(self._asked, choice.error)
                if choice.usage:  # where Moonshot puts it
                    self._note(None, choice.usage, chunk.created)
                if choice.finish_reason and choice.finish_reason != "null":
                    self._note_reason(choice.finish_reason)

    def _instead(self, message: Any) -> Delta | None:
        """A whole message within a stream, unless it is what the deltas before it said."""
        if self._open is not None or self._ids or self._assembly.tool_calls:
            return None
        try:
            return whole_message(message)
        except NotAnAnswer:
            return None

    def _delta(self, delta: Delta) -> None:
        thought = delta.reasoning_content or delta.reasoning
        if delta.reasoning_details and self._seal:
            thought = self._take_details(delta.reasoning_details, thought)
        if thought:
            self._say("reasoning", thought)
        content = delta.content
        if content:
            if self._tags is not None and type(content) is str:
                for kind, text in self._tags.split(content):
                    self._say(kind, text)
                if self._tags.settled:
                    self._tags = None
            else:
                self._say("text", content)
                self._plain = self._open == "text" and self._tries > 0 and self._model is not None
        self._extras(delta)

    def _take_details(self, details: Any, thought: Any) -> Any:
        """Their words are those of the other fields, which some servers leave out."""
        self._details.add(details)
        self._in_details = self._in_details and not thought
        return detail_words(details) if self._in_details else thought

    def _extras(self, delta: Delta) -> None:
        if delta.refusal:
            self._refused = True
            self._say("refusal", delta.refusal)
        if delta.images:
            self._assembly.raw("chat-completions", {"images": delta.images})
        if delta.annotations:
            self._cite(delta.annotations)
        if delta.tool_calls:
            self._release()
            self._end_part()
            self._calls.fragments(delta.tool_calls)
        elif delta.function_call is not None and (delta.function_call.name or delta.function_call.arguments):
            self._release()
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
        self._plain = self._familiar = False
        self._moulds.forget()
        if self._open is not None:
            self._ids[self._open] = self._assembly.part(self._open)
            self._assembly.end(self._open)
            self._open = None

    def _release(self) -> None:
        """What was held back since it might have become a tag is plain text after all."""
        if self._tags is not None:
            for kind, text in self._tags.rest():
                self._say(kind, text)

    def _part(self, kind: PartKind) -> str | None:
        """The id of the part of this kind that is open, or ended last."""
        return self._assembly.part(kind) or self._ids.get(kind)

    def _cite(self, annotations: Any) -> None:
        for value in cast("list[Any]", annotations) if isinstance(annotations, list) else ():
            self._cited = cite(self._assembly, self._part("text"), value) or self._cited

    def _note(self, model: Any, usage: Any, created: Any) -> None:
        if self._model is None and isinstance(model, str) and model:
            self._model = self._outcome.model = clean_text(model[:200])
        if usage:
            self._usage = read_usage(usage, created) or self._usage

    def _note_reason(self, reason: Any) -> None:
        self.ended = True
        if isinstance(reason, str) and reason:
            self._outcome.raw_reason = clean_text(reason[:100])

    def _reason(self) -> FinishReason:
        # Some say more after a colon: "content_filter: PROHIBITED_CONTENT".
        reason = _REASONS.get((self._outcome.raw_reason or "").lower().partition(":")[0])
        if reason is not None:
            return reason
        if self._assembly.tool_calls:
            return "tool_calls"
        return "refusal" if self._refused else "stop"


def _record(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


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
