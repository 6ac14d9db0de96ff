"""Frames sent from process to process through Valkey Streams: an inbox each, of which nothing need be kept.

What is lost here is read from the journal, so that a Valkey that is away, loading or full costs a little time alone.
redis-py is imported here and nowhere else.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal, cast
from uuid import UUID

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from porch.background import end
from porch.storage.post import Stretch

log = logging.getLogger(__name__)

MOST_ENTRIES = 1000
MAX_WAITING_BYTES = 16 * 1024 * 1024
EXPIRE_SECONDS = 60
BLOCK_SECONDS = 2.0
PATIENCE_SECONDS = 2.0
RETRY_SECONDS = 0.25
MOST_RETRY_SECONDS = 2.0
_Found = list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]
_connect: Any = vars(redis)["Redis"].from_url  # half typed
DOWN = (RedisError, OSError, TimeoutError)


class ValkeyPost:
    """Sends stretches to other processes' inboxes and hears those that come to its own.

    `may_send` is asked right before what waits is sent: a process that has lost its lease shows nothing any more.
    """

    def __init__(self, url: str, address: UUID, *, may_send: Callable[[], bool] = lambda: True) -> None:
        self.sends = False
        """Whether others can be reached just now."""
        self.hears = False
        """Whether others reach this process."""
        self.sent = 0
        self._url = re.sub(r"^valkey(s?):", r"redis\1:", url)
        self._address = address
        self._may_send = may_send
        self._hear: Callable[[Stretch], None] = lambda stretch: None
        self._on_change: Callable[[], None] = lambda: None
        self._waiting: dict[UUID, list[Stretch]] = {}
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._read_to = b"0-0"
        self._told = False  # once for both connections
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, *, hear: Callable[[Stretch], None], on_change: Callable[[], None]) -> None:
        """Call `hear` with every stretch that comes, `on_change` when `sends` or `hears` has changed."""
        self._hear, self._on_change = hear, on_change

    def send(self, to: UUID, stretch: Stretch) -> None:
        """Send frames to an inbox at once; they are dropped while Valkey is away or far too slow."""
        if not self.sends:
            return
        self._waiting_bytes += len(stretch.frames)
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._drop()
            return
        self._waiting.setdefault(to, []).append(stretch)
        self._wake.set()

    async def start(self) -> None:
        """Connect; where that fails it is tried again in the background."""
        tried = [asyncio.Event(), asyncio.Event()]
        self._tasks = [
            asyncio.create_task(self._keep("sends", self._write, tried[0]), name="post-out"),
            asyncio.create_task(self._keep("hears", self._read, tried[1]), name="post-in"),
        ]
        for event in tried:
            await event.wait()

    async def stop(self) -> None:
        """Let go of the connections; what was not sent is in the journal."""
        await end(*self._tasks)
        self.sends = self.hears = False

    async def _keep(
        self,
        name: Literal["sends", "hears"],
        work: Callable[[Any], Coroutine[Any, Any, None]],
        tried: asyncio.Event,
    ) -> None:
        """Do the work on a connection of its own, again whenever it breaks."""
        retry = RETRY_SECONDS
        while True:
            client = _connect(
                self._url,
                single_connection_client=True,
                protocol=2,
                socket_connect_timeout=PATIENCE_SECONDS,
                socket_timeout=None,  # it is kept by `wait_for`, in which a cancel can get lost; we keep it ourselves
                retry=Retry(NoBackoff(), 0),
            )
            try:
                async with asyncio.timeout(PATIENCE_SECONDS * 2):
                    await client.ping()  # refused while it loads
                retry = RETRY_SECONDS
                self._set(name, there=True)
                if self._told and self.sends and self.hears:
                    log.warning("Valkey is there again")
                    self._told = False
                tried.set()
                await work(client)
            except DOWN as error:
                if not self._told:
                    why = str(error) or type(error).__name__
                    log.warning("Valkey is away, so streams follow by the journal: %s", why)
                    self._told = True
            except Exception:
                log.exception("What came from Valkey could not be followed")
            finally:
                self._set(name, there=False)
                tried.set()
                await _close(client)
            await asyncio.sleep(retry)
            retry = min(retry * 2, MOST_RETRY_SECONDS)

    def _set(self, name: Literal["sends", "hears"], *, there: bool) -> None:
        if getattr(self, name) != there:
            setattr(self, name, there)
            if not there and name == "sends":
                self._drop()
            self._on_change()

    async def _write(self, client: Any) -> None:
        while True:
            try:
                async with asyncio.timeout(BLOCK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await client.ping()
                continue
            waiting = self._waiting
            self._drop()
            if not self._may_send():
                continue
            pipe = client.pipeline(transaction=False)
            for address, stretches in waiting.items():
                key = _key(address)
                pipe.xadd(key, _pack(stretches), maxlen=MOST_ENTRIES, approximate=True)
                pipe.expire(key, EXPIRE_SECONDS)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await pipe.execute()
            self.sent += len(waiting)

    async def _read(self, client: Any) -> None:
        key = _key(self._address)
        while True:
            async with asyncio.timeout(BLOCK_SECONDS + PATIENCE_SECONDS):
                found = await client.xread({key: self._read_to}, count=100, block=int(BLOCK_SECONDS * 1000))
            for _, entries in cast("_Found", found or ()):
                for self._read_to, fields in entries:
                    for stretch in _unpack(fields):
                        self._hear(stretch)

    def _drop(self) -> None:
        self._waiting, self._waiting_bytes = {}, 0
        self._wake.clear()


def _key(address: UUID) -> str:
    return f"porch:inbox:{address.hex}"


def _pack(stretches: list[Stretch]) -> dict[bytes, bytes]:
    """Stretches as an entry's fields, those that follow one another as one."""
    joined: list[list[Stretch]] = []
    latest: dict[UUID, list[Stretch]] = {}
    for stretch in stretches:
        before = latest.get(stretch.run)
        if (
            before
            and before[-1].epoch == stretch.epoch
            and before[-1].last + 1 == stretch.first
            and stretch.frames
        ):
            before.append(stretch)
        else:
            latest[stretch.run] = [stretch]
            joined.append(latest[stretch.run])
    return {
        b"%b %d %d %d" % (each[0].run.hex.encode(), each[0].epoch, each[0].first, each[-1].last): b"".join(
            stretch.frames for stretch in each
        )
        for each in joined
    }


def _unpack(fields: dict[bytes, bytes]) -> Iterator[Stretch]:
    for head, frames in fields.items():
        run, epoch, first, last = head.decode().split(" ")
        yield Stretch(UUID(hex=run), int(epoch), int(first), int(last), frames)


async def _close(client: Any) -> None:
    with contextlib.suppress(*DOWN):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await client.aclose()
