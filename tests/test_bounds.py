"""What waits for ever in a test run is ended and named, and the rest of the run goes on."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests import bounds
from tests.bounds import Clock, bound_fixture, bound_test, bounded

ROOT = Path(__file__).parents[1]
WAITS = """
import asyncio, time, pytest
from hypothesis import given, strategies

@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="module")
async def shared():
    yield 1

@pytest.fixture
async def beginless(shared):
    await asyncio.Event().wait()

@pytest.fixture
async def endless(shared):
    yield 1
    await asyncio.Event().wait()

@pytest.fixture
def blocking():
    yield 1
    # What no cancel reaches: it is cut off after a moment, and where the bound fails the minute ends it all the same.
    time.sleep(60)

@pytest.fixture
async def deaf(shared):
    yield 1
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def test_waits(shared):
    await asyncio.Event().wait()

@given(strategies.none())
async def test_waits_at_an_example(shared, it):
    await asyncio.Event().wait()

async def test_has_a_fixture_that_does_not_begin(beginless):
    pass

async def test_has_a_fixture_that_does_not_end(endless):
    pass

async def test_fails_and_has_a_fixture_that_does_not_end(endless):
    assert not endless

def test_fails_and_has_a_fixture_that_blocks(blocking):
    assert not blocking

async def test_comes_after_them(shared):
    pass

async def test_has_a_fixture_that_hears_nothing(deaf):
    pass
"""
OPTIONS = (
    "-p",
    "tests.bounds",
    "-p",
    "no:cacheprovider",
    "-o",
    "anyio_mode=auto",
    "--timeout=1",
    "-v",
    "--tb=no",
)


async def wait_for_godot() -> None:
    await asyncio.Event().wait()


def test_a_run_whose_tests_wait_goes_on_and_ends(tmp_path: Path) -> None:
    """One run with all that waits, since most of its time is the start."""
    (tmp_path / "test_file.py").write_text(WAITS)
    (tmp_path / "pytest.ini").touch()
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "-c", str(tmp_path / "pytest.ini"), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    told = ran.stdout + ran.stderr
    verdicts = re.findall(r"::test_(\w+) (PASSED|FAILED|ERROR)", told)
    assert verdicts == [
        ("waits", "FAILED"),
        ("waits_at_an_example", "FAILED"),
        ("has_a_fixture_that_does_not_begin", "ERROR"),
        ("has_a_fixture_that_does_not_end", "PASSED"),
        ("has_a_fixture_that_does_not_end", "ERROR"),
        ("fails_and_has_a_fixture_that_does_not_end", "FAILED"),
        ("fails_and_has_a_fixture_that_does_not_end", "ERROR"),
        ("fails_and_has_a_fixture_that_blocks", "FAILED"),
        ("fails_and_has_a_fixture_that_blocks", "ERROR"),
        ("comes_after_them", "PASSED"),
        ("has_a_fixture_that_hears_nothing", "PASSED"),
    ], told
    assert "The teardown of test_file.py::test_has_a_fixture_that_hears_nothing does not end" in told


async def test_what_did_not_end_is_told_with_every_task_and_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "left", 0.01)
    monkeypatch.setattr(Clock, "end", 0.01)

    async def wait() -> None:
        task = asyncio.create_task(wait_for_godot(), name="godot")
        try:
            await task
        finally:
            task.cancel()

    async def begins() -> AsyncGenerator[int]:
        yield 1
        await wait()

    with pytest.raises(
        TimeoutError, match=r"test_it did not .*godot at .*test_bounds.py:\d+ in wait_for_godot"
    ):
        await bound_test(wait, "test_it")()
    with pytest.raises(TimeoutError, match="The fixture of_it did not end in its time"):
        await bound_fixture(wait, "of_it")()
    fixture = bound_fixture(begins, "of_it")()
    assert await anext(fixture) == 1
    told = r"The end of the fixture of_it did not .*godot at .*test_bounds.py:\d+ in wait_for_godot"
    with pytest.raises(TimeoutError, match=told):
        await anext(fixture)


async def test_a_timeout_of_the_tests_own_stays_what_it_is() -> None:
    with pytest.raises(TimeoutError, match="its own"):
        async with bounded("it", 60):
            raise TimeoutError("its own")


async def test_without_a_clock_nothing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds.CLOCK, "seconds", None)
    assert (bounds.CLOCK.left, bounds.CLOCK.end) == (None, None)
    async with bounded("it", None):
        await asyncio.sleep(0)
