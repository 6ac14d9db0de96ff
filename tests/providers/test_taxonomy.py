"""What each provider's own error bodies come to: the category, whether the key is to blame, what a person reads."""

import json
from typing import Any

import pytest

from porch.contract.errors import Category
from porch.egress import Reach
from porch.providers.endpoint import Endpoint
from porch.providers.failures import Asked, http_failure, stream_failure
from tests.providers.decoding import ASKED

OPENAI_403 = {
    "error": {
        "message": "Project `proj_x` does not have access to model `gpt-x`",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }
}
REGION = {
    "error": {
        "message": "Country, region, or territory not supported",
        "code": "unsupported_country_region_territory",
        "type": "request_forbidden",
    }
}
SCOPES = {
    "error": {
        "message": "You have insufficient permissions for this operation. Missing scopes: model.request."
    }
}
GEMINI_KEY = [
    {
        "error": {
            "code": 400,
            "message": "API key expired. Please renew the API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{"reason": "API_KEY_INVALID"}],
        }
    }
]
GEMINI_PLACE = [
    {
        "error": {
            "code": 400,
            "message": "User location is not supported for the API use.",
            "status": "FAILED_PRECONDITION",
        }
    }
]
GEMINI_LEAKED = [
    {
        "error": {
            "code": 403,
            "message": "Your API key was reported as leaked. Please use another API key.",
            "status": "PERMISSION_DENIED",
        }
    }
]
GEMINI_BUSY = [
    {
        "error": {
            "code": 429,
            "message": "Resource has been exhausted (e.g. check quota).",
            "status": "RESOURCE_EXHAUSTED",
        }
    }
]
FLAGGED = {
    "error": {
        "code": 403,
        "message": "Your chosen model requires moderation and your input was flagged for violence.",
        "metadata": {"reasons": ["violence"], "flagged_input": "…"},
    }
}
ROUTED = {
    "error": {
        "code": 400,
        "message": "Provider returned error",
        "metadata": {
            "raw": '{"type":"error","error":{"message":"prompt is too long: 9 tokens > 8 maximum"}}',
            "provider_name": "Anthropic",
        },
    }
}
TPM = {
    "error": {
        "message": "Request too large for gpt-x in organization org-x on tokens per min (TPM): Limit 30000",
        "type": "tokens",
        "code": "rate_limit_exceeded",
    }
}


def claude(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def openai(code: str, message: str = "x") -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "category"),
    [
        # OpenAI
        (401, openai("invalid_api_key", "Incorrect API key provided: sk-…."), "auth"),
        (
            429,
            openai("insufficient_quota", "You exceeded your current quota, please check your plan"),
            "quota",
        ),
        (429, openai("rate_limit_exceeded", "Rate limit reached. Please try again in 20ms."), "rate_limit"),
        (429, TPM, "context_too_long"),
        (400, openai("context_length_exceeded"), "context_too_long"),
        (400, openai("billing_hard_limit_reached"), "quota"),
        (403, OPENAI_403, "not_found"),
        (403, REGION, "auth"),
        (503, {"error": {"message": "Slow Down", "type": "slow_down"}}, "overloaded"),
        # Anthropic
        (401, claude("authentication_error", "invalid x-api-key"), "auth"),
        (403, claude("permission_error", "Your API key does not have permission to use this"), "auth"),
        (400, claude("invalid_request_error", "Your credit balance is too low"), "quota"),
        (400, claude("invalid_request_error", "You have reached your specified API usage limits."), "quota"),
        (
            400,
            claude("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            "context_too_long",
        ),
        (413, claude("request_too_large", "Request exceeds the maximum size"), "context_too_long"),
        (429, claude("rate_limit_error", "would exceed your rate limit of 40,000 tokens"), "rate_limit"),
        (529, claude("overloaded_error", "Overloaded"), "overloaded"),
        (404, claude("not_found_error", "model: claude-x"), "not_found"),
        # OpenRouter
        (402, {"error": {"code": 402, "message": "Insufficient credits"}}, "quota"),
        (403, FLAGGED, "content_filtered"),
        (408, {"error": {"code": 408, "message": "Request timed out"}}, "timeout"),
        (502, {"error": {"code": 502, "message": "Provider returned error"}}, "overloaded"),
        (400, ROUTED, "context_too_long"),
        (404, {"error": {"code": 404, "message": "No endpoints found for a/b."}}, "not_found"),
        (
            404,
            {"error": {"code": 404, "message": "No endpoints found that support tool use."}},
            "bad_request",
        ),
        # Google
        (400, GEMINI_KEY, "auth"),
        (400, GEMINI_PLACE, "auth"),
        (403, GEMINI_LEAKED, "auth"),
        (429, GEMINI_BUSY, "rate_limit"),
        # Others
        (
            403,
            {"code": "AllocationQuota.FreeTierOnly", "message": "The free tier has been exhausted"},
            "quota",
        ),
        (
            400,
            {"code": "Arrearage", "message": "Access denied, your account is not in good standing"},
            "quota",
        ),
        (400, {"error": {"code": "data_inspection_failed", "message": "Inappropriate"}}, "content_filtered"),
        (
            429,
            {"code": "Throttling.AllocationQuota", "message": "Allocated quota exceeded, try again later"},
            "rate_limit",
        ),
        (422, {"detail": [{"loc": ["body", "tools"], "msg": "field required"}]}, "bad_request"),
        (401, {"detail": "Not authenticated"}, "auth"),
    ],
)
def test_each_body_comes_to_its_category_and_is_quoted(status: int, body: Any, category: Category) -> None:
    error = http_failure(ASKED, status, {}, json.dumps(body).encode())
    assert error.kind == category
    assert error.retryable == (category in ("rate_limit", "overloaded", "timeout"))
    assert " It said: " in error.message


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, {}, "model_auth"),
        (401, openai("invalid_api_key"), "model_auth"),
        (401, claude("authentication_error", "invalid x-api-key"), "model_auth"),
        (401, {"error": {"code": 401, "message": "User not found."}}, "model_auth"),
        (400, GEMINI_KEY, "model_auth"),
        (403, GEMINI_LEAKED, "model_auth"),
        (403, {"error": "Invalid API key"}, "model_auth"),
        (401, SCOPES, "model_access"),
        (403, {}, "model_access"),
        (403, REGION, "model_access"),
        (400, GEMINI_PLACE, "model_access"),
        (403, claude("permission_error", "Your API key does not have permission"), "model_access"),
        (403, {"code": "Model.AccessDenied", "message": "Access to the model denied"}, "model_access"),
        (403, {"code": "7", "error": "The caller does not have permission to execute this"}, "model_access"),
    ],
)
def test_a_key_that_is_refused_is_told_from_one_that_may_not_do_this(
    status: int, body: Any, code: str
) -> None:
    error = http_failure(ASKED, status, {}, json.dumps(body).encode())
    assert (error.kind, error.reason) == ("auth", code)
    key_name = ASKED.endpoint.key_name or ""
    assert key_name in error.message
    assert ("refused the key" in error.message) == (code == "model_auth")


def test_what_may_not_be_done_says_what_to_look_at() -> None:
    error = http_failure(ASKED, 403, {}, b"")
    assert error.message == (
        "OpenAI does not let the key in OPENAI_API_KEY ask 'gpt-test' (403). Check that its account may use this "
        "model, and that OpenAI serves the place you ask from; or choose another model."
    )
    unset = Asked(Endpoint("vLLM", "http://h/v1", None, "VLLM_API_KEY"), "m")
    assert "asks for a key (403). Set VLLM_API_KEY" in http_failure(unset, 403, {}, b"").message
    keyless = Asked(Endpoint("the server", "http://h/v1", hint="Look at its firewall."), "m")
    assert http_failure(keyless, 403, {}, b"").message == (
        "The server refused access (403). Look at its firewall."
    )


@pytest.mark.parametrize("key", ["x", "none", "EMPTY", "ollama"])
def test_a_word_that_stands_in_for_a_key_leaves_the_providers_words_as_they_are(key: str) -> None:
    said = f"maximum context exceeded, {key} of it is left"
    asked = Asked(Endpoint("vLLM", "http://h/v1", key, "VLLM_API_KEY"), "m")
    assert said in http_failure(asked, 400, {}, json.dumps({"message": said}).encode()).message


def test_inside_a_stream_the_words_decide() -> None:
    denied = {"type": "permission_error", "message": "not for you"}
    assert stream_failure(ASKED, denied).reason == "model_access"
    assert stream_failure(ASKED, {"type": "authentication_error", "message": "no"}).reason == "model_auth"


def test_where_the_operator_gave_the_address_an_unknown_model_may_be_a_wrong_address() -> None:
    given = Asked(
        Endpoint("the server", "http://h/v2", url_name="OPENAI_BASE_URL", reach=Reach.OPERATOR), "m"
    )
    body = b"<html><title>404 Not Found</title></html>"
    assert "Check the model's name, and OPENAI_BASE_URL" in http_failure(given, 404, {}, body).message
    assert "OPENAI_BASE_URL" not in http_failure(ASKED, 404, {}, body).message
