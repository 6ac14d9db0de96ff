"""How long journals are kept, where they go then, and how they come back."""

import logging
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from porch.contract.errors import SetupError
from porch.contract.ids import format_id
from porch.egress.objects import ObjectStore
from porch.identity.service import keep_journals
from porch.runs.archive import Archive, ArchiveUnavailable, decode
from porch.runs.packs import Damaged
from porch.runs.record import fetch_run
from porch.runs.shelf import JournalGone, Shelf
from porch.runs.upkeep import JournalUpkeep
from tests.runs.bucket import KEY, REGION, SECRET, Bucket, bucket
from tests.runs.conftest import Desk
from tests.runs.shelf import shelve, story

OLD, YOUNG = timedelta(days=40), timedelta(days=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bucket]:
    async with bucket() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_REGION", REGION)
        yield made


def upkeep(desk: Desk, url: str | None = None) -> JournalUpkeep:
    """The upkeep of a process with this archive, which its readers have, too."""
    desk.runs.shelf = Shelf(desk.database, Archive(url) if url else None)
    return JournalUpkeep(desk.database, desk.runs.shelf)


async def here(desk: Desk, run: UUID) -> tuple[bool, str | None]:
    """Whether a pack has its frames, and its name in the archive."""
    async with desk.database.tenant(desk.principal.workspace) as connection:
        row = await connection.fetchrow(
            "SELECT frames IS NOT NULL, archived FROM porch.journal_packs WHERE run_id = $1", run
        )
    assert row is not None
    return row[0], row[1]


async def test_without_a_limit_everything_stays(desk: Desk, folder: Path) -> None:
    run = await shelve(desk, story(9), age=timedelta(days=4000))
    work = upkeep(desk, folder.as_uri())
    assert (await work.pack(rest=0), await work.keep()) == (1, 0)
    assert await here(desk, run) == (True, None)


async def test_without_an_archive_old_journals_go_for_good_and_say_so(desk: Desk) -> None:
    old, young = await shelve(desk, story(9), age=OLD), await shelve(desk, story(9), age=YOUNG)
    work, whole = upkeep(desk), await desk.replay(young)
    await work.pack(rest=0)
    record = await fetch_run(desk.database, desk.principal.workspace, old)
    await keep_journals(desk.principal, desk.database, 30)
    assert await work.keep() == 1
    with pytest.raises(JournalGone, match="messages are still there") as gone:
        await desk.replay(old)
    assert (gone.value.status, gone.value.code) == (410, "journal_gone")
    assert await desk.replay(young) == whole
    # What the run's record tells of it stays.
    assert await fetch_run(desk.database, desk.principal.workspace, old) == record
    await keep_journals(desk.principal, desk.database, None)
    assert await work.keep() == 0


async def leaves_and_comes_back(desk: Desk, url: str) -> UUID:
    run = await shelve(desk, story(40), age=OLD, takeovers=(9,))
    work, whole = upkeep(desk, url), await desk.replay(run)
    await keep_journals(desk.principal, desk.database, 30)
    assert (await work.pack(rest=0), await work.keep()) == (1, 1)
    assert (await here(desk, run))[0] is False
    assert await desk.replay(run) == whole
    # It stays a while for whoever reads on, and leaves again afterwards.
    assert (await here(desk, run))[0] is True
    assert await work.keep() == 0
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute("UPDATE porch.journal_packs SET fetched_at = now() - interval '25 hours'")
    assert await work.keep() == 1
    assert await desk.runs.shelf.fetch(desk.principal.workspace, run) is True
    assert await desk.runs.shelf.fetch(desk.principal.workspace, run) is False
    assert await desk.replay(run) == whole
    return run


async def test_an_archived_run_is_one_private_file_and_read_as_before(desk: Desk, folder: Path) -> None:
    run = await leaves_and_comes_back(desk, folder.as_uri())
    (file,) = [path for path in folder.rglob("*") if path.is_file()]
    assert file.name == f"{format_id('run', run)}.journal"
    assert file.parts[-3] == format_id("ws", desk.principal.workspace)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert decode(file.read_bytes(), run).last == 47


async def test_an_archived_run_is_one_signed_object_of_a_bucket_and_read_as_before(
    desk: Desk, store: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        run = await leaves_and_comes_back(desk, "s3://journals/here/and-there")
    (name,) = store.objects
    assert name.startswith("here/and-there/ws_")
    assert name.endswith(f"{format_id('run', run)}.journal")
    assert SECRET not in caplog.text


async def test_a_deleted_run_takes_its_object_along(desk: Desk, folder: Path) -> None:
    conversation = await desk.conversation()
    await shelve(desk, story(9), age=OLD, conversation=conversation)
    kept = await shelve(desk, story(9), age=OLD)
    work = upkeep(desk, folder.as_uri())
    await keep_journals(desk.principal, desk.database, 30)
    assert (await work.pack(rest=0), await work.keep()) == (2, 2)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute(
            "DELETE FROM porch.agents WHERE id = (SELECT agent_id FROM porch.conversations WHERE id = $1)",
            conversation,
        )
    await work.keep()
    assert [path.stem for path in folder.rglob("*.journal")] == [format_id("run", kept)]
    async with desk.database.tenant(desk.principal.workspace) as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.archive_removals") == 0


async def test_a_deleted_run_s_object_is_not_forgotten_while_the_folder_is_away(
    desk: Desk, folder: Path
) -> None:
    await shelve(desk, story(9), age=OLD)
    work = upkeep(desk, folder.as_uri())
    await keep_journals(desk.principal, desk.database, 30)
    assert (await work.pack(rest=0), await work.keep()) == (1, 1)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute("DELETE FROM porch.agents")
    away = folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ArchiveUnavailable):
        await work.keep()
    away.rename(folder)
    await work.keep()
    assert list(folder.rglob("*.journal")) == []


async def test_a_run_that_is_deleted_while_it_leaves_takes_its_object_along_even_if_that_must_wait(
    desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await shelve(desk, story(9), age=OLD)
    work, shelf = upkeep(desk, folder.as_uri()), desk.runs.shelf
    await work.pack(rest=0)
    await keep_journals(desk.principal, desk.database, 30)
    put, away = Archive.put, folder.with_name("elsewhere")

    async def put_late(archive: Archive, name: str, data: bytes) -> None:
        async with desk.database.tenant(desk.principal.workspace) as connection:
            await connection.execute("DELETE FROM porch.agents")
        assert await shelf.clear() == 1, "another process found nothing to remove yet"
        await put(archive, name, data)
        folder.rename(away)

    monkeypatch.setattr(Archive, "put", put_late)
    assert await shelf.let_go(desk.principal.workspace, run) is False
    away.rename(folder)
    assert len(list(folder.rglob("*.journal"))) == 1
    await work.keep()
    assert list(folder.rglob("*.journal")) == []


async def test_a_limit_that_is_lifted_keeps_what_was_found_overdue_before(desk: Desk, folder: Path) -> None:
    run = await shelve(desk, story(9), age=OLD)
    work = upkeep(desk)
    await work.pack(rest=0)
    await keep_journals(desk.principal, desk.database, 30)
    due = await desk.runs.shelf.find_overdue()
    assert due == [(desk.principal.workspace, run)]
    await keep_journals(desk.principal, desk.database, None)
    for url in (None, folder.as_uri()):
        upkeep(desk, url)
        assert await desk.runs.shelf.let_go(*due[0]) is False
    assert await here(desk, run) == (True, None)


async def test_two_processes_that_let_the_same_journal_go_leave_it_in_the_archive(
    desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await shelve(desk, story(9), age=OLD)
    work, whole = upkeep(desk, folder.as_uri()), await desk.replay(run)
    await work.pack(rest=0)
    await keep_journals(desk.principal, desk.database, 30)
    put = Archive.put

    async def put_late(archive: Archive, name: str, data: bytes) -> None:
        monkeypatch.setattr(Archive, "put", put)
        assert await desk.runs.shelf.let_go(desk.principal.workspace, run) is True
        await archive.put(name, data)

    monkeypatch.setattr(Archive, "put", put_late)
    assert await desk.runs.shelf.let_go(desk.principal.workspace, run) is False
    assert await desk.replay(run) == whole


async def test_a_file_is_on_the_disk_with_all_folders_that_were_made_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: set[int] = set()
    sync = os.fsync

    def note(opened: int) -> None:
        sync(opened)
        kept.add(os.fstat(opened).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    await Archive(folder.as_uri()).put("ws/2026-01/run.journal", b"frames")
    file = folder / "ws" / "2026-01" / "run.journal"
    assert {path.stat().st_ino for path in (file, *file.parents[:3])} == kept


@pytest.mark.parametrize("fault", ["broken", "forgetful", "unreachable", "refused"])
async def test_nothing_leaves_the_database_before_the_archive_has_it(
    desk: Desk, store: Bucket, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await shelve(desk, story(9), age=OLD)
    store.broken, store.forgetful = fault == "broken", fault == "forgetful"
    if fault == "unreachable":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    if fault == "refused":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    work, whole = upkeep(desk, "s3://journals"), await desk.replay(run)
    await work.pack(rest=0)
    await keep_journals(desk.principal, desk.database, 30)
    with pytest.raises(ArchiveUnavailable) as failed:
        await work.keep()
    assert SECRET not in str(failed.value)
    assert (await here(desk, run))[0] is True
    assert await desk.replay(run) == whole


async def test_a_process_without_the_archive_removes_nothing_where_others_have_one(
    desk: Desk, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archived = await shelve(desk, story(9), age=OLD)
    work = upkeep(desk, folder.as_uri())
    await keep_journals(desk.principal, desk.database, 30)
    assert (await work.pack(rest=0), await work.keep()) == (1, 1)
    later, *_ = [await shelve(desk, story(9), age=OLD) for _ in range(3)]
    bare = upkeep(desk)
    assert (await bare.pack(rest=0), await bare.keep()) == (3, 0)
    assert await bare.keep() == 0
    assert caplog.text.count("archive_url") == 1
    assert (await here(desk, later))[0] is True
    with pytest.raises(ArchiveUnavailable, match="Set archive_url"):
        await desk.replay(archived)


@pytest.mark.parametrize("harm", ["cut", "foreign", "missing", "unmounted"])
async def test_what_the_archive_lost_or_spoiled_is_never_taken_for_the_journal(
    desk: Desk, folder: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = await shelve(desk, story(9), age=OLD)
    work = upkeep(desk, folder.as_uri())
    await keep_journals(desk.principal, desk.database, 30)
    assert (await work.pack(rest=0), await work.keep()) == (1, 1)
    (file,) = folder.rglob("*.journal")
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif harm == "foreign":
        file.write_bytes(b"{}\n")
    elif harm == "missing":
        file.unlink()
    else:
        folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ArchiveUnavailable if harm == "unmounted" else Damaged) as failed:
        await desk.replay(run)
    told = [record.message for record in caplog.records if record.name.startswith("porch.runs")]
    assert len(told) == 1, "the operator is told once, and where"
    assert str(folder) in told[0]
    assert str(folder) not in failed.value.message
    if harm == "unmounted":
        assert failed.value.message.endswith("Its folder is not there. Try again later.")
    else:
        assert format_id("run", run) in failed.value.message
        assert file.name in told[0]
    assert (await here(desk, run))[0] is False


def test_an_archive_that_cannot_be_one_is_told_at_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_text("a file")
    with pytest.raises(SetupError, match="cannot be made"):
        Archive(folder.as_uri())
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(SetupError, match=r"pip install 'porch\[s3\]'"):
        ObjectStore.open("s3://journals")
