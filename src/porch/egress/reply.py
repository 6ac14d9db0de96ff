"""One HTTP answer, read as it comes: bytes counted, silence bounded, its connection always freed."""

import asyncio
from collections.abc import Callable, Mapping

import aiohttp

from porch.egress.failures import EgressError
from porch.egress.unpacking import PIECE_BYTES, NotUnpackable, Unpacker, find_unpacker
from porch.egress.wire import find_wire

# What is read without a pause for others: 400 events that say nothing, which take 5 ms, or 70 tokens.
TURN_BYTES = 4 * 1024
Take = Callable[[bytes], bool]


class Reply:
    """An answer whose head has arrived. Ends by `settle()` (whole) or `close()` (given up)."""

    __slots__ = (
        "_content",
        "_done",
        "_end",
        "_expired",
        "_idle",
        "_last",
        "_loop",
        "_max",
        "_packed",
        "_paused",
        "_received",
        "_response",
        "_rest",
        "_settled",
        "_take",
        "_timer",
        "_turn",
        "_unpacker",
        "headers",
        "status",
    )

    def __init__(
        self, response: aiohttp.ClientResponse, *, idle_seconds: float, answer_seconds: float, max_bytes: int
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._content = response.content
        self._loop = asyncio.get_running_loop()
        self._max = max_bytes
        self._received = 0
        self._turn = TURN_BYTES
        self._rest = b""  # came at once with what was read last
        self._paused = False  # between two pieces of what came at once
        self._packed = 0  # of a compressed body: some of it unpacks to nothing
        self._unpacker = find_unpacker(response.headers.get("Content-Encoding", ""))
        self._idle = idle_seconds
        self._last = self._loop.time()
        self._end = self._last + answer_seconds
        self._expired: str | None = None
        self._settled = False
        self._take: Take | None = None
        self._done: asyncio.Future[bool] | None = None
        # One lazy timer a stream: a timer rearmed with every read costs 1 us a token.
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(
            min(idle_seconds, answer_seconds), self._watch
        )

    async def read(self) -> bytes:
        """The bytes that have come since the last read, at least one and TURN_BYTES at most; b"" at the end.

        Raises EgressError.
        """
        if self._rest:
            await asyncio.sleep(0)
            return self._cut(self._rest)
        data = await (self._read_wire() if self._unpacker is None else self._unpack(self._unpacker))
        self._received += len(data)
        if self._received > self._max:
            self.close()
            raise self._too_large()
        if self._received > self._turn:
            # Whoever sends faster than we read leaves no other pause, and others have work to do.
            self._turn = self._received + TURN_BYTES
            await asyncio.sleep(0)
        return self._cut(data)

    async def pour(self, take: Take) -> bool:
        """Give `take` what comes, in the moment it comes, until it answers False: then True, and False at the end.

        No task is woken as long as `take` goes on. What it raises is raised here; EgressError as by `read`.
        """
        wire = find_wire(self._response) if self._unpacker is None else None
        if wire is None:
            while data := await self.read():
                if not take(data):
                    return True
            return False
        done: asyncio.Future[bool] = self._loop.create_future()
        self._take, self._done = take, done
        heard = wire.heard = self._hand_on
        try:
            heard(b"")
            if done.done() and self._rest:
                await asyncio.sleep(0)  # what is done does not suspend, and others wait for their turn
            return await done
        finally:
            if self._done is done:
                self._take = self._done = None
                if wire.heard is heard:
                    wire.heard = None
            if done.done() and not done.cancelled():
                done.exception()  # seen, even if this task was cancelled in the same moment

    def _hand_on(self, body: bytes) -> bool:
        """Hand on the body's next bytes, or what lies with aiohttp. False where others come before these bytes."""
        take, done = self._take, self._done
        if take is None or done is None or done.done() or self._paused:
            return False
        if body and not self._rest and len(body) <= TURN_BYTES and self._received + len(body) <= self._max:
            self._last = self._loop.time()
            self._received += len(body)
            try:
                if not take(body):
                    done.set_result(True)
            except Exception as error:
                done.set_exception(error)
            return True
        more = bool(self._rest)  # and behind it what came meanwhile, of which nobody was told
        if body and more:
            return False
        try:
            data = self._rest or self._receive(body or self._content.read_nowait())
        except EgressError as error:
            done.set_exception(error)
            return True
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if not (data := self._left_over()):
                failure = self._failure()
                failure.__cause__ = error
                done.set_exception(failure)
                return True
            more = True  # what broke it comes behind
        try:
            if data and not take(self._cut(data)):
                done.set_result(True)
            elif more or self._rest:
                self._paused = True
                self._loop.call_soon(self._go_on)
            elif not body and self._content.at_eof():
                done.set_result(False)
        except Exception as error:
            done.set_exception(error)
        return True

    def _go_on(self) -> None:
        """Others have had their turn."""
        self._paused = False
        self._hand_on(b"")

    def _receive(self, data: bytes) -> bytes:
        """Count what came. Raises EgressError when it is too much."""
        if not data:
            return data
        self._last = self._loop.time()
        self._received += len(data)
        if self._received > self._max:
            self.close()
            raise self._too_large()
        return data

    def _cut(self, data: bytes) -> bytes:
        """As much of it as is read in one turn, whole events where there are any; the rest is for the next."""
        if len(data) <= TURN_BYTES:
            self._rest = b""
            return data
        end = data.rfind(b"\n\n", 0, TURN_BYTES) + 2
        end = end if end > 1 else TURN_BYTES
        self._rest = data[end:]
        return data[:end]

    async def read_all(self, limit: int, seconds: float | None = None) -> bytes:
        """The body's first `limit` bytes, at most; what breaks off is returned as far as it came.

        With `seconds`, so is one that takes longer, even if it is never silent.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                while len(body) < limit and (data := await self.read()):
                    body += data
        except (EgressError, TimeoutError):
            pass
        return bytes(body[:limit])

    async def read_whole(self) -> bytes:
        """The body to its very end. Raises EgressError when it is too large or breaks off."""
        announced = self._response.content_length
        if announced is not None and announced > self._max:
            self.close()
            raise self._too_large()
        body = bytearray()
        while data := await self.read():
            body += data
        return bytes(body)

    def expect_silence(self, idle_seconds: float) -> None:
        """From now on, silence of so many seconds is enough to give up."""
        self._idle = idle_seconds
        self._last = self._loop.time()
        self._arm(min(idle_seconds, max(0.0, self._end - self._last)))

    def close(self) -> None:
        """Give up the connection now. Does nothing after `settle()`."""
        self._disarm()
        if not self._settled:
            self._response.close()

    def settle(self, drains: set[asyncio.Task[None]], seconds: float = 2.0) -> None:
        """Take the body for complete; the connection is reused if its end comes within `seconds`."""
        self._disarm()
        self._settled = True
        if self._content.at_eof() or self._content.is_eof():
            self._response.release()
            return
        task = self._loop.create_task(self._drain(seconds))
        drains.add(task)
        task.add_done_callback(drains.discard)

    async def _drain(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                for _ in range(16):
                    if not await self._content.readany():
                        self._response.release()
                        return
        except (aiohttp.ClientError, OSError, ValueError):
            pass
        finally:
            self._response.close()

    async def _read_wire(self) -> bytes:
        try:
            data = await self._content.readany()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if left := self._left_over():
                return left
            raise self._failure() from error
        self._last = self._loop.time()
        return data

    def _left_over(self) -> bytes:
        """What had come before the connection broke and was not read yet: aiohttp itself would let go of it."""
        return self._content._read_nowait(-1)  # pyright: ignore[reportPrivateUsage]  # read_nowait raises what broke

    async def _unpack(self, unpacker: Unpacker) -> bytes:
        try:
            while not (piece := unpacker.take()):
                data = await self._read_wire()
                self._packed += len(data)
                if self._packed > self._max:
                    self.close()
                    raise self._too_large()
                if not data:
                    if not unpacker.whole:
                        raise self._failure()
                    return b""
                unpacker.feed(data)
        except NotUnpackable:
            self.close()
            raise EgressError("The answer's compressed body could not be unpacked.", "protocol") from None
        if len(piece) == PIECE_BYTES:
            # A bomb has a thousand such pieces in what came at once, and others have work to do.
            await asyncio.sleep(0)
        return piece

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, self._watch)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        now = self._loop.time()
        left = min(self._last + self._idle, self._end) - now
        if left > 0.001:
            self._arm(left)
            return
        self._timer = None
        endless = now >= self._end - 0.001
        self._expired = (
            "It did not come to an end." if endless else f"Nothing came for {self._idle:g} seconds."
        )
        self._content.set_exception(TimeoutError())
        self._hand_on(b"")
        self._response.close()

    def _too_large(self) -> EgressError:
        return EgressError(f"The answer is over {self._max:,} bytes.", "too_large")

    def _failure(self) -> EgressError:
        self.close()
        if self._expired is not None:
            return EgressError(self._expired, "timeout")
        return EgressError("The connection broke off within the answer.", "cut")
