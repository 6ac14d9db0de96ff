"""What people, agents and tools say to each other: messages as lists of typed parts."""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field

from porch.contract.events import ToolError

Role = Literal["user", "assistant"]


class TextPart(Struct, frozen=True, kw_only=True, tag="text", tag_field="type"):
    """Plain or Markdown text."""

    text: str


class ReasoningPart(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="reasoning", tag_field="type"):
    """What the model thought; `sealed` is the provider's own block, which goes back to it unchanged."""

    text: str
    format: str | None = None
    sealed: Any = None


class RefusalPart(Struct, frozen=True, kw_only=True, tag="refusal", tag_field="type"):
    """Text by which the model declined."""

    text: str


class ToolCallPart(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="tool_call", tag_field="type"):
    """A call as the model made it. `raw_arguments` stands where they were no JSON object."""

    call: str
    name: str
    arguments: dict[str, Any] | None = None
    raw_arguments: str | None = None


class ToolResultPart(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag="tool_result", tag_field="type"
):
    """What a call gave: `output` (any JSON value), or `error`."""

    call: str
    output: Any = None
    error: ToolError | None = None


class ImagePart(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="image", tag_field="type"):
    """A picture that somebody showed. `data` is base64 of the file, whose type was checked when it came in.

    Where it is kept, `file` names its bytes in place of `data`; where it is shown, `url` tells where they are.
    Sides are in pixels.
    """

    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: str = ""
    name: str | None = None
    width: int | None = None
    height: int | None = None
    size: int | None = field(name="bytes", default=None)
    file: str | None = None
    url: str | None = None


class FilePart(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="file", tag_field="type"):
    """A document that somebody gave; `data`, `file` and `url` are as a picture's."""

    media_type: str
    data: str = ""
    name: str | None = None
    size: int | None = field(name="bytes", default=None)
    file: str | None = None
    url: str | None = None


Part = TextPart | ReasoningPart | RefusalPart | ToolCallPart | ToolResultPart | ImagePart | FilePart


class Author(Struct, frozen=True, kw_only=True):
    """Who said a message; `you` says that it was whoever asks."""

    id: str
    name: str
    you: bool


class Message(Struct, frozen=True, kw_only=True):
    """One message of a conversation.

    An answer of several steps is one message: its tool results stand among its parts, each step's after
    its calls. `parent` is the message it follows, null for a conversation's first. `author` is who said what is no
    answer, where that is told.
    """

    id: str
    role: Role
    parts: list[Part]
    created_at: datetime
    parent: str | None = None
    run: str | None = None
    author: Author | None = None


def plain_text(parts: list[Part]) -> str:
    """The words of a message, without reasoning and tools."""
    return "".join(part.text for part in parts if isinstance(part, TextPart | RefusalPart))
