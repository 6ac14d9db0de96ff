"""Who comes next: begins what waits in a conversation when the run before it has ended.

Whoever carried that run begins the next one. Behind it each process looks at all that wait from time to time, so
that nobody waits for a process that is gone, or for a word that was lost.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from uuid import UUID

from porch.background import end
from porch.contract.errors import DatabaseUnavailable, Overloaded, PorchError
from porch.contract.events import AnyEvent, ErrorInfo, RunCancelled, RunStarted, StepStarted
from porch.contract.frames import encode_frame
from porch.contract.ids import format_id
from porch.runs import queue, store
from porch.runs.carrier import Carrier
from porch.runs.input import check_vision
from porch.runs.lease import Lease, LeaseLost
from porch.runs.queue import Due, Waiting
from porch.runs.replicas import Replicas
from porch.runs.store import LoadedTurn, NewRun, Place
from porch.runs.transcript import Transcript
from porch.runs.turn import Turn
from porch.storage.database import Database

log = logging.getLogger(__name__)

LOOK_ROWS = 500


class Succession:
    """The queues of conversations, as far as this process moves them."""

    def __init__(
        self, database: Database, lease: Lease, carrier: Carrier, replicas: Replicas, every: float
    ) -> None:
        """`every` is the time between looks, in seconds."""
        self._database = database
        self._lease = lease
        self._carrier = carrier
        self._replicas = replicas
        self._doubt: Callable[..., None] = lambda: None
        self._on_begun: Callable[[UUID], None] = lambda conversation: None
        self._admit: Callable[[], None] = lambda: None
        self._every = every
        self._behind: dict[UUID, tuple[UUID, UUID]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrivals: dict[UUID, list[asyncio.Future[None]]] = {}
        self._look_task: asyncio.Task[None] | None = None
        self._reached = 0
        carrier.after_end = self._follow_up
        replicas.bus.listen("queued", self._hear_queued)
        replicas.bus.listen("begun", self._hear_begun)

    def watch(
        self, on_doubt: Callable[..., None], on_begun: Callable[[UUID], None], admit: Callable[[], None]
    ) -> None:
        """Whom to tell what happens here, and whom to ask.

        `on_doubt` hears that a run may have begun which is not carried, `on_begun` of each conversation in which one
        has begun; `admit` raises when none may.
        """
        self._doubt, self._on_begun, self._admit = on_doubt, on_begun, admit

    def start(self) -> None:
        """Begin looking."""
        self._look_task = asyncio.create_task(self._run(), name="succession")

    async def stop(self) -> None:
        """Begin nothing more."""
        await end(*self._tasks, self._look_task)

    # -- who waits

    async def enter(self, new: NewRun, active: UUID | None) -> None:
        """A message waits behind `active`: whoever carries that moves on when it ends, or ends it for this one."""
        if active is not None and self._carrier.get(active) is not None:
            self._behind[active] = (new.workspace, new.conversation)
        else:
            if active is not None:
                self._replicas.bus.tell("queued", active.hex, new.workspace.hex, new.conversation.hex)
            self._spawn(new.workspace, new.conversation)  # it may have ended meanwhile
        if new.busy == "interrupt" and active is not None:
            with contextlib.suppress(DatabaseUnavailable):  # then whoever looks at the queue does it
                await self._interrupt(new.workspace, active, new.asked_by)

    async def _interrupt(self, workspace: UUID, run: UUID, by: str) -> None:
        by = f"{by} (interrupted)"
        await store.request_cancel(self._database, workspace, run, by)
        if live := self._carrier.get(run):
            live.cancel(by)
        else:
            self._replicas.cancel(run, by)

    def _hear_begun(self, run: str) -> None:
        self._announce(UUID(hex=run))

    def _hear_queued(self, active: str, workspace: str, conversation: str) -> None:
        if self._carrier.get(UUID(hex=active)) is not None:
            self._behind[UUID(hex=active)] = (UUID(hex=workspace), UUID(hex=conversation))

    async def withdraw(self, workspace: UUID, run: UUID, by: str) -> bool:
        """End a run that waits as cancelled, its message kept beside the branch; False when it has begun."""
        waiting = await queue.next_queued(self._database, workspace, run, run)
        if waiting is None:
            return False
        outcome, _ = await self._take(waiting, "cancelled", [RunCancelled(by=by)], turn=False)
        return outcome == "begun"

    async def arrival(self, run: UUID, seconds: float) -> None:
        """Wait until this process begins the run, at most so long."""
        begun = asyncio.get_running_loop().create_future()
        self._arrivals.setdefault(run, []).append(begun)
        try:
            await asyncio.wait([begun], timeout=seconds)
        finally:
            waiting = self._arrivals.get(run, [])
            if begun in waiting:
                waiting.remove(begun)
            if not waiting:
                self._arrivals.pop(run, None)

    # -- moving on

    def _follow_up(self, ended: UUID) -> None:
        if where := self._behind.pop(ended, None):
            self._spawn(*where)

    def _spawn(self, workspace: UUID, conversation: UUID) -> None:
        if not self._carrier.takes:
            return
        task = asyncio.create_task(self._advance(workspace, conversation), name="succession of one")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _advance(self, workspace: UUID, conversation: UUID) -> None:
        """Begin whose turn it is; those that a later one interrupts end at once."""
        try:
            while self._carrier.takes and self._lease.valid:
                self._admit()
                waiting = await queue.next_queued(self._database, workspace, conversation)
                if waiting is None:
                    return
                if waiting.superseded_by is not None:
                    by = RunCancelled(by=f"{waiting.superseded_by} (interrupted)")
                    outcome, _ = await self._take(waiting, "cancelled", [by], turn=True)
                    stays = outcome == "begun"
                else:
                    outcome, stays = await self._begin(waiting), False
                if not (stays or outcome in ("gone", "changed")):
                    return
        except (DatabaseUnavailable, LeaseLost, Overloaded) as error:
            log.info("A queue must wait: %s", error)
        except Exception:
            log.exception("The queue of %s cannot move", format_id("conv", conversation))

    async def _begin(self, waiting: Waiting) -> str:
        """Commit a run's beginning, then carry it on."""
        process, model, since = self._lease.process, waiting.definition.models[0], time.time()
        self._carrier.starting(waiting.run)
        try:
            first = StepStarted(step="s1", model=model)
            outcome, more = await self._take(waiting, "running", [first], turn=True)
            if outcome == "begun":
                self._on_begun(waiting.conversation)
                if more:
                    self._behind[waiting.run] = (waiting.workspace, waiting.conversation)
                await self._carry(waiting, process, [_started(waiting), first], since)
            return outcome
        except BaseException:
            self._doubt(late=True)  # it may have begun all the same; then somebody must carry it
            raise
        finally:
            self._carrier.settled(waiting.run)

    async def _take(
        self, waiting: Waiting, status: str, behind: Sequence[AnyEvent], *, turn: bool
    ) -> tuple[str, bool]:
        now, name = time.time_ns(), format_id("run", waiting.run).encode()
        events: list[AnyEvent] = [_started(waiting), *behind]
        frames = b"".join(encode_frame(event, name, 1, seq, now) for seq, event in enumerate(events, 1))
        process = self._lease.process
        outcome, more = await queue.begin_queued(
            self._database, waiting, status, process, (len(events), frames), turn=turn
        )
        if outcome == "begun":
            self._replicas.bus.tell("begun", waiting.run.hex)
            if status == "cancelled":
                self._announce(waiting.run)
        return outcome, more

    async def _carry(self, waiting: Waiting, process: UUID, events: list[AnyEvent], since: float) -> None:
        place = Place("answer", waiting.message)
        loaded = await store.load_turn(self._database, waiting.workspace, waiting.conversation, place)
        if self._carrier.get(waiting.run) is not None or self._lease.process != process:
            self._doubt()  # it was taken over meanwhile, or has to be
            return
        live = self._carrier.begin(waiting.workspace, waiting.run, len(events))
        turn = _turn(waiting, loaded, events, since)
        live.confirm()
        fault = _fault(waiting, turn)
        if fault is None:
            self._carrier.carry(live, turn)
        self._announce(waiting.run)
        if fault is not None:
            await self._carrier.give_up(live, turn, fault)

    def _announce(self, run: UUID) -> None:
        for begun in self._arrivals.pop(run, ()):
            if not begun.done():
                begun.set_result(None)

    # -- looking

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                if self._carrier.takes and self._lease.valid:
                    await self._look()
            except (DatabaseUnavailable, LeaseLost) as error:
                log.info("Messages whose turn may have come are looked for later: %s", error)
            except Exception:
                log.exception("Looking at those who wait failed")

    async def _look(self) -> None:
        due, self._reached = await queue.find_queued(self._database, self._reached, LOOK_ROWS)
        for each in due:
            await self._move(each)

    async def _move(self, due: Due) -> None:
        if due.active_run is None:
            await self._advance(due.workspace, due.conversation)
        else:
            await self._interrupt(due.workspace, due.active_run, due.asked_by)


def _started(waiting: Waiting) -> RunStarted:
    return RunStarted(
        agent=f"@{waiting.workspace_handle}/{waiting.agent}",
        version=waiting.version,
        workspace=waiting.workspace_handle,
        conversation=format_id("conv", waiting.conversation),
        message=format_id("msg", waiting.message),
    )


def _turn(waiting: Waiting, loaded: LoadedTurn | None, events: list[AnyEvent], since: float) -> Turn:
    return Turn(
        workspace=waiting.workspace,
        run=waiting.run,
        definition=waiting.definition,
        history=loaded.history if loaded else [],
        more=bool(loaded and loaded.more),
        options=waiting.options,
        transcript=Transcript(events),
        since=since,
    )


def _fault(waiting: Waiting, turn: Turn) -> ErrorInfo | None:
    """Why the agent, as it is now, cannot answer what was taken from it as it was then."""
    try:
        waiting.options.check(waiting.definition)
        check_vision(turn.history[0].parts if turn.history else (), waiting.definition)
    except PorchError as error:
        return ErrorInfo(
            code=error.code,
            category=error.category,
            message=error.message,
            retryable=False,
            emitted_any=False,
        )
    return None
