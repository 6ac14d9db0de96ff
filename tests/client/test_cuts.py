"""A connection that is cut at any byte of an answer, its head included, is one story all the same."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from porch.client.connection import Connection
from porch.client.items import Resync
from porch.client.stream import RunStream
from porch.contract.frames import Cursor
from tests.client.fake import RUN, frames
from tests.client.test_stream import WHOLE

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = 50


def answer(after: int) -> bytes:
    """What is behind a cursor, in small chunks, as raw HTTP."""
    rest = frames(*WHOLE[after:], first=after + 1)
    pieces = [rest[at : at + PIECE] for at in range(0, len(rest), PIECE)]
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class Cutter:
    """A server whose first answer ends after so many bytes."""

    url = ""
    left = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one answer."""
        asked = await reader.readuntil(b"\r\n\r\n")
        place = asked.lower().partition(b"last-event-id: ")[2].partition(b"\r\n")[0]
        cut, self.left = self.left, 1_000_000
        after = Cursor.parse(place.decode()).seq if place else 0
        told = answer(after) if after < len(WHOLE) else b"HTTP/1.1 204 No Content\r\n\r\n"
        writer.write(told[:cut])
        await writer.drain()
        writer.close()


@asynccontextmanager
async def cutting() -> AsyncGenerator[Cutter]:
    cutter = Cutter()
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    cutter.url = f"http://{host}:{port}"
    async with server:
        yield cutter


async def test_every_event_comes_once_wherever_the_connection_was_cut() -> None:
    whole = answer(0)
    places = [*range(0, len(HEAD), 5), *range(len(HEAD), len(whole), 37)]
    async with cutting() as cutter:
        for place in places:
            cutter.left = place
            connection = Connection(cutter.url, "porch_pat_x")
            connection.reached = True
            stream = RunStream(connection, run=RUN)
            stream.on_lost = lambda _, stream=stream: setattr(stream, "_pause", 0.0)
            seen = [event.seq async for event in stream if not isinstance(event, Resync)]
            assert seen == [*range(1, len(WHOLE) + 1)], place
            await connection.close()
