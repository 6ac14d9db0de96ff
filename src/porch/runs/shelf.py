"""The journals of this installation, wherever they lie: read, fetched back, and let go when their time is over."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from porch.contract.errors import PorchError
from porch.contract.ids import format_id
from porch.runs.archive import Archive, ArchiveUnavailable, decode, encode, name_of
from porch.runs.packs import Damaged, Pack
from porch.runs.replay import Page, read_journal
from porch.storage.database import Database

log = logging.getLogger(__name__)

# What somebody fetched back is likely to be read again.
STAY = timedelta(days=1)
MANY = 200
# A limit may be lifted, and frames fetched back, after somebody found them overdue.
_OVERDUE = """
    k.workspace_id = $1 AND k.run_id = $2 AND w.id = k.workspace_id AND k.frames IS NOT NULL
      AND k.ended_at < now() - w.journal_days * interval '1 day'
      AND (k.fetched_at IS NULL OR k.fetched_at < now() - $3::interval)
"""
_LEAVING = f"""
    SELECT k.last_seq, k.codec, k.blocks, k.size, k.checksum, k.frames, k.ended_at
    FROM porch.journal_packs k, porch.workspaces w WHERE {_OVERDUE}
"""  # noqa: S608 - a condition from above
_LEAVE = f"""
    UPDATE porch.journal_packs k SET frames = NULL, fetched_at = NULL
    FROM porch.workspaces w WHERE {_OVERDUE} RETURNING true
"""  # noqa: S608 - a condition from above
# Of a run that was deleted while its object was being written the removal may have been made already, and of nothing.
_FORGET = """
    INSERT INTO porch.archive_removals (workspace_id, archived) SELECT $1, $2
    WHERE NOT EXISTS (SELECT FROM porch.journal_packs WHERE workspace_id = $1 AND run_id = $3) ON CONFLICT DO NOTHING
"""
_ARCHIVED = "SELECT EXISTS (SELECT FROM porch.journal_packs WHERE workspace_id = $1 AND archived IS NOT NULL)"


class JournalGone(PorchError):
    """Raised when a run's journal was removed, since its workspace does not keep them for longer."""

    code = "journal_gone"
    status = 410
    category = "not_found"


class Shelf:
    """All runs' journals, with the archive when there is one."""

    def __init__(self, database: Database, archive: Archive | None = None) -> None:
        self._database = database
        self._archive = archive
        self._bereft: set[UUID] = set()

    async def read(self, workspace: UUID, run: UUID, epoch: int, seq: int) -> Page | None:
        """Rows behind a cursor, fetched back from the archive where they are there; None when the run is gone.

        Raises JournalGone, ArchiveUnavailable, Damaged.
        """
        page = await self._look(workspace, run, epoch, seq)
        if page is None or page.away is None:
            return page
        await self.fetch(workspace, run)
        page = await self._look(workspace, run, epoch, seq)
        if page is not None and page.away is not None:
            raise ArchiveUnavailable("The journal was taken away again just now. Try again.")
        return page

    async def _look(self, workspace: UUID, run: UUID, epoch: int, seq: int) -> Page | None:
        try:
            return await read_journal(self._database, workspace, run, epoch, seq)
        except Damaged as error:
            log.warning(
                "The journal of %s cannot be read from the database: %s", format_id("run", run), error
            )
            raise

    async def fetch(self, workspace: UUID, run: UUID) -> bool:
        """Bring a run's journal back into the database; False where it is there already, or not packed yet.

        Raises JournalGone, ArchiveUnavailable, Damaged.
        """
        async with self._database.tenant(workspace) as connection:
            row = await connection.fetchrow(
                "SELECT archived, checksum, blocks FROM porch.journal_packs"
                " WHERE workspace_id = $1 AND run_id = $2 AND frames IS NULL",
                workspace,
                run,
            )
        if row is None:
            return False
        name = format_id("run", run)
        if row["archived"] is None:
            raise JournalGone(
                f"The journal of {name} was removed: its workspace does not keep journals for longer. "
                "The conversation's messages are still there."
            )
        if self._archive is None:
            raise ArchiveUnavailable(
                f"The journal of {name} lies in an archive, and none is configured here. Set archive_url to it."
            )
        data = await self._archive.get(row["archived"])
        place = self._archive.locate(row["archived"])
        if data is None:
            log.error(
                "The journal of %s is not in the archive any more, at %s. Restore that file.", name, place
            )
            raise Damaged(
                f"The journal of {name} is not in the archive, where it was put. Restore the archive."
            )
        pack = await asyncio.to_thread(_open, data, run, row["checksum"], list(row["blocks"]))
        if pack is None:
            log.error("The journal of %s is damaged in the archive, at %s. Restore that file.", name, place)
            raise Damaged(
                f"The journal of {name} is damaged in the archive: it is not what was put there. "
                "Restore the archive."
            )
        async with self._database.tenant(workspace) as connection:
            await connection.execute(
                "UPDATE porch.journal_packs SET frames = $3, fetched_at = now()"
                " WHERE workspace_id = $1 AND run_id = $2 AND frames IS NULL",
                workspace,
                run,
                pack.frames,
            )
        return True

    async def find_overdue(self, limit: int = MANY, stay: timedelta = STAY) -> list[tuple[UUID, UUID]]:
        """Workspace and run of packs that their workspaces keep no longer, of each workspace so many."""
        async with self._database.system() as connection:
            rows = await connection.fetch("SELECT * FROM porch.find_overdue($1, $2)", stay, limit)
        return [(row["workspace_id"], row["run_id"]) for row in rows]

    async def let_go(self, workspace: UUID, run: UUID, stay: timedelta = STAY) -> bool:
        """Take a pack's frames out of the database: into the archive, where there is one, and nothing before that.

        Answers whether it did; what is not overdue any more stays. Raises ArchiveUnavailable, and then the frames
        are where they were.
        """
        archive = self._archive
        if archive is None:
            return await self._remove(workspace, run, stay)
        async with self._database.tenant(workspace) as connection:
            row = await connection.fetchrow(_LEAVING, workspace, run, stay)
            if row is None:
                return False
            name = name_of(workspace, run, row["ended_at"])
            # Known before it is written: a run that is deleted meanwhile takes it along.
            await connection.execute(
                "UPDATE porch.journal_packs SET archived = $3 WHERE workspace_id = $1 AND run_id = $2",
                workspace,
                run,
                name,
            )
        pack = Pack(row["last_seq"], row["codec"], row["blocks"], row["size"], row["checksum"], row["frames"])
        data = encode(workspace, run, pack)
        await asyncio.to_thread(decode, data, run)
        await archive.put(name, data)
        async with self._database.tenant(workspace) as connection:
            done = await connection.fetchval(_LEAVE, workspace, run, stay)
            if not done:
                await connection.execute(_FORGET, workspace, name, run)
        return bool(done)

    async def _remove(self, workspace: UUID, run: UUID, stay: timedelta) -> bool:
        """Remove a pack's frames for good, unless this process alone has no archive."""
        async with self._database.tenant(workspace) as connection:
            if await connection.fetchval(_ARCHIVED, workspace):
                self._tell_bereft(workspace)
                return False
            return bool(await connection.fetchval(_LEAVE, workspace, run, stay))

    def _tell_bereft(self, workspace: UUID) -> None:
        """Once for a workspace, not for each of its journals every minute."""
        if workspace not in self._bereft:
            self._bereft.add(workspace)
            log.warning(
                "Journals of %s went to an archive before, and none is configured now: nothing is removed. Set "
                "archive_url, on every replica the same.",
                format_id("ws", workspace),
            )

    async def clear(self, limit: int = MANY) -> int:
        """Remove from the archive what belongs to deleted runs; answers how many. Raises ArchiveUnavailable."""
        if self._archive is None:
            return 0
        async with self._database.system() as connection:
            rows: Sequence[tuple[UUID, str]] = [
                (row[0], row[1])
                for row in await connection.fetch("SELECT * FROM porch.find_removals($1)", limit)
            ]
        for workspace, name in rows:
            await self._archive.delete(name)
            async with self._database.tenant(workspace) as connection:
                await connection.execute(
                    "DELETE FROM porch.archive_removals WHERE workspace_id = $1 AND archived = $2",
                    workspace,
                    name,
                )
        return len(rows)


def _open(data: bytes, run: UUID, checksum: bytes, blocks: list[int]) -> Pack | None:
    """The pack in an object; None where it is not the very one that was put there."""
    try:
        pack = decode(data, run)
    except Damaged:
        return None
    return pack if pack.checksum == checksum and list(pack.blocks) == blocks else None
