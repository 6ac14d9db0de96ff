"""What the database committed and could not say any more: no run stays behind, and no message is doubled."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from porch.contract.errors import DatabaseUnavailable, InProgress
from porch.contract.events import StreamChunk
from porch.contract.frames import Cursor
from porch.contract.ids import new_uuid
from porch.contract.messages import Part, TextPart
from porch.runs import claims, store
from porch.runs.journal import WRITE
from porch.runs.live import LiveRun
from porch.runs.reader import Reader
from porch.runs.service import RunKey
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in
from tests.runs.sink import Sink

Query = Callable[..., Awaitable[Any]]


def lose_one_answer(monkeypatch: pytest.MonkeyPatch, name: str, *, before: bool = False) -> list[Any]:
    """Let one of the statements fail once, as when PostgreSQL dies right after (or before) its commit."""
    module = claims if hasattr(claims, name) else store
    query: Query = getattr(module, name)
    lost: list[Any] = []

    async def ask(*args: Any) -> Any:
        if lost:
            return await query(*args)
        answer = None if before else await query(*args)
        if before or answer:
            lost.append(answer)
            raise DatabaseUnavailable("The connection to PostgreSQL was lost in the middle. Try again.")
        return answer

    monkeypatch.setattr(module, name, ask)
    return lost


async def only_run(desk: Desk) -> UUID:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        return await connection.fetchval("SELECT id FROM porch.runs")


async def test_a_run_whose_start_was_committed_but_not_confirmed_is_answered_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = lose_one_answer(monkeypatch, "start_run")
    with pytest.raises(DatabaseUnavailable):
        await desk.start("[[say Hello.]]")
    assert lost
    events = events_in(await desk.replay(await only_run(desk)))
    check_run(events)
    assert events[-1].epoch == 2


@pytest.mark.parametrize(
    ("name", "before"), [("claim_runs", False), ("load_takeover", True), ("load_turn", True)]
)
async def test_a_takeover_that_fails_in_the_middle_is_done_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str, before: bool
) -> None:
    started = await desk.start("[[tokens 400 itl=3ms]]")
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-50\n")
    await desk.runs.stop()
    await reading
    lost = lose_one_answer(monkeypatch, name, before=before)
    other = await desk.another()
    events = events_in(await desk.replay(started.run, runs=other))
    assert lost
    check_run(events)
    assert events[-1].epoch == 3


async def test_a_message_that_is_sent_again_under_its_key_is_never_there_twice(desk: Desk) -> None:
    key = RunKey("POST /here", "one")
    parts: list[Part] = [TextPart(text="[[say Hello.]]")]
    conversation = await desk.conversation()
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.idempotency_keys (workspace_id, principal_id, route, key, fingerprint) "
            "VALUES ($1, $2, $3, $4, '')",
            desk.principal.workspace,
            desk.principal.id,
            key.route,
            key.key,
        )
    started = await desk.runs.start_run(desk.principal, conversation, parts, key)
    with pytest.raises(InProgress):
        await desk.runs.start_run(desk.principal, conversation, parts, key)
    await desk.replay(started.run)
    with pytest.raises(InProgress):
        await desk.runs.start_run(desk.principal, conversation, parts, key)
    assert await only_run(desk) == started.run


async def test_a_cursor_of_an_earlier_epoch_is_never_taken_for_one_of_the_live_run(desk: Desk) -> None:
    class Nowhere:
        waiting = 0

        def wake(self, live: LiveRun, *, urgent: bool) -> None: ...

    lease = desk.runs._lease  # pyright: ignore[reportPrivateUsage]  # a lease that holds
    live = LiveRun(desk.principal.workspace, new_uuid(), 2, 35, lease, Nowhere())
    live.emit([StreamChunk(step="s2", part="s2p1", delta="word ") for _ in range(10)])
    sink = Sink()
    assert not live.attach(Reader(sink.send, Cursor(1, 40)))
    assert not sink.data
    assert live.attach(Reader(sink.send, Cursor(2, 40)))
    assert sink.data.startswith(b"id: 2-41\n")


async def test_the_journal_takes_no_row_behind_a_gap(desk: Desk) -> None:
    started = await desk.start("[[stall]]")
    workspace = desk.principal.workspace
    nothing: list[Any] = []

    async def write(first: int, last: int) -> set[UUID]:
        rows = [[workspace], [started.run], [1], [first], [last], [b"x"], [0]]
        async with desk.database.system() as connection:
            refused = await connection.fetch(WRITE, desk.runs.process, *rows, *([nothing] * 12))
        return {row[0] for row in refused}

    async with desk.database.tenant(workspace) as connection:
        end: int = await connection.fetchval("SELECT max(last_seq) FROM porch.journal")
    assert await write(end + 2, end + 3) == {started.run}
    assert await write(end + 1, end + 1) == set()
    assert await write(end + 2, end + 3) == set()
    assert await write(end + 2, end + 3) == set()
    await desk.runs.cancel(desk.principal, started.run)
