"""Takes over runs whose process is gone, and carries them on from their last committed boundary."""

import asyncio
import contextlib
import logging
import math
import re
import time
from collections.abc import Iterator
from datetime import datetime

import msgspec

from porch.background import end
from porch.contract.definition import Definition
from porch.contract.errors import DatabaseUnavailable, PorchError
from porch.contract.events import AnyEvent, ErrorInfo, RunResumed, StepDiscarded, decode_event
from porch.contract.frames import frame_data, split_frames
from porch.contract.ids import format_id
from porch.runs import approvals, claims, store
from porch.runs.carrier import Carrier
from porch.runs.claims import Claimed, TakenOver
from porch.runs.lease import Lease, LeaseLost
from porch.runs.live import LiveRun
from porch.runs.options import NO_OPTIONS, RunOptions
from porch.runs.quota import Quotas
from porch.runs.store import Place
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
AT_ONCE = 4
# Longer than the statement_timeout of our role: what had not been committed by then never will be.
LATE_SECONDS = 35.0
DELTA = (b"\nevent: stream.chunk\n", b"\nevent: tool_call.delta\n", b"\nevent: tool_result.chunk\n")


TAKEOVER = re.compile(rb'\nevent: run\.resumed\ndata: [^\n]*"reason":"takeover"')


class _Moment(msgspec.Struct):
    ts: datetime


_decode_moment = msgspec.json.Decoder(_Moment).decode
TOOK_OVER = RunResumed(reason="takeover")


class Recovery:
    """Looks for abandoned runs while the process lives."""

    def __init__(
        self, database: Database, lease: Lease, carrier: Carrier, quotas: Quotas, every: float
    ) -> None:
        """`every` is the time between looks, in seconds."""
        self._database = database
        self._lease = lease
        self._carrier = carrier
        self._quotas = quotas
        self._every = every
        self._task: asyncio.Task[None] | None = None
        self._doubtful = False
        self._draining = False
        self._late = math.inf
        self._hurry = asyncio.Event()

    def start(self) -> None:
        """Begin looking."""
        self._task = asyncio.create_task(self._run(), name="recovery")

    async def stop(self) -> None:
        """Stop looking."""
        await end(self._task)

    def drain(self) -> None:
        """From now on look after this process's own runs alone: others take what comes.

        One that is being taken over just now is: it would stand still until this process is gone.
        """
        self._draining = True

    def doubt(self, *, late: bool = False) -> None:
        """This process may hold runs that it does not carry: look for them, too.

        With `late` look once more when no statement whose answer was lost can still be at work.
        """
        self._doubtful = True
        if late:
            self._late = time.monotonic() + LATE_SECONDS

    def hurry(self) -> None:
        """Somebody has left runs behind just now: look at once."""
        self._hurry.set()

    async def _run(self) -> None:
        while True:
            self._hurry.clear()
            try:
                if self._lease.valid:
                    await self._look()
            except (DatabaseUnavailable, LeaseLost) as error:
                self._doubtful = True
                log.info("Looking for abandoned runs must wait: %s", error)
            except Exception:
                self._doubtful = True
                log.exception("Looking for abandoned runs failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._hurry.wait()

    async def _look(self) -> None:
        if time.monotonic() >= self._late:
            self._doubtful, self._late = True, math.inf
        known = self._carrier.known if self._doubtful else None
        self._doubtful = False
        limit = 0 if self._draining else CLAIM_LIMIT
        found = await claims.claim_runs(self._database, self._lease.process, limit, known)
        await self._take_all(found)
        if self._draining:
            await self._quotas.look()  # for what is at work here still
            return
        waited = await claims.claim_paused(self._database, self._lease.process, limit)
        await self._take_all(waited)
        await self._quotas.look()
        if max(len(found), len(waited)) >= limit and not self._doubtful:
            self._hurry.set()  # there may be more

    async def _take_all(self, found: list[Claimed]) -> None:
        """Some at a time: their commits are shared, and none waits for hundreds before it."""
        room = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for claimed in found:
                group.create_task(self._take(claimed, room), name="takeover")

    async def _take(self, claimed: Claimed, room: asyncio.Semaphore) -> None:
        async with room:
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
        found = await claims.load_takeover(self._database, claimed.workspace, claimed.run)
        if found is None:
            return
        live = self._carrier.adopt(claimed, found.last_seq)
        if claimed.waited:
            log.info("%s goes on, in epoch %d", live.name, live.epoch)
        else:
            log.warning("%s goes on after a crash, in epoch %d", live.name, live.epoch)
        try:
            turn = await self._read(claimed, found)
        except PorchError:
            raise
        except Exception:  # however it fails, it would fail again
            log.exception("%s cannot be read", live.name)
            await self._give_up(live, _empty(claimed), "unreadable_run", UNREADABLE)
            return
        events = await self._resume(claimed, turn)
        await live.commit(events)
        if events[0] == TOOK_OVER:
            turn.gap = seconds_since(found.frames)
            turn.takeovers += 1
        turn.takeovers += len(TAKEOVER.findall(found.frames))
        if live.epoch - turn.transcript.waits > MAX_EPOCHS:
            await self._give_up(live, turn, "too_many_takeovers", TOO_MANY)
            return
        self._carrier.carry(live, turn)
        if found.cancel_by:
            live.cancel(found.cancel_by)

    async def _resume(self, claimed: Claimed, turn: Turn) -> list[AnyEvent]:
        """The events by which a run goes on, taken into its transcript: after a pause, also when that was claimed by
        a process that is gone, or after a crash.
        """
        transcript = turn.transcript
        events: list[AnyEvent] = [RunResumed(reason=transcript.paused) if transcript.paused else TOOK_OVER]
        resolved, turn.verdicts = await approvals.judge(
            self._database, claimed.workspace, claimed.run, transcript
        )
        events += resolved
        if step := transcript.open_step:
            events.append(StepDiscarded(step=step.id, reason="takeover"))
        for event in events:
            transcript.add(event)
        return events

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
            conversation=found.conversation,
            since=time.time() if claimed.waited else None,
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


def seconds_since(frames: bytes) -> float | None:
    """How long ago the last of these frames was made, by its own clock; None where it does not say."""
    end = frames.rstrip(b"\n").rfind(b"\n\n") + 1
    try:
        made = _decode_moment(frame_data(frames[end:].lstrip(b"\n"))).ts
    except (ValueError, msgspec.DecodeError):
        return None
    return max(0.0, time.time() - made.timestamp())
