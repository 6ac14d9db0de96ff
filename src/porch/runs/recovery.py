"""Takes over runs whose process is gone, and carries them on from their last committed boundary."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Protocol
from uuid import UUID

from porch.contract.errors import DatabaseUnavailable
from porch.contract.events import AnyEvent, ErrorInfo, RunResumed, StepDiscarded, decode_event
from porch.contract.frames import frame_data, split_frames
from porch.contract.ids import format_id
from porch.runs import store
from porch.runs.lease import Lease, LeaseLost
from porch.runs.live import LiveRun
from porch.runs.store import Claimed, TakenOver
from porch.runs.transcript import Transcript
from porch.runs.turn import Turn
from porch.storage.database import Database

log = logging.getLogger(__name__)

MAX_EPOCHS = 5
CLAIM_LIMIT = 64
DELTA = (b"\nevent: stream.chunk\n", b"\nevent: tool_call.delta\n", b"\nevent: tool_result.chunk\n")


class Carrier(Protocol):
    """Who carries a run on: the service."""

    def adopt(self, claimed: Claimed, last_seq: int) -> LiveRun:
        """A producer for a claimed run, known to this process's readers."""
        ...

    def carry(self, live: LiveRun, turn: Turn) -> None:
        """Go on with the turn in the background."""
        ...

    def release(self, run: UUID) -> None:
        """Forget the producer of a run whose takeover failed."""
        ...

    def known(self) -> list[UUID]:
        """The runs that this process carries or is about to begin."""
        ...

    async def give_up(self, live: LiveRun, turn: Turn, error: ErrorInfo) -> None:
        """End a run that cannot go on."""
        ...


class Recovery:
    """Looks for abandoned runs while the process lives."""

    def __init__(self, database: Database, lease: Lease, carrier: Carrier, every: float) -> None:
        """`every` is the time between looks, in seconds."""
        self._database = database
        self._lease = lease
        self._carrier = carrier
        self._every = every
        self._task: asyncio.Task[None] | None = None
        self._doubtful = False

    def start(self) -> None:
        """Begin looking."""
        self._task = asyncio.create_task(self._run(), name="recovery")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def doubt(self) -> None:
        """This process may hold runs that it does not carry: look for them, too."""
        self._doubtful = True

    async def _run(self) -> None:
        while True:
            try:
                if self._lease.valid:
                    await self._look()
            except (DatabaseUnavailable, LeaseLost) as error:
                self._doubtful = True
                log.info("Looking for abandoned runs must wait: %s", error)
            except Exception:
                self._doubtful = True
                log.exception("Looking for abandoned runs failed")
            await asyncio.sleep(self._every)

    async def _look(self) -> None:
        known = self._carrier.known() if self._doubtful else None
        self._doubtful = False
        for claimed in await store.claim_runs(self._database, self._lease.process, CLAIM_LIMIT, known):
            try:
                await self._take_over(claimed)
            except (DatabaseUnavailable, LeaseLost):
                self._carrier.release(claimed.run)
                raise
            except Exception:
                self._carrier.release(claimed.run)
                self._doubtful = True
                log.exception("Taking over %s failed", format_id("run", claimed.run))

    async def _take_over(self, claimed: Claimed) -> None:
        found = await store.load_takeover(self._database, claimed.workspace, claimed.run)
        if found is None:
            return
        loaded = await store.load_turn(self._database, claimed.workspace, found.conversation)
        transcript = Transcript(events_of(found.frames))
        turn = Turn(
            workspace=claimed.workspace,
            run=claimed.run,
            definition=found.definition,
            history=loaded.history if loaded else [],
            more=bool(loaded and loaded.more),
            transcript=transcript,
            resumed=True,
        )
        live = self._carrier.adopt(claimed, found.last_seq)
        log.warning("%s goes on after a crash, in epoch %d", live.name, live.epoch)
        await self._begin(live, turn, found)

    async def _begin(self, live: LiveRun, turn: Turn, found: TakenOver) -> None:
        events: list[AnyEvent] = [RunResumed(reason="takeover")]
        if step := turn.transcript.open_step:
            events.append(StepDiscarded(step=step.id, reason="takeover"))
        for event in events:
            turn.transcript.add(event)
        await live.commit(events)
        if live.epoch > MAX_EPOCHS:
            message = f"The server stopped {MAX_EPOCHS} times while it answered this. Send the message again."
            error = ErrorInfo(
                code="too_many_takeovers",
                category="internal",
                message=message,
                retryable=True,
                emitted_any=live.emitted_any,
            )
            await self._carrier.give_up(live, turn, error)
            return
        self._carrier.carry(live, turn)
        if found.cancel_by:
            live.cancel(found.cancel_by)


def events_of(frames: bytes) -> Iterator[AnyEvent]:
    """The events of journal frames, deltas and unknown ones left out."""
    for frame in split_frames(frames):
        if not any(mark in frame for mark in DELTA):
            event = decode_event(frame_data(frame))
            if event is not None:
                yield event
