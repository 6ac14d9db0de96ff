"""What came of asking a person about a call."""

from dataclasses import dataclass
from typing import Any

from porch.contract.events import ToolError

EXPIRED = "system:expiry"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Approved `arguments`, or the `error` that the model reads in place of a result.

    A `fresh` one was decided since the run paused, so that the call has never begun.
    """

    arguments: dict[str, Any] | None = None
    error: ToolError | None = None
    fresh: bool = False


def denial(by: str, note: str | None) -> ToolError:
    """What the model reads of a call that was not approved."""
    if by == EXPIRED:
        return ToolError(code="denied", message="Nobody approved this call in time, so it was not run.")
    said = f" They said: {note}" if note else ""
    message = f"A person denied this call, so it was not run. Do not repeat it unless they ask for it.{said}"
    return ToolError(code="denied", message=message)


def tampered() -> ToolError:
    """What the model reads where the stored parameters are not those that were shown."""
    return ToolError(
        code="denied",
        message="The stored parameters of this call are not those that were approved, so it was not run.",
    )
