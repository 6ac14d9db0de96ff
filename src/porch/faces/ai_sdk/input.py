"""What an AI SDK client sends, and what of it the agent is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict

from porch.contract.messages import Part
from porch.contract.text import check_text
from porch.faces.remote import Gap, Remote, lay_out
from porch.faces.talk import as_object, check_message, linked_part, refused, text_part
from porch.http.body_model import BodyModel
from porch.runs.input import MAX_MESSAGE_BYTES
from porch.runs.options import NO_OPTIONS, RunOptions
from porch.runs.store import HEAD, Place


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be answered. `earlier` are the ids of the messages before it, oldest first."""

    parts: list[Part] | None
    earlier: list[str]
    options: RunOptions
    gaps: Sequence[Gap] = ()


class UiMessage(BodyModel):
    """One of the client's messages; only the last one is read."""

    id: str = ""
    role: Literal["system", "user", "assistant"]
    parts: list[dict[str, Any]]


class ChatRequest(BodyModel):
    """The body that `DefaultChatTransport` sends; further keys are passed over."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "chat-1",
                    "trigger": "submit-message",
                    "messages": [
                        {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "What time is it?"}]}
                    ],
                }
            ]
        }
    )
    id: str
    messages: list[UiMessage]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    messageId: str | None = None  # noqa: N815 - the protocol's spelling

    @property
    def regenerates(self) -> bool:
        """Whether an answer is asked for once more."""
        return self.trigger == "regenerate-message"

    @property
    def place_of_first(self) -> Place:
        """Where a message stands that follows none of ours: an edited one begins the conversation anew."""
        return HEAD if self.messageId is None else Place("after", None)

    def read(self) -> Question:
        """What the agent is asked. Raises InvalidInput that points at what is wrong."""
        earlier = [message.id for message in self.messages[:-1]]
        if self.regenerates:
            return Question(None, earlier, self._options())
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "user":
            raise refused("The last message must be a user's: that is what the agent answers.", "/messages")
        pointer = f"/messages/{len(earlier)}/parts"
        parts, gaps = lay_out([_part(item, f"{pointer}/{at}") for at, item in enumerate(last.parts)])
        check_message(parts, pointer)
        return Question(parts, earlier, self._options(), gaps)

    def _options(self) -> RunOptions:
        said = [part for message in self.messages if message.role == "system" for part in message.parts]
        words = [str(part.get("text", "")) for part in said if part.get("type") == "text"]
        text = check_text("\n\n".join(words), "What the system messages say", MAX_MESSAGE_BYTES)
        return RunOptions(instructions=text) if text else NO_OPTIONS


def _part(item: Any, pointer: str) -> Part | Remote:
    part = as_object(item, pointer)
    kind = part.get("type")
    if kind == "text":
        return text_part(part.get("text"), f"{pointer}/text")
    if kind != "file":
        raise refused(
            f"Parts of the type {str(kind)[:80]!r} are not taken from users; text and file are.", pointer
        )
    return linked_part(part.get("url"), part.get("mediaType"), part.get("filename"), f"{pointer}/url")
