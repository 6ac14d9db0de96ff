"""How the servers of one dialect differ, as data."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a server wants said differently. The defaults suit most of the family."""

    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    stream_usage: bool = True
    tools: bool = True
    path: str = "/chat/completions"
