"""Every failure as `application/problem+json` (RFC 9457) with a stable `code` and a sentence in `detail`."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from porch.contract.errors import InvalidInput, PorchError, TooLarge, Unauthenticated, Unavailable
from porch.contract.text import clean_json
from porch.http.addresses import caller_address
from porch.http.request_id import current_request_id

CODES = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    421: "misdirected_request",
    422: "invalid_input",
    429: "rate_limited",
    500: "internal",
    503: "unavailable",
}
RETRY_SECONDS = 1.0


class BadRequest(InvalidInput):
    """Raised when a request cannot be read as HTTP and JSON at all."""

    code = "bad_request"
    status = 400


class UnsupportedMediaType(InvalidInput):
    """Raised when a body is of a type that the route does not read."""

    code = "unsupported_media_type"
    status = 415


class MisdirectedRequest(BadRequest):
    """Raised when a request names a host that this server is not."""

    code = "misdirected_request"
    status = 421


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer for one failure."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    if request_id := current_request_id.get():
        body["request_id"] = request_id
    return Response(
        msgspec.json.encode(clean_json(body)),
        status,
        headers=headers,
        media_type="application/problem+json",
    )


def problem_of(error: PorchError) -> Response:
    """The answer for an error of ours."""
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="porch"'
    retry_after: float | None = getattr(error, "retry_after", None)
    if retry_after is None and isinstance(error, Unavailable):
        retry_after = RETRY_SECONDS
    if retry_after is not None:
        headers["Retry-After"] = str(math.ceil(retry_after))
    errors = error.errors if isinstance(error, InvalidInput) else []
    return problem(error.status, error.code, error.message, errors=errors, headers=headers)


def unexpected() -> Response:
    """The answer for an error that nobody foresaw: a reference to the log and nothing of the inside."""
    return problem(
        500,
        "internal",
        f"Something failed inside Porch. The server's log has it under {current_request_id.get()!r}; "
        "tell whoever runs this server.",
    )


def add_problem_handlers(app: FastAPI) -> None:
    """Makes the app answer problems. What no handler here foresees is answered by the `Door`."""
    app.add_exception_handler(PorchError, _porch_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, http_problem)


async def _porch_error(request: Request, error: Exception) -> Response:
    note_refusal(request, cast("PorchError", error))
    return problem_of(cast("PorchError", error))


def note_refusal(request: Request, error: PorchError) -> None:
    """Have the audit trail note what somebody known was refused."""
    principal = request.scope.get("state", {}).get("principal")
    refusals = getattr(request.app.state, "refusals", None)
    if error.status != 403 or principal is None or refusals is None:
        return
    # The route's own words: a path may hold a secret.
    route = getattr(request.scope.get("route"), "path", "")
    refusals.denied(principal, f"{request.method} {route}", error.code, caller_address(request))


async def http_problem(request: Request, error: Exception) -> Response:
    """The answer where routing itself found nothing to call."""
    raised = cast("HTTPException", error)
    # FastAPI turns whatever reading a body raises into its own 400.
    if isinstance(raised.__cause__, PorchError):
        return problem_of(raised.__cause__)
    match raised.status_code:
        case 404:
            detail = f"There is nothing at {request.url.path[:200]!r}. GET /openapi.json lists what there is."
        case 405:
            allowed = (raised.headers or {}).get("Allow", "other methods")
            detail = f"{request.method} is not answered here; use {allowed}."
        case _:
            detail = str(raised.detail)
    code = CODES.get(raised.status_code, "bad_request" if raised.status_code < 500 else "internal")
    return problem(raised.status_code, code, detail, headers=raised.headers)


async def _validation_error(_request: Request, error: Exception) -> Response:
    return problem_of(validation_error(cast("RequestValidationError", error)))


def validation_error(error: RequestValidationError) -> InvalidInput:
    """What FastAPI found wrong with a request, as an error of ours."""
    errors = [_described(item) for item in error.errors()]
    first = errors[0]
    place = first.get("parameter") or first.get("pointer") or "the body"
    more = f" ({len(errors) - 1} more in errors.)" if len(errors) > 1 else ""
    sentence = (
        f"{place!r} cannot be used: {first['detail']}." if place != "the body" else first["detail"] + "."
    )
    return InvalidInput(sentence + more, errors=errors)


def _described(item: dict[str, Any]) -> dict[str, str]:
    where, *path = cast("tuple[str | int, ...]", item["loc"])
    detail = str(item["msg"]).removeprefix("Value error, ")
    match item["type"]:
        case "missing":
            detail = "it is missing" if path else "a JSON body is needed and none was sent"
        case "extra_forbidden":
            detail = "it is not a known key"
        case _:
            detail = detail[:1].lower() + detail[1:]
    if where == "body":
        return {"pointer": "".join(f"/{_escaped(step)}" for step in path), "detail": detail}
    return {"parameter": str(path[0] if path else where), "detail": detail}


def _escaped(step: str | int) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return str(step).replace("~", "~0").replace("/", "~1")[:100]


PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; programs decide by it."},
        "detail": {"type": "string", "description": "What happened, why, and what to do next."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the body."},
                    "parameter": {"type": "string", "description": "Name of a query or path parameter."},
                    "detail": {"type": "string"},
                },
            },
        },
        "request_id": {"type": "string"},
    },
}


def documented(status: int, code: str, detail: str) -> dict[str, Any]:
    """A problem that a route may answer, with an example, for its `responses`."""
    title = HTTPStatus(status).phrase
    example = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
    content = {"application/problem+json": {"schema": PROBLEM_SCHEMA, "example": example}}
    return {"description": title, "content": content}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: documented(401, Unauthenticated.code, "This token is not known here. Make a new one."),
    403: documented(
        403, "forbidden", "This credential lacks the scope 'write:agents'; use a token that has it."
    ),
    404: documented(404, "not_found", "There is no agent 'helper' here."),
    413: documented(413, TooLarge.code, "The body is over 1,048,576 bytes. Shorten or split it."),
    422: documented(422, InvalidInput.code, "'name' cannot be used: it is missing."),
    503: documented(503, Unavailable.code, "PostgreSQL cannot be reached just now. Try again."),
}
"""What any route may answer besides its own, for `APIRouter(responses=…)`."""
