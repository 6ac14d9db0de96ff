"""The one tree of errors. Each class says when it is raised; `code` is stable and machine-readable."""

from typing import ClassVar, Literal

Category = Literal[
    "auth",
    "quota",
    "rate_limit",
    "overloaded",
    "context_too_long",
    "content_filtered",
    "bad_request",
    "not_found",
    "conflict",
    "network",
    "protocol",
    "cut",
    "timeout",
    "internal",
]


class PorchError(Exception):
    """Anything Porch raises on purpose. The message says what happened, why, and what to do next."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    category: ClassVar[Category] = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(PorchError):
    """Raised when what the caller sent cannot be used as it stands."""

    code = "invalid_input"
    status = 422
    category = "bad_request"

    def __init__(self, message: str, *, errors: list[dict[str, str]] | None = None) -> None:
        """`errors` lists {"pointer": JSON pointer, "detail": sentence}, one for each thing wrong."""
        super().__init__(message)
        self.errors = errors or []


class TooLarge(InvalidInput):
    """Raised when a body, message or value is over its limit in bytes."""

    code = "too_large"
    status = 413


class Unauthenticated(PorchError):
    """Raised when a request carries no credential, or one that is wrong, revoked or expired."""

    code = "unauthenticated"
    status = 401
    category = "auth"


class Forbidden(PorchError):
    """Raised when the principal is known but its scopes do not cover the act."""

    code = "forbidden"
    status = 403
    category = "auth"


class NotFound(PorchError):
    """Raised for what does not exist and for what lies outside the caller's reach alike."""

    code = "not_found"
    status = 404
    category = "not_found"


class Conflict(PorchError):
    """Raised when the act collides with what is there: a taken handle, a busy conversation."""

    code = "conflict"
    status = 409
    category = "conflict"


class InProgress(Conflict):
    """Raised when the call that first sent this Idempotency-Key is still at work."""

    code = "in_progress"
    retry_after = 1.0


class ConversationBusy(Conflict):
    """Raised when a run is still at work in the conversation."""

    code = "conversation_busy"
    retry_after = 1.0


class QueueFull(Conflict):
    """Raised when as many messages wait in the conversation as may."""

    code = "queue_full"
    retry_after = 2.0


class RateLimited(PorchError):
    """Raised when the caller has done something too often; `retry_after` is in seconds."""

    code = "rate_limited"
    status = 429
    category = "rate_limit"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(PorchError):
    """Raised when something Porch needs does not answer just now; the same call may succeed later."""

    code = "unavailable"
    status = 503
    category = "overloaded"


class Overloaded(Unavailable):
    """Raised when this process carries as much as it may; what is at work goes on. `retry_after` is in seconds."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DatabaseUnavailable(Unavailable):
    """Raised when PostgreSQL cannot be reached or gave no connection in time."""

    code = "database_unavailable"


class SetupError(PorchError):
    """Raised when the installation or its settings cannot work as they are; a person must change something."""

    code = "setup"


class ModelError(PorchError):
    """Raised when a model's provider failed: by its HTTP answer, inside its stream, or by silence."""

    code = "model_error"
    status = 502
    category = "protocol"

    def __init__(
        self,
        message: str,
        *,
        code: str,
        category: Category,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        """`retry_after` is the provider's own hint in seconds."""
        super().__init__(message)
        self.reason = code
        self.kind: Category = category
        self.retryable = retryable
        self.retry_after = retry_after
