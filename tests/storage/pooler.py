"""A pooler in transaction mode, as small as one can be: a client has a server only until ReadyForQuery."""

import asyncio
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

PLAIN_REQUESTS = (80877103, 80877104)  # TLS and GSSAPI, to which the answer is no
GREETING = {"server_version": "18.4", "client_encoding": "UTF8", "server_encoding": "UTF8", "TimeZone": "UTC"}


def message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


async def read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    return kind, await reader.readexactly(length - 4)


class Pooler:
    """Listens on `port`; lends servers at a unix socket that trusts everybody."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.port = 0
        self.free: list[asyncio.StreamWriter] = []
        self.lent: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self.pumps: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            startup = await self.greet(reader, client)
            while True:
                kind, content = await read(reader)
                if kind == b"X":
                    break
                if client not in self.lent:
                    self.lent[client] = self.free.pop() if self.free else await self.open(startup)
                self.lent[client].write(message(kind, content))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            client.close()

    async def greet(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> bytes:
        while True:
            (length,) = struct.unpack("!i", await reader.readexactly(4))
            startup = await reader.readexactly(length - 4)
            if struct.unpack("!i", startup[:4])[0] not in PLAIN_REQUESTS:
                break
            client.write(b"N")
        client.write(message(b"R", struct.pack("!i", 0)))
        for key, value in GREETING.items():
            client.write(message(b"S", f"{key}\0{value}\0".encode()))
        client.write(message(b"K", struct.pack("!ii", 1, 1)) + message(b"Z", b"I"))
        return startup

    async def open(self, startup: bytes) -> asyncio.StreamWriter:
        reader, server = await asyncio.open_unix_connection(self.socket)
        server.write(struct.pack("!i", len(startup) + 4) + startup)
        while (await read(reader))[0] != b"Z":
            pass
        self.pumps.append(asyncio.create_task(self.pump(reader, server)))
        return server

    async def pump(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while True:
            kind, content = await read(reader)
            client = next(key for key, value in self.lent.items() if value is server)
            if (kind, content) == (b"Z", b"I"):
                del self.lent[client]
                self.free.append(server)
            client.write(message(kind, content))


@asynccontextmanager
async def transaction_pooler(socket: Path) -> AsyncGenerator[Pooler]:
    pooler = Pooler(socket)
    server = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
    pooler.port = server.sockets[0].getsockname()[1]
    try:
        yield pooler
    finally:
        server.close()
        for pump in pooler.pumps:
            pump.cancel()
        for backend in (*pooler.free, *pooler.lent.values()):
            backend.close()
