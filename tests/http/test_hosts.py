"""The Host header."""

import pytest
from starlette.types import Message

from porch.http.application import create_app
from tests.http.client import Client


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8642",
        "LOCALHOST",
        "localhost.",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:8642",
        "porch.example",
        "PORCH.example:443",
    ],
)
async def test_a_name_of_ours_comes_in(host: str) -> None:
    app = create_app([], hosts=["Porch.example"])
    assert (await Client(app, host=host).get("/openapi.json")).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8642",
        "127.0.0.2",
        "[::2]",
        "0.0.0.0",
        "xn--porch.example",
    ],
)
async def test_another_name_is_421_and_says_who_can_add_it(host: str) -> None:
    answer = await Client(create_app([], hosts=["porch.example"]), host=host).get("/openapi.json")
    assert (answer.status, answer.code) == (421, "misdirected_request")
    assert "allowed_hosts" in answer.json["detail"]


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost:x",
        "localhost/evil",
        "a@localhost",
        "[::1",
        "localhost\xff",
        "localhost:123456",
        "local host",
    ],
)
async def test_what_names_no_host_is_400(host: str) -> None:
    answer = await Client(create_app([]), host=host).get("/openapi.json")
    assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.parametrize("count", [0, 2])
async def test_there_is_exactly_one_host(count: int) -> None:
    app = create_app([])
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/openapi.json",
        "query_string": b"",
        "headers": [(b"host", b"localhost")] * count,
    }
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    assert messages[0]["status"] == 400


async def test_a_websocket_of_another_name_is_closed() -> None:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": [(b"host", b"evil.example")]}
    await create_app([])(scope, receive, send)
    assert messages == [{"type": "websocket.close", "code": 1008}]
