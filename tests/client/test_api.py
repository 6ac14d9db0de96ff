import pytest

from porch.client import ApiError, AsyncPorch, Unreachable
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
