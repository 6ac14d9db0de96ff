"""A provider that misbehaves on purpose: raw HTTP over a real socket, one behaviour for each request."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SAY = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


@dataclass
class Exchange:
    """One request, and the pen to answer it."""

    head: str
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: int

    def json(self) -> Any:
        """The request's body."""
        return json.loads(self.body)

    async def write(self, *pieces: bytes) -> None:
        """Send bytes as they are, each on its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def chunks(self, *pieces: bytes) -> None:
        """Send the head and each piece as one HTTP chunk."""
        await self.write(HEAD, *(framed(piece) for piece in pieces))

    async def hold(self) -> None:
        """Keep the connection, silent, until the client gives it up."""
        await self.reader.read(1)


Behaviour = Callable[[Exchange], Awaitable[None]]


@dataclass
class Upstream:
    """Where it listens, and what it was asked. Behaviours are used in turn, the last one again and again."""

    url: str = ""
    behaviours: list[Behaviour] = field(default_factory=list[Behaviour])
    requests: list[Exchange] = field(default_factory=list[Exchange])
    connections: int = 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        connection = self.connections
        try:
            while not writer.is_closing():
                exchange = await read_request(reader, writer, connection)
                self.requests.append(exchange)
                behave = self.behaviours[min(len(self.requests), len(self.behaviours)) - 1]
                await behave(exchange)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.hung_up.set()
            writer.close()


@asynccontextmanager
async def upstream(*behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Upstream]:
    """A running Upstream."""
    place = Upstream(behaviours=list(behaviours))
    server = await asyncio.start_server(place.serve, "127.0.0.1", 0, backlog=256, ssl=tls)
    place.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield place
    finally:
        server.close()


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
) -> Exchange:
    """The next request of a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        (int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")),
        0,
    )
    return Exchange(head, await reader.readexactly(length), reader, writer, connection)


def framed(piece: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def answer(*pieces: bytes) -> Behaviour:
    """A whole stream, with its end."""

    async def behave(exchange: Exchange) -> None:
        await exchange.chunks(*pieces)
        await exchange.write(b"0\r\n\r\n")

    return behave


def plain(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """An answer that is no stream."""

    async def behave(exchange: Exchange) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await exchange.write("\r\n".join([*lines, "", ""]).encode() + body)

    return behave


async def hang_up(exchange: Exchange) -> None:
    """No answer at all."""
    exchange.writer.close()


async def hang(exchange: Exchange) -> None:
    """Silence."""
    await exchange.hold()


def then(*pieces: bytes, end: Behaviour) -> Behaviour:
    """The beginning of a stream, and then something else."""

    async def behave(exchange: Exchange) -> None:
        await exchange.chunks(*pieces)
        await end(exchange)

    return behave
