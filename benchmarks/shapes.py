"""The shapes of load, and what is read off one of them: by this folder's own client, or a faster one of C.

A kit is a folder with two programs: `mock PORT`, a provider that knows our words of pace, and `load PORT REQUESTS OUT
AT_ONCE RAMP_MS LIMIT_MS MARK`, which writes into OUT what each stream saw. Python's own share a core with PostgreSQL
and cannot keep up with a flood. With `targets/typed_raw.py` in it that is the baseline.
"""

import asyncio
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec

from benchmarks.load import SECONDS, Seen, sum_up
from benchmarks.servers import LOAD_CORE, Server, pin

SETTLED = 4.0  # seconds after which all streams are open
_STREAM = struct.Struct("<IIQQQQII")


class Shape(NamedTuple):
    """`pace` is the provider's; so many streams, at most `at_once` of them together, begun over `ramp` seconds."""

    pace: str
    streams: int
    at_once: int
    ramp: float = 0.0


SHAPES = {
    "first": Shape("mock-ttft20-tok50-itl5", 30, 1),
    "request": Shape("mock-tok1", 400, 4),
    "slow": Shape("mock-ttft100-tok100-itl50-ts", 500, 500, 2.0),
    "wide": Shape("mock-ttft100-tok100-itl50-ts", 1000, 1000, 4.0),
    "flood": Shape("mock-tok400", 100, 50),
}


async def measure(servers: Sequence[Server], shape: Shape, kit: Path | None) -> dict[str, float]:
    """Load the servers, all at the same time and each with its part, and read figures and the CPU they took."""
    part = shape._replace(
        streams=shape.streams // len(servers), at_once=max(1, shape.at_once // len(servers))
    )
    plans = [
        {
            "port": server.port,
            "requests": await requests_for(server, part),
            "at_once": part.at_once,
            "ramp": part.ramp,
            "mark": server.mark,
        }
        for server in servers
    ]
    before = sum(server.cpu_seconds() for server in servers)
    memory = asyncio.create_task(_memory(servers[0], shape.ramp + SETTLED))
    seen = [one for found in await asyncio.gather(*(_load(plan, kit) for plan in plans)) for one in found]
    spent = sum(server.cpu_seconds() for server in servers) - before
    figures = sum_up(seen)
    memory.cancel()
    return {
        **figures,
        "cpu_us_per_token": spent * 1e6 / figures["tokens"],
        "cpu_us_per_run": spent * 1e6 / len(seen),
        "open_kib": memory.result() if memory.done() else 0.0,
    }


async def _memory(server: Server, seconds: float) -> float:
    """What it has when all streams are open."""
    await asyncio.sleep(seconds)
    return server.memory_kib()


async def _load(plan: dict[str, Any], kit: Path | None) -> list[Seen]:
    if kit is not None:
        return await asyncio.to_thread(_load_by_kit, plan, kit)
    words = (sys.executable, "-m", "benchmarks.load")
    load = await asyncio.create_subprocess_exec(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = await load.communicate(msgspec.json.encode(plan))
    return msgspec.json.decode(out, type=list[Seen])


def _load_by_kit(plan: dict[str, Any], kit: Path) -> list[Seen]:
    with tempfile.TemporaryDirectory() as folder:
        asked, told = Path(folder) / "asked", Path(folder) / "told"
        asked.write_bytes(b"".join(b"%d\n%b" % (len(each), each.encode()) for each in plan["requests"]))
        numbers = (plan["at_once"], int(plan["ramp"] * 1000), SECONDS * 1000)
        words = [kit / "load", plan["port"], asked, told, *numbers, plan["mark"]]
        process = subprocess.Popen([str(word) for word in words])
        pin(process.pid, LOAD_CORE)
        process.wait()
        return _read(told.read_bytes())


def _read(data: bytes) -> list[Seen]:
    """A kit's figures: for each stream its state, times in ns, and lags in us."""
    seen: list[Seen] = []
    at = 0
    while at < len(data):
        _, flags, began, _, _, _, tokens, lags = _STREAM.unpack_from(data, at)
        at += _STREAM.size
        times = struct.unpack_from(f"<{tokens}Q", data, at)
        late = struct.unpack_from(f"<{lags}I", data, at + 8 * tokens)
        at += 8 * tokens + 4 * lags
        seen.append(Seen(began / 1e9, bool(flags & 1), [t / 1e9 for t in times], [us / 1000 for us in late]))
    return seen


async def requests_for(server: Server, shape: Shape) -> list[str]:
    """Raw requests; Porch's conversations are made beforehand and not timed."""
    if server.name == "baseline":
        words = {"model": shape.pace, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        return [raw("/v1/chat/completions", {}, words)] * shape.streams
    base = f"http://localhost:{server.port}/api/v1"
    async with aiohttp.ClientSession(headers=server.headers) as session:
        async with session.get(f"{base}/me") as answer:
            workspace = (await answer.json())["workspaces"][0]["handle"]
        agents = f"{base}/workspaces/{workspace}/agents"
        await session.post(agents, json={"name": "bench", "instructions": "", "model": "openai:mock"})
        made: list[str] = []
        for _ in range(shape.streams):
            async with session.post(f"{agents}/bench/conversations", json={}) as answer:
                made.append((await answer.json())["id"])
    wanted = {**server.headers, "Accept": "text/event-stream"}
    body = {"input": f"Hello [[{shape.pace}]]"}
    return [raw(f"/api/v1/conversations/{name}/runs", wanted, body) for name in made]


def raw(path: str, headers: dict[str, str], body: Any) -> str:
    """A request as it goes over the wire."""
    data = msgspec.json.encode(body).decode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(data)}\r\n{lines}\r\n{data}"
