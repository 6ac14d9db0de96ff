"""A conversation to take away: its branch as Markdown to read, or as JSON with everything.

Written piece by piece, since it may be longer than what fits into memory.
"""

import re
import unicodedata
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from urllib.parse import quote

import msgspec

from porch.agents.exported_text import contain, tame
from porch.agents.legible import legible
from porch.agents.model import Conversation
from porch.agents.shares import public_message
from porch.contract.ids import format_id
from porch.contract.messages import (
    FilePart,
    ImagePart,
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


class File(Protocol):
    """A file in pieces: its opening, any number of times some messages, and its closing."""

    def opening(self) -> bytes: ...
    def messages(self, messages: Sequence[Message]) -> bytes: ...
    def closing(self) -> bytes: ...


class JsonFile:
    """The whole of a conversation, as a program reads it back."""

    def __init__(self, conversation: Conversation, agent: str) -> None:
        self._head: dict[str, Any] = {
            "format": "porch.conversation",
            "version": 1,
            "id": format_id("conv", conversation.id),
            "title": conversation.title,
            "agent": agent,
            "created_at": conversation.created_at,
            "exported_at": datetime.now(UTC),
        }
        self._empty = True

    def opening(self) -> bytes:
        """All but the messages."""
        return _indented(self._head).removesuffix(b"\n}") + b',\n  "messages": ['

    def messages(self, messages: Sequence[Message]) -> bytes:
        """The next of them."""
        pieces: list[bytes] = []
        for message in messages:
            pieces.append(b"\n    " if self._empty else b",\n    ")
            # No line break stands in a JSON string, so all of them are of the layout.
            pieces.append(_indented(public_message(message)).replace(b"\n", b"\n    "))
            self._empty = False
        return b"".join(pieces)

    def closing(self) -> bytes:
        """The end."""
        return b"]\n}\n" if self._empty else b"\n  ]\n}\n"


class MarkdownFile:
    """For people: what was said as it was written but for the rank of headings, thoughts quoted, tools in code."""

    def __init__(self, conversation: Conversation, agent: str, speaker: str) -> None:
        self._conversation, self._agent, self._speaker = conversation, agent, speaker

    def opening(self) -> bytes:
        """The title, and with whom."""
        begun = self._conversation.created_at.astimezone(UTC)
        title = _plain(self._conversation.title or "Conversation")
        speaker = _plain(self._speaker)
        return (f"# {title}\n\nWith {speaker} ({self._agent}), begun {begun:%d %B %Y, %H:%M} UTC.").encode()

    def messages(self, messages: Sequence[Message]) -> bytes:
        """The next of them."""
        pieces: list[str] = []
        for message in messages:
            pieces.append(f"## {'You' if message.role == 'user' else _plain(self._speaker)}")
            pieces += [piece for part in message.parts if (piece := _markdown(part))]
        return "".join(f"\n\n{piece}" for piece in pieces).encode()

    def closing(self) -> bytes:
        """The end."""
        return b"\n"


async def pieces(file: File, pages: AsyncGenerator[list[Message]]) -> AsyncGenerator[bytes]:
    """The file's bytes; the opening comes when the first page is there, so that what fails does so before."""
    async with aclosing(pages):
        nothing: list[Message] = []
        yield file.opening() + file.messages(await anext(pages, nothing))
        async for page in pages:
            yield file.messages(page)
    yield file.closing()


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
            return contain(tame(text).strip("\n"))
        case ReasoningPart(text=text):
            thoughts = ("Thinking:", *contain(tame(text).strip("\n")).split("\n"))
            return "\n".join(f"> {line}".rstrip() for line in thoughts) if text else ""
        case ToolCallPart():
            arguments = part.raw_arguments if part.arguments is None else _pretty(part.arguments)
            return f"Called {_plain(part.name)}:\n\n{_fenced(arguments or '', 'json')}"
        case ToolResultPart(error=None):
            output = part.output if isinstance(part.output, str) else _pretty(part.output)
            return f"It gave:\n\n{_fenced(output, '' if isinstance(part.output, str) else 'json')}"
        case ToolResultPart():
            return f"It failed:\n\n{_fenced(_pretty(part.error), 'json')}"
        case ImagePart() | FilePart():
            return _attached(part)


def _attached(part: ImagePart | FilePart) -> str:
    """A file's name, type and size in place of its bytes, which the JSON holds."""
    name = f" {_plain(part.name)}" if part.name else ""
    what = "Image" if isinstance(part, ImagePart) else "File"
    # Base64 holds three bytes in four characters.
    size = part.size if part.size is not None else len(part.data.rstrip("=")) * 3 // 4
    return f"{what}{name} ({_plain(part.media_type)}, {size:,} bytes)"


def _indented(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def _pretty(value: object) -> str:
    return _indented(value).decode()


def _fenced(text: str, language: str) -> str:
    """A code block that nothing in the text can end."""
    longest = max((len(found) for found in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{tame(text)}\n{fence}"


def _plain(text: str) -> str:
    return _MARKS.sub(r"\\\1", legible(" ".join(text.split())))
