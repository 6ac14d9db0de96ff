"""The journal as its readers get it: stretches of a run behind a cursor, whether it is packed or not."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from porch.contract.frames import Cursor, split_frames
from porch.runs.packs import Block, JournalRow, index, unpack
from porch.runs.store import ACTIVE, Status
from porch.storage.connection import Connection
from porch.storage.database import Database

READ_ROWS = 512
READ_BYTES = 1024 * 1024
SEND_BYTES = 32 * 1024
# Above that, unpacking is left to a thread: other streams go on meanwhile.
AT_ONCE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a run's journal behind a cursor, with the run's state read in the same snapshot.

    A run whose wait is over is `running`, though nobody may have taken it up yet. `last` is the last seq in the
    journal, `newer` where the first epoch after the cursor's begins, if there is one. Where the frames are not here
    any more, `away` is their name in the archive, or empty.
    """

    rows: list[JournalRow]
    status: Status
    epoch: int
    last: int
    newer: int | None
    away: str | None = None

    @property
    def at_work(self) -> bool:
        """Whether more may come without anybody doing anything."""
        return self.status in ACTIVE and self.status != "paused"


QUEUED = Page([], "queued", 0, 0, None)
"""Of a run that has yet to begin."""

# One statement, one snapshot: a takeover between two would pass its events off as those of the cursor's epoch, and
# a run that is packed between two would seem to have no journal.
_PAGE = """
    SELECT s.status, s.epoch AS run_epoch, s.last, s.newer, p.first_seq, p.last_seq, p.epoch, p.frames,
      k.last_seq AS pack_last, k.blocks, k.codec, k.archived
    FROM (
      SELECT CASE WHEN r.status = 'paused' AND (r.wake_at <= clock_timestamp() OR r.cancel_by IS NOT NULL)
          THEN 'running' ELSE r.status END AS status, r.epoch,
        (SELECT j.last_seq FROM porch.journal j WHERE j.workspace_id = $1 AND j.run_id = $2
         ORDER BY j.first_seq DESC LIMIT 1) AS last,
        CASE WHEN r.epoch > $3 THEN (
          SELECT min(j.first_seq) FROM porch.journal j
          WHERE j.workspace_id = $1 AND j.run_id = $2 AND j.epoch > $3) END AS newer
      FROM porch.runs r WHERE r.workspace_id = $1 AND r.id = $2) AS s
    LEFT JOIN porch.journal_packs k ON k.workspace_id = $1 AND k.run_id = $2
    LEFT JOIN LATERAL (
      SELECT j.first_seq, j.last_seq, j.epoch, j.frames,
        sum(octet_length(j.frames)) OVER (ORDER BY j.first_seq) - octet_length(j.frames) AS before
      FROM porch.journal j
      WHERE j.workspace_id = $1 AND j.run_id = $2 AND j.first_seq >= coalesce((
        SELECT max(x.first_seq) FROM porch.journal x
        WHERE x.workspace_id = $1 AND x.run_id = $2 AND x.first_seq <= least($4::integer, s.newer - 1) + 1), 0)
      ORDER BY j.first_seq LIMIT $5) AS p ON p.before < $6
    ORDER BY p.first_seq
"""

_STRETCH = (
    "SELECT substr(frames, $3, $4) FROM porch.journal_packs WHERE workspace_id = $1 AND run_id = $2"
    " AND frames IS NOT NULL"
)


async def read_journal(database: Database, workspace: UUID, run: UUID, epoch: int, seq: int) -> Page | None:
    """Rows that reach behind `seq`, as many as a page holds; None when the run is gone. Raises Damaged."""
    async with database.tenant(workspace) as connection:
        rows = await connection.fetch(_PAGE, workspace, run, epoch, seq, READ_ROWS, READ_BYTES)
        if not rows:
            return None
        state = rows[0]
        packed = state["blocks"] is not None
        if packed:
            blocks = index(state["blocks"], state["pack_last"])
            last = blocks[-1].last
            newer = next((block.first for block in blocks if block.epoch > epoch), None)
        else:
            blocks, last, newer = [], state["last"] or 0, state["newer"]
        after = seq if newer is None else min(seq, newer - 1)
        wanted = _within(blocks, after)
        data = await _stretch(connection, workspace, run, wanted)
    if packed:
        away = (state["archived"] or "") if data is None else None
        behind = [] if data is None else await _unpacked(state["codec"], wanted, data)
    else:
        away, behind = None, _rows(rows, after)
    return Page(behind, state["status"], state["run_epoch"], last, newer, away)


def _rows(rows: Sequence[Any], after: int) -> list[JournalRow]:
    """What lies behind a seq; neighbours of one epoch as one, since each costs its reader a step."""
    joined: list[JournalRow] = []
    parts: list[bytes] = []
    size = first = last = epoch = 0
    for row in rows:
        if row["first_seq"] is None or row["last_seq"] <= after:
            continue
        if parts and (row["epoch"] != epoch or size > SEND_BYTES):
            joined.append(JournalRow(first, last, epoch, b"".join(parts)))
            parts, size = [], 0
        if not parts:
            first, epoch = row["first_seq"], row["epoch"]
        parts.append(row["frames"])
        last, size = row["last_seq"], size + len(row["frames"])
    return [*joined, JournalRow(first, last, epoch, b"".join(parts))] if parts else joined


def _within(blocks: Sequence[Block], after: int) -> list[Block]:
    """The blocks that reach behind a seq, as many as a page holds."""
    wanted: list[Block] = []
    size = 0
    for block in blocks:
        if block.last > after and size < READ_BYTES:
            wanted.append(block)
            size += block.size
    return wanted


async def _stretch(connection: Connection, workspace: UUID, run: UUID, blocks: list[Block]) -> bytes | None:
    """The bytes of neighbouring blocks; None where they are not here any more."""
    if not blocks:
        return b""
    begin, end = blocks[0].offset, blocks[-1].offset + blocks[-1].length
    return await connection.fetchval(_STRETCH, workspace, run, begin + 1, end - begin)


async def _unpacked(codec: str, blocks: list[Block], data: bytes) -> list[JournalRow]:
    if sum(block.size for block in blocks) > AT_ONCE_BYTES:
        return await asyncio.to_thread(_unpack, codec, blocks, data)
    return _unpack(codec, blocks, data)


def _unpack(codec: str, blocks: list[Block], data: bytes) -> list[JournalRow]:
    rows: list[JournalRow] = []
    for block in blocks:
        begin = block.offset - blocks[0].offset
        raw = unpack(codec, data[begin : begin + block.length], block.size)
        rows.append(JournalRow(block.first, block.last, block.epoch, raw))
    return rows


def behind(row: JournalRow, seq: int) -> bytes:
    """The frames of a row that lie behind `seq`: since seq is dense, found by counting."""
    if seq < row.first:
        return row.frames
    frames = row.frames.split(b"\n\n")[:-1]
    return b"".join(frame + b"\n\n" for frame in frames[seq - row.first + 1 :])


def pieces(row: JournalRow, seq: int, size: int) -> Iterator[tuple[bytes, Cursor]]:
    """The frames of a row that lie behind `seq`, about `size` bytes at a time, with where each piece ends."""
    data = behind(row, seq)
    if len(data) <= size:
        yield data, Cursor(row.epoch, row.last)
        return
    frames = split_frames(data)
    at = row.last - len(frames)
    taken, length = list[bytes](), 0
    for frame in frames:
        if taken and length + len(frame) > size:
            yield b"".join(taken), Cursor(row.epoch, at)
            taken, length = [], 0
        taken.append(frame)
        length += len(frame)
        at += 1
    yield b"".join(taken), Cursor(row.epoch, row.last)
