"""The events of Responses as one Struct, and reading them from bytes.

`Any` stands where servers differ; the decoder looks at what came.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct


class Event(Struct, gc=False):
    """One data frame: the members of all kinds of events that mean something here."""

    type: Any = None
    output_index: Any = None
    content_index: Any = None
    summary_index: Any = None
    item_id: Any = None
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    name: Any = None
    item: Any = None
    part: Any = None
    annotation: Any = None
    response: Any = None
    error: Any = None


class TextEvent(Struct, gc=False):
    """More output text, as nearly all events are."""

    type: Literal["response.output_text.delta"]
    output_index: int
    delta: str
    content_index: int = 0


decode_text = msgspec.json.Decoder(TextEvent).decode
decode_ascii = msgspec.json.Decoder(Event).decode


def decode_event(data: bytes) -> Event:
    """One event from one JSON object. Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError."""
    data.decode()  # msgspec does not look into the strings it skips
    return decode_ascii(data)
