import asyncio
import itertools
import os
import socket
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest

from porch.contract.errors import DatabaseUnavailable, PorchError, SetupError
from porch.storage import connection as connection_module
from porch.storage import database as module
from porch.storage.connection import first_words
from porch.storage.database import Database
from tests.conftest import FreshUrls

SETTING = "SELECT coalesce(current_setting('porch.workspace', true), '')"


async def test_tenant_sets_the_workspace_for_its_transaction_alone(database: Database) -> None:
    workspace = uuid4()
    async with database.tenant(workspace) as connection:
        assert await connection.fetchval(SETTING) == str(workspace)
    async with database.system() as connection:
        assert await connection.fetchval(SETTING) == ""


async def test_jsonb_travels_as_bytes(database: Database) -> None:
    async with database.system() as connection:
        sent = b'{"a": [1, "\xc3\xa9"]}'
        assert await connection.fetchval("SELECT $1::jsonb", sent) == sent
        assert await connection.fetchval("SELECT $1::jsonb", "[]") == b"[]"


async def test_an_error_in_the_block_rolls_everything_back(database: Database) -> None:
    workspace = uuid4()
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block's end raises
        async with database.tenant(workspace) as connection:
            await connection.execute("CREATE TEMPORARY TABLE pg_temp.half (n int)")
            raise ZeroDivisionError
    async with database.system() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SELECT to_regclass('pg_temp.half')") is None
        assert await connection.fetchval(SETTING) == ""


async def test_a_swallowed_error_does_not_pass_for_a_commit(database: Database) -> None:
    with pytest.raises(PorchError, match="Nothing was saved"):  # noqa: PT012 - the block's end raises
        async with database.tenant(uuid4()) as connection:
            with pytest.raises(asyncpg.DivisionByZeroError):
                await connection.execute("SELECT 1 / 0")


async def test_a_cancelled_query_leaves_a_clean_connection_behind(fresh_urls: FreshUrls) -> None:
    database = await Database.connect((await fresh_urls()).app, pool_size=1)
    other = await database.dedicated()
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    )

    async def wait_forever() -> None:
        async with database.tenant(uuid4()) as connection:
            await connection.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(wait_forever())
    while not await other.fetchval(sleeping):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.system() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval(SETTING) == ""
    await other.close()
    await database.close()


async def test_a_cancel_at_the_moment_the_connection_breaks_stays_one(fresh_urls: FreshUrls) -> None:
    database = await Database.connect((await fresh_urls()).app, pool_size=1)
    for before, after in itertools.product(range(4), range(2)):
        begun: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()

        async def wait(begun: asyncio.Future[socket.socket] = begun) -> None:
            async with database.system() as connection:
                transport = cast("Any", connection)._transport
                begun.set_result(socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())))
                await connection.fetchval("SELECT pg_sleep(60)")

        task = asyncio.create_task(wait())
        with await begun as line:
            for _ in range(before):
                await asyncio.sleep(0)
            line.shutdown(socket.SHUT_RDWR)
            for _ in range(after):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=10)
        assert task.cancelled(), (before, after)
    await database.ping()
    await database.close()


async def test_a_cancel_at_the_beginning_of_a_transaction_rolls_it_back(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def begin() -> None:
        async with database.tenant(uuid4()):
            await asyncio.sleep(60)

    for ticks in range(12):
        task = asyncio.create_task(begin())
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), ticks
    assert caplog.messages == []


async def test_a_query_that_cannot_be_cancelled_costs_its_connection_and_no_time(
    fresh_urls: FreshUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await Database.connect((await fresh_urls()).app, pool_size=1)
    monkeypatch.setattr(module, "ROLLBACK_SECONDS", 0.05)

    async def wait_forever() -> None:
        async with database.tenant(uuid4()) as connection:
            # Deaf to a request to cancel, as a query is that has not reached the server yet.
            await connection.execute(
                "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(20); "
                "EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$"
            )

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_forever(), 0.2)
    async with asyncio.timeout(5):
        await database.ping()
    await database.close()


async def test_a_busy_pool_says_so_and_recovers(
    fresh_urls: FreshUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await Database.connect((await fresh_urls()).app, pool_size=2)
    async with database.system(), database.system():
        # From here on: opening those two may take longer.
        with monkeypatch.context() as hasty:
            hasty.setattr(module, "ACQUIRE_SECONDS", 0.05)
            with pytest.raises(
                DatabaseUnavailable, match=r"All 2 database connections were busy for 0\.05 s"
            ):
                async with database.system():
                    pass
    await database.ping()
    await database.close()


async def test_a_connection_cut_by_the_server_is_replaced(fresh_urls: FreshUrls) -> None:
    database = await Database.connect((await fresh_urls()).app, pool_size=2)
    cut = "SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(DatabaseUnavailable, match="was lost in the middle"):
        async with database.tenant(uuid4()) as connection:
            await connection.fetchval(cut)
    with pytest.raises(DatabaseUnavailable, match="was lost in the middle"):
        async with database.system() as connection:
            await connection.fetchval(cut)
    for _ in range(4):
        await database.ping()
    await database.close()


async def test_an_idle_connection_cut_by_the_server_is_not_handed_out(fresh_urls: FreshUrls) -> None:
    database = await Database.connect((await fresh_urls()).app, pool_size=2)
    async with database.system() as first, database.system() as second:
        pid = await second.fetchval("SELECT pg_backend_pid()")
        assert pid != await first.fetchval("SELECT pg_backend_pid()")
    other = await database.dedicated()
    assert await other.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await other.close()
    async with database.system() as first, database.system() as second:
        assert await first.fetchval("SELECT 1") == await second.fetchval("SELECT 1") == 1
    await database.close()


def test_of_postgresqls_words_only_the_first_line_gets_into_a_sentence() -> None:
    words = (
        "the database system is not yet accepting connections\nDETAIL:  Consistent recovery is not reached."
    )
    error = asyncpg.CannotConnectNowError(words)
    assert first_words(error) == "the database system is not yet accepting connections"
    assert first_words(TimeoutError()) == "TimeoutError"


async def test_no_server_is_a_sentence_without_the_password() -> None:
    with pytest.raises(DatabaseUnavailable, match=r"at 127\.0\.0\.1:1/porch does not answer") as caught:
        await Database.connect("postgresql://porch_app:hush@127.0.0.1:1/porch")
    assert "hush" not in caught.value.message


async def test_a_url_that_is_none_is_a_sentence_without_the_password() -> None:
    with pytest.raises(SetupError, match="database URL cannot be used") as caught:
        await Database.connect("mysql://porch_app:hush@localhost/porch")
    assert "hush" not in caught.value.message


async def test_a_driver_without_a_reset_query_still_rolls_back_what_was_left_open(database: Database) -> None:
    async with database.system() as connection:
        await connection.execute("BEGIN")
    async with database.system() as connection:
        assert not connection.is_in_transaction()


async def test_the_app_role_is_kept_from_hanging_on(database: Database) -> None:
    async with database.system() as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "30s"
        assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "1min"
        assert await connection.fetchval("SELECT current_setting('is_superuser')") == "off"


@pytest.mark.parametrize("error", [asyncpg.ConnectionDoesNotExistError, asyncpg.InternalClientError])
async def test_a_connection_that_breaks_as_it_is_made_is_a_sentence_and_none_is_left(
    database: Database, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    made: list[Any] = []

    async def prepare(connection: Any) -> None:
        made.append(connection)
        raise error("the server went away")

    monkeypatch.setattr(connection_module, "prepare", prepare)
    with pytest.raises(DatabaseUnavailable, match="does not answer: the server went away"):
        await database.dedicated()
    assert made[0].is_closed()

    async def acquire(**_: object) -> None:
        raise error("the server went away")

    monkeypatch.setattr(database, "pool", SimpleNamespace(acquire=acquire))
    with pytest.raises(DatabaseUnavailable, match="cannot be reached just now: the server went away"):
        await database.ping()


async def test_a_dedicated_connection_listens(database: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    channel = f"porch_test_{os.getpid()}"
    connection = await database.dedicated()

    def hear(_: object, __: int, ___: str, payload: str) -> None:
        heard.put_nowait(payload)

    await connection.add_listener(channel, hear)
    async with database.system() as sender:
        await sender.execute(f"NOTIFY {channel}, 'run'")
    async with asyncio.timeout(5):
        assert await heard.get() == "run"
    await connection.close()


async def test_a_statement_that_takes_too_long_or_finds_no_room_says_so(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="took too long"):
        async with database.system() as connection:
            await connection.execute("SET LOCAL statement_timeout = 0; SELECT pg_sleep(5)", timeout=0.05)
    with pytest.raises(DatabaseUnavailable, match="disk that holds the database is full"):
        async with database.system() as connection:
            await connection.execute("DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END $$")
    await database.ping()
