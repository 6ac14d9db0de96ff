"""Upstreams that send without end: they end by a limit, hold little, and slow nobody else."""

import asyncio
import os
from pathlib import Path

import pytest

from porch.contract.events import RunFailed, RunFinished
from porch.egress import Egress, EgressSettings
from porch.models import Models
from porch.plugins.service import Tools
from porch.runs.service import Runs
from tests.home import EVERYBODY
from tests.laws import check_run
from tests.providers.asking import KEY
from tests.providers.upstream import SAY, Behaviour, Exchange, framed, upstream
from tests.runs.conftest import LEASE, Desk, events_in

MIB = 1 << 20
EMPTY = framed(b"data: {}\n\n" * 6_500)
WORDS = framed(SAY.replace(b"Hi", b"Hi, " * 200) * 60)
LINUX = Path("/proc/self/statm").exists()


def endless(piece: bytes) -> Behaviour:
    """Says hello, then this for ever, as fast as it is taken."""

    async def behave(exchange: Exchange) -> None:
        await exchange.chunks(SAY)
        while True:
            await exchange.write(piece)

    return behave


def held() -> int:
    """Bytes that this process holds and no file could give back."""
    resident, shared = Path("/proc/self/statm").read_bytes().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


async def flooded(desk: Desk, egress: Egress, url: str) -> Runs:
    runs = Runs(
        desk.database,
        Models({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY}, egress, EVERYBODY),
        Tools(),
        lease_seconds=LEASE,
    )
    await runs.start()
    desk.others += [desk.runs, runs]
    desk.runs = runs
    return runs


@pytest.mark.skipif(not LINUX, reason="reads /proc")
@pytest.mark.parametrize(
    ("piece", "code"), [(EMPTY, "run_timeout"), (WORDS, "answer_too_large")], ids=["empty frames", "words"]
)
async def test_a_flood_ends_by_a_limit_while_others_are_answered_and_memory_stays(
    desk: Desk, piece: bytes, code: str
) -> None:
    turns = 0
    loop = asyncio.get_running_loop()

    def count() -> None:
        nonlocal turns
        turns += 1
        loop.call_later(0.001, count)

    async with Egress(EgressSettings(max_body_bytes=1 << 40)) as egress, upstream(endless(piece)) as place:
        runs = await flooded(desk, egress, place.url)
        runs.carrier.run_seconds = 1.5 if code == "run_timeout" else 30.0
        before = held()
        started = await desk.start("Go.", model="openai:gpt-4o")
        flood = runs.live(started.run)
        assert flood is not None
        assert flood.task
        count()
        most = 0
        while not flood.task.done():
            beside = await desk.ask("[[tokens 20]]")
            assert isinstance(beside[-1], RunFinished)
            most = max(most, held() - before)
        assert turns > 5
        events = events_in(await desk.replay(started.run))
    check_run(events)
    failed = events[-1]
    assert isinstance(failed, RunFailed)
    assert failed.error.code == code
    assert most < 48 * MIB, f"{most / MIB:.0f} MiB"
