"""What a provider is asked, and what a step came to: the same for every dialect."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from porch.contract.definition import ModelSettings
from porch.contract.events import AnyEvent, FinishReason, Usage
from porch.contract.messages import FilePart, ImagePart, Part
from porch.providers.assembly import Assembly

_TEXT_TYPES = ("application/json", "application/xml", "application/yaml", "application/x-yaml")


@dataclass(frozen=True, slots=True)
class ModelMessage:
    """One message as providers see them: a tool's results are a message of their own."""

    role: Literal["user", "assistant", "tool"]
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model is told of it; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call. `model` is the provider's own name, without Porch's prefix."""

    model: str
    instructions: str
    messages: list[ModelMessage]
    tools: list[ToolSpec] = field(default_factory=list[ToolSpec])
    settings: ModelSettings = field(default_factory=ModelSettings)


@dataclass(frozen=True, slots=True)
class Takes:
    """What can go along with a provider's words: pictures, and PDFs. Text files can, as words, with any."""

    pictures: bool = True
    papers: bool = True

    def shows(self, part: ImagePart | FilePart) -> bool:
        """Whether this picture or file can be sent, as it is or as words."""
        return self.pictures if isinstance(part, ImagePart) else self.papers or is_text(part.media_type)


@dataclass(slots=True)
class StepOutcome:
    """How a model call ended, filled in by its stream."""

    reason: FinishReason = "stop"
    raw_reason: str | None = None
    model: str | None = None
    usage: Usage | None = None


def is_text(media_type: str) -> bool:
    """Whether a file of this type is words."""
    plain = media_type.partition(";")[0].strip().lower()
    return plain.startswith("text/") or plain in _TEXT_TYPES


class Provider(Protocol):
    """One place that answers model calls. Adapters are the only variance of the platform."""

    @property
    def takes(self) -> Takes:
        """What can be sent to it; for what cannot, the run puts words, and tells the person."""
        ...

    def stream(
        self, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> AsyncGenerator[list[AnyEvent]]:
        """Ask, and yield contract events as they come: one list for each read of the socket, never empty.

        A stream that returns has closed its parts and calls, reported usage where the provider did, and
        filled `outcome`. Raises ModelError for every failure; what is open then is closed by
        `assembly.close()`.
        """
        ...
