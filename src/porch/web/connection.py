"""uvicorn's connections, lighter: hundreds of open streams have one each, and nobody waits on most of what it has."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Receive, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from porch.http.problem import problem
from porch.http.scope import Write

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 60.0
BODY_SECONDS = 600.0
MOST_HELD = 16 * 1024


class Bell:
    """An asyncio.Event that has room for who waits once somebody does, and can tell one who need not wait."""

    __slots__ = ("_rung", "_waiting", "told")

    def __init__(self) -> None:
        self.told: Callable[[], None] | None = None
        self._rung = False
        self._waiting: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Whether it was rung."""
        return self._rung

    def set(self) -> None:
        """Ring it."""
        self._rung = True
        waiting, self._waiting = self._waiting, None
        for one in waiting or ():
            if not one.done():
                one.set_result(None)
        if self.told is not None:
            self.told()

    def clear(self) -> None:
        """Have it rung again."""
        self._rung = False

    async def wait(self) -> bool:
        """Wait until it is rung."""
        if not self._rung:
            one = asyncio.get_running_loop().create_future()
            waiting = self._waiting = self._waiting or []
            waiting.append(one)
            try:
                await one
            finally:
                if one in waiting:
                    waiting.remove(one)
        return True


class _Line(list[Any]):
    """The requests that wait behind another, nearly always none, and the one they wait for."""

    __slots__ = ("at_work",)

    def __init__(self) -> None:
        super().__init__()
        self.at_work: RequestResponseCycle | None = None

    def appendleft(self, item: Any) -> None:
        self.insert(0, item)

    def pop(self, *at: Any) -> Any:
        item = super().pop(*at)
        self.at_work = item[0]
        return item


class _Beginning:
    """Stands before the transport until an answer has begun: its head goes out with what is said in the same turn.

    Each write is a call of the system, and wakes the reader.
    """

    __slots__ = ("_cycle", "_held", "_over", "_size", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._over = cycle.on_response
        self._held: list[bytes] = []
        self._size = 0
        cycle.transport = cast("asyncio.Transport", self)
        cycle.on_response = self._end

    def write(self, data: bytes) -> None:
        """Write it soon: at the end of this turn of the loop or of the answer, or once there is much of it."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self._go)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_HELD:
            self._go()

    def _go(self) -> None:
        """Write what is held, and stand aside."""
        cycle, held = self._cycle, self._held
        if cycle.transport is not self._transport:
            cycle.transport, cycle.on_response = self._transport, self._over
            if held and not self._transport.is_closing():
                self._transport.write(b"".join(held))

    def _end(self) -> None:
        self._go()
        self._over()

    def __getattr__(self, name: str) -> Any:
        """Whatever else is done to the transport comes behind what was written."""
        self._go()
        return getattr(self._transport, name)


class Connection(HttpToolsProtocol):
    """One connection. Each event and deque of uvicorn's own is 760 bytes, though nothing is in it."""

    __slots__ = ("_due", "_gathered", "_line")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._due = 0.0
        self._gathered = 0
        self._line = _Line()
        self.pipeline = cast("Any", self._line)

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # as uvicorn's own
        """Somebody is there."""
        super().connection_made(transport)
        writable = Bell()
        writable.set()
        self.flow._is_writable_event = cast("Any", writable)  # pyright: ignore[reportPrivateUsage]  # no option says it
        self._expect(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Something came. What ends no head and is no body the parser gathers, which has no limit of its own."""
        self._gathered += len(data)
        super().data_received(data)
        if self._gathered > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse()
        elif not (cycle := self.cycle) or cycle.response_complete:
            self._expect(HEAD_SECONDS)
        elif cycle.more_body:
            self._expect(BODY_SECONDS)

    def _expect(self, seconds: float) -> None:
        """Close the connection unless the rest comes in time. uvicorn waits for ever once a byte of it came."""
        if self.timeout_keep_alive_task is None:
            self._due = self._due or self.loop.time() + seconds
            self.timeout_keep_alive_task = self.loop.call_at(self._due, self._give_up)

    def _give_up(self) -> None:
        # Whoever is being answered need not have said everything.
        if not self.cycle or self.cycle.response_complete or not self.cycle.response_started:
            self.timeout_keep_alive_handler()

    def _refuse(self) -> None:
        if not self.cycle or self.cycle.response_complete:
            sentence = (
                f"The head of this request is over {MAX_HEAD_BYTES:,} bytes. Shorten its address and headers."
            )
            answer = problem(431, "head_too_large", sentence, headers={"Connection": "close"})
            lines = (b"%b: %b\r\n" % line for line in answer.raw_headers)
            head = b"HTTP/1.1 431 Request Header Fields Too Large\r\n%b\r\n" % b"".join(lines)
            self.transport.write(head + bytes(answer.body))
        self.transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head. What comes behind a body is none: a proxy in front may not have looked at it."""
        if not self.cycle or self.cycle.scope is not self.scope:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of a body, whose size is for others to judge."""
        self._gathered = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """A request begins; its body may yet come."""
        self._due = 0.0
        self._gathered = 0
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.message_event = cast("Any", Bell())
            _Beginning(self.cycle)
            if len(self._line) == 1:
                self._line.at_work = before

    def on_message_complete(self) -> None:
        """A request is here as a whole."""
        self._due = 0.0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more. uvicorn tells the last of several requests, which may not have begun."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # it would hold the connection until it is due
        cycle = self._line.at_work
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()


class _Departure:
    """Calls `left` when a request's client has gone; what else it sends is let go."""

    __slots__ = ("_cycle", "_left")

    def __init__(self, cycle: RequestResponseCycle, left: Callable[[], None]) -> None:
        self._cycle = cycle
        self._left = left

    def __call__(self) -> None:
        cycle = self._cycle
        if cycle.disconnected:
            self._left()
        elif cycle.body:
            cycle.body = bytearray()
            cycle.flow.resume_reading()


def watch_departure(receive: Receive, left: Callable[[], None] | None) -> bool:
    """Have `left` called when a request's client leaves, or nothing any more with None.

    False where that can only be waited for. For who wants no more of the request itself, and spares it a task.
    """
    cycle = getattr(receive, "__self__", None)
    bell: object = cycle.message_event if isinstance(cycle, RequestResponseCycle) else None
    if not isinstance(cycle, RequestResponseCycle) or not isinstance(bell, Bell):
        return False
    bell.told = None
    if left is not None:
        cycle.flow.resume_reading()
        told = bell.told = _Departure(cycle, left)
        told()
    return True


def writer(send: Send) -> Write | None:
    """What sends a chunk of a request's answer without a coroutine and a message; None for no `send` of uvicorn's, and
    where no body is sent."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.scope["method"] == "HEAD":
        return None
    flow = cycle.flow

    def write(data: bytes) -> bool:
        if flow.write_paused or not cycle.chunked_encoding or cycle.response_complete or cycle.disconnected:
            return False
        if not data:
            return False  # it would be the end
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    return write
