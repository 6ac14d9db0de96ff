"""What a model is given to read: instructions, as much of the conversation as fits, and the run so far."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from porch.contract.attachments import MAX_ATTACHED_BYTES
from porch.contract.messages import (
    FilePart,
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from porch.providers.history import unseen_file
from porch.providers.request import ModelMessage, Takes, ToolSpec

# English runs to about four bytes a token; other scripts to fewer. Too high an estimate cuts too early, too
# low a one is refused by the model, so it leans to the safe side.
BYTES_PER_TOKEN = 3.5
MESSAGE_TOKENS = 6
# What providers say of pictures: about a token for 750 pixels, within bounds, since they scale large ones down.
PIXELS_PER_TOKEN = 750
LEAST_PICTURE, MOST_PICTURE = 85, 1600
# A page of a PDF is some 75 KB and 1,500 tokens; what is mostly pictures has fewer tokens for its bytes.
PDF_BYTES_PER_TOKEN, MOST_PDF = 50, 60_000
EVERYTHING = Takes()


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of the conversation as context needs it.

    Of the user's, one that begins with tool results brings what the caller's own tools gave.
    """

    role: Literal["user", "assistant"]
    parts: list[Part]

    @property
    def asks(self) -> bool:
        """Whether somebody says something anew, so that a model's context may begin here."""
        return self.role == "user" and not any(isinstance(part, ToolResultPart) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Context:
    """The messages that fit, oldest first, and how many were left out (`at_least` when more lie behind).

    `unseen` counts the pictures and files in them that words stand for.
    """

    messages: list[ModelMessage]
    left_out: int
    at_least: bool
    unseen: int = 0


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is, from its UTF-8 length."""
    return int(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN) + 1


def assemble(
    history: Sequence[StoredMessage],
    answer: list[Part],
    *,
    more: bool,
    instructions: str,
    tools: Sequence[ToolSpec],
    budget: int,
    takes: Takes = EVERYTHING,
) -> Context:
    """Choose the newest messages that fit into `budget` tokens beside instructions and tools.

    `history` is newest first and its first message, what is being answered, always stays, back to the question
    where it brings results; so does `answer`, the run's own parts so far. `more` says that the conversation goes
    further back than `history`. A cut leaves a user's message first, since providers refuse a conversation that
    begins with an answer. Words stand for the pictures and files that the model does not take, and for those beyond
    what one request carries.
    """
    room = (
        budget - estimate_tokens(instructions) - sum(_tool_tokens(tool) for tool in tools) - _tokens(answer)
    )
    needed = 1 + next((n for n, message in enumerate(history) if message.asks), 0)
    kept: list[StoredMessage] = []
    carried = MAX_ATTACHED_BYTES
    for stored in history:
        message, carried = _within(stored, carried, takes)
        room -= _tokens(message.parts)
        if len(kept) >= needed and room < 0:
            break
        kept.append(message)
    while len(kept) > needed and not kept[-1].asks:
        kept.pop()
    left_out = len(history) - len(kept)
    unseen = sum(_files(had.parts) - _files(has.parts) for had, has in zip(history, kept, strict=False))
    whole = [*reversed(kept), StoredMessage("assistant", answer)]
    answered = {part.call for message in whole for part in message.parts if isinstance(part, ToolResultPart)}
    messages: list[ModelMessage] = []
    for message in whole:
        made = split_message(message.role, message.parts, answered)
        if made and messages and made[0].role == messages[-1].role == "tool":
            messages[-1].parts.extend(made.pop(0).parts)  # the agent's tools and the caller's, called at once
        messages += made
    return Context(messages, left_out, more, unseen)


def split_message(
    role: Literal["user", "assistant"], parts: Sequence[Part], answered: Collection[str]
) -> list[ModelMessage]:
    """A stored message as providers see it: tool results in messages of their own, unanswered calls left out."""
    messages: list[ModelMessage] = []
    for part in parts:
        if isinstance(part, ToolCallPart) and part.call not in answered:
            continue  # a call that was cut off has no result, and providers refuse one without
        speaker = "tool" if isinstance(part, ToolResultPart) else role
        if not messages or messages[-1].role != speaker:
            messages.append(ModelMessage(speaker, []))
        messages[-1].parts.append(part)
    return messages


def _within(message: StoredMessage, carried: int, takes: Takes) -> tuple[StoredMessage, int]:
    """The message with the files that can be carried, and how many bytes can be carried beside them."""
    if not _files(message.parts):
        return message, carried
    parts: list[Part] = []
    for at, part in enumerate(message.parts):
        if isinstance(part, ImagePart | FilePart):
            shown = bool(part.data) and takes.shows(part)
            carried -= _size(part) if shown else 0
            if not shown or carried < 0:
                parts.append(_stand_in(part, parts[-1:], message.parts[at + 1 : at + 2]))
                continue
        parts.append(part)
    return StoredMessage(message.role, parts), carried


def _stand_in(part: ImagePart | FilePart, before: Sequence[Part], behind: Sequence[Part]) -> TextPart:
    """Words for a picture or file, apart from those that stand beside it."""
    gaps = ["\n\n" if any(isinstance(near, TextPart) for near in side) else "" for side in (before, behind)]
    return TextPart(text=unseen_file(part).join(gaps))


def _files(parts: Sequence[Part]) -> int:
    return sum(isinstance(part, ImagePart | FilePart) for part in parts)


def _tokens(parts: Sequence[Part]) -> int:
    return MESSAGE_TOKENS + sum(_part_tokens(part) for part in parts)


def _part_tokens(part: Part) -> int:
    match part:
        case TextPart(text=text) | RefusalPart(text=text) | ReasoningPart(text=text):
            return estimate_tokens(text)
        case ImagePart():
            return _picture_tokens(part)
        case FilePart(media_type="application/pdf"):
            return MESSAGE_TOKENS + min(_size(part) // PDF_BYTES_PER_TOKEN, MOST_PDF)
        case FilePart():
            return MESSAGE_TOKENS + int(_size(part) / BYTES_PER_TOKEN)
        case _:
            return MESSAGE_TOKENS + int(len(msgspec.json.encode(part)) / BYTES_PER_TOKEN)


def _picture_tokens(part: ImagePart) -> int:
    if part.width is None or part.height is None:
        return MOST_PICTURE
    return min(max(part.width * part.height // PIXELS_PER_TOKEN, LEAST_PICTURE), MOST_PICTURE)


def _size(part: ImagePart | FilePart) -> int:
    return part.size if part.size is not None else len(part.data) * 3 // 4


def _tool_tokens(tool: ToolSpec) -> int:
    return estimate_tokens(tool.name + tool.description) + int(
        len(msgspec.json.encode(tool.parameters)) / BYTES_PER_TOKEN
    )
