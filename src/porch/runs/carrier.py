"""The runs that this process carries: from the moment it may to the moment it must let go."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from porch.contract.events import ErrorInfo
from porch.runs.claims import Claimed
from porch.runs.engine import Engine
from porch.runs.journal import Journal
from porch.runs.lease import Lease
from porch.runs.limits import DEFAULTS
from porch.runs.live import LiveRun
from porch.runs.turn import Turn


class Carrier:
    """Producers by run, and the tasks that drive them.

    `on_doubt` is called when a run was let go without its end: somebody has to look after it. `after_end` is called
    with every run that is not carried here any more, `on_answered` with the turn of one that finished.
    """

    def __init__(self, engine: Engine, lease: Lease, journal: Journal) -> None:
        self.open = False
        self.draining = False  # what is carried may come to its end, and nothing new begins
        self.taken_over = 0
        self.on_adopted: Callable[[LiveRun], None] = lambda live: None
        self.on_doubt: Callable[[], None] = lambda: None
        self.after_end: Callable[[UUID], None] = lambda run: None
        self.on_answered: Callable[[Turn], None] = lambda turn: None
        self._engine = engine
        self._lease = lease
        self._journal = journal
        self.run_seconds = DEFAULTS.run_seconds
        self._live: dict[UUID, LiveRun] = {}
        self._starting: set[UUID] = set()

    @property
    def runs(self) -> list[LiveRun]:
        """All of them, as they stand just now."""
        return list(self._live.values())

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._live)

    @property
    def takes(self) -> bool:
        """Whether runs may begin here."""
        return self.open and not self.draining

    def get(self, run: UUID) -> LiveRun | None:
        """The run's producer, if it is this process."""
        return self._live.get(run)

    def known(self) -> list[UUID]:
        """The runs that this process carries or is about to begin."""
        return [*self._live, *self._starting]

    # -- taking up

    def begin(self, workspace: UUID, run: UUID, last_seq: int) -> LiveRun:
        """A producer for a run that is still being committed: it shows and writes nothing until it is confirmed."""
        live = LiveRun(workspace, run, 1, last_seq, self._lease, self._journal, confirmed=False)
        self._live[run] = live
        return live

    def adopt(self, claimed: Claimed, last_seq: int) -> LiveRun:
        """A producer for a claimed run, known to this process's readers."""
        live = LiveRun(claimed.workspace, claimed.run, claimed.epoch, last_seq, self._lease, self._journal)
        # From the first step on words may have been shown that never reached the journal.
        live.emitted_any = last_seq > 1
        self.taken_over += not claimed.waited
        if before := self._live.get(claimed.run):
            before.lose()
        self._live[claimed.run] = live
        self.on_adopted(live)
        return live

    def starting(self, run: UUID) -> None:
        """A run is being committed under this process's name."""
        self._starting.add(run)

    def settled(self, run: UUID) -> None:
        """Its commit came to an end, one way or the other."""
        self._starting.discard(run)

    # -- carrying

    def carry(self, live: LiveRun, turn: Turn) -> None:
        """Go on with the turn in the background."""
        live.turn = turn
        live.task = asyncio.create_task(self._carry(live, turn), name=live.name)

    async def give_up(self, live: LiveRun, turn: Turn, error: ErrorInfo) -> None:
        """End a run that cannot go on."""
        try:
            await self._engine.fail(live, turn, error)
        finally:
            self._drop(live)

    async def _carry(self, live: LiveRun, turn: Turn) -> None:
        clock = asyncio.get_running_loop().call_later(self.run_seconds, live.expire, self.run_seconds)
        try:
            await self._engine.execute(live, turn)
        finally:
            clock.cancel()
            if turn.answer is not None:
                self.on_answered(turn)
            if not live.ending and self.open:
                live.lose()  # whatever went wrong, somebody has to end the run
            self._drop(live)

    # -- letting go

    def release(self, run: UUID) -> None:
        """Forget the producer of a run whose takeover failed."""
        if live := self._live.get(run):
            live.lose()
            self._drop(live)

    def cancel(self, run: UUID, by: str) -> None:
        """Stop a run on somebody's word; one that is not known here is looked for."""
        if live := self._live.get(run):
            live.cancel(by)
        else:
            self.on_doubt()

    def lose_all(self) -> None:
        """The lease is gone: nothing may be written any more."""
        for live in self.runs:
            live.lose()

    async def stop(self, seconds: float) -> None:
        """Leave what is at work, committed as far as it came, to the next process."""
        tasks = [live.task for live in self.runs if live.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _drop(self, live: LiveRun) -> None:
        if self._live.get(live.id) is live:
            del self._live[live.id]
        if live.lost:
            self.on_doubt()
        live.close()
        self.after_end(live.id)
