"""What processes that share a database do for each other: say what is new, pass on a cancel, hand runs over."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from uuid import UUID

from porch.background import end
from porch.contract.errors import PorchError, Unavailable
from porch.contract.ids import format_id
from porch.runs.carrier import Carrier
from porch.runs.lease import Lease
from porch.runs.live import LiveRun
from porch.runs.tails import Source, Tails
from porch.runs.taps import Tap
from porch.storage.bus import Bus
from porch.storage.database import Database
from porch.storage.post import open_post

log = logging.getLogger(__name__)

WATCHED_SECONDS = 4.0
COUNT_SECONDS = 5.0
IDLE_SECONDS = 0.05
TELL_SECONDS = 3.0
MOST_LABEL = 200


class Replicas:
    """This process's part in a group of which nobody keeps a list.

    Every message here may be lost: cancels stand in their run's row, abandoned runs are looked for, and tails read
    the journal by themselves when they hear nothing.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        source: Source,
        carrier: Carrier,
        look: Callable[[], None],
        live_url: str | None = None,
    ) -> None:
        """`look` makes this process look for abandoned runs at once; `live_url` is the Valkey that carries frames."""
        self.bus = Bus(database)
        self.post = open_post(live_url, self.bus.id, may_send=lambda: lease.valid) if live_url else None
        self.tails = Tails(source, self.bus, lambda: self.post is not None and self.post.hears)
        self.taps: set[Tap] = set()
        if self.post:
            self.post.watch(hear=self.tails.receive, on_change=self._post_changed)
        self.others = 0
        """How many other processes were alive and taking runs when it last looked."""
        self.recheck = asyncio.Event()
        """Set when a credential has ended somewhere: whoever reads with it is to be looked for."""
        self.on_revoked: Callable[[], None] = lambda: None
        """Called when a credential may have ended elsewhere, before anybody is asked again."""
        self._database = database
        self._lease = lease
        self._carrier = carrier
        self._task: asyncio.Task[None] | None = None
        self.bus.listen("watch", self._watch)
        self.bus.listen("cancel", self._cancel)
        self.bus.listen("look", look)
        self.bus.listen("revoke", self._revoke)

    @property
    def post_state(self) -> str:
        """Whether Valkey carries frames between processes: `off`, `ok` or `down`."""
        if self.post is None:
            return "off"
        return "ok" if self.post.sends and self.post.hears else "down"

    async def start(self) -> None:
        """Begin to hear and to tell."""
        await self.bus.start()
        if self.post:
            await self.post.start()
        await self.count_others()
        self._task = asyncio.create_task(self._count(), name="replicas")

    async def stop(self) -> None:
        """Say the last words, and close."""
        await end(self._task)
        if self.post:
            await self.post.stop()
        await self.bus.stop()

    # -- leaving

    @property
    def draining(self) -> bool:
        """Whether this process is about to stop and takes nothing new."""
        return self._carrier.draining

    async def drain(self) -> bool:
        """Take nothing new from now on, where somebody else does; False when this process is alone."""
        try:
            async with asyncio.timeout(TELL_SECONDS):
                if not await self.count_others():
                    return False
                self._carrier.draining = True
                async with self._database.system() as connection:
                    await connection.execute("SELECT porch.drain_process($1)", self._lease.process)
        except (PorchError, TimeoutError) as error:
            log.info("Others could not be told that this server is about to stop: %r", error)
        return self.draining

    async def idle(self, seconds: float, hurry: asyncio.Event) -> None:
        """Wait until this process carries nothing any more, so long, or until told to hurry.

        Readers of other processes' runs are let go at once: they come back to one that stays.
        """
        log.info("Draining for up to %g s. Answers at work: %d", seconds, self._carrier.count)
        self.tails.let_go()
        try:
            async with asyncio.timeout(seconds):
                while self._carrier.known() and not hurry.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(IDLE_SECONDS):
                            await hurry.wait()
        except TimeoutError:
            log.info("Time is up. Answers handed over in their middle: %d", self._carrier.count)

    def refusal(self) -> Unavailable:
        """Why nothing new is taken just now."""
        if self.draining:
            return Unavailable("This server is about to stop. Send it again: another one takes it.")
        return Unavailable(
            "The server cannot take messages just now: it has no lease yet. Try again in a moment."
        )

    # -- telling

    def committed(self, live: LiveRun) -> None:
        """Frames of this run are in the journal: whoever follows it elsewhere may read them."""
        now = time.monotonic()
        for address, until in tuple(live.watchers.items()):
            if until < now:
                del live.watchers[address]
            else:
                self._tell_at(live, address)

    def adopted(self, live: LiveRun) -> None:
        """This process carries the run from now on: whoever follows it should say so again."""
        self.tails.wake(live.id)
        self._tell_at(live, None)

    def cancel(self, run: UUID, by: str) -> None:
        """Whoever carries the run should end it now; its row says so already."""
        self.bus.tell("cancel", run.hex, by[:MOST_LABEL])

    def hand_over(self) -> None:
        """Runs are there for whoever takes them."""
        self.bus.tell("look")

    def revoke(self) -> None:
        """A credential has ended here: nobody may go on with it anywhere."""
        self.recheck.set()
        self.bus.tell("revoke")

    def _tell_at(self, live: LiveRun, to: UUID | None) -> None:
        self.bus.tell("at", live.id.hex, str(live.epoch), str(live.committed_to), to=to)

    # -- hearing

    def _watch(self, run: str, address: str, way: str = "") -> None:
        live = self._carrier.get(UUID(hex=run))
        if live is None or live.lost:
            return
        watcher, until = UUID(hex=address), time.monotonic() + WATCHED_SECONDS
        tap = next((tap for tap in self.taps if tap.live is live and tap.address == watcher), None)
        if way == "post" and self.post is not None and self.post.sends:
            live.watchers.pop(watcher, None)
            if tap is None:
                tap = Tap(live, watcher, self.post, self.taps)
            tap.until = until
        else:
            if tap is not None:
                tap.close()
            live.watchers[watcher] = until
        self._tell_at(live, watcher)

    def _post_changed(self) -> None:
        """Valkey went or came: say how frames may reach us, and tell by the bus what can no longer be sent."""
        self.tails.ask_all()
        if self.post is not None and not self.post.sends:
            for tap in tuple(self.taps):
                tap.close()
                tap.live.watchers[tap.address] = tap.until
                self._tell_at(tap.live, tap.address)

    def _revoke(self) -> None:
        self.on_revoked()
        self.recheck.set()

    def _cancel(self, run: str, by: str) -> None:
        if live := self._carrier.get(UUID(hex=run)):
            log.info("%s is cancelled by word of another process", format_id("run", live.id))
            live.cancel(by)

    # -- counting

    async def count_others(self) -> int:
        """How many other processes are alive and take runs, as the database's clock sees it."""
        async with self._database.system() as connection:
            self.others = await connection.fetchval("SELECT porch.count_processes($1)", self._lease.process)
        return self.others

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            try:
                await self.count_others()
            except PorchError:
                continue
            except Exception:
                log.exception("Other servers could not be counted")
