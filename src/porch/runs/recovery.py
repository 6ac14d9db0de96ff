"""Takes over runs whose process is gone, and carries them on from their last committed boundary."""

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from typing import Protocol
from uuid import UUID

import msgspec

from porch.contract.definition import Definition
from porch.contract.errors import DatabaseUnavailable, PorchError
from porch.contract.events import AnyEvent, ErrorInfo, RunResumed, StepDiscarded, decode_event
from porch.contract.frames import frame_data, split_frames
from porch.contract.ids import format_id
from porch.runs import store
from porch.runs.lease import Lease, LeaseLost
from porch.runs.live import LiveRun
from porch.runs.options import NO_OPTIONS, RunOptions
from porch.runs.store import Claimed, Place, TakenOver
from porch.runs.transcript import Transcript
from porch.runs.turn import Turn
from porch.storage.database import Database

log = logging.getLogger(__name__)

MAX_EPOCHS = 10
TOO_MANY = f"This answer was interrupted {MAX_EPOCHS} times. Send the message again."
UNREADABLE = (
    "Another version of Porch began this answer, and this one cannot go on with it. Send the message again."
)
CLAIM_LIMIT = 64
# Longer than the statement_timeout of our role: what had not been committed by then never will be.
LATE_SECONDS = 35.0
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
        self._late = math.inf

    def start(self) -> None:
        """Begin looking."""
        self._task = asyncio.create_task(self._run(), name="recovery")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def doubt(self, *, late: bool = False) -> None:
        """This process may hold runs that it does not carry: look for them, too.

        With `late` look once more when no statement whose answer was lost can still be at work.
        """
        self._doubtful = True
        if late:
            self._late = time.monotonic() + LATE_SECONDS

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
        if time.monotonic() >= self._late:
            self._doubtful, self._late = True, math.inf
        known = self._carrier.known if self._doubtful else None
        self._doubtful = False
        for claimed in await store.claim_runs(self._database, self._lease.process, CLAIM_LIMIT, known):
            try:
                await self._take_over(claimed)
            except (DatabaseUnavailable, LeaseLost) as error:
                self._fail(claimed)
                log.info("Taking over %s must wait: %s", format_id("run", claimed.run), error)
            except Exception:
                self._fail(claimed)
                log.exception("Taking over %s failed", format_id("run", claimed.run))

    def _fail(self, claimed: Claimed) -> None:
        """This process holds the run and does not carry it: it is claimed once more, its neighbours are not."""
        self._carrier.release(claimed.run)
        self._doubtful = True

    async def _take_over(self, claimed: Claimed) -> None:
        found = await store.load_takeover(self._database, claimed.workspace, claimed.run)
        if found is None:
            return
        live = self._carrier.adopt(claimed, found.last_seq)
        log.warning("%s goes on after a crash, in epoch %d", live.name, live.epoch)
        try:
            turn = await self._read(claimed, found)
        except PorchError:
            raise
        except Exception:  # however it fails, it would fail again
            log.exception("%s cannot be read", live.name)
            await self._give_up(live, _empty(claimed), "unreadable_run", UNREADABLE)
            return
        events: list[AnyEvent] = [RunResumed(reason="takeover")]
        if step := turn.transcript.open_step:
            events.append(StepDiscarded(step=step.id, reason="takeover"))
        for event in events:
            turn.transcript.add(event)
        await live.commit(events)
        if live.epoch > MAX_EPOCHS:
            await self._give_up(live, turn, "too_many_takeovers", TOO_MANY)
            return
        self._carrier.carry(live, turn)
        if found.cancel_by:
            live.cancel(found.cancel_by)

    async def _read(self, claimed: Claimed, found: TakenOver) -> Turn:
        # The branch of the run itself: the conversation's head may stand elsewhere.
        place = Place("answer", found.input_message)
        loaded = await store.load_turn(self._database, claimed.workspace, found.conversation, place)
        return Turn(
            workspace=claimed.workspace,
            run=claimed.run,
            definition=msgspec.json.decode(found.definition, type=Definition),
            history=loaded.history if loaded else [],
            more=bool(loaded and loaded.more),
            options=msgspec.json.decode(found.options, type=RunOptions) if found.options else NO_OPTIONS,
            transcript=Transcript(events_of(found.frames)),
            resumed=True,
        )

    async def _give_up(self, live: LiveRun, turn: Turn, code: str, message: str) -> None:
        error = ErrorInfo(
            code=code, category="internal", message=message, retryable=True, emitted_any=live.emitted_any
        )
        await self._carrier.give_up(live, turn, error)


def _empty(claimed: Claimed) -> Turn:
    """A turn of which nothing is known but that it must end."""
    nobody = Definition(name="unknown", instructions="", model="unknown:unknown")
    return Turn(workspace=claimed.workspace, run=claimed.run, definition=nobody, history=[], more=False)


def events_of(frames: bytes) -> Iterator[AnyEvent]:
    """The events of journal frames, deltas and unknown ones left out."""
    for frame in split_frames(frames):
        if not any(mark in frame for mark in DELTA):
            event = decode_event(frame_data(frame))
            if event is not None:
                yield event
