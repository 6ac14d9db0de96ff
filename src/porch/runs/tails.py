"""Runs that other processes carry, as this process's readers follow them: each is read once for all of them.

A tail asks whoever carries its run to say what was committed (`watch`, again and again, since nobody keeps it), and
reads the journal when it hears of something new (`at`). While nobody answers it looks by itself.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID

from porch.contract.errors import DatabaseUnavailable
from porch.contract.frames import Cursor, resync_frame
from porch.runs.live import LiveRun
from porch.runs.reader import End, Reader
from porch.runs.replay import JournalRow, Page, behind
from porch.storage.bus import Bus
from porch.storage.post import Stretch

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
WATCH_SECONDS = 1.0
HEARD_SECONDS = 2.5
GAP_SECONDS = 0.03
RECENT_BYTES = 64 * 1024
# Readers that are further behind read the journal themselves, each at its own pace.
MAX_STRIDE_BYTES = 256 * 1024


class Source(Protocol):
    """Where tails read: the service."""

    def live(self, run: UUID) -> LiveRun | None:
        """The run's producer, if it is this process."""
        ...

    async def read(self, workspace: UUID, run: UUID, cursor: Cursor) -> Page | None:
        """The journal behind a cursor."""
        ...


class Tail:
    """One run's journal, read as it grows and pushed to all readers that are level with it."""

    def __init__(
        self, source: Source, bus: Bus, posted: Callable[[], bool], workspace: UUID, run: UUID, cursor: Cursor
    ) -> None:
        """`cursor` is a place that the journal has reached; `posted` says whether frames reach this process."""
        self.run = run
        self.cursor = cursor
        self.over = False
        self.holders = 0  # streams that have to do with it; the last one's leaving ends it
        self.reads = 0
        self._source = source
        self._bus = bus
        self._posted = posted
        self._workspace = workspace
        self._readers: set[Reader] = set()
        self._ahead: dict[Reader, int] = {}
        self._recent: deque[JournalRow] = deque()
        self._recent_bytes = 0
        self._early: deque[JournalRow] = deque()  # frames that came ahead of those before them
        self._early_bytes = 0
        self._woken = asyncio.Event()
        self._moved = asyncio.Event()
        self._watch_at = 0.0
        self._heard_until = 0.0
        self._task = asyncio.create_task(self._run(), name="tail")

    # -- readers

    def attach(self, reader: Reader, *, committed: bool = False) -> bool:
        """Feed a reader from its cursor on; False when it must read the journal first.

        `committed` says that the journal holds everything up to its cursor, which may then be ahead of ours.
        """
        epoch, seq = reader.cursor
        if self.over or epoch != self.cursor.epoch:
            return False
        if seq > self.cursor.seq:
            if not committed:
                return False
            self._ahead[reader] = seq
        elif seq < self.cursor.seq:
            if not self._recent or self._recent[0].first > seq + 1:
                return False
            for row in self._recent:
                if row.last > seq:
                    reader.push(behind(row, seq), Cursor(row.epoch, row.last))
        self._readers.add(reader)
        return True

    def detach(self, reader: Reader) -> None:
        """Stop feeding a reader."""
        self._readers.discard(reader)
        self._ahead.pop(reader, None)

    async def moved(self, seconds: float) -> bool:
        """Wait until the run has gone on, or so long; a tail that is over does not wait."""
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Nobody here follows the run any more."""
        self._task.cancel()
        self.let_go("detached")

    def let_go(self, end: End) -> None:
        """Feed nobody any more."""
        self.over = True
        self._forget()
        self._dismiss(end)
        self._moved.set()

    # -- being woken

    def wake(self) -> None:
        """Look at once."""
        self._woken.set()

    def ask(self) -> None:
        """Look at once, and say again that somebody listens here."""
        self._watch_at = 0.0
        self._woken.set()

    def hear(self, epoch: int, seq: int) -> None:
        """Whoever carries the run says how far it is committed."""
        if epoch < self.cursor.epoch:
            return
        self._heard_until = time.monotonic() + HEARD_SECONDS
        if epoch > self.cursor.epoch:
            self._watch_at = 0.0  # another process has it now, which does not know of us
        if epoch > self.cursor.epoch or seq > self.cursor.seq:
            self._woken.set()

    def receive(self, stretch: Stretch) -> None:
        """Frames that whoever carries the run shows its own readers at this moment."""
        if self.over or stretch.epoch < self.cursor.epoch:
            return
        if not stretch.frames:
            self._woken.set()  # it ended there, or goes on elsewhere: the journal says which
            return
        row = JournalRow(stretch.first, stretch.last, stretch.epoch, stretch.frames)
        if row.epoch == self.cursor.epoch and row.first <= self.cursor.seq + 1:
            self.feed(row)
            return
        self._early.append(row)
        self._early_bytes += len(row.frames)
        while self._early_bytes > RECENT_BYTES:
            self._early_bytes -= len(self._early.popleft().frames)
        self._woken.set()

    # -- following

    async def _run(self) -> None:
        try:
            while not self.over:
                self._woken.clear()
                if self._source.live(self.run) is not None:
                    self.let_go("detached")
                    return
                self._watch()
                await self._look()
                if not self.over:
                    await self._rest()
        except Exception:
            log.exception("A run could not be followed")
            await asyncio.sleep(POLL_SECONDS)
            self.let_go("detached")

    def _watch(self) -> None:
        now = time.monotonic()
        if now >= self._watch_at:
            self._watch_at = now + WATCH_SECONDS
            way = ("post",) if self._posted() else ()
            self._bus.tell("watch", self.run.hex, self._bus.id.hex, *way)

    async def _look(self) -> None:
        """Read what is new; the readers are let go when the run has ended or paused."""
        try:
            page = await self._source.read(self._workspace, self.run, self.cursor)
        except DatabaseUnavailable:
            return
        self.reads += 1
        if page is None:
            self.let_go("ended")
            return
        if page.newer is not None and self.cursor.seq >= page.newer:
            self._take_back(Cursor(page.epoch, page.newer - 1))
        if sum(len(row.frames) for row in page.rows) > MAX_STRIDE_BYTES:
            self._skip(page.rows[-1])
        else:
            for row in page.rows:
                self.feed(row)
        self._feed_early()
        if self.cursor.seq < page.last:
            self._woken.set()
        elif page.status != "running":
            self.let_go("ended")

    async def _rest(self) -> None:
        """Wait until there may be something new; where frames are missing, until the journal may have them."""
        now = time.monotonic()
        if self._early:
            await asyncio.sleep(GAP_SECONDS)
        seconds = self._watch_at - now if now < self._heard_until else POLL_SECONDS
        while not self._woken.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            except TimeoutError:
                if time.monotonic() >= self._heard_until:
                    return
                # The answer says how far the run has come; as long as answers come nothing need be read.
                self._watch()
                seconds = WATCH_SECONDS

    def _feed_early(self) -> None:
        """Show what came ahead of the journal, as far as nothing is missing before it."""
        while self._early:
            row = self._early[0]
            if row.epoch > self.cursor.epoch or (
                row.epoch == self.cursor.epoch and row.first > self.cursor.seq + 1
            ):
                return
            self._early.popleft()
            self._early_bytes -= len(row.frames)
            if row.epoch == self.cursor.epoch:
                self.feed(row)

    def feed(self, row: JournalRow) -> None:
        """Show what lies behind the cursor of frames that reach up to it or begin before it."""
        if row.last <= self.cursor.seq:
            return
        if row.first <= self.cursor.seq:
            row = JournalRow(self.cursor.seq + 1, row.last, row.epoch, behind(row, self.cursor.seq))
        if row.epoch != self.cursor.epoch:
            self._forget()
        self._remember(row)
        self._move(Cursor(row.epoch, row.last))
        for reader in tuple(self._readers):
            seq = self._ahead.get(reader)
            if seq is None:
                reader.push(row.frames, self.cursor)
            else:
                if row.last > seq:
                    reader.push(behind(row, seq), self.cursor)
                if row.last >= seq:
                    del self._ahead[reader]

    def _take_back(self, cursor: Cursor) -> None:
        """What was shown behind this place was never committed: another process has gone on from there."""
        self._forget()
        self._move(cursor)
        for reader in tuple(self._readers):
            if reader not in self._ahead:
                reader.push(resync_frame("takeover", cursor.seq), cursor)

    def _skip(self, row: JournalRow) -> None:
        self._forget()
        self._move(Cursor(row.epoch, row.last))
        self._dismiss("detached")

    def _move(self, cursor: Cursor) -> None:
        self.cursor = cursor
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _remember(self, row: JournalRow) -> None:
        """Keep the newest frames, so that a reader who has just read the journal is not too late at once."""
        self._recent.append(row)
        self._recent_bytes += len(row.frames)
        while self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= len(self._recent.popleft().frames)

    def _forget(self) -> None:
        self._recent.clear()
        self._recent_bytes = 0

    def _dismiss(self, end: End) -> None:
        for reader in tuple(self._readers):
            reader.finish(end)
        self._readers.clear()
        self._ahead.clear()


class Tails:
    """The tails of this process, by run."""

    def __init__(self, source: Source, bus: Bus, posted: Callable[[], bool] = lambda: False) -> None:
        """`posted` says whether other processes can send frames to this one."""
        self._posted = posted
        self._source = source
        self._bus = bus
        self._tails: dict[UUID, Tail] = {}
        bus.listen("at", self._hear)
        bus.on_up(self.ask_all)

    def __len__(self) -> int:
        return len(self._tails)

    def get(self, run: UUID) -> Tail | None:
        """The run's tail, if somebody here follows it."""
        tail = self._tails.get(run)
        return None if tail is None or tail.over else tail

    @contextmanager
    def held(self, workspace: UUID, run: UUID, cursor: Cursor) -> Generator[Tail]:
        """The run's tail for the length of a block; a new one begins at the cursor, which the journal has reached."""
        tail = self._tails.get(run)
        if tail is None or tail.over:
            tail = self._tails[run] = Tail(self._source, self._bus, self._posted, workspace, run, cursor)
        tail.holders += 1
        try:
            yield tail
        finally:
            tail.holders -= 1
            if not tail.holders:
                tail.close()
                if self._tails.get(run) is tail:
                    del self._tails[run]

    def wake(self, run: UUID) -> None:
        """Something happened to this run in this process: look at once."""
        if tail := self._tails.get(run):
            tail.wake()

    def let_go(self) -> None:
        """End the streams of all these runs without an end of theirs: their readers come back elsewhere."""
        for tail in tuple(self._tails.values()):
            tail.let_go("ended")

    def _hear(self, run: str, epoch: str, seq: str) -> None:
        if tail := self._tails.get(UUID(hex=run)):
            tail.hear(int(epoch), int(seq))

    def receive(self, stretch: Stretch) -> None:
        """Frames of another process's run."""
        if tail := self._tails.get(stretch.run):
            tail.receive(stretch)

    def ask_all(self) -> None:
        """Have all say again that somebody listens here, and how frames may come."""
        for tail in self._tails.values():
            tail.ask()
