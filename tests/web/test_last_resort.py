"""A process that was told to end does, whatever stands in its way, and says what that was."""

import subprocess
import sys

import pytest

from porch.web.last_resort import EXIT_CODE

BEGIN = """
import asyncio, logging, threading, time
from porch.web.last_resort import LastResort

logging.basicConfig()

# A minute of each is for ever here: the process is ended long before, and none is left over where it is not.
async def hold_on():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def main():
    resort = LastResort(asyncio.get_running_loop())
    holding = asyncio.create_task(hold_on(), name="stubborn")
    await asyncio.sleep(0.01)
"""
ENDS = {
    "a task that hears no cancel": """
    resort.allow(0.2)
    resort.allow(60)
    holding.cancel()
    await holding
""",
    "an event loop that stands still": """
    resort.allow(0.2)
    time.sleep(60)
""",
    "a thread that is waited for": """
    resort.allow(60)
    resort.allow(0.2)
    await asyncio.to_thread(time.sleep, 60)
""",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_does_not_end_in_time_is_ended_and_named(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{BEGIN}{end}\nasyncio.run(main())"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == EXIT_CODE
    assert (
        "CRITICAL:porch.web.last_resort:This server was told to stop and did not end in time" in done.stderr
    )
    assert "stubborn at asyncio/tasks.py:" in done.stderr
    assert "MainThread at " in done.stderr
    if "to_thread" in end:
        assert "asyncio_0 at futures/thread.py:" in done.stderr


def test_a_process_that_ends_in_time_ends_as_it_would() -> None:
    end = """
    resort.allow(30)
    raise SystemExit(3)
"""
    code = f"{BEGIN}{end}\nasyncio.run(main())".replace(
        "except asyncio.CancelledError:\n            pass", "finally:\n            return"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 3, done.stderr
