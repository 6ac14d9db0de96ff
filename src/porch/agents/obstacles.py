"""What stands in the way of an act while an answer has not ended, and what a person can do about it."""

from typing import Literal

from porch.contract.events import PauseReason
from porch.contract.principal import Principal

Reason = PauseReason | Literal["answer"]
HERE = "An answer in this conversation"


def obstacle(principal: Principal, reason: Reason, answer: str, act: str) -> str:
    """Two sentences that name the reason why an `answer` has not ended, and what must come before `act`."""
    match reason:
        case "approval":
            place = "in the chat" if principal.kind == "guest" else "in the chat or the inbox (/inbox)"
            said = "waits for a decision about a tool's call"
            return f"{answer} {said}. Decide {place}, or cancel it, then {act}."
        case "quota":
            return (
                f"{answer} waits: the workspace has used up its quota. Wait until there is more, or cancel it, then "
                f"{act}."
            )
        case "answer":
            return f"{answer} is still being written. Stop it or wait for its end, then {act}."
