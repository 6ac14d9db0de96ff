"""What the conversations' pages show: plain values for the templates, in text that hides nothing."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from porch.agents.legible import in_short, legible
from porch.agents.model import Conversation, Hit, Share
from porch.agents.together import may_keep
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
from porch.contract.principal import Principal

View = dict[str, Any]
UNTITLED = "A conversation without a title"
MAX_TITLE, MAX_TOOL = 120, 2000
MAX_EXCERPT = 240
_SIGNS = re.compile(r"[*_`~\[\]<>#!-]")
_FENCES = re.compile(r"(?m)^…? {0,3}(?:`{3,}|~{3,})\w*[ \t]*$")
_LINE_SIGNS = re.compile(r"(?m)^(?:[ \t]*(?:#{1,6} |>|[-*+] ))+[ \t]*")
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([^()\s]*\)")
# Between two words' letters they are what was written, as in 2**8 and snake__case.
_EMPHASIS = re.compile(
    r"(?<![\w*])\*{1,3}(?=[^\s*])|(?<=[^\s*])\*{1,3}(?![\w*])|(?<![\w_])__(?=\w)|(?<=\w)__(?![\w_])|~~|`"
)


def conversation_view(principal: Principal, conversation: Conversation) -> View:
    """A conversation in a list or a heading."""
    name = format_id("conv", conversation.id)
    return {
        "id": name,
        "path": f"/chat/{name}",
        "actions": f"/conversations/{name}",
        "export": f"/api/v1/conversations/{name}/export",
        "title": in_short(conversation.title, MAX_TITLE) or UNTITLED,
        "given_title": conversation.title,
        "agent": f"@{principal.workspace_handle}/{conversation.agent_handle}",
        "draft": conversation.draft,
        "open": conversation.audience == "members",
        "kept": may_keep(principal, conversation),
        "busy": conversation.active_run is not None,
        "updated_at": conversation.updated_at,
    }


def hit_view(principal: Principal, hit: Hit, search: str) -> View:
    """A conversation in the list, with the text around what was searched as [(piece, whether it was searched)]."""
    snippet = marked(in_short(excerpt(hit.snippet, search), MAX_EXCERPT), search) if hit.snippet else []
    return {**conversation_view(principal, hit.conversation), "snippet": snippet}


def excerpt(snippet: str, search: str) -> str:
    """What was found, without Markdown's signs unless those were searched."""
    text = snippet
    if not _SIGNS.search(search):
        text = _LINK.sub(r"\1", _LINE_SIGNS.sub("", _FENCES.sub("", text)))
        text = _EMPHASIS.sub("", text)
    return " ".join(text.split())


def marked(text: str, search: str) -> list[tuple[str, bool]]:
    """Text in pieces, those that begin with a searched word marked."""
    words = sorted({re.escape(word) for word in search.split() if word}, key=len, reverse=True)[:16]
    if not words:
        return [(text, False)]
    pieces = re.split(f"({'|'.join(words)})", text, flags=re.IGNORECASE)
    return [(piece, bool(at % 2)) for at, piece in enumerate(pieces) if piece]


def share_view(share: Share) -> View:
    """A link in the list of a conversation's."""
    return {"id": format_id("shr", share.id), "created_at": share.created_at}


def transcript_view(messages: Sequence[Message], speaker: str, room: int) -> list[View]:
    """Messages as plain text, the newest that fit into `room` characters: for reading without JavaScript.

    Of the newest one its beginning is always there; `cut` says that the rest of it is not.
    """
    shown: list[View] = []
    for message in reversed(messages):
        pieces: list[View] = []
        cut = False
        for part in message.parts:
            cut = cut or room <= 0
            if not cut and (piece := _piece(part, room)):
                cut = len(piece["text"]) > room
                room -= len(piece["text"])
                pieces.append(piece)
        if cut and shown:
            break
        said = message.role == "user"
        other = message.author is not None and not message.author.you
        who = in_short(message.author.name, 80) if message.author and other else "You" if said else speaker
        shown.append({"who": who, "mine": said and not other, "pieces": pieces, "cut": cut})
    return shown[::-1]


def is_cut(transcript: Sequence[View], messages: Sequence[Message]) -> bool:
    """Whether a transcript of these messages leaves out anything of their conversation."""
    older = bool(messages) and messages[0].parent is not None
    return older or len(transcript) < len(messages) or any(message["cut"] for message in transcript)


def _piece(part: Part, room: int) -> View | None:
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            return {"kind": "text", "label": "", "text": _cut(text, room)}
        case ReasoningPart(text=text):
            return {"kind": "thinking", "label": "Thinking", "text": _cut(text, room)} if text else None
        case ToolCallPart():
            given = part.raw_arguments if part.arguments is None else _json(part.arguments)
            return {"kind": "tool", "label": f"Called {in_short(part.name, 80)}", "text": _cut(given or "")}
        case ToolResultPart(error=None):
            output = part.output if isinstance(part.output, str) else _json(part.output)
            return {"kind": "tool", "label": "It gave", "text": _cut(output)}
        case ToolResultPart():
            return {"kind": "tool", "label": "It failed", "text": _cut(_json(part.error))}
        case ImagePart(url=url, width=width, height=height) if url:
            name = in_short(part.name or "", 80)
            said = f"Picture {name}" if name else "A picture"
            return {
                "kind": "picture",
                "label": said,
                "text": "",
                "url": url,
                "width": width,
                "height": height,
            }
        case FilePart(url=url) if url:
            name = in_short(part.name or part.media_type, 80)
            return {"kind": "file", "label": f"File {name}", "text": "", "url": url}
        case ImagePart() | FilePart():
            return None


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _cut(text: str, longest: int = MAX_TOOL) -> str:
    return legible(text if len(text) <= longest else text[:longest] + "…")
