"""Ended runs as one compressed row: nobody who reads them can tell."""

import asyncio
import logging
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.contract.frames import START, Cursor
from porch.runs import packs, replay
from porch.runs.packing import pack_runs
from porch.runs.packs import BLOCK_BYTES, Damaged, JournalRow, check, index, pack, unpack
from porch.runs.record import fetch_run, list_runs
from porch.runs.replay import Page, read_journal
from porch.runs.stream import EventStream
from porch.runs.upkeep import JournalUpkeep
from tests.runs.conftest import Desk
from tests.runs.shelf import shelve, story


async def stored(desk: Desk, run: UUID) -> tuple[int, int]:
    """How many small rows and how many packs a run has."""
    async with desk.database.tenant(desk.principal.workspace) as connection:
        row = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM porch.journal WHERE run_id = $1),"
            " (SELECT count(*) FROM porch.journal_packs WHERE run_id = $1)",
            run,
        )
    assert row is not None
    return row[0], row[1]


async def everything(desk: Desk, run: UUID, last: int, epochs: int) -> dict[Cursor, bytes]:
    """What a reader gets behind every cursor there is, of every epoch, and one of no epoch yet."""
    found: dict[Cursor, bytes] = {}
    for epoch in range(epochs + 1):
        for seq in range(last + 1):
            stream = await desk.runs.follow(desk.principal, run, Cursor(epoch, seq))
            found[Cursor(epoch, seq)] = (await desk.read(stream)).data if stream else b"204"
    return found


async def test_a_packed_run_is_byte_equal_behind_every_cursor_and_across_takeovers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "BLOCK_BYTES", 900)
    run = await shelve(desk, story(18), takeovers=(7, 16), each=2)
    before = await everything(desk, run, 25, 3)
    assert await JournalUpkeep(desk.database).pack(rest=0) == 1
    assert await stored(desk, run) == (0, 1)
    assert await everything(desk, run, 25, 3) == before
    assert b"stream.resync" in before[Cursor(1, 20)]
    assert before[Cursor(3, 25)] == b"204"


async def test_what_a_model_said_is_packed_and_read_by_a_page_at_a_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "BLOCK_BYTES", 4000)
    monkeypatch.setattr(replay, "READ_BYTES", 3000)
    started = await desk.start("[[think Hm.]] [[call clock {}]] [[tokens 200 itl=1ms]]", tools=["clock"])
    live = (await desk.read(desk.runs.follow_new(desk.principal, started))).data
    assert await JournalUpkeep(desk.database).pack(timedelta(), rest=0) == 1
    assert await stored(desk, started.run) == (0, 1)
    assert await desk.replay(started.run) == live


async def test_a_run_s_record_says_the_same_before_and_after(desk: Desk) -> None:
    conversation = await desk.conversation(tools=["clock"])
    for words in (
        "[[call clock {}]] [[tokens 20 itl=2ms]]",
        "[[tokens 9]] [[fail after=3 overloaded]]",
        "[[nul]]",
    ):
        await desk.ask(words, conversation)
    workspace = desk.principal.workspace
    before = await list_runs(desk.database, workspace, conversation, None, 9)
    assert len(before) == 3
    assert {record.reason for record in before} == {"stop", None}
    assert any(record.notices for record in before)
    assert await JournalUpkeep(desk.database).pack(timedelta(), rest=0) == 3
    assert await list_runs(desk.database, workspace, conversation, None, 9) == before
    assert [await fetch_run(desk.database, workspace, record.id) for record in before] == before


async def test_runs_that_go_on_pause_or_ended_just_now_are_left_alone(desk: Desk) -> None:
    running = await shelve(desk, story(3), status="running")
    paused = await shelve(desk, story(3), status="paused")
    fresh = await shelve(desk, story(3), age=timedelta(minutes=1))
    cancelled = await shelve(desk, story(3), status="cancelled")
    assert await JournalUpkeep(desk.database).pack(rest=0) == 1
    assert [await stored(desk, run) for run in (running, paused, fresh, cancelled)] == [(2, 0)] * 3 + [(0, 1)]
    assert await pack_runs(desk.database, desk.principal.workspace, [running, paused]) == []


async def test_two_processes_pack_every_run_once_between_them(desk: Desk) -> None:
    conversation = await desk.conversation()
    runs = [await shelve(desk, story(4), conversation=conversation) for _ in range(30)]
    done = await asyncio.gather(*(JournalUpkeep(desk.database).pack(rest=0) for _ in range(3)))
    assert sum(done) == 30
    assert {await stored(desk, run) for run in runs} == {(0, 1)}


async def test_a_run_that_another_process_is_packing_is_passed_by_without_waiting(desk: Desk) -> None:
    taken, free = await shelve(desk, story(3)), await shelve(desk, story(3))
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute("SELECT FROM porch.runs WHERE id = $1 FOR NO KEY UPDATE", taken)
        assert await JournalUpkeep(desk.database).pack(rest=0) == 1
        assert [await stored(desk, run) for run in (taken, free)] == [(2, 0), (0, 1)]
    assert await JournalUpkeep(desk.database).pack(rest=0) == 1


async def test_a_journal_that_cannot_be_packed_stays_as_it_is_and_holds_no_other(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [await shelve(desk, story(9), leave_out=6 if n == 1 else None) for n in range(3)]
    with caplog.at_level(logging.ERROR):
        upkeep = JournalUpkeep(desk.database)
        assert (await upkeep.pack(rest=0), await upkeep.pack(rest=0)) == (2, 0)
    assert [await stored(desk, run) for run in runs] == [(0, 1), (3, 0), (0, 1)]
    assert caplog.text.count("could not be packed") == 1


async def test_a_reader_whose_run_is_packed_between_two_of_its_pages_misses_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "READ_BYTES", 2000)
    monkeypatch.setattr(packs, "BLOCK_BYTES", 3000)
    run = await shelve(desk, story(80), takeovers=(40,), each=3)
    whole = await desk.replay(run)

    pages = 0

    async def read(workspace: UUID, run: UUID, cursor: Cursor) -> Page | None:
        nonlocal pages
        page = await read_journal(desk.database, workspace, run, cursor.epoch, cursor.seq)
        pages += 1
        if pages == 1:
            assert await JournalUpkeep(desk.database).pack(rest=0) == 1
        return page

    monkeypatch.setattr(desk.runs, "read", read)
    got = await desk.read(EventStream(desk.runs, desk.principal.workspace, run, START))
    assert got.data == whole
    assert pages > 5
    assert await stored(desk, run) == (0, 1)


async def test_many_readers_at_work_while_runs_are_packed_all_get_the_same_bytes(desk: Desk) -> None:
    conversation = await desk.conversation()
    runs = [await shelve(desk, story(60), conversation=conversation, each=3) for _ in range(12)]
    before = [await desk.replay(run) for run in runs]

    async def read_again() -> list[list[bytes]]:
        return [[await desk.replay(run) for run in runs] for _ in range(3)]

    packing = asyncio.create_task(JournalUpkeep(desk.database).pack())
    got = await asyncio.gather(*(read_again() for _ in range(3)))
    assert await packing == 12
    assert all(every == before for readings in got for every in readings)


async def test_a_damaged_pack_is_refused_with_a_sentence_and_not_shown(desk: Desk) -> None:
    run = await shelve(desk, story(40))
    await JournalUpkeep(desk.database).pack(rest=0)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute(
            "UPDATE porch.journal_packs SET frames = set_byte(frames, 60, 255 - get_byte(frames, 60))"
            " WHERE run_id = $1",
            run,
        )
    with pytest.raises(Damaged, match="Restore it from a backup"):
        await desk.replay(run)


async def test_packs_of_another_workspace_are_neither_read_nor_written(desk: Desk) -> None:
    run = await shelve(desk, story(3))
    elsewhere = UUID(int=7)
    assert await pack_runs(desk.database, elsewhere, [run]) == []
    await JournalUpkeep(desk.database).pack(rest=0)
    async with desk.database.tenant(elsewhere) as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.journal_packs") == 0
    assert await read_journal(desk.database, elsewhere, run, 0, 0) is None


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 1), st.sampled_from([1, 50, 3000, BLOCK_BYTES + 9])),
        min_size=1,
        max_size=12,
    )
)
def test_what_is_packed_unpacks_to_the_very_bytes_by_blocks_of_one_epoch(
    made: list[tuple[int, int, int]],
) -> None:
    rows: list[JournalRow] = []
    first, epoch = 1, 1
    for events, newer, size in made:
        epoch += newer
        rows.append(JournalRow(first, first + events - 1, epoch, bytes([first % 251]) * size))
        first += events
    packed = pack(rows)
    check(packed)
    blocks = index(packed.blocks, packed.last)
    parts = [
        unpack(packed.codec, packed.frames[each.offset : each.offset + each.length], each.size)
        for each in blocks
    ]
    assert b"".join(parts) == b"".join(row.frames for row in rows)
    assert [(row.first, row.epoch) for row in rows if any(row.first == each.first for each in blocks)] == [
        (each.first, each.epoch) for each in blocks
    ]
    assert (blocks[0].first, blocks[-1].last) == (1, rows[-1].last)


def test_a_block_never_unpacks_to_more_than_it_says() -> None:
    packed = pack([JournalRow(1, 1, 1, b"\0" * 100_000)])
    with pytest.raises(Damaged):
        unpack("zlib", packed.frames, 99_999)
    with pytest.raises(Damaged):
        unpack("zlib", packed.frames[:-1], 100_000)
    with pytest.raises(Damaged, match="'zstd', which this version"):
        unpack("zstd", packed.frames, 100_000)
    with pytest.raises(ValueError, match="does not follow"):
        pack([JournalRow(1, 2, 1, b"x"), JournalRow(4, 4, 1, b"x")])
