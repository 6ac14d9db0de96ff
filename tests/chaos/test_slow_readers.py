"""Two hundred readers at ten bytes a second, of runs that said much: the server stays small and answers."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.server import Server, installed
from tests.chaos.wire import Story, Wire
from tests.laws import check_run

MIB = 1 << 20
RUNS, READERS = 4, 200
# Each run says this at once: 480 KB in words of 2 KB, and once more as the full value.
WORDS = " ".join(["porch" * 400] * 240)
# Without bounds it comes to 430 MiB.
MOST = 220 * MIB


def held(server: Server) -> int:
    """What the server's process holds that no file could give back."""
    resident, shared = Path(f"/proc/{server.pid}/statm").read_bytes().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


async def read_slowly(server: Server, run: str) -> None:
    """Follow a run over a connection that hardly takes anything, ten bytes a second."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    place.setblocking(False)
    loop = asyncio.get_running_loop()
    with place:
        await loop.sock_connect(place, ("127.0.0.1", server.settings.port))
        head = f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: 127.0.0.1:{server.settings.port}\r\n"
        credential = f"Authorization: Bearer {server.credentials.token}\r\n\r\n"
        await loop.sock_sendall(place, (head + credential).encode())
        while await loop.sock_recv(place, 10):
            await asyncio.sleep(1)


@asynccontextmanager
async def crowd(server: Server, runs: list[str]) -> AsyncGenerator[None]:
    """All the slow readers."""
    readers = [asyncio.create_task(read_slowly(server, runs[n % len(runs)])) for n in range(READERS)]
    try:
        yield
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


@pytest.mark.long
async def test_slow_readers_of_much_cost_little_and_quick_ones_get_it_all() -> None:
    async with installed(local_model=False) as server:
        credentials = server.credentials
        async with Wire(server.url, credentials.token) as wire:
            agents = f"/api/v1/workspaces/{credentials.workspace}/agents"
            await wire.make(agents, {"name": "actor", "instructions": "Act.", "model": "scripted:test"})
            runs: list[str] = []
            for _ in range(RUNS):
                made = await wire.make(f"{agents}/actor/conversations")
                path = f"/api/v1/conversations/{made['id']}/runs"
                runs.append((await wire.make(path, {"input": f"[[say {WORDS}]]"}))["run"])
            stories = [await wire.replay(run) for run in runs]  # to their ends
            before, most = held(server), 0
            async with crowd(server, runs), asyncio.timeout(60):
                for _ in range(20):
                    most = max(most, held(server) - before)
                    assert (await wire.ask("GET", "/healthz")).status == 200
                    await asyncio.sleep(0.1)
                for run, told in zip(runs, stories, strict=True):
                    quick = Story(run)
                    await wire.follow(quick)
                    assert quick.data == told
                    check_run(quick.events)
                    most = max(most, held(server) - before)
            assert most < MOST, f"{most / MIB:.0f} MiB"
