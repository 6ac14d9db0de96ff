"""Why an outbound request failed, before anyone knows what it was for."""

from typing import Literal

from porch.contract.errors import PorchError

Cause = Literal["dns", "refused", "reset", "tls", "timeout", "cut", "too_large", "protocol", "address"]


class EgressError(PorchError):
    """Raised when a request got no answer, or its answer broke off; `cause` says how."""

    code = "egress"
    status = 502
    category = "network"

    def __init__(self, message: str, cause: Cause) -> None:
        super().__init__(message)
        self.cause: Cause = cause
