"""A template of an adapter: everything that a new wire dialect needs, for an API that does not exist.

Its frames are one JSON object each: {"say": text}, {"think": text}, {"call": {"id", "name"}}, {"input": text},
{"end": reason, "tokens": {"in", "out"}} and {"fault": {"code", "message"}}.
"""

from typing import Any

import msgspec
from msgspec import Struct

from porch.contract.events import FinishReason, Usage
from porch.contract.messages import FilePart, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from porch.providers.assembly import Assembly
from porch.providers.endpoint import Endpoint
from porch.providers.failures import Asked, protocol_failure, stream_failure
from porch.providers.history import encode_body, file_words, result_text, unseen_file
from porch.providers.reader import AnswerReader, NotAnAnswer, json_values, shaped
from porch.providers.request import ModelRequest, StepOutcome
from porch.providers.streaming import JSON_HEADERS, Call, HttpProvider, bearer

FORMAT = "template"
REASONS: dict[str, FinishReason] = {"full": "length", "blocked": "content_filter"}


class Frame(Struct, gc=False):
    """One frame. `Any` wherever a server may send something else: the decoder looks at what came."""

    say: Any = None
    think: Any = None
    call: Any = None
    input: Any = None
    end: Any = None
    tokens: Any = None
    fault: Any = None


decode_frame = msgspec.json.Decoder(Frame).decode


class Decoder(AnswerReader):
    """Bytes into contract events. Pure: the transport feeds it, the assembly keeps the laws."""

    _open: str | None = None

    def _frame(self, data: bytes) -> None:
        try:
            data.decode()  # msgspec does not look into the strings it skips
            frames = [decode_frame(data)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            frames = self._odd(data)
        for frame in frames:
            self._take(frame)

    def _odd(self, data: bytes) -> list[Frame]:
        """Two objects in one frame, lone surrogates, or no JSON at all."""
        try:
            return [shaped(value, Frame) for value in json_values(data.strip())]
        except NotAnAnswer as error:
            raise protocol_failure(self._asked, f"with {error} in its stream", data[:200]) from None

    def _take(self, frame: Frame) -> None:
        if frame.fault:
            raise stream_failure(self._asked, frame.fault)
        if isinstance(frame.think, str):
            self._say("reasoning", frame.think)
        if isinstance(frame.say, str):
            self._say("text", frame.say)
        if frame.call:
            name: Any = _record(frame.call).get("name")
            if not isinstance(name, str) or not name:
                raise protocol_failure(self._asked, "with a tool call that has no name")
            self._end_open()
            self._open = "call"
            self._assembly.start_call("call", name)
        if isinstance(frame.input, str) and self._open == "call":
            self._assembly.call_delta("call", frame.input)
        if frame.end:
            self._usage = _usage(frame.tokens)
            self._outcome.raw_reason = str(frame.end)[:100]
            self.done = self.ended = True

    def _say(self, kind: Any, text: str) -> None:
        if self._open != kind:
            self._end_open()
        if text:
            self._open = kind
            self._assembly.delta(kind, kind, text)

    def _end_open(self) -> None:
        self._assembly.end(self._open)
        self._open = None

    def _read_document(self, data: bytes) -> None:
        raise protocol_failure(self._asked, "with JSON that is no stream", data[:200])

    def _reason(self) -> FinishReason:
        if self._assembly.tool_calls:
            return "tool_calls"
        return REASONS.get(self._outcome.raw_reason or "", "stop")


def encode_request(request: ModelRequest) -> bytes:
    """What the server is asked: instructions, turns, tools and the settings that it knows."""
    body: dict[str, Any] = {"model": request.model, "system": request.instructions, "turns": []}
    for message in request.messages:
        body["turns"].append({"role": message.role, "parts": [_part(part) for part in message.parts]})
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "about": tool.description, "input": tool.parameters} for tool in request.tools
        ]
    if request.settings.max_output_tokens is not None:
        body["limit"] = request.settings.max_output_tokens
    return encode_body(body)


def _part(part: Part) -> dict[str, Any]:
    match part:
        case ToolCallPart():
            return {"call": part.call, "name": part.name, "input": part.arguments or {}}
        case ToolResultPart():
            return {"result": part.call, "text": result_text(part)}
        case ReasoningPart(format=format, sealed=sealed) if format == FORMAT:
            return {"sealed": sealed}
        case TextPart(text=text):
            return {"text": text}
        case FilePart():  # of words: the run has put some for all else, which `takes` does not promise
            return {"text": file_words(part) or unseen_file(part)}
        case _:
            return {"text": ""}


class Template(HttpProvider):
    """The dialect over HTTP; retries, timeouts, errors and cancelling come with `HttpProvider`."""

    def _call(
        self, endpoint: Endpoint, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> Call:
        asked = Asked(endpoint, request.model, "the template's API")
        return Call(
            asked=asked,
            path="/generate",
            headers=JSON_HEADERS | bearer(endpoint),
            body=encode_request(request),
            decoder=Decoder(assembly, outcome, asked),
        )


def _usage(tokens: Any) -> Usage | None:
    counts = _record(tokens)
    came, went = counts.get("in"), counts.get("out")
    if type(came) is not int or type(went) is not int or came < 0 or went < 0:
        return None
    return Usage(input_tokens=came, output_tokens=went)


def _record(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # any JSON object
