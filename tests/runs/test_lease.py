"""A process's lease: kept over a short absence of the database."""

import asyncio
import logging

import pytest

from porch.contract.errors import DatabaseUnavailable
from porch.runs.lease import Lease
from porch.storage.connection import Connection
from porch.storage.database import Database

SECONDS = 8.0
FAILURES = 8


async def test_a_heartbeat_that_fails_is_tried_again_soon_so_that_the_lease_is_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries, back, connect = 0, asyncio.Event(), database.dedicated

    async def away_at_first() -> Connection:
        nonlocal tries
        tries += 1
        if tries <= FAILURES:
            raise DatabaseUnavailable("PostgreSQL starts.")
        back.set()
        return await connect()

    monkeypatch.setattr(database, "dedicated", away_at_first)
    lease, lost = Lease(database, SECONDS), asyncio.Event()
    lease.watch(on_lost=lost.set, on_cancel=lambda run, by: None)
    with caplog.at_level(logging.INFO, "porch.runs.lease"):
        await lease.start()
        first = lease.process
        async with asyncio.timeout(SECONDS / 2):
            await back.wait()
    assert lease.covers(first)
    assert not lost.is_set()
    assert caplog.text.count("Heartbeat failed") == 1
    await lease.stop()


async def test_a_lease_that_is_over_between_two_looks_is_not_replaced_before_its_runs_are_given_up(
    database: Database,
) -> None:
    class Flickering(Lease):
        looks = 0

        @property
        def valid(self) -> bool:
            self.looks += 1
            return self.looks != 2

    lease, lost = Flickering(database, 0.8), asyncio.Event()
    lease.watch(on_lost=lost.set, on_cancel=lambda run, by: None)
    await lease.start()
    first = lease.process
    async with asyncio.timeout(5):
        while lease.looks < 3:
            await asyncio.sleep(0.01)
    assert lost.is_set() or lease.process == first
    await lease.stop()
