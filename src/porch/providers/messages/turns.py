"""A conversation as Messages wants it: turns that alternate, every call answered in the very next one."""

from collections.abc import Sequence
from typing import Any

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
from porch.providers.history import called_name, file_words, result_text, unseen_file
from porch.providers.messages.wire import FORMAT, as_object
from porch.providers.request import ModelMessage

Block = dict[str, Any]
INTERRUPTED = "Error interrupted: this call was not completed."


def turn_begin(messages: Sequence[ModelMessage]) -> int:
    """Where the answer that is being given begins: after the last message of a person."""
    return max((at + 1 for at, message in enumerate(messages) if message.role == "user"), default=0)


def begins_with_thinking(messages: Sequence[ModelMessage]) -> bool:
    """Whether the answer that is being given begins with reasoning of this dialect, or has not begun."""
    parts = [part for message in messages[turn_begin(messages) :] for part in message.parts]
    return not parts or (isinstance(parts[0], ReasoningPart) and bool(_thoughts(parts[:2])))


def build_turns(messages: Sequence[ModelMessage], *, thoughts: bool) -> list[Block]:
    """The messages. Sealed reasoning goes back where `thoughts` is set, and only within the answer being given:
    the API wants it beside the calls that it led to, and lets it be left out of all answers before.
    """
    begin = turn_begin(messages)
    turns: list[Block] = []
    for at, message in enumerate(messages):
        keep = thoughts and at >= begin
        for role, blocks in _split(message, keep):
            if not blocks:
                continue
            if turns and turns[-1]["role"] == role:
                turns[-1]["content"] += blocks
            else:
                turns.append({"role": role, "content": blocks})
    return _paired(turns)


def called_tools(turns: Sequence[Block]) -> list[str]:
    """The names of all tools that were called, each once."""
    blocks: list[Block] = [block for turn in turns for block in turn["content"]]
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def _split(message: ModelMessage, keep: bool) -> list[tuple[str, list[Block]]]:
    """One message as stretches of one role each: results are the user's, all else is its own role's."""
    own = "user" if message.role == "user" else "assistant"
    stretches: list[tuple[str, list[Block]]] = []
    thoughts = _thoughts(message.parts) if keep else {}
    for at, part in enumerate(message.parts):
        role = "user" if isinstance(part, ToolResultPart) else own
        block = thoughts.get(at) or _block(part)
        if block is None:
            continue
        if not stretches or stretches[-1][0] != role:
            stretches.append((role, []))
        stretches[-1][1].append(block)
    return stretches


def _block(part: Part) -> Block | None:
    match part:
        case TextPart() | RefusalPart():
            return _text(part.text)
        case ImagePart():
            return {"type": "image", "source": _source(part)}
        case FilePart():
            return _file(part)
        case ToolCallPart():
            # Only an object is taken, so a botched call is wrapped in one.
            given = part.arguments if part.arguments is not None else {"unparsed": part.raw_arguments or ""}
            return {"type": "tool_use", "id": part.call, "name": called_name(part), "input": given}
        case ToolResultPart():
            return _result(part)
        case ReasoningPart():
            return None


def _text(text: str) -> Block | None:
    # Blank text is refused, and says nothing.
    return {"type": "text", "text": text} if text.strip() else None


def _source(part: ImagePart | FilePart) -> Block:
    return {"type": "base64", "media_type": part.media_type, "data": part.data}


def _file(part: FilePart) -> Block | None:
    if part.media_type == "application/pdf":
        block: Block = {"type": "document", "source": _source(part)}
        return block | ({"title": part.name} if part.name else {})
    return _text(file_words(part) or unseen_file(part))


def _result(part: ToolResultPart) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": part.call}
    text = result_text(part)
    if text.strip():
        block["content"] = text
    return block | ({"is_error": True} if part.error is not None else {})


def _thoughts(parts: Sequence[Part]) -> dict[int, Block]:
    """Sealed blocks as they came, by the place of their seal. Their words stand in a part beside it."""
    found: dict[int, Block] = {}
    for at, part in enumerate(parts):
        if not isinstance(part, ReasoningPart) or part.format != FORMAT:
            continue
        sealed = as_object(part.sealed) or {}
        if sealed.get("type") == "thinking" and "thinking" not in sealed:
            words = part.text or _words(parts, at + 1) or _words(parts, at - 1)
            if words:
                found[at] = {"type": "thinking", "thinking": words, "signature": sealed.get("signature")}
        elif sealed.get("type") in ("thinking", "redacted_thinking"):
            found[at] = sealed
    return found


def _words(parts: Sequence[Part], at: int) -> str:
    part = parts[at] if 0 <= at < len(parts) else None
    return part.text if isinstance(part, ReasoningPart) and part.sealed is None else ""


def _paired(turns: list[Block]) -> list[Block]:
    """Results stand first in the turn after their calls: late ones are brought there, missing ones made up, and
    those without a call left out.
    """
    results: dict[str, Block] = {
        block["tool_use_id"]: block
        for turn in turns
        for block in turn["content"]
        if block["type"] == "tool_result"
    }
    paired: list[Block] = []
    answers: list[Block] = []
    for turn in turns:
        blocks: list[Block] = [block for block in turn["content"] if block["type"] != "tool_result"]
        if turn["role"] == "assistant":
            _add(paired, "user", answers)
            answers = [_answer(results, block["id"]) for block in blocks if block["type"] == "tool_use"]
            _add(paired, "assistant", blocks if answers else _without_last_thoughts(blocks))
        else:
            _add(paired, "user", answers + blocks)
            answers = []
    _add(paired, "user", answers)
    return paired


def _add(turns: list[Block], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _answer(results: dict[str, Block], call: str) -> Block:
    made_up = {"type": "tool_result", "tool_use_id": call, "content": INTERRUPTED, "is_error": True}
    return results.get(call) or made_up


def _without_last_thoughts(blocks: list[Block]) -> list[Block]:
    """A message may not end with reasoning."""
    end = len(blocks)
    while end and blocks[end - 1]["type"] in ("thinking", "redacted_thinking"):
        end -= 1
    return blocks[:end]
