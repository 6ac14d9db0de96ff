"""What a model is given to read: instructions, as much of the conversation as fits, and the run so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from porch.contract.messages import (
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from porch.providers.request import ModelMessage, ToolSpec

# English runs to about four bytes a token; other scripts to fewer. Too high an estimate cuts too early, too
# low a one is refused by the model, so it leans to the safe side.
BYTES_PER_TOKEN = 3.5
MESSAGE_TOKENS = 6


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of the conversation as context needs it."""

    role: Literal["user", "assistant"]
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class Context:
    """The messages that fit, oldest first, and how many were left out (`at_least` when more lie behind)."""

    messages: list[ModelMessage]
    left_out: int
    at_least: bool


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
) -> Context:
    """Choose the newest messages that fit into `budget` tokens beside instructions and tools.

    `history` is newest first and its first message, what is being answered, always stays; so does `answer`, the
    run's own parts so far. `more` says that the conversation goes further back than `history`. A cut leaves a
    user's message first, since providers refuse a conversation that begins with an answer.
    """
    room = (
        budget - estimate_tokens(instructions) - sum(_tool_tokens(tool) for tool in tools) - _tokens(answer)
    )
    kept: list[StoredMessage] = []
    for message in history:
        room -= _tokens(message.parts)
        if kept and room < 0:
            break
        kept.append(message)
    while len(kept) > 1 and kept[-1].role == "assistant":
        kept.pop()
    left_out = len(history) - len(kept)
    messages = [made for message in reversed(kept) for made in split_message(message.role, message.parts)]
    return Context(messages + split_message("assistant", answer), left_out, more)


def split_message(role: Literal["user", "assistant"], parts: Sequence[Part]) -> list[ModelMessage]:
    """A stored message as providers see it: tool results in messages of their own, unanswered calls closed."""
    messages: list[ModelMessage] = []
    calls = {part.call for part in parts if isinstance(part, ToolResultPart)}
    for part in parts:
        if isinstance(part, ToolCallPart) and part.call not in calls:
            continue  # a call that was cut off has no result, and providers refuse one without
        speaker = "tool" if isinstance(part, ToolResultPart) else role
        if not messages or messages[-1].role != speaker:
            messages.append(ModelMessage(speaker, []))
        messages[-1].parts.append(part)
    return messages


def _tokens(parts: Sequence[Part]) -> int:
    return MESSAGE_TOKENS + sum(_part_tokens(part) for part in parts)


def _part_tokens(part: Part) -> int:
    match part:
        case TextPart(text=text) | RefusalPart(text=text) | ReasoningPart(text=text):
            return estimate_tokens(text)
        case _:
            return MESSAGE_TOKENS + int(len(msgspec.json.encode(part)) / BYTES_PER_TOKEN)


def _tool_tokens(tool: ToolSpec) -> int:
    return estimate_tokens(tool.name + tool.description) + int(
        len(msgspec.json.encode(tool.parameters)) / BYTES_PER_TOKEN
    )
