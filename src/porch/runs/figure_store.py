"""The SQL of figures that are written; what a page reads of them stands in `porch.status`."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from porch.runs.stopwatch import CallTimes, RunTimes
from porch.runs.sums import Sum
from porch.storage.database import Database
from porch.telemetry.names import provider_of

MOST_LETTERS = 200
# One from the future is of a database that was restored since; one that is not known any more is long over.
_STATE = """
    SELECT CASE WHEN $1::text::xid8 < pg_current_xact_id() THEN coalesce(pg_xact_status($1::text::xid8), 'committed')
      ELSE 'aborted' END
"""


async def record_figures(
    database: Database,
    runs: Sequence[RunTimes],
    sums: Sequence[Sum],
    begun: Callable[[str], None] = lambda _: None,
) -> None:
    """Write these down, whosever they are; `begun` hears in which transaction. Raises DatabaseUnavailable."""
    rows = [_run(run) for run in runs if run.over]
    calls = [_call(call, run.epoch, place) for run in runs for place, call in enumerate(run.calls, 1)]
    encoded = [msgspec.json.encode(batch).decode() for batch in (rows, calls, sums)]
    async with database.system() as connection, connection.transaction():
        begun(await connection.fetchval("SELECT pg_current_xact_id()::text"))
        await connection.execute("SELECT porch.record_figures($1, $2, $3)", *encoded)


async def state_of(database: Database, transaction: str) -> str:
    """What became of a transaction: `committed`, `aborted` or `in progress`. Raises DatabaseUnavailable."""
    async with database.system() as connection:
        return await connection.fetchval(_STATE, transaction)


async def record_first_answers(database: Database, found: dict[UUID, float]) -> None:
    """When these workspaces were answered first, unless it is known. Raises DatabaseUnavailable."""
    moments = [datetime.fromtimestamp(moment, UTC) for moment in found.values()]
    async with database.system() as connection:
        await connection.execute("SELECT porch.record_first_answers($1, $2)", list(found), moments)


async def purge_figures(database: Database, days: int, limit: int) -> int:
    """Remove what is older, of each kind at most so many rows; answers how many. Raises DatabaseUnavailable."""
    async with database.system() as connection:
        return int(await connection.fetchval("SELECT porch.purge_figures($1, $2)", days, limit))


def _run(run: RunTimes) -> dict[str, Any]:
    counts = [call.input_tokens for call in run.calls], [call.output_tokens for call in run.calls]
    given, made = ([count for count in tokens if count is not None] for tokens in counts)
    return {
        "workspace": run.workspace,
        "run": run.run,
        "began": run.began,
        "agent": run.agent,
        "asked": _clean(run.asked),
        "answered": _clean(run.answered),
        "provider": provider_of(_clean(run.answered)),
        "outcome": run.outcome,
        "code": run.code,
        "broke": run.broke,
        "takeovers": run.takeovers,
        "calls": len(run.calls),
        "tools": len(run.tools),
        "chunks": sum(call.chunks for call in run.calls),
        "input_tokens": sum(given) if given else None,
        "output_tokens": sum(made) if made else None,
        "first_chunk_ms": _ms(run.first_chunk),
        "first_text_ms": _ms(run.first_text),
        "duration_ms": _ms(run.duration),
    }


def _call(call: CallTimes, epoch: int, place: int) -> dict[str, Any]:
    return {
        "workspace": call.workspace,
        "run": call.run,
        "epoch": epoch,
        "place": place,
        "began": call.began,
        "step": call.step,
        "asked": _clean(call.asked),
        "answered": _clean(call.answered),
        "provider": provider_of(_clean(call.asked)),
        "reason": call.reason,
        "code": call.code,
        "chunks": call.chunks,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "first_chunk_ms": _ms(call.first_chunk),
        "duration_ms": _ms(call.duration),
    }


def _clean(name: str) -> str:
    """A model's name as PostgreSQL takes it: what a provider says of itself may hold anything."""
    return name[:MOST_LETTERS].replace("\0", "\ufffd").encode(errors="replace").decode()


def _ms(seconds: float | None) -> int | None:
    # A clock that was set back gives nothing below zero, and one that was set forward no number that is too large.
    return None if seconds is None else max(0, min(round(seconds * 1000), 2**31 - 1))
