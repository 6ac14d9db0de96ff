"""What an AG-UI client sends, and what of it the agent is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ConfigDict, Field

from porch.contract.events import Notice, ToolError
from porch.contract.messages import Part, ToolResultPart
from porch.contract.text import check_text
from porch.faces.remote import Gap, Remote, lay_out
from porch.faces.talk import as_object, attached_part, check_message, linked_part, refused, text_part
from porch.http.body_model import BodyModel
from porch.runs.input import MAX_MESSAGE_BYTES
from porch.runs.options import NO_OPTIONS, CallerTool, RunOptions

RESULT = "The tool's result"


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be answered. `earlier` are the ids of the messages before it, oldest first."""

    parts: list[Part]
    earlier: list[str]
    options: RunOptions
    notices: list[Notice]
    gaps: Sequence[Gap] = ()


class Tool(BodyModel):
    """A tool that the client runs itself."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None


class Context(BodyModel):
    """Something that the agent should know for this run."""

    description: str
    value: str


class RunAgentInput(BodyModel):
    """AG-UI 1.0's RunAgentInput; keys of later versions are passed over."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "threadId": "t1",
                    "runId": "r1",
                    "messages": [{"id": "m1", "role": "user", "content": "What time is it?"}],
                    "tools": [],
                    "context": [],
                }
            ]
        }
    )
    threadId: str  # noqa: N815 - the protocol's spelling, as of the others
    runId: str = Field(min_length=1, max_length=512)  # noqa: N815
    messages: list[dict[str, Any]]
    tools: list[Tool] | None = None
    context: list[Context] | None = None
    state: Any = None
    forwardedProps: Any = None  # noqa: N815
    resume: list[dict[str, Any]] | None = None

    def read(self) -> Question:
        """What the agent is asked. Raises InvalidInput that points at what is wrong."""
        if self.resume:
            raise refused(
                "An interrupt cannot be answered here. Decide in Porch's chat, in its inbox, or by "
                "POST /api/v1/runs/{run}/approvals/{approval}; a message needs no `resume`.",
                "/resume",
            )
        first = len(self.messages)
        while first and _brings_result(self.messages[first - 1]):
            first -= 1
        if first == len(self.messages):
            first -= 1
            parts, gaps = self._question(first)
        else:
            parts, gaps = self._results(first), []
        earlier = [str(message.get("id", "")) for message in self.messages[:first]]
        return Question(parts, earlier, self._options(), self._notices(), gaps)

    def _question(self, at: int) -> tuple[list[Part], list[Gap]]:
        message = self.messages[at] if at >= 0 else {}
        if message.get("role") != "user":
            raise refused(
                "The last message must be a user's, or a tool's result: that is what the agent answers.",
                "/messages",
            )
        pointer = f"/messages/{at}/content"
        parts, gaps = lay_out(read_content(message.get("content"), pointer))
        check_message(parts, pointer)
        return parts, gaps

    def _results(self, first: int) -> list[Part]:
        return [_result(self.messages[at], f"/messages/{at}") for at in range(first, len(self.messages))]

    def _options(self) -> RunOptions:
        said = [message for message in self.messages if message.get("role") in ("system", "developer")]
        words = [_words(message.get("content")) for message in said]
        if self.context:
            known = [f"- {context.description}: {context.value}" for context in self.context]
            words.append("\n".join(["The application that the person uses says:", *known]))
        text = check_text("\n\n".join(words), "What the messages and the context add", MAX_MESSAGE_BYTES)
        tools = [_tool(tool) for tool in self.tools or ()]
        return RunOptions(instructions=text, tools=tools) if text or tools else NO_OPTIONS

    def _notices(self) -> list[Notice]:
        left = [name for name in ("state", "forwardedProps") if getattr(self, name)]
        text = "The agent is not told these fields of the input: {}."
        return [Notice(code="input_not_used", text=text.format(", ".join(left)))] if left else []


def _brings_result(message: dict[str, Any]) -> bool:
    """Whether this is the result of a tool of the client's own: those of the agent's tools carry ids of ours."""
    return message.get("role") == "tool" and not str(message.get("id", "")).startswith("run_")


def read_content(content: Any, pointer: str) -> Sequence[Part | Remote]:
    """A user message's content: text, or a list of AG-UI's content parts. Raises InvalidInput."""
    if not isinstance(content, list):
        return [text_part(content, pointer)]
    items = cast("list[Any]", content)
    return [_part(item, f"{pointer}/{at}") for at, item in enumerate(items)]


def _part(item: Any, pointer: str) -> Part | Remote:
    part = as_object(item, pointer)
    kind = part.get("type")
    if kind == "text":
        return text_part(part.get("text"), f"{pointer}/text")
    if kind == "binary":  # what 1.0's clients still send for clients before it
        if part.get("data") is None and part.get("url") is not None:
            return linked_part(part["url"], part.get("mimeType"), part.get("filename"), f"{pointer}/url")
        return attached_part(part.get("mimeType"), part.get("data"), part.get("filename"), pointer)
    if kind not in ("image", "document"):
        raise refused(
            f"Parts of the type {str(kind)[:80]!r} are not taken; text, image and document are.", pointer
        )
    source = as_object(part.get("source"), f"{pointer}/source")
    if source.get("type") == "url":
        named = source.get("mimeType") or ("image/*" if kind == "image" else None)
        return linked_part(source.get("value"), named, None, f"{pointer}/source/value")
    if source.get("type") != "data":
        raise refused("A picture's or document's source is data in base64, or a URL.", f"{pointer}/source")
    return attached_part(source.get("mimeType"), source.get("value"), None, f"{pointer}/source")


def _result(message: dict[str, Any], pointer: str) -> ToolResultPart:
    call = message.get("toolCallId")
    if not isinstance(call, str) or not call:
        raise refused("A tool's result names the call it answers.", f"{pointer}/toolCallId")
    text = check_text(_words(message.get("content")), RESULT, MAX_MESSAGE_BYTES)
    error = message.get("error")
    if isinstance(error, str) and error:
        failed = ToolError(code="tool_failed", message=check_text(error, RESULT, MAX_MESSAGE_BYTES))
        return ToolResultPart(call=check_text(call, RESULT, 512), error=failed)
    return ToolResultPart(call=check_text(call, RESULT, 512), output=text)


def _words(content: Any) -> str:
    """The words of a message's content, which is text or a list of parts."""
    if isinstance(content, str):
        return content
    parts = cast("list[Any]", content) if isinstance(content, list) else []
    return "".join(str(as_object(part, "/messages").get("text", "")) for part in parts)


def _tool(tool: Tool) -> CallerTool:
    about = {"parameters": tool.parameters} if tool.parameters else {}
    return CallerTool(name=tool.name, description=tool.description, **about)
