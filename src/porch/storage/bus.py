"""What processes on one database tell each other: short messages by NOTIFY, in batches, outside every transaction.

A message may be lost (a connection breaks, a process restarts), so that whoever waits for one also looks by itself
from time to time. Nothing that must hold travels only here.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from uuid import UUID

import msgspec

from porch.background import end
from porch.contract.errors import PorchError
from porch.contract.ids import new_uuid
from porch.storage.connection import Connection, drop, is_gone
from porch.storage.database import Database

log = logging.getLogger(__name__)

EVERYBODY = "porch_live"
BATCH_SECONDS = 0.025
# PostgreSQL takes payloads of less than 8,000 bytes.
MAX_PAYLOAD = 7800
MAX_WAITING = 100_000
PING_SECONDS = 5.0
PATIENCE_SECONDS = 3.0
RETRY_SECONDS = 0.2
MOST_RETRY_SECONDS = 2.0
# A message is no promise: its commit need not wait for the disk.
OPEN = "SET synchronous_commit = off"
SEND = "SELECT pg_notify(c, p) FROM unnest($1::text[], $2::text[]) AS m (c, p)"

Hear = Callable[..., None]
_messages = msgspec.json.Decoder(list[list[str]])


class Bus:
    """This process's ear and mouth on one connection of its own, which it opens anew when it breaks.

    `id` is its address. What it tells others it does not hear itself.
    """

    def __init__(self, database: Database) -> None:
        self.id = new_uuid()
        self.sent = 0
        self.heard = 0
        self._database = database
        self._ears: dict[str, Hear] = {}
        self._on_up: list[Callable[[], None]] = []
        self._waiting: defaultdict[str, list[bytes]] = defaultdict(list)
        self._count = 0
        self._flushed = 0.0
        self._wake = asyncio.Event()
        self._stopping = False
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether it hears and tells just now."""
        return self._connection is not None

    def listen(self, verb: str, hear: Hear) -> None:
        """Call `hear` with the words of each message that begins with this verb."""
        self._ears[verb] = hear

    def on_up(self, call: Callable[[], None]) -> None:
        """Call this whenever the bus is there again: what was told meanwhile is lost."""
        self._on_up.append(call)

    def tell(self, verb: str, *words: str, to: UUID | None = None) -> None:
        """Tell the process of that address, or all others, soon; nobody is told while the bus is down."""
        if self._connection is None or self._count >= MAX_WAITING or to == self.id:
            return
        message = msgspec.json.encode((verb, *words))
        if len(message) + 2 > MAX_PAYLOAD:
            raise ValueError(f"a message of {len(message)} bytes is too long for the bus")
        self._waiting[EVERYBODY if to is None else _channel(to)].append(message)
        self._count += 1
        self._wake.set()

    async def start(self) -> None:
        """Open the connection; where that fails it is tried again in the background."""
        with contextlib.suppress(PorchError):
            await self._open()
        self._task = asyncio.create_task(self._run(), name="bus")

    async def stop(self) -> None:
        """Tell what waits to be told, then close."""
        if self._task is None:
            return
        self._stopping = True
        self._wake.set()
        await end(self._task, grace=PATIENCE_SECONDS)
        self._task = None
        self._close()

    async def _run(self) -> None:
        retry = RETRY_SECONDS
        while not self._stopping:
            try:
                await self._serve(self._connection or await self._open())
                return
            except Exception as error:
                if self._connection is not None:
                    retry = RETRY_SECONDS
                    log.info("Messages between processes must wait; streams follow by looking: %s", error)
                self._close()
            await asyncio.sleep(retry)
            retry = min(retry * 2, MOST_RETRY_SECONDS)

    async def _open(self) -> Connection:
        async with asyncio.timeout(PATIENCE_SECONDS):
            connection = await self._database.dedicated()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await connection.execute(OPEN)
                for channel in (EVERYBODY, _channel(self.id)):
                    await connection.add_listener(channel, self._hear)
        except BaseException:
            drop(connection)
            raise
        connection.add_termination_listener(lambda *_: self._wake.set())
        self._connection = connection
        for call in self._on_up:
            call()
        return connection

    async def _serve(self, connection: Connection) -> None:
        """Send what is to be told, until asked to stop. Raises whatever ends the connection."""
        while True:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await connection.execute("SELECT 1")
                continue
            self._wake.clear()
            if is_gone(connection):
                raise ConnectionResetError("the connection was closed")
            if self._waiting:
                if not self._stopping:
                    await asyncio.sleep(self._flushed + BATCH_SECONDS - time.monotonic())
                await self._flush(connection)
            if self._stopping and not self._waiting:  # what was told during a flush waits for the next
                return

    async def _flush(self, connection: Connection) -> None:
        waiting, self._waiting, self._count = self._waiting, defaultdict(list), 0
        channels: list[str] = []
        payloads: list[str] = []
        for channel, messages in waiting.items():
            for payload in _pack(messages):
                channels.append(channel)
                payloads.append(payload)
        self._flushed = time.monotonic()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await connection.execute(SEND, channels, payloads)
        self.sent += len(payloads)

    def _hear(self, connection: Connection, pid: int, _channel: str, payload: str) -> None:
        if pid == connection.get_server_pid():
            return
        self.heard += 1
        try:
            messages = _messages.decode(payload)
        except msgspec.MsgspecError:
            log.warning("A message of another process could not be read")
            return
        for verb, *words in messages:
            # Another version of Porch may say what this one does not know.
            if hear := self._ears.get(verb):
                try:
                    hear(*words)
                except Exception:
                    log.exception("A message %r of another process could not be followed", verb)

    def _close(self) -> None:
        if self._connection is not None:
            drop(self._connection)
            self._connection = None
        self._waiting.clear()
        self._count = 0


def _channel(address: UUID) -> str:
    return f"{EVERYBODY}_{address.hex}"


def _pack(messages: list[bytes]) -> Iterator[str]:
    """Messages as payloads, each a JSON list of as many as go in."""
    part: list[bytes] = []
    room = MAX_PAYLOAD - 2
    for message in messages:
        room -= len(message) + 1
        if room < 0 and part:
            yield f"[{b','.join(part).decode()}]"
            part, room = [], MAX_PAYLOAD - 3 - len(message)
        part.append(message)
    yield f"[{b','.join(part).decode()}]"
