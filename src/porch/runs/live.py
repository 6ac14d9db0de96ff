"""A run that this process holds: it numbers events, shows them to readers, and hands them to the journal.

Deltas are shown at once. Boundaries are shown when they are committed, and so is what comes behind one.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID

from porch.contract.events import AnyEvent, shows_answer
from porch.contract.frames import Cursor, Framer
from porch.contract.ids import format_id
from porch.runs.lease import Lease, LeaseLost
from porch.runs.reader import End, Reader


@dataclass(frozen=True, slots=True)
class Ending:
    """What the end of a run writes beside its last event, in the same transaction."""

    status: str
    message: UUID | None = None
    parts: bytes = b""
    usage: bytes | None = None
    error: bytes | None = None


class Row(NamedTuple):
    """Consecutive frames of one run on their way into the journal."""

    live: "LiveRun"
    first: int
    last: int
    frames: bytes
    ending: Ending | None


class _Chunk(NamedTuple):
    last: int
    data: bytes
    boundary: bool


class Sink(Protocol):
    """Where a live run's rows go: the journal."""

    def wake(self, live: "LiveRun", *, urgent: bool) -> None:
        """This run has frames to write, at once or within the batching delay."""
        ...


class LiveRun:
    """The producer's end of one run in one epoch."""

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
        self.begun = False  # a task that is cancelled before its first step never runs at all
        self.cancel_by: str | None = None
        self.task: asyncio.Task[None] | None = None
        self.readers: set[Reader] = set()
        self.queued = False  # the journal's own mark: it knows of this run's frames
        self._confirmed = confirmed
        self._woken = False  # the journal is woken early for the first words
        self._framer = Framer(self.name.encode(), epoch)
        self._lease = lease
        self._sink = sink
        self._committed = seq
        self._shown = seq
        self._untaken: list[bytes] = []
        self._taken_to = seq
        self._ending: Ending | None = None
        self._uncommitted: deque[_Chunk] = deque()
        self._hidden = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    # -- producing

    def emit(self, events: Sequence[AnyEvent]) -> None:
        """Show events now; the journal gets them soon. Raises LeaseLost when this process must stop."""
        self._append(events, boundary=False)
        self._sink.wake(self, urgent=not self._woken)
        self._woken = True

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
        self._untaken.append(data)
        self.waiting_bytes += len(data)
        self._uncommitted.append(_Chunk(seq, data, boundary))
        if boundary or self._hidden or not self._confirmed:
            self._hidden += 1
        else:
            self._show(data, seq)

    def confirm(self) -> None:
        """The run is in the database: show what it said meanwhile, and have it written."""
        self._confirmed = True
        self._show_up_to_boundary()
        if self._untaken:
            self._sink.wake(self, urgent=True)

    # -- the journal's side

    @property
    def committed_to(self) -> int:
        """The last seq that is in the journal."""
        return self._committed

    def take(self) -> Row | None:
        """The frames that the journal has not got yet, as one row."""
        if not self._untaken or not self._confirmed:
            return None
        data, self._untaken = b"".join(self._untaken), []
        row = Row(self, self._taken_to + 1, self.seq, data, self._ending)
        self._taken_to, self._ending = self.seq, None
        return row

    def committed(self, seq: int) -> None:
        """Everything up to `seq` is in the journal: show what waited for that."""
        self._committed = seq
        chunks = self._uncommitted
        while chunks and chunks[0].last <= seq:
            chunk = chunks.popleft()
            self.waiting_bytes -= len(chunk.data)
            if chunk.last > self._shown:
                self._hidden -= 1
                self._show(chunk.data, chunk.last)
        if self._hidden:
            self._show_up_to_boundary()
        while self._waiters and self._waiters[0][0] <= seq:
            done = self._waiters.popleft()[1]
            if not done.done():
                done.set_result(None)

    def _show_up_to_boundary(self) -> None:
        for chunk in self._uncommitted:
            if chunk.boundary:
                return
            if chunk.last > self._shown:
                self._hidden -= 1
                self._show(chunk.data, chunk.last)

    def lose(self) -> None:
        """Another producer has this run, or nobody may write it now: stop, and let readers look elsewhere."""
        if self.lost:
            return
        self.lost = True
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

    def close(self) -> None:
        """The run ended or paused, and its last event was shown."""
        self._let_go("ended")

    # -- readers

    def _show(self, data: bytes, seq: int) -> None:
        self._shown = seq
        if self.readers:
            cursor = Cursor(self.epoch, seq)
            for reader in tuple(self.readers):
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
            if chunk.last > self._shown:
                break
            if chunk.last > reader.cursor.seq:
                data = _behind(chunk, reader.cursor.seq)
                reader.push(data, Cursor(self.epoch, chunk.last))
        self.readers.add(reader)
        return True

    def detach(self, reader: Reader) -> None:
        """Stop feeding a reader; the run goes on."""
        self.readers.discard(reader)

    def _let_go(self, end: End) -> None:
        for reader in tuple(self.readers):
            reader.finish(end)
        self.readers.clear()


def _behind(chunk: _Chunk, seq: int) -> bytes:
    """The frames of a chunk that lie behind `seq`."""
    frames = chunk.data.split(b"\n\n")[:-1]
    skip = len(frames) - (chunk.last - seq)
    return chunk.data if skip <= 0 else b"".join(frame + b"\n\n" for frame in frames[skip:])
