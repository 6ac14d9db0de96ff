"""Short of memory, a server refuses what is new, keeps what runs, and says so."""

import contextlib
import logging
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from porch.runs.holdings import describe_holdings
from porch.web.watchdog import Watchdog
from tests.http.client import Client
from tests.web.cgroups import GIB, MIB, CgroupV2
from tests.web.conftest import STREAM, House


@pytest.fixture
async def group(tmp_path: Path) -> CgroupV2:
    return CgroupV2(tmp_path, limit=GIB)


@pytest.fixture
async def watchdog(house: House, group: CgroupV2) -> Watchdog:
    def describe() -> str:
        return describe_holdings(house.runs)

    return Watchdog(house.runs.pressure, group.memory(), describe)


@contextlib.asynccontextmanager
async def talking(house: House, conversation: str) -> AsyncGenerator[str]:
    """A long answer at work; gives its run."""
    body = {"input": "[[tokens 100000 itl=5ms]]"}
    started = await house.ada.client.post(f"{conversation}/runs", json=body)
    assert started.status == 202
    yield started.json["run"]
    await house.ada.client.post(f"/api/v1/runs/{started.json['run']}/cancel")


async def test_at_85_percent_new_work_is_refused_and_at_80_it_is_taken_again(
    house: House, group: CgroupV2, watchdog: Watchdog
) -> None:
    where = await house.conversation()
    group.set(current=869 * MIB)
    await watchdog.look()
    assert (await house.say("[[say Hi]]", where)).status == 200
    group.set(current=871 * MIB)
    await watchdog.look()
    for headers in ({}, STREAM):
        refused = await house.ada.client.post(f"{where}/runs", json={"input": "Hi"}, headers=headers)
        assert (refused.status, refused.code) == (503, "overloaded")
        assert refused.headers["retry-after"] == "5"
        assert "short of memory" in refused.json["detail"]
    group.set(current=820 * MIB)
    await watchdog.look()
    assert (await house.say("[[say Hi]]", where)).status == 503, "between the two nothing changes"
    group.set(current=819 * MIB)
    await watchdog.look()
    assert (await house.say("[[say Hi]]", where)).status == 200
    figures = (await house.ada.client.get("/metrics")).body.decode()
    assert f"porch_memory_used_bytes {819 * MIB}\n" in figures
    assert "porch_memory_short 0\n" in figures
    assert house.runs.pressure.refused >= 3
    assert f"\nporch_work_refused_total {house.runs.pressure.refused}\n" in figures
    assert (
        f'porch_runs_start_failures_total{{error_type="overloaded"}} {house.runs.pressure.refused}\n'
        in figures
    )


async def test_what_runs_goes_on_and_pages_and_health_answer_meanwhile(
    house: House, group: CgroupV2, watchdog: Watchdog, caplog: pytest.LogCaptureFixture
) -> None:
    where = await house.conversation()
    async with talking(house, where) as run:
        group.set(current=1000 * MIB)
        with caplog.at_level(logging.WARNING, "porch.web.watchdog"):
            await watchdog.look()
            await watchdog.look()
        anyone = Client(house.world.app)
        assert (await anyone.get("/healthz")).status == 200
        ready = await anyone.get("/readyz")
        assert (ready.status, ready.json["memory"]) == (200, "short")
        assert (await anyone.get("/sign-in", headers={"accept": "text/html"})).status == 200
        assert (await house.ada.client.get(f"{where}/messages")).status == 200
        assert (await house.ada.client.get(f"/api/v1/runs/{run}")).json["status"] == "running"
        refused = await house.ada.client.get(f"/api/v1/runs/{run}/events", headers=STREAM)
        assert (refused.status, refused.code) == (503, "overloaded")
    [told] = [record.getMessage() for record in caplog.records]
    assert "1,000 MiB of 1,024 MiB" in told
    assert "1 runs with" in told
    assert run in told
    state = (await house.ada.client.get(f"/api/v1/runs/{run}")).json["status"]
    assert state in ("running", "cancelled"), "stopping is no new work"


async def test_a_large_upload_is_refused_before_it_is_read_and_a_small_write_is_not(
    house: House, group: CgroupV2, watchdog: Watchdog
) -> None:
    group.set(current=1000 * MIB)
    await watchdog.look()
    path = f"{house.ada.path}/agents"
    definition = {"name": "small", "instructions": "Act.", "model": "scripted:test"}
    assert (await house.ada.client.post(path, json=definition)).status == 201
    large = await house.ada.client.post(path, json={**definition, "description": "x" * 100_000})
    assert (large.status, large.code) == (503, "overloaded")
    assert house.runs.pressure.bodies == 0
