"""Failures as problem+json."""

import logging

import pytest
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from porch.contract.errors import DatabaseUnavailable, ModelError, PorchError
from porch.http.application import create_app
from porch.http.auth import public
from porch.http.request_id import RequestIdFilter
from porch.http.routing import api_router
from tests.http.client import Client


class Wanted(BaseModel):
    model_config = {"extra": "forbid"}
    name: str
    size: int = 1


def a_router() -> APIRouter:
    router = api_router("/test", "test")

    @router.get("/boom", dependencies=[public()])
    async def boom() -> None:
        raise RuntimeError("the password is hunter2")

    @router.get("/late", dependencies=[public()])
    async def late() -> Response:
        async def stream():
            yield b"begun"
            raise RuntimeError("cut")

        return StreamingResponse(stream())

    @router.get("/away", dependencies=[public()])
    async def away() -> None:
        raise DatabaseUnavailable("PostgreSQL does not answer. Try again.")

    @router.get("/limited", dependencies=[public()])
    async def limited() -> None:
        raise ModelError("Slow down.", code="rate_limited", category="rate_limit", retry_after=2.1)

    @router.get("/odd", dependencies=[public()])
    async def odd() -> None:
        raise PorchError("Half \ud800 a pair.")

    @router.post("/wanted", dependencies=[public()])
    async def wanted(body: Wanted) -> Wanted:
        return body

    @router.get("/page", dependencies=[public()])
    async def page() -> Response:
        return Response(
            "x", headers={"Content-Security-Policy": "default-src 'self'", "Cache-Control": "max-age=60"}
        )

    return router


@pytest.fixture
def client() -> Client:
    return Client(create_app([a_router()]))


async def test_an_unexpected_error_shows_a_reference_and_nothing_of_the_inside(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/test/boom")
    assert (answer.status, answer.code) == (500, "internal")
    reference = answer.json["request_id"]
    assert reference in answer.json["detail"]
    assert "hunter2" not in answer.body.decode()
    assert "RuntimeError" not in answer.body.decode()
    (record,) = [record for record in caplog.records if record.name == "porch.http.door"]
    assert reference in record.getMessage()
    assert record.exc_info


async def test_an_error_after_the_answer_began_cuts_it(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RuntimeError):
        await client.get("/test/late")
    assert "failed" in caplog.text


async def test_what_may_succeed_later_says_when(client: Client) -> None:
    away = await client.get("/test/away")
    assert (away.status, away.code, away.headers["retry-after"]) == (503, "database_unavailable", "1")
    limited = await client.get("/test/limited")
    assert (limited.status, limited.headers["retry-after"]) == (502, "3")


async def test_a_problem_is_always_valid_json(client: Client) -> None:
    assert (await client.get("/test/odd")).json["detail"] == "Half \ufffd a pair."


async def test_an_unknown_path_is_404_and_an_unknown_method_405(client: Client) -> None:
    nothing = await client.get("/nothing/here")
    assert (nothing.status, nothing.code) == (404, "not_found")
    assert "/openapi.json" in nothing.json["detail"]
    wrong = await client.delete("/test/wanted")
    assert (wrong.status, wrong.code, wrong.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert "POST" in wrong.json["detail"]


async def test_each_wrong_field_is_named_with_its_pointer_and_not_its_value(client: Client) -> None:
    answer = await client.post("/test/wanted", json={"size": "hunter2", "a/b~": 1})
    assert (answer.status, answer.code) == (422, "invalid_input")
    assert {error["pointer"] for error in answer.json["errors"]} == {"/name", "/size", "/a~1b~0"}
    assert "hunter2" not in answer.body.decode()


async def test_an_id_that_was_sent_comes_back_and_one_that_is_odd_does_not(client: Client) -> None:
    assert (await client.get("/test/page", headers={"x-request-id": "trace-7"})).headers[
        "x-request-id"
    ] == "trace-7"
    for odd in ("", "a b", "x" * 65, "a\x00", "\xff"):
        given = (await client.get("/test/page", headers={"x-request-id": odd})).headers["x-request-id"]
        assert given.startswith("req_"), odd


async def test_log_records_carry_the_request_s_id(client: Client) -> None:
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.request_id)  # type: ignore[attr-defined]

    handler = Keep()
    handler.addFilter(RequestIdFilter())
    logging.getLogger("porch.http.door").addHandler(handler)
    try:
        await client.get("/test/boom", headers={"x-request-id": "trace-8"})
    finally:
        logging.getLogger("porch.http.door").removeHandler(handler)
    assert seen == ["trace-8"]


async def test_every_answer_carries_the_security_headers_unless_it_has_its_own(client: Client) -> None:
    for path in ("/test/boom", "/nothing", "/openapi.json"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
    page = (await client.get("/test/page")).headers
    assert page["content-security-policy"] == "default-src 'self'"
    assert page["cache-control"] == "max-age=60"
    assert page["x-content-type-options"] == "nosniff"
