"""Failures in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}` and its HTTP status."""

import math
from typing import Any, Final

import msgspec
from starlette.responses import Response

from porch.contract.errors import (
    Category,
    Forbidden,
    InvalidInput,
    ModelError,
    NotFound,
    PorchError,
    Unauthenticated,
    Unavailable,
)
from porch.contract.events import ErrorInfo
from porch.contract.text import clean_json

RETRY_SECONDS = 1.0

# What failed while the agent answered: status, type, and OpenAI's own code where it has one for this.
_OF_RUN: Final[dict[Category, tuple[int, str, str | None]]] = {
    "rate_limit": (429, "rate_limit_error", "rate_limit_exceeded"),
    "quota": (429, "insufficient_quota", "insufficient_quota"),
    "overloaded": (503, "server_error", None),
    "context_too_long": (400, "invalid_request_error", "context_length_exceeded"),
    "content_filtered": (400, "invalid_request_error", "content_filter"),
    "bad_request": (400, "invalid_request_error", None),
    "timeout": (504, "server_error", None),
    "internal": (500, "server_error", None),
}
_UPSTREAM: Final = (502, "server_error", None)


class Refused(InvalidInput):
    """Raised when a request asks for something that cannot be had here; `param` is where."""

    def __init__(self, message: str, param: str, *, code: str = "unsupported_value") -> None:
        super().__init__(message)
        self.param = param
        self.reason = code


class UnknownModel(NotFound):
    """Raised when `model` names no agent within the caller's reach."""

    code = "model_not_found"


class UnknownResponse(NotFound):
    """Raised for a response that is not there, was not to be stored, or is another's."""

    code = "response_not_found"


class UnknownUrl(NotFound):
    """Raised for what these interfaces have elsewhere, and not here."""

    code = "unknown_url"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(
            f"{method} {path[:200]!r} is not among what an agent offers here: models, chat/completions and responses. "
            "Porch's own interface is described at /openapi.json."
        )


class RunEnded(PorchError):
    """Raised when a run came to no answer; `body` is the error to give, `again` whether asking again may help."""

    def __init__(self, status: int, body: dict[str, Any], *, again: bool) -> None:
        super().__init__(body["message"])
        self.answer_status = status
        self.body = body
        self.again = again


def error_body(message: str, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    """The error itself, as it stands in a body and in a stream."""
    return {"message": message, "type": kind, "param": param, "code": code}


def encode_error(body: dict[str, Any]) -> bytes:
    """It as a JSON text."""
    return msgspec.json.encode({"error": clean_json(body)})


def run_error(error: ErrorInfo) -> tuple[int, dict[str, Any]]:
    """The status and the error of a run that failed."""
    status, kind, code = _OF_RUN.get(error.category, _UPSTREAM)
    return status, error_body(error.message, kind, None, code or error.code)


def answer_error(error: PorchError) -> Response:
    """The answer for an error of ours before anything was streamed."""
    if isinstance(error, RunEnded):
        retry = {"x-should-retry": "true" if error.again else "false"}
        if error.answer_status in (429, 503):
            retry["Retry-After"] = str(math.ceil(RETRY_SECONDS))
        return Response(encode_error(error.body), error.answer_status, retry, "application/json")
    status = 400 if error.status == 422 else error.status
    kind = "server_error" if status >= 500 else "invalid_request_error"
    code, param = error.code, None
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        code = "invalid_api_key"
        headers["WWW-Authenticate"] = 'Bearer realm="porch"'
    elif isinstance(error, Forbidden):
        code = "insufficient_permissions"
    elif status == 429:
        kind, code = "rate_limit_error", "rate_limit_exceeded"
    elif isinstance(error, Refused):
        code, param = error.reason, error.param
    elif isinstance(error, UnknownModel):
        param = "model"
    elif isinstance(error, InvalidInput) and error.errors:
        param = _param(error.errors[0].get("pointer", ""))
    elif isinstance(error, ModelError):
        code = error.reason
    wait: float | None = getattr(error, "retry_after", None)
    if wait is None and isinstance(error, Unavailable):
        wait = RETRY_SECONDS
    if wait is not None:
        headers["Retry-After"] = str(math.ceil(wait))
    if status == 409:
        headers["x-should-retry"] = "true" if wait is not None else "false"
    return Response(
        encode_error(error_body(error.message, kind, param, code)), status, headers, "application/json"
    )


def _param(pointer: str) -> str | None:
    """A JSON pointer as OpenAI writes it: `messages[0].content`."""
    found = ""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found += f"[{name}]" if name.isdecimal() else f".{name}" if found else name
    return found or None
