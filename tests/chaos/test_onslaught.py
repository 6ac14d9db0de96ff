"""A fleet of servers under blows loses nothing: no message, no event, no end, no tool's result.

PORCH_TEST_CHAOS_SEED repeats a schedule, PORCH_TEST_CHAOS_RUNS sets how many messages there are.
"""

import os
import random

import pytest

from tests.chaos.onslaught import onslaught


async def _rage(runs: int, *, lease_seconds: float, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("PORCH_TEST_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    runs = int(os.environ.get("PORCH_TEST_CHAOS_RUNS") or runs)
    with capsys.disabled():
        print(f"\nonslaught: PORCH_TEST_CHAOS_SEED={seed}, {runs} runs", flush=True)
    account = await onslaught(seed, runs, replicas=3, lease_seconds=lease_seconds)
    with capsys.disabled():
        print(account, flush=True)
    assert account.runs >= runs


async def test_a_few_blows_on_a_fleet_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    await _rage(15, lease_seconds=2.0, capsys=capsys)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_hundreds_of_runs_under_blows_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    await _rage(600, lease_seconds=4.0, capsys=capsys)
