"""Servers, databases and models that are killed at random moments lose nothing that was acknowledged.

PORCH_TEST_CHAOS_SEED repeats a schedule, PORCH_TEST_CHAOS_KILLS sets how many kills there are.
"""

import os
import random

import pytest

from tests.chaos.storm import KINDS, storm


def _seed() -> int:
    return int(os.environ.get("PORCH_TEST_CHAOS_SEED") or random.SystemRandom().randrange(10**6))


def _kills(default: int) -> int:
    return max(int(os.environ.get("PORCH_TEST_CHAOS_KILLS") or default), len(KINDS))


async def _rage(kills: int, *, lease_seconds: float, capsys: pytest.CaptureFixture[str]) -> None:
    seed = _seed()
    with capsys.disabled():
        print(f"\nchaos: PORCH_TEST_CHAOS_SEED={seed}, {kills} kills", flush=True)
    report = await storm(seed, kills, lease_seconds=lease_seconds)
    with capsys.disabled():
        print(report, flush=True)
    assert len(report.kills) == kills


async def test_a_few_kills_at_random_moments_lose_nothing_and_leave_no_run_without_an_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await _rage(_kills(6), lease_seconds=2.0, capsys=capsys)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_fifty_kills_at_random_moments_lose_nothing_and_leave_no_run_without_an_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await _rage(_kills(50), lease_seconds=4.0, capsys=capsys)
