"""A caller's list of messages or items as messages of a conversation."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import msgspec

from porch.contract.attachments import check_attached, file_part, image_part
from porch.contract.messages import (
    FilePart,
    ImagePart,
    Part,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from porch.contract.text import check_text, clean_json
from porch.faces.openai.errors import Refused
from porch.faces.remote import Gap, Remote, is_remote, lay_out
from porch.runs.context import StoredMessage
from porch.runs.options import RunOptions

MAX_TEXT_BYTES = 1024 * 1024
MAX_MESSAGES = 400
MAX_DEPTH = 64


class Reading(NamedTuple):
    """What a request asks: the messages before, what is to be answered, the caller's options, and what to fetch."""

    before: list[StoredMessage]
    parts: list[Part]
    options: RunOptions
    gaps: list[Gap]


class Talk:
    """Puts messages together: a model's words and calls are one message, results between two questions another."""

    def __init__(self) -> None:
        self.messages: list[StoredMessage] = []
        self.instructions: list[str] = []
        self.gaps: list[Gap] = []

    def instruct(self, text: str) -> None:
        """What the system or the developer says: it is added to the agent's instructions."""
        if text.strip():
            self.instructions.append(text)

    def ask(self, found: Sequence[Part | Remote], param: str) -> None:
        """A user's message. What of it is at a URL is to be fetched into `gaps`."""
        if not found:
            raise Refused("The message is empty; write something.", param, code="invalid_value")
        parts, gaps = lay_out(found)
        check_attached(parts)
        if sum(len(part.text.encode()) for part in parts if isinstance(part, TextPart)) > MAX_TEXT_BYTES:
            raise Refused(f"The message has over {MAX_TEXT_BYTES:,} bytes of words. Shorten it.", param)
        self.gaps += gaps
        self.messages.append(StoredMessage("user", parts))

    def answer(self, part: Part) -> None:
        """One part of what the model said before; neighbours are one message."""
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "assistant":
            last = StoredMessage("assistant", [])
            self.messages.append(last)
        last.parts.append(part)

    def bring(self, call: str, output: str, param: str) -> None:
        """What one of the caller's tools gave."""
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "user" or last.asks:
            last = StoredMessage("user", [])
            self.messages.append(last)
        given = ToolResultPart(call=check_call(call, param), output=check_text(output, param, MAX_TEXT_BYTES))
        last.parts.append(given)

    def close(self, param: str) -> tuple[list[StoredMessage], list[Part]]:
        """What came before, and what is to be answered. Raises Refused where there is nothing to answer."""
        if not self.messages or self.messages[-1].role != "user":
            raise Refused(
                f"The last of {param!r} must be a user's message or a tool's result: that is what the agent answers.",
                param,
                code="invalid_value",
            )
        if len(self.messages) > MAX_MESSAGES:
            raise Refused(f"{param!r} has over {MAX_MESSAGES} messages. Send the newest.", param)
        *before, last = self.messages
        return before, last.parts


def call_part(call: str, name: str, arguments: str, param: str) -> ToolCallPart:
    """A call that the model made before, with its arguments as JSON text."""
    call = check_call(call, param)
    name = check_text(name, param, 256)
    try:
        value: Any = msgspec.json.decode(arguments) if arguments.strip() else {}
    except (msgspec.DecodeError, RecursionError):
        value = None
    kept = not is_deep(value)
    if kept and isinstance(value, dict):
        return ToolCallPart(call=call, name=name, arguments=clean_json(value))
    return ToolCallPart(call=call, name=name, raw_arguments=check_text(arguments, param, MAX_TEXT_BYTES))


def is_deep(value: object) -> bool:
    """Whether a JSON value is nested deeper than what others walk through by recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += cast("dict[str, object]", item).values()
            elif isinstance(item, list):
                inner += cast("list[object]", item)
        if not inner:
            return False
        level = inner
    return True


def check_call(call: str, param: str) -> str:
    """A call's id as it stands, or Refused."""
    if not call or len(call) > 256:
        raise Refused("A call's id has 1 to 256 characters.", param, code="invalid_value")
    return check_text(call, param, 1024)


def text_part(text: str, param: str) -> TextPart:
    """Words, checked."""
    return TextPart(text=check_text(text, param, MAX_TEXT_BYTES))


def picture_part(url: str, param: str) -> ImagePart | Remote:
    """A picture from a data: URL, or at its URL."""
    if is_remote(url):
        return Remote(url, _pointer(param), picture=True)
    media_type, data = _read_data_url(url, param, "Pictures")
    return image_part(media_type, data, pointer=_pointer(param))


def document_part(
    data: str | None, name: str | None, param: str, url: str | None = None
) -> FilePart | ImagePart | Remote:
    """A file from a data: URL, or at its URL."""
    if not data and url and is_remote(url):
        return Remote(url, _pointer(param), picture=False, name=name)
    if not data:
        raise Refused(
            "Files are taken as `file_data`, a data: URL; there is no store of uploaded files here.",
            param,
            code="unsupported_value",
        )
    media_type, held = _read_data_url(data, param, "Files")
    if media_type.startswith("image/"):
        return image_part(media_type, held, pointer=_pointer(param), name=name)
    return file_part(media_type, held, pointer=_pointer(param), name=name)


def _read_data_url(url: str, param: str, what: str) -> tuple[str, str]:
    head, comma, data = url.partition(",")
    if not head.lower().startswith("data:") or not comma or not head.lower().endswith(";base64"):
        raise Refused(
            f"{what} are taken as data: URLs in base64 (data:image/png;base64,…), or at http(s):// URLs.",
            param,
        )
    return head[5:-7].partition(";")[0].strip().lower(), data


def _pointer(param: str) -> str:
    return "/" + param.replace("[", "/").replace("]", "").replace(".", "/")
