"""The events of Anthropic's Messages as typed Structs, and reading them from bytes.

`Any` stands wherever an event of the future may hold something else; the decoder looks at what came.
Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

FORMAT = "anthropic.messages"  # of sealed blocks, which every server of this dialect takes back


class Delta(Struct, gc=False):
    """What an event adds to a block, or to the message."""

    type: Any = None
    text: Any = None
    thinking: Any = None
    partial_json: Any = None
    signature: Any = None
    citation: Any = None
    stop_reason: Any = None
    stop_details: Any = None


class Frame(Struct, gc=False):
    """One event."""

    type: Any = None
    index: Any = None
    delta: Delta | None = None
    content_block: Any = None
    message: Any = None
    usage: Any = None
    error: Any = None


class _TextDelta(Struct, gc=False):
    type: Literal["text_delta"]
    text: str


class TextFrame(Struct, gc=False):
    """More text and nothing else, as nearly all events are."""

    type: Literal["content_block_delta"]
    index: int
    delta: _TextDelta
    error: None = None


decode_text = msgspec.json.Decoder(TextFrame).decode
decode_ascii = msgspec.json.Decoder(Frame).decode


def decode_frame(data: bytes) -> Frame:
    """One event from one JSON object. Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError."""
    data.decode()  # msgspec does not look into the strings it skips
    return decode_ascii(data)


def as_object(value: object) -> dict[str, Any] | None:
    """A JSON object, None for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
