"""Why an outbound request failed, before anyone knows what it was for."""

from typing import Literal

from porch.contract.errors import PorchError

Cause = Literal[
    "dns",
    "refused",
    "reset",
    "tls",
    "timeout",
    "cut",
    "too_large",
    "protocol",
    "address",
    "forbidden",
    "redirect",
    "status",
]


class EgressError(PorchError):
    """Raised when a request got no answer, or its answer broke off; `cause` says how."""

    code = "egress"
    status = 502
    category = "network"

    def __init__(self, message: str, cause: Cause) -> None:
        super().__init__(message)
        self.cause: Cause = cause


class Redirected(EgressError):
    """Raised when an answer points elsewhere and that is not followed; `host` is where, without path or user."""

    def __init__(self, status: int, host: str | None, why: str = "which is not followed") -> None:
        where = f" to {host!r}" if host else ""
        super().__init__(f"It redirects{where} ({status}), {why}.", "redirect")
        self.status_code = status
        self.host = host
