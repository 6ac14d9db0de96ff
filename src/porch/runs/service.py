"""What one can do with runs: start one, look at it, follow it, cancel it."""

import asyncio
from uuid import UUID

from porch.agents.together import Sight, may_join
from porch.contract.attachments import attached_bytes
from porch.contract.errors import Conflict, NotFound, Unavailable
from porch.contract.events import AnyEvent
from porch.contract.frames import START, Cursor
from porch.contract.ids import format_id, new_uuid
from porch.contract.messages import Part
from porch.contract.principal import Principal
from porch.http.pressure import Pressure
from porch.identity.guests import pace_runs
from porch.models.service import Models
from porch.plugins.service import Tools
from porch.runs import queue, store
from porch.runs.backlog import Backlog
from porch.runs.carrier import Carrier
from porch.runs.company import Porches
from porch.runs.engine import Engine
from porch.runs.gauges import show_state
from porch.runs.guard import Guard
from porch.runs.inbox import Inbox
from porch.runs.input import check_vision
from porch.runs.journal import Journal
from porch.runs.lease import Lease
from porch.runs.ledger import Ledger, counts_starts
from porch.runs.limits import DEFAULTS, RunLimits
from porch.runs.live import LiveRun
from porch.runs.options import RunOptions
from porch.runs.places import Places, place_of
from porch.runs.queue import Queued
from porch.runs.quota import Quotas
from porch.runs.reach import check_cursor
from porch.runs.reader import Reader
from porch.runs.recall import Recall
from porch.runs.record import RunRecord, fetch_run, fetch_sight, list_runs
from porch.runs.recovery import Recovery
from porch.runs.replay import QUEUED, Page
from porch.runs.replicas import Replicas
from porch.runs.shelf import Shelf
from porch.runs.start import Asked, RunKey, Started, load_turn, new_run, refuse
from porch.runs.store import ACTIVE, HEAD, LoadedTurn, NewRun, Place
from porch.runs.stream import EventStream
from porch.runs.succession import Succession
from porch.runs.tails import Tails
from porch.runs.transcript import Transcript
from porch.runs.turn import Turn
from porch.storage.bus import Bus
from porch.storage.connection import is_dangling
from porch.storage.database import Database
from porch.telemetry.instruments import Telemetry

START_ATTEMPTS = 4
STOP_SECONDS = 2.0


class Runs:
    """The runs of this process, and the way to all others through the journal."""

    def __init__(
        self,
        database: Database,
        models: Models,
        tools: Tools,
        *,
        lease_seconds: float = 4.0,
        live_url: str | None = None,
        limits: RunLimits = DEFAULTS,
        ledger: Ledger | None = None,
    ) -> None:
        self.readers: set[Reader] = set()
        self.limits = limits
        self.pressure = Pressure()
        self.places = Places(limits, self.pressure)
        self.backlog = Backlog()
        self._database = database
        self.shelf = Shelf(database)
        self._lease = Lease(database, lease_seconds)
        self.ledger = ledger or Ledger(Telemetry(), database)
        self.telemetry = self.ledger.telemetry
        show_state(self)
        self.quotas = Quotas(database)
        self._journal = Journal(database, self.telemetry.journal_lag)
        engine = Engine(models, tools, self.ledger, self.quotas)
        self.carrier = Carrier(engine, self._lease, self._journal)
        self.carrier.run_seconds = limits.run_seconds
        self._lease.watch(on_lost=self.carrier.lose_all, on_cancel=self.carrier.cancel)
        self._recovery = Recovery(database, self._lease, self.carrier, self.quotas, lease_seconds / 8)
        self.carrier.on_doubt = self._recovery.doubt
        self.inbox = Inbox(database, self._recovery.hurry)
        self.replicas = Replicas(database, self._lease, self, self.carrier, self._recovery.hurry, live_url)
        self._guard = Guard(self.readers, database, self.replicas)
        self.recall = Recall(self.replicas.bus)
        self.company = Porches(database, self.replicas.bus)
        self._journal.on_committed = self.replicas.committed
        self.carrier.on_adopted, self.carrier.on_answered = self.replicas.adopted, self.recall.answered
        self.succession = Succession(database, self._lease, self.carrier, self.replicas, lease_seconds / 8)
        self.succession.watch(
            self._recovery.doubt, self.recall.deleted, lambda: self.places.check_run(self.carrier.count)
        )
        self.started = 0

    @property
    def ready(self) -> bool:
        """Whether this process may take messages."""
        return self.carrier.takes and self._lease.valid

    @property
    def state(self) -> str:
        """In a word or two, for who waits for it to be ready."""
        return "ok" if self.ready else "draining" if self.replicas.draining else "waiting for a lease"

    @property
    def bus(self) -> Bus:
        """How this process talks with others on its database."""
        return self.replicas.bus

    @property
    def tails(self) -> Tails:
        """The runs of other processes that readers follow here."""
        return self.replicas.tails

    @property
    def taken_over(self) -> int:
        """How many runs it took over from others."""
        return self.carrier.taken_over

    @property
    def process(self) -> UUID:
        """The id under which this process holds its lease."""
        return self._lease.process

    @property
    def active(self) -> int:
        """How many runs this process carries."""
        return self.carrier.count

    @property
    def trouble(self) -> str | None:
        """What keeps this process from writing its journal, None when nothing does."""
        return self._journal.trouble

    @property
    def waiting_bytes(self) -> int:
        """How much its runs have produced that is not committed yet."""
        return sum(live.waiting_bytes for live in self.carrier.runs)

    async def start(self) -> None:
        """Take a lease, and look for runs that were left behind. Raises DatabaseUnavailable."""
        await self._lease.start()
        try:
            await self._journal.start()
            await self.quotas.look()
            await self.replicas.start()
        except BaseException:
            await self._lease.stop()
            raise
        self._recovery.start()
        self.ledger.start()
        self.succession.start()
        self._guard.start()
        self.carrier.open = True

    async def leave(self, seconds: float, patient: bool, hurry: asyncio.Event) -> None:
        """Stop in order; if `patient`, what is at work has so many seconds to end where others take what comes."""
        if patient and seconds > 0 and self.carrier.open and await self.replicas.drain():
            self._recovery.drain()
            await self.replicas.idle(seconds, hurry)
        await self.stop()

    async def stop(self) -> None:
        """Stop in order: what is at work is left, committed as far as it came, to the next process."""
        if not self.carrier.open:
            return
        self.carrier.open = False
        await self.succession.stop()
        await self._recovery.stop()
        await self.carrier.stop(STOP_SECONDS)
        await self._journal.stop()
        await self._lease.stop()
        self.replicas.hand_over()
        await self.replicas.stop()
        for reader in tuple(self.readers):
            reader.finish("ended")
        await self._guard.stop()
        await self.ledger.stop()

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

        Raises NotFound, Conflict (`conversation_busy`) when a run is at work there, Unavailable without a lease.
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

    @counts_starts
    async def ask(self, principal: Principal, conversation: UUID, asked: Asked) -> Started:
        """Commit what is asked with its run, and begin to answer.

        Raises what `open_run` does, Overloaded, and RateLimited for a guest who asks too often or in two places.
        """
        if not self.ready:
            raise self.replicas.refusal()
        self.places.check_run(self.carrier.count)
        if principal.kind == "guest":
            await pace_runs(self._database, principal, conversation, attached_bytes(asked.parts or ()))
        for _ in range(START_ATTEMPTS):
            turn = await load_turn(self._database, self.recall, principal, conversation, asked)
            check_vision(asked.parts or (), turn.definition)
            self.places.check_run(self.carrier.count)
            new, events = new_run(principal, conversation, turn, asked, self._lease.process)
            sight = turn.sight(conversation)
            # The model is asked while the message is being committed: its answer is what takes time, and
            # nothing of it is shown or written before.
            live = self._begin(new, turn, asked, events) if turn.active_run is None else None
            outcome, active = await self._commit_start(new, live)
            if outcome == "started":
                if live is None and self.carrier.get(new.run) is None:
                    live = self._begin(new, turn, asked, events)
                # Unless the run was taken for abandoned meanwhile: then a later epoch carries it already.
                if live is not None and self.carrier.get(new.run) is live:
                    live.confirm()
                else:
                    self._recovery.doubt()
                self.started += 1
                return Started(new.run, new.message, new.frames, Cursor(1, new.last_seq), sight)
            if outcome == "queued":
                await self.succession.enter(new, active)
                self.started += 1
                return Started(new.run, new.message, b"", START, sight, queued=True)
            if outcome not in ("missing", "moved"):
                raise await refuse(self._database, principal, outcome, active)
            self.recall.forget(new.workspace, turn)
        raise Conflict(
            "Others write into this conversation at the same time. Read it again, then send once more."
        )

    async def _commit_start(self, new: NewRun, live: LiveRun | None) -> tuple[str, UUID | None]:
        started = False
        self.carrier.starting(new.run)
        try:
            if live is not None:
                await asyncio.sleep(0)  # so the model is asked first: its answer takes longer than a commit
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
            self.carrier.settled(new.run)
            if live is not None and not started:
                live.lose()

    def _begin(self, new: NewRun, turn: LoadedTurn, asked: Asked, events: list[AnyEvent]) -> LiveRun:
        """Ask the model; what it answers stays here until the run is confirmed."""
        live = self.carrier.begin(new.workspace, new.run, new.last_seq)
        self.carrier.carry(
            live,
            Turn(
                workspace=new.workspace,
                run=new.run,
                conversation=new.conversation,
                fresh=asked.opens(turn),
                definition=turn.definition,
                history=asked.history(turn),
                more=turn.more,
                options=asked.options,
                transcript=Transcript(events),
                before=turn if asked.opens(turn) else None,
            ),
        )
        return live

    # -- looking

    async def get(self, principal: Principal, run: UUID) -> RunRecord:
        """A run's state. Raises NotFound."""
        record = await fetch_run(self._database, principal.workspace, run)
        if record is None or not await may_join(self._database, principal, record.sight):
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
        await self._check_sight(principal, conversation)
        return await list_runs(self._database, principal.workspace, conversation, before, limit)

    async def follow(self, principal: Principal, run: UUID, cursor: Cursor = START) -> EventStream | None:
        """The run's stream behind a cursor; None when that cursor stands at its end, or where it is paused.

        Raises NotFound, TooManyStreams and Overloaded, and Conflict for a cursor that the run cannot have given.
        """
        if self.replicas.draining:
            raise self.replicas.refusal()
        record, page = await self.get(principal, run), None
        if record.status not in ACTIVE or record.status == "paused":
            page = await self.read(principal.workspace, run, cursor)
        check_cursor(cursor, record.epoch, self.live(run), page)
        if page is not None and page.newer is None and cursor.seq >= page.last and not page.at_work:
            return None
        self.places.check_stream(principal)
        stream = self._stream(principal, run, cursor, record.sight)
        stream.found = page
        return stream.waiting() if record.status == "queued" else stream

    def follow_new(self, principal: Principal, started: Started) -> EventStream:
        """The stream of a run that has just begun. Whether there is room `places.check_stream` says before that."""
        stream = self._stream(principal, started.run, started.cursor, started.sight, started.frames)
        return stream.waiting() if started.queued else stream

    def _stream(
        self, principal: Principal, run: UUID, cursor: Cursor, sight: Sight, first: bytes = b""
    ) -> EventStream:
        place = place_of(principal)
        return EventStream(self, principal.workspace, run, cursor, first=first, place=place, sight=sight)

    def live(self, run: UUID) -> LiveRun | None:
        """The run's producer, if it is this process."""
        return self.carrier.get(run)

    async def read(self, workspace: UUID, run: UUID, cursor: Cursor) -> Page | None:
        """The journal behind a cursor."""
        page = await self.shelf.read(workspace, run, cursor.epoch, cursor.seq)
        if page is not None:
            return page
        if await queue.is_waiting(self._database, workspace, run):
            return QUEUED
        # Its turn may have come between the two.
        return await self.shelf.read(workspace, run, cursor.epoch, cursor.seq)

    async def queued(self, principal: Principal, conversation: UUID) -> list[Queued]:
        """What waits in a conversation, in the order in which it will be answered. Raises NotFound."""
        await self._check_sight(principal, conversation)
        return await queue.list_queued(self._database, principal.workspace, conversation)

    async def _check_sight(self, principal: Principal, conversation: UUID) -> None:
        found = await fetch_sight(self._database, principal.workspace, conversation)
        if found is None or not await may_join(self._database, principal, found):
            raise NotFound(f"There is no conversation {format_id('conv', conversation)!r} here.")

    # -- cancelling

    async def cancel(self, principal: Principal, run: UUID) -> RunRecord:
        """Ask the run to end as cancelled; nothing happens when it is over. Raises NotFound."""
        record = await self.get(principal, run)
        principal.require("run", "agents", format_id("agt", record.agent))
        if record.status == "queued":
            if await self.succession.withdraw(principal.workspace, run, principal.label):
                return await self.get(principal, run)
            record = await self.get(principal, run)  # its turn came meanwhile
        if record.status in ACTIVE:
            # As a row first: what was acknowledged holds, even if this process dies before it ends the run.
            await store.request_cancel(self._database, principal.workspace, run, principal.label)
            if live := self.carrier.get(run):
                live.cancel(principal.label)
            else:
                self.replicas.cancel(run, principal.label)
                self._recovery.hurry()  # a paused one has no holder
        return record
