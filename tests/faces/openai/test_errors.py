"""What went wrong, as OpenAI's clients read it."""

import json

import pytest

from porch.contract.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PorchError,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from porch.contract.events import Category, ErrorInfo
from porch.faces.openai.errors import RunEnded, answer_error, error_body, run_error
from porch.faces.remote import NotFetched

POINTED = [{"pointer": "/messages/0/content/2", "detail": "x"}]


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "param"),
    [
        (Unauthenticated("No."), 401, "invalid_request_error", "invalid_api_key", None),
        (Forbidden("No."), 403, "invalid_request_error", "insufficient_permissions", None),
        (NotFound("No."), 404, "invalid_request_error", "not_found", None),
        (Conflict("No."), 409, "invalid_request_error", "conflict", None),
        (TooLarge("No."), 413, "invalid_request_error", "too_large", None),
        (InvalidInput("No."), 400, "invalid_request_error", "invalid_input", None),
        (
            NotFetched("No.", errors=POINTED),
            400,
            "invalid_request_error",
            "url_not_fetched",
            "messages[0].content[2]",
        ),
        (RateLimited("No.", retry_after=2.1), 429, "rate_limit_error", "rate_limit_exceeded", None),
        (Unavailable("No."), 503, "server_error", "unavailable", None),
    ],
)
def test_an_error_of_ours_has_their_status_type_and_code(
    error: PorchError, status: int, kind: str, code: str, param: str | None
) -> None:
    answer = answer_error(error)
    assert answer.status_code == status
    assert json.loads(bytes(answer.body)) == {"error": error_body("No.", kind, param, code)}


def test_their_clients_are_told_when_to_ask_again_and_when_not() -> None:
    assert answer_error(RateLimited("No.", retry_after=2.1)).headers["retry-after"] == "3"
    assert answer_error(Unavailable("No.")).headers["retry-after"] == "1"
    assert answer_error(Conflict("No.")).headers["x-should-retry"] == "false"
    ended = RunEnded(502, error_body("No.", "server_error", None, "cut"), again=True)
    assert answer_error(ended).headers["x-should-retry"] == "true"


@pytest.mark.parametrize("category", ["overloaded", "rate_limit", "quota"])
def test_a_run_that_failed_for_want_of_room_says_when_to_ask_again_too(category: Category) -> None:
    failed = ErrorInfo(code="busy", category=category, message="No.", retryable=True, emitted_any=False)
    assert answer_error(RunEnded(*run_error(failed), again=True)).headers["retry-after"] == "1"
