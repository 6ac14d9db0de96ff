"""Errors as providers word them, sorted and quoted."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porch.contract.errors import Category
from porch.providers.complaints import QUOTE_CHARS, categorise, quote, read_complaint
from porch.providers.failures import http_failure, retry_after, show_url, stream_failure
from tests.providers.decoding import ASKED

KEY = ASKED.endpoint.key or ""


@pytest.mark.parametrize(
    ("status", "body", "category"),
    [
        (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, "context_too_long"),
        (400, {"error": {"message": "the request exceeds the available context size"}}, "context_too_long"),
        (500, {"error": "prompt is too long for the context window"}, "context_too_long"),
        (
            400,
            [{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}],
            "auth",
        ),
        (
            400,
            {"code": "Client specified an invalid argument", "error": "Incorrect API key provided"},
            "auth",
        ),
        (
            429,
            {"error": {"message": "You exceeded your current quota. Please retry in 34.07s.", "code": 429}},
            "rate_limit",
        ),
        (403, {"error": {"message": "Insufficient balance", "type": "x"}}, "quota"),
        (429, {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}, "rate_limit"),
        (
            429,
            {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota"}},
            "quota",
        ),
        (
            529,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "overloaded",
        ),
        (404, {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}, "not_found"),
        (
            400,
            {"error": {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            "content_filtered",
        ),
        (400, {"detail": "bad"}, "bad_request"),
        (418, {}, "bad_request"),
        (599, {}, "overloaded"),
        (401, {"error": {"message": "quota"}}, "auth"),
    ],
)
def test_an_http_error_is_sorted_by_its_codes_words_and_status(
    status: int, body: Any, category: Category
) -> None:
    error = http_failure(ASKED, status, {}, json.dumps(body).encode())
    assert error.kind == category
    assert error.retryable == (category in ("rate_limit", "overloaded"))


@pytest.mark.parametrize(
    ("error", "category"),
    [
        ({"message": "x", "code": 429}, "rate_limit"),
        ({"message": "x", "code": "429"}, "rate_limit"),
        ({"message": "x", "code": "1302"}, "overloaded"),
        ({"message": "x", "code": "Arrearage"}, "quota"),
        ({"message": "x", "code": "data_inspection_failed"}, "content_filtered"),
        ({"message": "x", "type": "server_error"}, "overloaded"),
        ({"message": "x", "code": "rate_limit_exceeded"}, "rate_limit"),
        ({"message": "x", "code": 502, "metadata": {"raw": "upstream"}}, "overloaded"),
        ("just words", "overloaded"),
        ("plain string error: rate limit reached", "rate_limit"),
        ("Too many requests", "rate_limit"),
    ],
)
def test_an_error_inside_a_stream_is_sorted_too(error: object, category: Category) -> None:
    assert stream_failure(ASKED, error).kind == category


@pytest.mark.parametrize(
    ("words", "status", "category"),
    [
        (
            "This model's maximum prompt length is 131072 but it contains 537812 tokens",
            400,
            "context_too_long",
        ),
        (
            "The input token count (12) exceeds the maximum number of tokens allowed (10).",
            400,
            "context_too_long",
        ),
        ("Your request exceeded model token limit: 131072", 400, "context_too_long"),
        ("Range of input length should be [1, 129024]", 400, "context_too_long"),
        ("Prompt exceeds max length", 400, "context_too_long"),
        ("`inputs` tokens + `max_new_tokens` must be <= 8193", 422, "context_too_long"),
        ("The number of tokens to keep is greater than the context length.", None, "context_too_long"),
        ("Your team has used all available credits", 403, "quota"),
        ("Account suspended after reaching its spending limit", 412, "quota"),
        ("Content violates usage guidelines.", 403, "content_filtered"),
        ("Content Exists Risk", 400, "content_filtered"),
        ("Output data may contain inappropriate content.", None, "content_filtered"),
        ("Model Not Exist", 400, "not_found"),
        ("foo/bar is not a valid model ID", 400, "not_found"),
        ("Invalid model: foo", 400, "not_found"),
        ("The model `foo` does not exist", 400, "not_found"),
        ("Incorrect API key provided", 400, "auth"),
        ("temperature must be at most 2", 400, "bad_request"),
        ("The model's answer could not be read: an invalid model output", 400, "bad_request"),
        ("model overloaded", 503, "overloaded"),
    ],
)
def test_what_servers_say_in_words_alone_is_sorted_by_them(
    words: str, status: int | None, category: Category
) -> None:
    complaint = read_complaint(
        json.dumps({"error": {"message": words, "type": "invalid_request_error"}}).encode()
    )
    assert categorise(status, complaint) == category


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "sk-proj-abcdefghijklmnop",
        "gsk_abcdefgh12345678",
        "Bearer abcdefgh12345678",
        "sk-ab****************wxyz",
        "porch_pat_abcdefgh12345678",
    ],
)
def test_a_quote_shows_no_secret(secret: str) -> None:
    assert secret not in quote(f"bad key {secret} given", KEY)


def test_a_quote_is_one_bounded_printable_line() -> None:
    said = quote("a\n\tb\x1b[31m" + "x" * 5000, None)
    assert said.startswith("a b\ufffd[31m")
    assert len(said) == QUOTE_CHARS + 1


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_body_is_understood_somehow(body: bytes) -> None:
    error = http_failure(ASKED, 400, {}, body)
    assert error.message.isprintable()
    assert categorise(None, read_complaint(body))


def test_a_body_that_nests_without_end_is_survived() -> None:
    assert http_failure(ASKED, 400, {}, b'{"error":' * 50_000).kind == "bad_request"
    assert http_failure(ASKED, 400, {}, b'{"error":' * 900 + b"1" + b"}" * 900).kind == "bad_request"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after-ms": "250", "Retry-After": "7"}, 0.25),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "Sat, 01 Jan 2000 00:00:00 GMT"}, 0),
        ({}, None),
    ],
)
def test_a_hint_is_read_in_each_of_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Rate limit reached. Please try again in 1.2s.", 1.2),
        ("Please try again in 250ms. Visit us.", 0.25),
        ("Please try again in 1m30.5s.", 90.5),
        ("Please try again in 1h2m3s", 3723),
        ("Please retry after 20 seconds.", 20),
        ("Please try again in a moment.", None),
        ("Try again in 5 minutes", None),
    ],
)
def test_a_hint_in_words_counts_where_the_headers_have_none(words: str, seconds: float | None) -> None:
    said = {"message": words, "code": "rate_limit_exceeded"}
    assert stream_failure(ASKED, said).retry_after == seconds
    assert (
        http_failure(ASKED, 429, {"Retry-After": "7"}, json.dumps({"error": said}).encode()).retry_after == 7
    )
    assert http_failure(ASKED, 400, {}, json.dumps({"detail": words}).encode()).retry_after is None


def test_a_url_is_shown_without_its_credentials() -> None:
    assert show_url("https://user:secret@host:1/v1?key=secret#secret") == "https://host:1/v1"
