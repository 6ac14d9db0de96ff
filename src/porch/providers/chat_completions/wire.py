"""The chunks of Chat Completions as typed Structs, and reading them from bytes.

`Any` stands where providers differ; the decoder looks at what came.
"""

import json
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")


class Function(Struct, gc=False):
    """The function of a call; `arguments` is text, or an object from some local servers."""

    name: Any = None
    arguments: Any = None


class ToolCall(Struct, gc=False):
    """A fragment of a call, or a whole one."""

    index: Any = None
    id: Any = None
    function: Function | None = None


class Delta(Struct, gc=False):
    """What a chunk adds, or what a whole message says."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None


class Choice(Struct, gc=False):
    """One candidate."""

    index: Any = None
    delta: Delta | None = None
    finish_reason: Any = None


class Chunk(Struct, gc=False):
    """One data frame."""

    choices: list[Choice] | None = None
    model: Any = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None


class WholeChoice(Struct, gc=False):
    """One candidate of an answer that is no stream."""

    index: Any = None
    message: Delta | None = None
    finish_reason: Any = None


class Completion(Struct, gc=False):
    """An answer that is no stream."""

    choices: list[WholeChoice] | None = None
    model: Any = None
    usage: Any = None
    error: Any = None


class NotAChunk(ValueError):  # says what it is
    """Raised when a payload is not JSON of the dialect's shape."""


decode_ascii = msgspec.json.Decoder(Chunk).decode


def decode_chunk(data: bytes) -> Chunk:
    """One chunk from one JSON object. Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError."""
    data.decode()  # msgspec does not look into the strings it skips
    return decode_ascii(data)


def decode_chunks(data: bytes) -> list[Chunk]:
    """Every chunk of a payload that is no plain JSON object: several of them, or with lone surrogates.

    Raises NotAChunk.
    """
    return [_convert(value, Chunk) for value in _values(data)]


def decode_completion(data: bytes) -> Completion:
    """A whole answer. Raises NotAChunk."""
    values = _values(data)
    if len(values) != 1:
        raise NotAChunk("several JSON objects")
    return _convert(values[0], Completion)


def _values(data: bytes) -> list[Any]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise NotAChunk("bytes that are not UTF-8") from None
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
        raise NotAChunk("something that is not JSON") from None
    return values


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


def _convert(value: Any, shape: type[T]) -> T:
    try:
        return msgspec.convert(value, shape)
    except (msgspec.MsgspecError, RecursionError):
        raise NotAChunk("JSON of another shape") from None
