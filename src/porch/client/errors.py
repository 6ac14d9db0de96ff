"""What can go wrong between a program and a Porch server."""

from typing import TYPE_CHECKING, Any, cast

import msgspec

from porch.contract.errors import PorchError
from porch.contract.events import ErrorInfo

if TYPE_CHECKING:
    from porch.client.answer import Answer


class ApiError(PorchError):
    """Raised when the server answers a request with a problem (RFC 9457)."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: list[dict[str, str]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        """`retry_after` is in seconds; `errors` lists what is wrong in the body, piece by piece."""
        super().__init__(detail)
        # What the server said, not what this class stands for.
        self.status = status  # pyright: ignore[reportAttributeAccessIssue]
        self.code = code  # pyright: ignore[reportAttributeAccessIssue]
        self.detail = detail
        self.errors = errors or []
        self.retry_after = retry_after

    @classmethod
    def of(cls, status: int, body: bytes, retry_after: str | None = None) -> "ApiError":
        """From an answer's status, body and Retry-After header; a body that is no problem is not repeated."""
        try:
            problem: Any = msgspec.json.decode(body)
        except msgspec.MsgspecError:
            problem = None
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
        if not isinstance(problem, dict) or "detail" not in problem:
            detail = f"The server answered {status}, and not in the way of Porch. Is it a Porch server?"
            return cls(status, "unknown", detail, retry_after=seconds)
        found = cast("dict[str, Any]", problem)
        code, detail = str(found.get("code", "unknown")), str(found["detail"])
        return cls(status, code, detail, errors=found.get("errors"), retry_after=seconds)


class Unreachable(PorchError):
    """Raised when no server answers at the address."""

    code = "unreachable"
    status = 503
    category = "network"


class WrongAddress(PorchError):
    """Raised when something answers at the address, but cannot be a Porch server, or cannot be trusted to be."""

    code = "wrong_address"
    status = 502
    category = "network"


class ConnectionLost(PorchError):
    """Raised when a stream was cut and could not be taken up again in time; the run itself goes on."""

    code = "connection_lost"
    status = 503
    category = "cut"


class StreamBroken(PorchError):
    """Raised when the server sends what is no event of the contract."""

    code = "stream_broken"
    status = 502
    category = "protocol"


class TimedOut(PorchError):
    """Raised when an answer has not ended within the `timeout` it was given; the run itself goes on."""

    code = "timed_out"
    status = 504
    category = "timeout"


class Closed(PorchError):
    """Raised when a client is used after it was closed, or closed while a call of it waits."""

    code = "closed"
    category = "bad_request"


class AnswerFailed(PorchError):
    """Raised when a run ended by an error. `answer` is what came before it, `error` what went wrong."""

    def __init__(self, error: ErrorInfo, answer: "Answer") -> None:
        super().__init__(error.message)
        # What the run said, not what this class stands for.
        self.code = error.code  # pyright: ignore[reportAttributeAccessIssue]
        self.category = error.category  # pyright: ignore[reportAttributeAccessIssue]
        self.error = error
        self.answer = answer


class AnswerCancelled(PorchError):
    """Raised when somebody stopped the run. `answer` is what came before, `by` says who it was."""

    code = "cancelled"
    status = 409
    category = "conflict"

    def __init__(self, by: str, answer: "Answer") -> None:
        super().__init__(f"The run {answer.run} was cancelled by {by}. Ask again for a new answer.")
        self.by = by
        self.answer = answer
