"""The common layers behind a real server and a real client."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import uvicorn

from tests.http.app import DEFINITION, Tenant, World

MIB = 1024 * 1024
# For a connection that a failed test left open in the middle of a request.
GRACE_SECONDS = 5


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    """The app's address on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(
                world.app,
                log_level="error",
                http="httptools",
                lifespan="off",
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        serving = asyncio.create_task(server.serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.fixture
async def session(address: str, ada: Tenant) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {ada.client.token}"}
    async with aiohttp.ClientSession(address, headers=headers) as session:
        yield session


async def test_a_definition_is_made_and_read(session: aiohttp.ClientSession, ada: Tenant) -> None:
    async with session.post(f"{ada.path}/agents", json=DEFINITION) as made:
        assert made.status == 201
        assert made.headers["X-Request-Id"].startswith("req_")
    async with session.get(f"{ada.path}/agents/helper") as read:
        assert (await read.json())["definition"] == DEFINITION


async def test_ten_megabytes_are_refused_and_the_connection_goes_on(
    session: aiohttp.ClientSession, ada: Tenant
) -> None:
    async with session.post(f"{ada.path}/agents", data=b"x" * (10 * MIB)) as refused:
        assert refused.status == 413
        assert (await refused.json())["code"] == "too_large"
    async with session.get("/api/v1/me") as after:
        assert after.status == 200


async def test_a_body_without_a_length_is_refused_while_it_comes(
    session: aiohttp.ClientSession, ada: Tenant
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b"x" * (MIB // 8)

    headers = {"Content-Type": "application/json"}
    async with session.post(f"{ada.path}/agents", data=endless(), headers=headers) as refused:
        assert refused.status == 413


async def test_a_rebound_name_is_refused(session: aiohttp.ClientSession) -> None:
    async with session.get("/api/v1/me", headers={"Host": "evil.example"}) as refused:
        assert refused.status == 421
        assert (await refused.json())["code"] == "misdirected_request"


async def test_bytes_that_are_no_http_get_an_answer_and_no_more(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01\x00\x00\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()
