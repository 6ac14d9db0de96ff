"""What one can do with runs: start one, look at it, follow it, cancel it."""

import asyncio
import logging
import time
from dataclasses import dataclass
from uuid import UUID

from porch.contract.attachments import attached_bytes
from porch.contract.errors import Conflict, ConversationBusy, InProgress, NotFound, Unavailable
from porch.contract.events import AnyEvent, ErrorInfo
from porch.contract.frames import KEEP_ALIVE, START, Cursor
from porch.contract.ids import format_id, new_uuid
from porch.contract.messages import Part
from porch.contract.principal import Principal
from porch.identity.guests import occupied, pace_runs
from porch.models.service import Models
from porch.plugins.service import Tools
from porch.runs import store
from porch.runs.engine import Engine
from porch.runs.guard import guard_readers
from porch.runs.input import check_vision
from porch.runs.journal import Journal
from porch.runs.lease import Lease
from porch.runs.live import LiveRun
from porch.runs.options import RunOptions
from porch.runs.reader import Reader
from porch.runs.record import RunRecord, fetch_participant, fetch_run, list_runs
from porch.runs.recovery import Recovery
from porch.runs.start import Asked, RunKey, load_turn, may_see, new_run
from porch.runs.store import ACTIVE, HEAD, Claimed, LoadedTurn, NewRun, Page, Place
from porch.runs.stream import KEEP_ALIVE_SECONDS, EventStream
from porch.runs.transcript import Transcript
from porch.runs.turn import Turn
from porch.storage.connection import is_dangling
from porch.storage.database import Database

log = logging.getLogger(__name__)

START_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was committed: its ids, and its first frames as they stand in the journal."""

    run: UUID
    message: UUID
    frames: bytes
    cursor: Cursor


class Runs:
    """The runs of this process, and the way to all others through the journal."""

    def __init__(
        self, database: Database, models: Models, tools: Tools, *, lease_seconds: float = 4.0
    ) -> None:
        self.readers: set[Reader] = set()
        self._database = database
        self._engine = Engine(models, tools)
        self._live: dict[UUID, LiveRun] = {}
        self._starting: set[UUID] = set()
        self._lease = Lease(database, lease_seconds, on_lost=self._lose_all, on_cancel=self._cancel_here)
        self._journal = Journal(database)
        self._recovery = Recovery(database, self._lease, self, lease_seconds / 8)
        self._keep_alive: asyncio.Task[None] | None = None
        self._guard: asyncio.Task[None] | None = None
        self._open = False
        self.started = 0
        self.taken_over = 0

    @property
    def ready(self) -> bool:
        """Whether this process may take messages."""
        return self._open and self._lease.valid

    @property
    def process(self) -> UUID:
        """The id under which this process holds its lease."""
        return self._lease.process

    @property
    def active(self) -> int:
        """How many runs this process carries."""
        return len(self._live)

    @property
    def waiting_bytes(self) -> int:
        """How much its runs have produced that is not committed yet."""
        return sum(live.waiting_bytes for live in self._live.values())

    async def start(self) -> None:
        """Take a lease, and look for runs that were left behind. Raises DatabaseUnavailable."""
        await self._lease.start()
        try:
            await self._journal.start()
        except BaseException:
            await self._lease.stop()
            raise
        self._recovery.start()
        self._keep_alive = asyncio.create_task(self._send_keep_alives(), name="keep-alive")
        self._guard = asyncio.create_task(guard_readers(self.readers), name="guard")
        self._open = True

    async def stop(self) -> None:
        """Stop in order: what is at work is left, committed as far as it came, to the next process."""
        if not self._open:
            return
        self._open = False
        await self._recovery.stop()
        tasks = [live.task for live in self._live.values() if live.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2)
        await self._journal.stop()
        await self._lease.stop()
        for reader in tuple(self.readers):
            reader.finish("ended")
        for task in (self._keep_alive, self._guard):
            if task:
                task.cancel()

    # -- starting

    async def start_run(
        self,
        principal: Principal,
        conversation: UUID,
        parts: list[Part],
        key: RunKey | None = None,
        place: Place = HEAD,
    ) -> Started:
        """Commit a message and its run together, and begin to answer; a `place` of its own begins a branch.

        Raises NotFound, Conflict (`conversation_busy`) when a run is at work there, Unavailable while this
        process has no lease.
        """
        return await self.ask(principal, conversation, Asked(parts, key, place))

    async def regenerate(
        self, principal: Principal, conversation: UUID, message: UUID, key: RunKey | None = None
    ) -> Started:
        """Answer a user's message anew, named by itself or by an answer it has: the new one stands beside it.

        Raises what `start_run` does.
        """
        return await self.ask(principal, conversation, Asked(None, key, Place("answer", message)))

    async def open_run(self, principal: Principal, asked: Asked) -> Started:
        """Answer in a conversation opened for this call alone, with the agent that is `asked`.

        Raises what `start_run` does, and InvalidInput for a caller's tool with the name of another one.
        """
        return await self.ask(principal, new_uuid(), asked)

    async def ask(self, principal: Principal, conversation: UUID, asked: Asked) -> Started:
        """Commit what is asked with its run, and begin to answer.

        Raises what `open_run` does, and RateLimited for a guest who asks too often, or in two places at once.
        """
        if not self.ready:
            raise Unavailable(
                "The server cannot take messages just now: it has no lease yet. Try again in a moment."
            )
        if principal.kind == "guest":
            await pace_runs(self._database, principal, conversation, attached_bytes(asked.parts or ()))
        for _ in range(START_ATTEMPTS):
            turn = await load_turn(self._database, principal, conversation, asked)
            check_vision(asked.parts or (), turn.definition)
            new, events = new_run(principal, conversation, turn, asked, self._lease.process)
            # The model is asked while the message is being committed: its answer is what takes time, and
            # nothing of it is shown or written before.
            live = self._begin(new, turn, asked, events) if turn.active_run is None else None
            outcome, active = await self._commit_start(new, live)
            if outcome == "started":
                if live is None and new.run not in self._live:
                    live = self._begin(new, turn, asked, events)
                # Unless the run was taken for abandoned meanwhile: then a later epoch carries it already.
                if live is not None and self._live.get(new.run) is live:
                    live.confirm()
                else:
                    self._recovery.doubt()
                self.started += 1
                return Started(new.run, new.message, new.frames, Cursor(1, new.last_seq))
            if outcome == "repeated":
                raise InProgress("This message was sent twice at once under its Idempotency-Key. Try again.")
            if outcome == "busy":
                raise _busy(active)
            if outcome == "occupied":
                raise occupied()
        raise Conflict(
            "Others write into this conversation at the same time. Read it again, then send once more."
        )

    async def _commit_start(self, new: NewRun, live: LiveRun | None) -> tuple[str, UUID | None]:
        started = False
        self._starting.add(new.run)
        try:
            outcome, active = await store.start_run(self._database, new)
            started = outcome == "started"
            return outcome, active
        except BaseException as error:
            # It may have been committed all the same; then somebody must carry it.
            self._recovery.doubt(late=True)
            if is_dangling(error):
                raise Unavailable(
                    "The message was not taken: its agent was deleted or this server lost its lease just now. "
                    "Look whether the agent is there, and send it again."
                ) from error
            raise
        finally:
            self._starting.discard(new.run)
            if live is not None and not started:
                live.lose()

    def _begin(self, new: NewRun, turn: LoadedTurn, asked: Asked, events: list[AnyEvent]) -> LiveRun:
        """Ask the model; what it answers stays here until the run is confirmed."""
        live = LiveRun(new.workspace, new.run, 1, new.last_seq, self._lease, self._journal, confirmed=False)
        self._live[new.run] = live
        self.carry(
            live,
            Turn(
                workspace=new.workspace,
                run=new.run,
                definition=turn.definition,
                history=asked.history(turn),
                more=turn.more,
                options=asked.options,
                transcript=Transcript(events),
            ),
        )
        return live

    # -- looking

    async def get(self, principal: Principal, run: UUID) -> RunRecord:
        """A run's state. Raises NotFound."""
        record = await fetch_run(self._database, principal.workspace, run)
        if record is None or not may_see(principal, record.participant_kind, record.participant):
            raise NotFound(f"There is no run {format_id('run', run)!r} here.")
        return record

    async def options(self, principal: Principal, run: UUID) -> RunOptions:
        """What the caller added to a run. Raises NotFound."""
        await self.get(principal, run)
        return await store.load_options(self._database, principal.workspace, run)

    async def of_conversation(
        self, principal: Principal, conversation: UUID, before: UUID | None, limit: int
    ) -> list[RunRecord]:
        """A conversation's runs, newest first, from behind one of them. Raises NotFound."""
        found = await fetch_participant(self._database, principal.workspace, conversation)
        if found is None or not may_see(principal, *found):
            raise NotFound(f"There is no conversation {format_id('conv', conversation)!r} here.")
        return await list_runs(self._database, principal.workspace, conversation, before, limit)

    async def follow(self, principal: Principal, run: UUID, cursor: Cursor = START) -> EventStream | None:
        """The run's stream behind a cursor; None when that cursor stands at its end.

        Raises NotFound, and Conflict for a cursor beyond the end of a run that is over.
        """
        record = await self.get(principal, run)
        if record.status not in ACTIVE:
            page = await self.read(principal.workspace, run, cursor)
            if page is not None and page.newer is None and cursor.seq >= page.last:
                if cursor.seq > page.last:
                    raise Conflict(
                        f"The run ended at {page.last}, before the cursor {cursor}. Read it from its start."
                    )
                return None
        return EventStream(self, principal.workspace, run, cursor)

    def follow_new(self, principal: Principal, started: Started) -> EventStream:
        """The stream of a run that has just begun, without asking the database."""
        return EventStream(self, principal.workspace, started.run, started.cursor, first=started.frames)

    def live(self, run: UUID) -> LiveRun | None:
        """The run's producer, if it is this process."""
        return self._live.get(run)

    async def read(self, workspace: UUID, run: UUID, cursor: Cursor) -> Page | None:
        """The journal behind a cursor."""
        return await store.read_journal(self._database, workspace, run, cursor.epoch, cursor.seq)

    # -- cancelling

    async def cancel(self, principal: Principal, run: UUID) -> RunRecord:
        """Ask the run to end as cancelled; nothing happens when it is over. Raises NotFound."""
        record = await self.get(principal, run)
        principal.require("run", "agents", format_id("agt", record.agent))
        if record.status in ACTIVE:
            # As a row first: what was acknowledged holds, even if this process dies before it ends the run.
            await store.request_cancel(self._database, principal.workspace, run, principal.label)
            if live := self._live.get(run):
                live.cancel(principal.label)
        return record

    def _cancel_here(self, run: UUID, by: str) -> None:
        if live := self._live.get(run):
            live.cancel(by)
        else:
            self._recovery.doubt()

    # -- carrying

    def adopt(self, claimed: Claimed, last_seq: int) -> LiveRun:
        """A producer for a claimed run, known to this process's readers."""
        live = LiveRun(claimed.workspace, claimed.run, claimed.epoch, last_seq, self._lease, self._journal)
        # From the first step on words may have been shown that never reached the journal.
        live.emitted_any = last_seq > 1
        self.taken_over += 1
        if before := self._live.get(claimed.run):
            before.lose()
        self._live[claimed.run] = live
        return live

    def carry(self, live: LiveRun, turn: Turn) -> None:
        """Go on with the turn in the background."""
        live.task = asyncio.create_task(self._carry(live, turn), name=live.name)

    async def give_up(self, live: LiveRun, turn: Turn, error: ErrorInfo) -> None:
        """End a run that cannot go on."""
        try:
            await self._engine.fail(live, turn, error)
        finally:
            self._drop(live)

    async def _carry(self, live: LiveRun, turn: Turn) -> None:
        try:
            await self._engine.execute(live, turn)
        finally:
            if not live.ending and self._open:
                live.lose()  # whatever went wrong, somebody has to end the run
            self._drop(live)

    def release(self, run: UUID) -> None:
        """Forget the producer of a run whose takeover failed."""
        if live := self._live.get(run):
            live.lose()
            self._drop(live)

    def known(self) -> list[UUID]:
        """The runs that this process carries or is about to begin."""
        return [*self._live, *self._starting]

    def _drop(self, live: LiveRun) -> None:
        if self._live.get(live.id) is live:
            del self._live[live.id]
        if live.lost:
            self._recovery.doubt()
        live.close()

    def _lose_all(self) -> None:
        for live in tuple(self._live.values()):
            live.lose()

    async def _send_keep_alives(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_SECONDS / 3)
            quiet_since = time.monotonic() - KEEP_ALIVE_SECONDS
            for reader in tuple(self.readers):
                if reader.last_sent < quiet_since:
                    reader.push(KEEP_ALIVE)


def _busy(active: UUID | None) -> ConversationBusy:
    name = format_id("run", active) if active else "A run"
    return ConversationBusy(
        f"{name} is still answering in this conversation. Wait for its end, or cancel it first."
    )
