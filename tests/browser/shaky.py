"""A network that loses connections in the middle of what they carry."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress


class ShakyWire:
    """A TCP proxy that cuts its first `cuts` answers short, each after a random number of bytes."""

    def __init__(self, target: int, *, seed: int, cuts: int, most: int) -> None:
        self.port = 0
        self.cut = 0
        self._target = target
        self._chance = random.Random(seed)  # a repeatable test, no secret
        self._cuts = cuts
        self._most = most
        self.holds = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection both ways."""
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, up_writer, None))
                group.create_task(self._pump(up_reader, writer, writer))
        except* OSError:
            pass
        finally:
            for each in (writer, up_writer):
                each.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: asyncio.StreamWriter | None
    ) -> None:
        left = self._chance.randint(1, self._most)
        while data := await source.read(65536):
            left -= len(data)
            if answers is not None and self.holds and self.cut < self._cuts and left <= 0:
                self.cut += 1
                sink.write(data[:left] if left else data)
                with suppress(OSError):
                    await sink.drain()
                raise ConnectionResetError
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError


@asynccontextmanager
async def shaky(target: int, *, seed: int, cuts: int, most: int) -> AsyncGenerator[ShakyWire]:
    """A wire to a local port; it cuts once its `holds` is set."""
    wire = ShakyWire(target, seed=seed, cuts=cuts, most=most)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
