"""Many readers at once: `python -m benchmarks.load PLAN` with a plan of JSON, answering figures as JSON.

A plan is {"port", "requests": [one raw HTTP request each, as text], "at_once", "ramp", "mark"}: at most `at_once`
requests run together, begun over `ramp` seconds. A token is a line that holds `mark`.
"""

import asyncio
import sys
import time
from statistics import median
from typing import Any, cast

import msgspec
import uvloop

SECONDS = 60


class Stream(asyncio.Protocol):
    """One request, and when its tokens came (seconds, monotonic)."""

    def __init__(self, request: bytes, mark: bytes) -> None:
        self.request, self.mark = request, mark
        self.began = 0.0
        self.tokens: list[float] = []
        self.tail = b""
        self.complete = False
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.began = time.monotonic()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        lines = (self.tail + data).split(b"\n")
        self.tail = lines.pop()
        self.tokens += [now] * sum(self.mark in line for line in lines)
        if data.endswith(b"0\r\n\r\n"):
            self.complete = True
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Carry the plan out."""
    room = asyncio.Semaphore(plan["at_once"])
    requests: list[str] = plan["requests"]
    loop = asyncio.get_running_loop()

    async def one(number: int, request: str) -> Stream:
        await asyncio.sleep(plan["ramp"] * number / len(requests))
        async with room:
            stream = Stream(request.encode(), plan["mark"].encode())
            await loop.create_connection(lambda: stream, "127.0.0.1", plan["port"])
            async with asyncio.timeout(SECONDS):
                await stream.over
        return stream

    streams = await asyncio.gather(*(one(n, request) for n, request in enumerate(requests)))
    began = min(stream.began for stream in streams)
    ended = max(stream.tokens[-1] for stream in streams if stream.tokens)
    first = sorted(stream.tokens[0] - stream.began for stream in streams if stream.tokens)
    tokens = sum(len(stream.tokens) for stream in streams)
    return {
        "streams": len(streams),
        "complete": sum(stream.complete for stream in streams),
        "tokens": tokens,
        "first_ms": median(first) * 1000,
        "first_p99_ms": first[int(len(first) * 0.99)] * 1000,
        "tokens_per_second": tokens / (ended - began),
        "runs_per_second": len(streams) / (ended - began),
    }


if __name__ == "__main__":
    answer = uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read())))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
