"""aiohttp's connections, telling whoever reads an answer of what has come in the moment it came.

An answer has a hundred small reads a second, and a task woken for each costs more than what is read.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from types import CoroutineType
from typing import Any, cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from porch.background import Stepped
from porch.egress.chunks import Chunks, unframe

Heard = Callable[[bytes], bool]


class Pieces:
    """What aiohttp keeps in a deque, where there is nearly always nothing: an empty deque is 760 bytes.

    So it is made for the first piece and let go of with the last. A list would be small, too, but takes as long for
    each piece as there are others, and of a peer that sends single bytes there are thousands.
    """

    __slots__ = ("_pieces",)

    def __init__(self, pieces: Iterable[Any] = ()) -> None:
        self._pieces = deque(pieces) or None

    def __len__(self) -> int:
        return 0 if self._pieces is None else len(self._pieces)

    def __getitem__(self, index: int) -> Any:
        return (self._pieces or ())[index]

    def append(self, piece: Any) -> None:
        """Put one behind the others."""
        if self._pieces is None:
            self._pieces = deque((piece,))
        else:
            self._pieces.append(piece)

    def popleft(self) -> Any:
        """Take the first. Raises IndexError."""
        if self._pieces is None:
            raise IndexError("There is no piece.")
        piece = self._pieces.popleft()
        if not self._pieces:
            self._pieces = None
        return piece


class Wire(ResponseHandler):
    """One connection. `heard` is called with more of the answer's body, which it may leave to aiohttp by answering
    False; or with nothing, when there is more to read there, or the answer has ended.
    """

    __slots__ = ("_chunks", "_head", "_held", "heard")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._buffer = cast("Any", Pieces())
        self.heard: Heard | None = None
        self._held = False
        self._head: RawResponseMessage | None = None
        self._chunks: Chunks | None = None

    def data_received(self, data: bytes) -> None:
        """What came, as one read of the socket has it."""
        heard, chunks = self.heard, self._chunks
        # aiohttp's way through its parser and its stream costs twice what all of ours does.
        if heard is not None and chunks is not None and chunks.between:
            body = unframe(data)
            if body is not None and heard(body):
                return
        super().data_received(data)
        if self._head is not None:
            self._chunks = Chunks(data) if self._head.chunked else None
            self._head = None
        elif chunks is not None:
            chunks.follow(data)
        if self.heard is not None and data:
            self.heard(b"")

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """The head of an answer, as aiohttp reads it."""
        self._head, content = data
        if type(content) is StreamReader:
            content._buffer = cast("Any", Pieces(content._buffer))  # pyright: ignore[reportPrivateUsage]  # no option
        super().feed_data(data, size)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing more will come."""
        content = self._payload
        super().connection_lost(exc)
        # After bad framing aiohttp tells nobody.
        if content is not None and not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("The body broke off."))
        if self.heard is not None:
            self.heard(b"")

    def pause_reading(self) -> None:
        """Too much lies here unread, some of it before the parser."""
        self._held = True
        self._chunks = None
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """There is room again; aiohttp says so with every read, and parses and asks the transport each time."""
        if not self._held:
            return
        self._held = False
        super().resume_reading(resume_parser)
        if self.heard is not None:
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        if self.heard is not None:
            self.heard(b"")


class Asking(aiohttp.ClientRequest):
    """A request that is on its way when `send` returns; from Python 3.12 on aiohttp sees to that itself."""

    def write_bytes(  # not a coroutine of its own: aiohttp makes a task of what this answers
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> "CoroutineType[Any, Any, None]":
        """Write what goes out without a wait now; answers the rest."""
        step = super().write_bytes(writer, conn, content_length)
        if sys.version_info >= (3, 12):
            return step
        try:
            waiting = step.send(None)
        except StopIteration:
            return _rest(None)
        return _rest(Stepped(step, waiting))


async def _rest(stepped: Stepped | None) -> None:
    if stepped is not None:
        await stepped


def lay_wires(connector: aiohttp.TCPConnector) -> aiohttp.TCPConnector:
    """Have this connector make Wires, for plain connections and those through a proxy alike."""
    make: partial[ResponseHandler] = partial(Wire, loop=asyncio.get_running_loop())
    connector._factory = make  # pyright: ignore[reportPrivateUsage]  # no option says it
    return connector


def find_wire(response: aiohttp.ClientResponse) -> Wire | None:
    """The connection that the rest of an answer comes by; None where all of it has come."""
    connection = response.connection
    protocol = connection.protocol if connection is not None else None
    return protocol if isinstance(protocol, Wire) else None
