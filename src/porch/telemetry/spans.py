"""What was done from when to when, as OpenTelemetry's traces tell it."""

from dataclasses import dataclass, field
from typing import Literal

Value = str | int | float | bool | list[str]


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of work; times are in seconds since 1970, `parent` b"" for the first of a trace."""

    trace: bytes
    id: bytes
    parent: bytes
    name: str
    kind: Literal["internal", "client"]
    began: float
    ended: float
    attributes: dict[str, Value | None] = field(default_factory=dict[str, Value | None])
    error: str | None = None
