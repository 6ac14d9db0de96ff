"""What a reader loses: the time until a killed server's stream goes on elsewhere, and until a long one is replayed."""

import asyncio
import time

import aiohttp

from benchmarks.servers import Server
from benchmarks.shapes import Shape, requests_for

TRIES = 5


async def seconds_to_replay(server: Server, events: int) -> float:
    """The best time in which a run of about so many events comes from its start to its end."""
    run = await _start(server, f"mock-tok{events}")
    path = f"http://localhost:{server.port}/api/v1/runs/{run}/events"
    best, body = 60.0, b""
    async with aiohttp.ClientSession(headers=server.headers) as session:
        for _ in range(TRIES + 1):  # the first waits for the run's end
            began = time.monotonic()
            async with session.get(path) as answer:
                body = await answer.read()
            best = min(best, time.monotonic() - began)
    if (found := body.count(b"\nid: ") + 1) < events:
        raise SystemExit(f"The replay had {found} of {events} events.")
    return best


async def seconds_to_take_over(server: Server, other: Server) -> float:
    """From the kill of a server to new words of its run at a reader of the other one."""
    run = await _start(server, "mock-tok2000-itl20")
    path = f"http://localhost:{other.port}/api/v1/runs/{run}/events"
    async with (
        aiohttp.ClientSession(headers=other.headers, read_bufsize=2**20) as session,
        session.get(path) as stream,
    ):
        await _until(stream, b"event: stream.chunk")
        server.process.kill()
        killed = time.monotonic()
        await _until(stream, b"event: run.resumed")
        await _until(stream, b"event: stream.chunk")
        return time.monotonic() - killed


async def _until(stream: aiohttp.ClientResponse, start: bytes) -> None:
    async with asyncio.timeout(60):
        while not (await stream.content.readline()).startswith(start):
            pass


async def _start(server: Server, pace: str) -> str:
    """A run, whose id it answers with while it is at work."""
    request = (await requests_for(server, Shape(pace, 1, 1)))[0]
    path = request.split(" ", 2)[1]
    url = f"http://localhost:{server.port}{path}"
    async with (
        aiohttp.ClientSession(headers=server.headers) as session,
        session.post(url, json={"input": f"Hello [[{pace}]]"}) as answer,
    ):
        return (await answer.json())["run"]
