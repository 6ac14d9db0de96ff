"""The chunks of Chat Completions as typed Structs, and reading them from bytes.

`Any` stands where providers differ; the decoder looks at what came.
"""

from typing import Any, Generic, Literal, TypeVar, cast

import msgspec
from msgspec import Struct

from porch.contract.events import PartKind
from porch.providers.reader import NotAnAnswer, json_values, shaped

D = TypeVar("D")


class Function(Struct, gc=False):
    """The function of a call; `arguments` is text, or an object from some local servers."""

    name: Any = None
    arguments: Any = None


class ToolCall(Struct, gc=False):
    """A fragment of a call, or a whole one."""

    index: Any = None
    id: Any = None
    function: Function | None = None
    custom: Any = None
    extra_content: Any = None


class Delta(Struct, gc=False):
    """What a chunk adds, or what a whole message says."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    annotations: Any = None
    images: Any = None
    refusal: Any = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None


class Choice(Struct, gc=False):
    """One candidate."""

    index: Any = None
    delta: Delta | None = None
    message: Any = None
    finish_reason: Any = None
    usage: Any = None
    error: Any = None


class Chunk(Struct, gc=False):
    """One data frame."""

    choices: list[Choice] | None = None
    model: Any = None
    created: Any = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None
    search_results: Any = None
    citations: Any = None


class WholeChoice(Struct, gc=False):
    """One candidate of an answer that is no stream."""

    index: Any = None
    message: Delta | None = None
    finish_reason: Any = None
    error: Any = None


class Completion(Struct, gc=False):
    """An answer that is no stream."""

    choices: list[WholeChoice] | None = None
    model: Any = None
    created: Any = None
    usage: Any = None
    error: Any = None
    search_results: Any = None
    citations: Any = None


class _TextDelta(Struct, gc=False):
    content: str | None = None
    reasoning_content: Literal[""] | None = None
    reasoning: Literal[""] | None = None
    refusal: Literal[""] | None = None
    reasoning_details: None = None
    annotations: None = None
    images: None = None
    tool_calls: None = None
    function_call: None = None


class _ThoughtDelta(Struct, gc=False):
    content: Literal[""] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: Literal[""] | None = None
    reasoning_details: None = None
    annotations: None = None
    images: None = None
    tool_calls: None = None
    function_call: None = None


class _WordsChoice(Struct, Generic[D], gc=False):
    delta: D
    index: Literal[0] | None = None
    finish_reason: None = None
    usage: None = None
    error: None = None


class WordsChunk(Struct, Generic[D], gc=False):
    """A chunk that is words of one kind and nothing else, as nearly all are.

    Every other member of `Chunk` is absent or null.
    """

    choices: tuple[_WordsChoice[D]]
    usage: None = None
    x_groq: None = None
    error: None = None
    search_results: None = None
    citations: None = None


decode_text = msgspec.json.Decoder(WordsChunk[_TextDelta]).decode
_decode_thought = msgspec.json.Decoder(WordsChunk[_ThoughtDelta]).decode
decode_ascii = msgspec.json.Decoder(Chunk).decode


def decode_chunk(data: bytes) -> Chunk:
    """One chunk from one JSON object. Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError."""
    data.decode()  # msgspec does not look into the strings it skips
    return decode_ascii(data)


def said_alone(data: bytes, kind: PartKind) -> str | None:
    """The words of a chunk that says words of this kind, text or reasoning, and nothing else; None of any other."""
    try:
        if kind == "text":
            return decode_text(data).choices[0].delta.content
        delta = _decode_thought(data).choices[0].delta
        return delta.reasoning_content or delta.reasoning
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def mended_chunk(value: Any) -> Chunk:
    """A chunk out of one JSON value of a payload that is no plain JSON object. Raises NotAnAnswer."""
    return shaped(_mended(value), Chunk)


def _mended(value: Any, member: str = "delta") -> Any:
    """A chunk without the members whose shape is not theirs: PHP writes an empty object as a list."""
    if not isinstance(value, dict):
        return {} if value == [] else value
    chunk = cast("dict[str, Any]", value)
    choices = [_mended_choice(choice, member) for choice in _objects(chunk.get("choices"))]
    return chunk | {"choices": choices} if "choices" in chunk else chunk


def _mended_choice(choice: dict[str, Any], member: str = "delta") -> dict[str, Any]:
    delta: Any = choice.get(member)
    if not isinstance(delta, dict):
        return choice | {member: None}
    fields = cast("dict[str, Any]", delta)
    calls = [
        call if isinstance(call.get("function"), dict) else call | {"function": None}
        for call in _objects(fields.get("tool_calls"))
    ]
    legacy: Any = fields.get("function_call")
    known = cast("dict[str, Any]", legacy) if isinstance(legacy, dict) else None
    return choice | {member: fields | {"tool_calls": calls, "function_call": known}}


def _objects(value: Any) -> list[dict[str, Any]]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def whole_message(value: Any) -> Delta | None:
    """A message that stands where a delta should be; None for what is none. Raises NotAnAnswer."""
    if not isinstance(value, dict):
        return None
    return shaped(_mended_choice({"message": value}, "message")["message"], Delta)


def decode_completion(data: bytes) -> Completion:
    """A whole answer. Raises NotAnAnswer."""
    values = json_values(data)
    if len(values) != 1:
        raise NotAnAnswer("several JSON objects")
    return shaped(_mended(values[0], "message"), Completion)
