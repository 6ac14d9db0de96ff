import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from porch.client import ApiError, AsyncPorch, Unreachable, WrongAddress
from porch.contract.errors import InvalidInput
from tests.client.fake import answers, problem, serving


async def test_a_list_is_read_page_by_page() -> None:
    pages = (
        answers(200, {"items": [{"name": "a"}], "next_cursor": "c 1"}),
        answers(200, {"items": [{"name": "b"}], "next_cursor": None}),
    )
    async with serving(*pages) as (porch, fake):
        assert [agent["name"] async for agent in porch.agents.list("me")] == ["a", "b"]
    assert fake.requests[1] == ("GET", "/api/v1/workspaces/me/agents?cursor=c+1")


async def test_names_cannot_leave_their_place_in_the_path() -> None:
    async with serving(answers(200, {})) as (porch, fake):
        await porch.agents.get("me", "../../x?y")
    assert fake.requests[0][1].startswith("/api/v1/workspaces/me/agents/..%2F..%2Fx%3Fy")


@pytest.mark.parametrize("name", ["", ".", "..", "run_1\n"])
async def test_what_can_be_no_name_or_id_is_not_asked_for(name: str) -> None:
    async with serving() as (porch, fake):
        for asking in (porch.agents.get("me", name), porch.get_run(name), porch.approvals.get(name)):
            with pytest.raises(InvalidInput, match="is no name or id"):
                await asking
    assert not fake.requests


async def test_a_write_is_repeated_under_one_key_while_the_server_cannot_answer() -> None:
    passing = problem(503, "unavailable", "Starting.")
    async with serving(passing, answers(201, {"name": "hello"})) as (porch, fake):
        assert await porch.agents.create("me", {"name": "hello"}) == {"name": "hello"}
    keys = {header["Idempotency-Key"] for header in fake.headers}
    assert len(fake.headers) == 2
    assert len(keys) == 1


async def test_a_problem_is_raised_with_code_status_detail_and_errors() -> None:
    body = {"status": 422, "code": "invalid_input", "detail": "No.", "errors": [{"pointer": "/name"}]}
    async with serving(answers(422, body)) as (porch, _):
        with pytest.raises(ApiError) as caught:
            await porch.agents.create("me", {})
    error = caught.value
    assert (error.status, error.code, error.detail) == (422, "invalid_input", "No.")
    assert error.errors == [{"pointer": "/name"}]


async def test_an_answer_that_is_not_of_porch_is_named_as_such() -> None:
    async with serving(answers(404, ["<html>"])) as (porch, _):
        with pytest.raises(ApiError, match="Is it a Porch server"):
            await porch.me()


async def test_an_empty_answer_is_none() -> None:
    async with serving(answers(204)) as (porch, fake):
        assert await porch.agents.delete("me", "hello") is None
    assert fake.requests == [("DELETE", "/api/v1/workspaces/me/agents/hello")]


async def test_no_server_is_a_sentence_with_the_command_that_starts_one() -> None:
    async with AsyncPorch("http://127.0.0.1:1", "x") as porch:
        with pytest.raises(Unreachable, match=r"No Porch server answers at http://127.0.0.1:1.*porch up"):
            await porch.me()


async def test_conversations_are_found_by_words_page_by_page() -> None:
    pages = (
        answers(200, {"items": [{"id": "conv_1"}], "next_cursor": "c"}),
        answers(200, {"items": [{"id": "conv_2"}], "next_cursor": None}),
    )
    async with serving(*pages) as (porch, fake):
        found = [item["id"] async for item in porch.conversations.find("the train", "hello")]
    assert found == ["conv_1", "conv_2"]
    assert fake.requests == [
        ("GET", "/api/v1/conversations?q=the+train&agent=hello"),
        ("GET", "/api/v1/conversations?q=the+train&agent=hello&cursor=c"),
    ]


async def test_conversations_are_cared_for() -> None:
    async with serving(*(answers(200, {}) for _ in range(6))) as (porch, fake):
        await porch.conversations.create("me", "hello", draft=True)
        await porch.conversations.update("conv_1", title="Plans")
        await porch.conversations.delete("conv_1")
        await porch.conversations.restore("conv_1")
        await porch.conversations.share("conv_1")
        await porch.conversations.revoke("conv_1", "shr_1")
    assert fake.requests == [
        ("POST", "/api/v1/workspaces/me/agents/hello/conversations"),
        ("PATCH", "/api/v1/conversations/conv_1"),
        ("DELETE", "/api/v1/conversations/conv_1"),
        ("POST", "/api/v1/conversations/conv_1/restore"),
        ("POST", "/api/v1/conversations/conv_1/shares"),
        ("DELETE", "/api/v1/conversations/conv_1/shares/shr_1"),
    ]
    assert fake.bodies[:2] == [b'{"draft":true}', b'{"title":"Plans"}']


# No server knows approvals yet: the request is all there is to look at.
async def test_what_a_person_decides_about_a_tool_call_is_sent_once() -> None:
    busy = problem(503, "unavailable", "Starting.")
    async with serving(busy, answers(200, {}), answers(200, {})) as (porch, fake):
        await porch.approve("run_1", "apr_1")
        await porch.deny("run_1", "apr_2")
    assert fake.requests[1:] == [
        ("POST", "/api/v1/runs/run_1/approvals/apr_1"),
        ("POST", "/api/v1/runs/run_1/approvals/apr_2"),
    ]
    assert fake.bodies == [b'{"decision":"approve"}'] * 2 + [b'{"decision":"deny"}']
    assert fake.headers[0]["Idempotency-Key"] == fake.headers[1]["Idempotency-Key"]


async def test_the_token_does_not_follow_to_where_a_server_points() -> None:
    away = answers(302, None, Location="https://elsewhere.test/login?next=x")
    async with serving(away) as (porch, fake):
        with pytest.raises(WrongAddress, match=r"points to https://elsewhere\.test\. Give"):
            await porch.me()
    assert len(fake.requests) == 1


async def test_a_page_of_something_else_is_no_list() -> None:
    async with serving(answers(200, {"hello": 1})) as (porch, _):
        with pytest.raises(ApiError, match="Is it a Porch server"):
            _ = [agent async for agent in porch.agents.list("me")]


@asynccontextmanager
async def speaking(words: bytes) -> AsyncGenerator[str]:
    """The address of something that says this to whoever connects."""

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_what_speaks_no_http_is_named_at_once() -> None:
    async with speaking(b"220 mail.test ESMTP\r\n") as place, AsyncPorch(f"http://{place}", "x") as porch:
        with pytest.raises(WrongAddress, match="speaks no HTTP"):
            await porch.me()
        with pytest.raises(WrongAddress, match="speaks no HTTP"):
            await porch.ask("@me/hello", "Hi")


async def test_https_to_what_speaks_no_tls_is_named_at_once() -> None:
    async with (
        speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as place,
        AsyncPorch(f"https://{place}", "x") as porch,
    ):
        with pytest.raises(WrongAddress, match="does not speak TLS"):
            await porch.me()
