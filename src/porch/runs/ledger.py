"""Where measured runs are written down: at once in this process's instruments, soon after in the database.

The database is written to in batches, apart from the journal and behind it: no answer waits for it. What a kill
takes along is the figures of the last FLUSH_SECONDS; the runs themselves stand in the journal.
"""

import asyncio
import functools
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar
from uuid import UUID

from porch.background import end
from porch.contract.errors import DatabaseUnavailable, PorchError
from porch.contract.principal import Principal
from porch.runs import figure_store
from porch.runs.stopwatch import CallTimes, RunTimes
from porch.runs.sums import Sums
from porch.storage.connection import LOST
from porch.storage.database import Database
from porch.telemetry import names
from porch.telemetry.instruments import Telemetry

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
PURGE_SECONDS = 600.0
STOP_SECONDS = 2.0
STATE_SECONDS = 0.1
START_SECONDS = 300
BATCH = 100  # few enough that no stream waits for their encoding
PURGE_BATCH = 5000
MOST_WAITING = 20_000
MOST_KNOWN = 10_000


class _Batch(NamedTuple):
    """What was sent together."""

    runs: list[RunTimes]
    starts: Counter[tuple[UUID, int, bool]]


class Ledger:
    """Takes what was measured of runs that have ended.

    `days` is how long figures are kept. With `outcomes` it also counts, for this installation's own eyes, whether
    people are served.
    """

    def __init__(
        self, telemetry: Telemetry, database: Database, *, days: int = 90, outcomes: bool = True
    ) -> None:
        self.telemetry = telemetry
        self._database = database
        self._days = days
        self._outcomes = outcomes
        self._runs: deque[RunTimes] = deque()
        self._starts: Counter[tuple[UUID, int, bool]] = Counter()
        self._answered: dict[UUID, float] = {}
        self._known: set[UUID] = set()  # workspaces whose first answer is written down
        self._dropped = 0
        # What was sent last, until it is answered, and the transaction that it was sent in.
        self._sent = _Batch([], Counter())
        self._transaction: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.listeners: list[Callable[[RunTimes], None]] = []
        telemetry.watch(
            names.FIGURES_DROPPED,
            "Figures of runs that could not be written in time.",
            lambda: self._dropped,
            "counter",
        )

    def start(self) -> None:
        """Begin to write."""
        self._tasks = [
            asyncio.create_task(self._repeat(self.flush, FLUSH_SECONDS), name="figures"),
            asyncio.create_task(self._repeat(self.purge, PURGE_SECONDS), name="figures-purge"),
        ]

    async def stop(self) -> None:
        """Write what is there, then stop."""
        await end(*self._tasks)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.flush()
        except (DatabaseUnavailable, TimeoutError, *LOST) as error:
            log.warning("The last figures could not be written. %r", error)

    # -- taking

    def start_taken(self, workspace: UUID) -> None:
        """A message was taken."""
        self._count_start(workspace, failed=False)

    def start_failed(self, workspace: UUID, code: str) -> None:
        """A message was not taken, by a fault of this side."""
        self.telemetry.start_failures.add((code,))
        self._count_start(workspace, failed=True)

    def run_ended(self, run: RunTimes) -> None:
        """A run came to its end, or to a pause, and that is committed; or it is left to another process."""
        record(self.telemetry, run)
        for listener in self.listeners:
            listener(run)
        if len(self._runs) >= MOST_WAITING:
            self._runs.popleft()
            self._dropped += 1
        self._runs.append(run)

    # -- writing

    async def flush(self) -> None:
        """Write all that is waiting now; what comes meanwhile is for the next time. Raises DatabaseUnavailable."""
        await self._settle()
        for _ in range(-(-len(self._runs) // BATCH) or bool(self._starts)):
            runs = [self._runs.popleft() for _ in range(min(BATCH, len(self._runs)))]
            self._sent = _Batch(runs, self._starts)
            self._starts = Counter()
            try:
                await self._write(self._sent)
            except (DatabaseUnavailable, asyncio.CancelledError, TimeoutError, *LOST):
                raise
            except Exception:
                self._dropped += len(runs)
                log.exception("The figures of %d runs could not be written and are left out", len(runs))
            self._sent, self._transaction = _Batch([], Counter()), None
        if self._answered:
            await figure_store.record_first_answers(self._database, self._answered)
            self._known |= self._answered.keys()
            self._answered = {}

    async def _settle(self) -> None:
        """Take back what was sent without an answer, unless it was written all the same: nothing counts twice."""
        state = "aborted"
        if self._transaction is not None:
            tell = functools.partial(figure_store.state_of, self._database, self._transaction)
            while (state := await tell()) == "in progress":  # noqa: ASYNC110 - PostgreSQL alone knows
                await asyncio.sleep(STATE_SECONDS)
        if state != "committed":
            self._runs.extendleft(reversed(self._sent.runs))
            self._starts.update(self._sent.starts)
        self._sent, self._transaction = _Batch([], Counter()), None

    async def _write(self, batch: _Batch) -> None:
        sums = Sums()
        for (workspace, slot, failed), times in batch.starts.items():
            sums.add_starts(workspace, slot * START_SECONDS, times, failed=failed)
        for run in batch.runs:
            sums.add_run(run)
            if self._outcomes:
                sums.add_conversation(run)
                self._answer(run)
        found = list(sums.found.values())
        await figure_store.record_figures(self._database, batch.runs, found, self._begun)

    def _begun(self, transaction: str) -> None:
        self._transaction = transaction

    def _count_start(self, workspace: UUID, *, failed: bool) -> None:
        if self._outcomes:
            self._starts[workspace, int(time.time() // START_SECONDS), failed] += 1

    async def purge(self) -> None:
        """Remove what is older than it is kept. Raises DatabaseUnavailable."""
        while await figure_store.purge_figures(self._database, self._days, PURGE_BATCH) >= PURGE_BATCH:
            pass

    def _answer(self, run: RunTimes) -> None:
        if run.outcome == "finished" and run.workspace not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._answered.setdefault(run.workspace, run.began + (run.first_text or run.duration))

    async def _repeat(self, work: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await work()
            except (DatabaseUnavailable, *LOST) as error:
                log.info("Writing figures must wait: %r", error)
            except Exception:
                log.exception("Writing figures failed")


def record(telemetry: Telemetry, run: RunTimes) -> None:
    """Put a run into the instruments of its process."""
    asked = _asked(run.model)
    if run.over:
        telemetry.agent.record(run.duration, (*asked, run.code or ""))
    if run.first_text is not None:
        telemetry.first_text.record(run.first_text, asked)
    if run.gap is not None:
        telemetry.takeover.record(run.gap)
    for call in run.calls:
        _record_call(telemetry, call)
    for tool in run.tools:
        telemetry.tool.record(tool.duration, (tool.name, tool.code or ""))


def _record_call(telemetry: Telemetry, call: CallTimes) -> None:
    asked = _asked(call.asked)
    model = (names.CHAT, *asked)
    telemetry.operation.record(call.duration, (*model, names.own_name(call.answered), call.code or ""))
    if call.first_chunk is not None:
        telemetry.first_chunk.record(call.first_chunk, model)
    if call.per_chunk is not None:
        telemetry.per_chunk.record(call.per_chunk, model, call.chunks - 1)
    for kind, tokens in (("input", call.input_tokens), ("output", call.output_tokens)):
        if tokens is not None:
            telemetry.tokens.record(tokens, (*model, kind))
    if call.broke:
        telemetry.stream_errors.add((*asked, call.code or ""))


def _asked(model: str) -> tuple[str, str]:
    return names.provider_of(model), names.own_name(model)


class Keeper(Protocol):
    """Who has a ledger."""

    ledger: Ledger


Whose = TypeVar("Whose", bound=Keeper)
More = ParamSpec("More")
Answer = TypeVar("Answer")
Start = Callable[Concatenate[Whose, Principal, More], Awaitable[Answer]]


@contextmanager
def counted(ledger: Ledger, workspace: UUID) -> Generator[None]:
    """What keeps a message out meanwhile is written down; what the caller did wrong is no failure."""
    try:
        yield
    except PorchError as error:
        if error.status >= 500:
            ledger.start_failed(workspace, error.code)
        raise
    except Exception:
        ledger.start_failed(workspace, "internal")
        raise


def counts_starts(start: Start[Whose, More, Answer]) -> Start[Whose, More, Answer]:
    """A way to start runs that writes down how it went."""

    @functools.wraps(start)
    async def begin(keeper: Whose, principal: Principal, *more: More.args, **named: More.kwargs) -> Answer:
        with counted(keeper.ledger, principal.workspace):
            answer = await start(keeper, principal, *more, **named)
        keeper.ledger.start_taken(principal.workspace)
        return answer

    return begin
