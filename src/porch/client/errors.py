"""What can go wrong between a program and a Porch server."""

from typing import Any, cast

import msgspec

from porch.contract.errors import PorchError


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
