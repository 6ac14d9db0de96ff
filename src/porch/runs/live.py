"""A run that this process holds: it numbers events, shows them to readers, and hands them to the journal.

Deltas are shown at once. Boundaries are shown when they are committed, and so is what comes behind one.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from msgspec import Struct

from porch.contract.events import AnyEvent, PauseReason, StreamChunk, shows_answer
from porch.contract.frames import Cursor, Framer
from porch.contract.ids import format_id
from porch.runs.lease import Lease, LeaseLost
from porch.runs.limits import LEAST_UNCOMMITTED_BYTES, uncommitted_room
from porch.runs.reader import End, Reader
from porch.runs.turn import Turn


class Ending(Struct, frozen=True):
    """What the end of a run writes beside its last event, in the same transaction; a pause is one that passes.

    It has a `pause`, `approvals` to write, as JSON, and when they are over in `wake`. What is open at a run's end is
    denied by `denied_by`.
    """

    status: str
    message: UUID | None = None
    parts: bytes = b""
    usage: bytes | None = None
    error: bytes | None = None
    pause: PauseReason | None = None
    wake: datetime | None = None
    approvals: bytes | None = None
    denied_by: str | None = None


class Row(NamedTuple):
    """Consecutive frames of one run on their way into the journal; `since` is the first one's time in ns."""

    live: "LiveRun"
    first: int
    last: int
    frames: bytes
    ending: Ending | None
    since: int
    tokens: int


_Chunk = tuple[int, bytes, bool]
"""The last seq, the frames, and whether they are a boundary: one of a hundred a second in each stream."""


class Sink(Protocol):
    """Where a live run's rows go: the journal. `waiting` is how many bytes of all are on the way there."""

    waiting: int

    def wake(self, live: "LiveRun", *, urgent: bool) -> None:
        """This run has frames to write, at once or within the batching delay."""
        ...


class LiveRun:
    """The producer's end of one run in one epoch.

    A token touches what is here, and with hundreds of streams most of that is in no cache: so the attributes have
    slots, and lie side by side.
    """

    __slots__ = (
        "_committed",
        "_confirmed",
        "_ending",
        "_framer",
        "_hidden",
        "_lease",
        "_shown",
        "_since",
        "_sink",
        "_taken",
        "_taken_to",
        "_tokens",
        "_uncommitted",
        "_waiters",
        "_woken",
        "begun",
        "cancel_by",
        "emitted_any",
        "ending",
        "epoch",
        "expired_after",
        "id",
        "lost",
        "name",
        "process",
        "queued",
        "readers",
        "seq",
        "shown_from",
        "task",
        "turn",
        "waiting_bytes",
        "watchers",
        "workspace",
    )

    def __init__(
        self,
        workspace: UUID,
        run: UUID,
        epoch: int,
        seq: int,
        lease: Lease,
        sink: Sink,
        *,
        confirmed: bool = True,
    ) -> None:
        """`seq` is the last one committed; the next event gets the one after it.

        A run that is not `confirmed` is still being committed as a whole: until `confirm` is called it shows
        and writes nothing.
        """
        self.workspace = workspace
        self.id = run
        self.name = format_id("run", run)
        self.epoch = epoch
        self.seq = seq
        self.process = lease.process
        self.emitted_any = False  # whether a reader may have seen part of an answer
        self.lost = False
        self.ending = False  # its last event is on the way and nothing may follow
        self.waiting_bytes = 0  # produced, but not committed yet
        self.shown_from = 0.0  # by time.perf_counter(): what was said before waited for the run's own commit
        self.begun = False  # a task that is cancelled before its first step never runs at all
        self.cancel_by: str | None = None
        self.expired_after: float | None = None  # seconds, once its time is up
        self.task: asyncio.Task[None] | None = None
        self.turn: Turn | None = None  # what it works on, for who asks what a run holds
        self.readers: list[Reader] = []
        self.watchers: dict[UUID, float] = {}  # processes that follow it, and until when
        self.queued = False  # the journal's own mark: it knows of this run's frames
        self._confirmed = confirmed
        self._woken = False  # the journal is woken early for the first words
        self._framer = Framer(self.name.encode(), epoch)
        self._lease = lease
        self._sink = sink
        self._committed = seq
        self._shown = seq
        self._taken = 0  # how many of the uncommitted chunks the journal has
        self._since = 0
        self._taken_to = seq
        self._ending: Ending | None = None
        self._tokens = 0
        self._uncommitted: list[_Chunk] = []  # a deque begins with room for 64
        self._hidden = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    # -- producing

    def emit(self, events: Sequence[AnyEvent]) -> None:
        """Show events now; the journal gets them soon. Raises LeaseLost when this process must stop."""
        self._append(events, boundary=False)
        if not (self._woken and self.queued):
            self._sink.wake(self, urgent=not self._woken)
            self._woken = True

    def say(self, events: Sequence[AnyEvent]) -> bool:
        """Show words in the moment they are read. False for what needs more than that, or more patience."""
        for event in events:
            if type(event) is not StreamChunk:
                return False
        if self.is_full:
            return False
        self.emit(events)
        return True

    async def commit(self, events: Sequence[AnyEvent], ending: Ending | None = None) -> None:
        """Commit events, then show them. Raises LeaseLost when they can no longer be committed.

        Once this is called the events will be committed or the run is lost, even when the wait is cancelled.
        """
        self._append(events, boundary=True)
        if ending:
            self._ending = ending
            self.ending = True
        done = asyncio.get_running_loop().create_future()
        self._waiters.append((self.seq, done))
        self._sink.wake(self, urgent=True)
        await done

    def count(self, tokens: int) -> None:
        """Count tokens as used by the workspace, together with what is written next."""
        self._tokens += tokens

    async def settle(self) -> None:
        """Wait until everything produced so far is committed: a producer goes no faster than the journal."""
        if self._committed < self.seq:
            done = asyncio.get_running_loop().create_future()
            self._waiters.append((self.seq, done))
            self._sink.wake(self, urgent=True)
            await done

    def _append(self, events: Sequence[AnyEvent], *, boundary: bool) -> None:
        if self.lost or not self._lease.covers(self.process):
            raise LeaseLost("This process lost its lease on the run; another one goes on with it.")
        self.emitted_any = self.emitted_any or shows_answer(events)
        now, seq = time.time_ns(), self.seq
        if len(events) == 1:
            seq += 1
            data = self._framer.frame(events[0], seq, now)
        else:
            data = self._framer.frames(events, seq + 1, now)
            seq += len(events)
        self.seq = seq
        chunks, size = self._uncommitted, len(data)
        if len(chunks) == self._taken:
            self._since = now
        chunks.append((seq, data, boundary))
        self.waiting_bytes += size
        self._sink.waiting += size
        if boundary or self._hidden or not self._confirmed:
            self._hidden += 1
        else:
            self._show(data, seq)

    def confirm(self) -> None:
        """The run is in the database: show what it said meanwhile, and have it written."""
        self._confirmed = True
        self.shown_from = time.perf_counter()
        self._show_up_to_boundary()
        if self._taken_to < self.seq:
            self._sink.wake(self, urgent=True)

    # -- the journal's side

    @property
    def confirmed(self) -> bool:
        """Whether the run is in the database."""
        return self._confirmed

    @property
    def is_full(self) -> bool:
        """Whether it has produced so much beyond what is committed that it must wait."""
        waiting = self.waiting_bytes
        return waiting > LEAST_UNCOMMITTED_BYTES and waiting > uncommitted_room(self._sink.waiting)

    @property
    def committed_to(self) -> int:
        """The last seq that is in the journal."""
        return self._committed

    @property
    def shown_to(self) -> int:
        """The last seq that anybody can have been given."""
        return self._shown

    def take(self) -> Row | None:
        """The frames that the journal has not got yet, as one row."""
        if self._taken_to == self.seq or not self._confirmed:
            return None
        chunks = self._uncommitted
        data = b"".join([data for _, data, _ in chunks[self._taken :]])
        self._taken = len(chunks)
        row = Row(self, self._taken_to + 1, self.seq, data, self._ending, self._since, self._tokens)
        self._taken_to, self._ending, self._tokens = self.seq, None, 0
        return row

    def committed(self, seq: int) -> None:
        """Everything up to `seq` is in the journal: show what waited for that."""
        self._committed = seq
        chunks, before = self._uncommitted, self.waiting_bytes
        count = 0
        for last, data, _ in chunks:
            if last > seq:
                break
            count += 1
            self.waiting_bytes -= len(data)
            if last > self._shown:
                self._hidden -= 1
                self._show(data, last)
        del chunks[:count]
        self._taken -= count
        if not self.lost:
            self._sink.waiting -= before - self.waiting_bytes
        if self._hidden:
            self._show_up_to_boundary()
        while self._waiters and self._waiters[0][0] <= seq:
            done = self._waiters.pop(0)[1]
            if not done.done():
                done.set_result(None)

    def _show_up_to_boundary(self) -> None:
        for last, data, boundary in self._uncommitted:
            if boundary:
                return
            if last > self._shown:
                self._hidden -= 1
                self._show(data, last)

    def lose(self) -> None:
        """Another producer has this run, or nobody may write it now: stop, and let readers look elsewhere."""
        if self.lost:
            return
        self.lost = True
        self._sink.waiting -= self.waiting_bytes
        error = LeaseLost("This process lost its lease on the run; another one goes on with it.")
        for _, done in self._waiters:
            if not done.done():
                done.set_exception(error)
        self._waiters.clear()
        if self.task and self.begun:
            self.task.cancel()
        self._let_go("detached")

    def cancel(self, by: str) -> None:
        """Stop the run on somebody's word; it ends as cancelled unless its end is already on the way."""
        if not self.ending and self.cancel_by is None:
            self.cancel_by = by
            if self.task and self.begun:
                self.task.cancel()

    def expire(self, seconds: float) -> None:
        """Stop the run since its time is up; it ends as failed unless its end is already on the way."""
        if not self.ending and self.cancel_by is None:
            self.expired_after = seconds
            if self.task and self.begun:
                self.task.cancel()

    def close(self) -> None:
        """The run ended or paused, and its last event was shown."""
        self._let_go("ended")

    # -- readers

    def _show(self, data: bytes, seq: int) -> None:
        self._shown = seq
        readers = self.readers
        if len(readers) == 1:
            readers[0].push(data, Cursor(self.epoch, seq))
        elif readers:
            cursor = Cursor(self.epoch, seq)
            for reader in tuple(readers):
                reader.push(data, cursor)

    def attach(self, reader: Reader) -> bool:
        """Feed a reader from here on, with what is shown but not in the journal yet.

        False when it stands before that, and must read the journal first, or beyond what there is.
        """
        if self.lost or not self._committed <= reader.cursor.seq <= self._shown:
            return False
        # What an earlier epoch showed and never committed is not in this one, whatever its numbers.
        if reader.cursor.epoch != self.epoch:
            return False
        for chunk in self._uncommitted:
            if chunk[0] > self._shown:
                break
            if chunk[0] > reader.cursor.seq:
                data = _behind(chunk, reader.cursor.seq)
                reader.push(data, Cursor(self.epoch, chunk[0]))
        self.readers.append(reader)
        return True

    def detach(self, reader: Reader) -> None:
        """Stop feeding a reader; the run goes on."""
        if reader in self.readers:
            self.readers.remove(reader)

    def _let_go(self, end: End) -> None:
        for reader in tuple(self.readers):
            reader.finish(end)
        self.readers.clear()


def _behind(chunk: _Chunk, seq: int) -> bytes:
    """The frames of a chunk that lie behind `seq`."""
    last, data, _ = chunk
    frames = data.split(b"\n\n")[:-1]
    skip = len(frames) - (last - seq)
    return data if skip <= 0 else b"".join(frame + b"\n\n" for frame in frames[skip:])
