"""A conversation to take away: its branch as Markdown to read, or as JSON with everything."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from porch.agents.model import Conversation
from porch.agents.shares import public_message
from porch.contract.ids import format_id
from porch.contract.messages import (
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

Format = Literal["markdown", "json"]
ENDINGS: dict[Format, tuple[str, str]] = {
    "markdown": ("md", "text/markdown; charset=utf-8"),
    "json": ("json", "application/json"),
}
_FENCES = re.compile("`{3,}")
_MARKS = re.compile(r"([\\`*_\[\]<>#])")


def as_json(conversation: Conversation, agent: str, messages: Sequence[Message]) -> bytes:
    """The whole of it, as a program reads it back."""
    value: dict[str, Any] = {
        "format": "porch.conversation",
        "version": 1,
        "id": format_id("conv", conversation.id),
        "title": conversation.title,
        "agent": agent,
        "created_at": conversation.created_at,
        "exported_at": datetime.now(UTC),
        "messages": [public_message(message) for message in messages],
    }
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def as_markdown(conversation: Conversation, agent: str, speaker: str, messages: Sequence[Message]) -> bytes:
    """For people: what was said as it was written, thoughts quoted, tools in code."""
    begun = conversation.created_at.astimezone(UTC)
    title = _plain(conversation.title or "Conversation")
    pieces = [f"# {title}", f"With {_plain(speaker)} ({agent}), begun {begun:%d %B %Y, %H:%M} UTC."]
    for message in messages:
        who = "You" if message.role == "user" else _plain(speaker)
        pieces.append(f"## {who}")
        pieces += [piece for part in message.parts if (piece := _markdown(part))]
    return ("\n\n".join(pieces) + "\n").encode()


def disposition(conversation: Conversation, ending: str) -> str:
    """A Content-Disposition whose file name is safe everywhere, in its own script where that is understood.

    Source: RFC 6266, appendix D.
    """
    name = _file_name(conversation.title) or "conversation"
    ascii_name = "-".join(re.findall(r"[A-Za-z0-9]+", unicodedata.normalize("NFKD", name))) or "conversation"
    return (
        f'attachment; filename="{ascii_name[:60]}.{ending}"; '
        f"filename*=UTF-8''{quote(f'{name}.{ending}', safe='')}"
    )


def _file_name(title: str) -> str:
    kept = (character if character.isalnum() or character == "-" else " " for character in title)
    return "-".join("".join(kept).split())[:60].strip("-")


def _markdown(part: Part) -> str:
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            return text.strip("\n")
        case ReasoningPart(text=text):
            return (
                "\n".join(f"> {line}".rstrip() for line in ("Thinking:", *text.splitlines())) if text else ""
            )
        case ToolCallPart():
            arguments = part.raw_arguments if part.arguments is None else _pretty(part.arguments)
            return f"Called {_plain(part.name)}:\n\n{_fenced(arguments or '', 'json')}"
        case ToolResultPart(error=None):
            output = part.output if isinstance(part.output, str) else _pretty(part.output)
            return f"It gave:\n\n{_fenced(output, '' if isinstance(part.output, str) else 'json')}"
        case ToolResultPart():
            return f"It failed:\n\n{_fenced(_pretty(part.error), 'json')}"


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _fenced(text: str, language: str) -> str:
    """A code block that nothing in the text can end."""
    longest = max((len(found) for found in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _plain(text: str) -> str:
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
