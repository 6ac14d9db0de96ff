"""Responses that were kept: what they were asked, and their events from any place on."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from porch.agents.conversation_store import read_branch
from porch.contract.events import AnyEvent
from porch.contract.ids import format_id, parse_id
from porch.contract.messages import FilePart, ImagePart, Message, Part, TextPart, ToolCallPart, ToolResultPart
from porch.contract.principal import Principal
from porch.faces.openai.errors import Refused
from porch.faces.openai.response_stream import ResponseEvents
from porch.faces.openai.talk import MAX_MESSAGES
from porch.faces.wire import text_of
from porch.runs.options import RunOptions
from porch.runs.record import RunRecord
from porch.runs.service import Runs
from porch.storage.database import Database

MOST_ITEMS: Final = 100
USUAL_ITEMS: Final = 20

_encode = msgspec.json.encode


def _query(name: str, about: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": about, "schema": schema}


STREAM_QUERY: Final = {
    "parameters": [
        _query("stream", "Whether its events are given, in place of the object.", type="boolean"),
        _query("starting_after", "The sequence_number of the last event that is known.", type="integer"),
    ]
}
ITEMS_QUERY: Final = {
    "parameters": [
        _query(
            "limit", "How many items.", type="integer", minimum=1, maximum=MOST_ITEMS, default=USUAL_ITEMS
        ),
        _query("order", "Oldest or newest first.", type="string", enum=["asc", "desc"], default="desc"),
        _query("after", "The id of the last item that is known.", type="string"),
    ]
}


async def read_input(
    database: Database, runs: Runs, principal: Principal, record: RunRecord, options: RunOptions
) -> list[dict[str, Any]]:
    """What was sent for a response, as items, oldest first; not what came before it in its conversation."""
    before = None
    if previous := options.request.get("previous_response_id"):
        before = (await runs.get(principal, parse_id("resp", previous))).output_message
    async with database.tenant(principal.workspace) as connection:
        branch = await read_branch(connection, principal.workspace, record.input_message, MAX_MESSAGES + 1)
    sent: list[Message] = []
    for message in reversed(branch):
        if before is not None and message.id == format_id("msg", before):
            break
        sent.append(message)
    return [item for message in reversed(sent) for item in message_items(message)]


class Later:
    """A projection whose first events the client has: those up to the sequence_number `after`."""

    def __init__(self, told: ResponseEvents, after: int) -> None:
        self.media_type = told.media_type
        self.headers = told.headers
        self._told = told
        self._left = after + 1

    def feed(self, event: AnyEvent) -> bytes:
        """What this event is in theirs, behind that place."""
        return self._behind(self._told.feed(event))

    def forget(self, keep_through: int) -> bytes:
        """As the projection itself."""
        return self._behind(self._told.forget(keep_through))

    def keep_alive(self) -> bytes:
        """A comment."""
        return self._told.keep_alive()

    def cut(self) -> bytes:
        """An error, unless the end was told."""
        return self._behind(self._told.cut())

    def _behind(self, frames: bytes) -> bytes:
        if not self._left or not frames:
            return frames
        each = frames.split(b"\n\n")[:-1]
        skipped = min(self._left, len(each))
        self._left -= skipped
        return b"".join(frame + b"\n\n" for frame in each[skipped:])


def read_place(text: str | None) -> int:
    """The sequence_number to stream from behind; -1 for none. Raises Refused."""
    if text is None:
        return -1
    if not text.isdecimal() or len(text) > 9:
        raise Refused(
            "'starting_after' is the sequence_number of an event.", "starting_after", code="invalid_value"
        )
    return int(text)


def message_items(message: Message) -> list[dict[str, Any]]:
    """A message as items: its words and files are one, each call and each result another."""
    items: list[dict[str, Any]] = []
    content: list[dict[str, Any]] = []
    for at, part in enumerate(message.parts):
        match part:
            case ToolCallPart():
                items.append(_call(message, at, part))
            case ToolResultPart():
                items.append(_output(message, at, part))
            case _:
                content += _content(message.role, part)
    if content:
        said = {"id": message.id, "type": "message", "status": "completed", "role": message.role}
        items.insert(0, {**said, "content": content})
    return items


def page_items(
    items: Sequence[dict[str, Any]], *, after: str | None, limit: str, order: str
) -> dict[str, Any]:
    """One page of items as their lists are, newest first unless `order` is "asc". Raises Refused."""
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST_ITEMS:
        raise Refused(f"'limit' is a number from 1 to {MOST_ITEMS}.", "limit", code="invalid_value")
    if order not in ("asc", "desc"):
        raise Refused("'order' is 'asc' or 'desc'.", "order", code="invalid_value")
    ordered = list(items) if order == "asc" else list(reversed(items))
    names = [item["id"] for item in ordered]
    if after is not None and after not in names:
        raise Refused(f"{after[:80]!r} is none of these items.", "after", code="invalid_value")
    begin = 0 if after is None else names.index(after) + 1
    page = ordered[begin : begin + int(limit)]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": begin + len(page) < len(ordered),
    }


def _content(role: str, part: Part) -> list[dict[str, Any]]:
    """Bytes are not told again."""
    match part:
        case TextPart(text=text) if role == "assistant":
            return [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
        case TextPart(text=text):
            return [{"type": "input_text", "text": text}]
        case ImagePart():
            return [{"type": "input_image", "detail": "auto", "file_id": None, "image_url": None}]
        case FilePart(name=name):
            return [{"type": "input_file", "file_id": None, "filename": name}]
        case _:
            return []


def _call(message: Message, at: int, part: ToolCallPart) -> dict[str, Any]:
    arguments = part.raw_arguments or ""
    if part.arguments is not None:
        arguments = _encode(part.arguments).decode()
    return {
        "id": f"fc_{message.id.removeprefix('msg_')}_{at}",
        "type": "function_call",
        "status": "completed",
        "call_id": part.call,
        "name": part.name,
        "arguments": arguments,
    }


def _output(message: Message, at: int, part: ToolResultPart) -> dict[str, Any]:
    return {
        "id": f"fco_{message.id.removeprefix('msg_')}_{at}",
        "type": "function_call_output",
        "status": "completed",
        "call_id": part.call,
        "output": part.error.message if part.error else text_of(part.output),
    }
