"""Many readers at once: `python -m benchmarks.load` with a plan of JSON on its input, answering what each one saw.

A plan is {"port", "requests": [one raw HTTP request each, as text], "at_once", "ramp", "mark"}: at most `at_once`
requests run together, begun over `ramp` seconds. A token is a line that holds `mark`; what follows an @ in it is when
the provider sent it, in microseconds of the same clock.
"""

import asyncio
import contextlib
import re
import sys
import time
from statistics import median
from typing import Any, cast

import msgspec
import uvloop

SECONDS = 60
SENT = re.compile(rb"@(\d+)")


class Seen(msgspec.Struct):
    """One stream: seconds of the monotonic clock, and milliseconds from the provider's write to the reader."""

    began: float
    complete: bool
    tokens: list[float]
    lags: list[float]


def sum_up(seen: list[Seen]) -> dict[str, float]:
    """What all streams came to."""
    spoke = [stream for stream in seen if stream.tokens]
    if not spoke:
        raise SystemExit("No stream said anything.")
    first = sorted(stream.tokens[0] - stream.began for stream in spoke)
    lags = sorted(lag for stream in spoke for lag in stream.lags) or [0.0]
    tokens = sum(len(stream.tokens) for stream in seen)
    lasted = max(stream.tokens[-1] for stream in spoke) - min(stream.began for stream in seen)
    return {
        "streams": len(seen),
        "complete": sum(stream.complete for stream in seen),
        "tokens": tokens,
        "first_ms": median(first) * 1000,
        "first_p99_ms": first[int(len(first) * 0.99)] * 1000,
        "lag_p50_ms": median(lags),
        "lag_p99_ms": lags[int(len(lags) * 0.99)],
        "tokens_per_second": tokens / lasted,
        "runs_per_second": len(seen) / lasted,
    }


class Stream(asyncio.Protocol):
    """One request, and when its tokens came."""

    def __init__(self, request: bytes, mark: bytes) -> None:
        self.request, self.mark = request, mark
        self.seen = Seen(0.0, False, [], [])
        self.tail = b""
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.seen.began = time.monotonic()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        lines = (self.tail + data).split(b"\n")
        self.tail = lines.pop()
        for line in lines:
            if self.mark in line:
                self.seen.tokens.append(now)
                if sent := SENT.search(line):
                    self.seen.lags.append(now * 1000 - int(sent[1]) / 1000)
        if data.endswith(b"0\r\n\r\n"):
            self.seen.complete = True
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def run(plan: dict[str, Any]) -> list[Seen]:
    """Carry the plan out. A stream that takes over a minute is left, and is not complete."""
    room = asyncio.Semaphore(plan["at_once"])
    requests: list[str] = plan["requests"]
    loop = asyncio.get_running_loop()

    async def one(number: int, request: str) -> Seen:
        await asyncio.sleep(plan["ramp"] * number / len(requests))
        async with room:
            stream = Stream(request.encode(), plan["mark"].encode())
            await loop.create_connection(lambda: stream, "127.0.0.1", plan["port"])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    await stream.over
            stream.transport.abort()
        return stream.seen

    return await asyncio.gather(*(one(n, request) for n, request in enumerate(requests)))


if __name__ == "__main__":
    answer = uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read())))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
