"""What a server is given before it starts: tools that leave marks, a wrong clock, a task that hears no cancel."""

import asyncio
import contextlib
import os
import time

SKEW = float(os.environ.get("PORCH_TEST_SKEW") or 0)
MARKS = os.environ.get("PORCH_TEST_MARKS", "")
# How long the server may take to stop, in seconds, with something in it that never does.
DEAF = float(os.environ.get("PORCH_TEST_DEAF") or 0)
# When a call that waits expires, in seconds.
EXPIRES_IN = float(os.environ.get("PORCH_TEST_EXPIRES_IN") or 0)
# A process of its own, which can be killed; its name is in its command.
SCRIPT = 'sleep 0.15; echo "$1" >> "$2"; sleep 0.15; echo done'

if SKEW:
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + SKEW
    time.time_ns = lambda: now_ns() + int(SKEW * 1e9)

if DEAF:
    from porch.web import last_resort, watchdog

    watch = watchdog.Watchdog._run  # pyright: ignore[reportPrivateUsage]  # it has no other door

    async def watch_on(self: watchdog.Watchdog) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await watch(self)

    last_resort.PATIENCE_SECONDS = DEAF
    watchdog.Watchdog._run = watch_on  # pyright: ignore[reportPrivateUsage]  # as above

if EXPIRES_IN:
    from porch.runs import pauses

    # Less than an agent's definition may say.
    pauses.APPROVAL_SECONDS = EXPIRES_IN

if MARKS:
    from msgspec import Struct

    from porch.plugins import builtin
    from porch.plugins.tool import ToolFailure, tool

    class Mark(Struct):
        n: str

    async def _mark(kind: str, arguments: Mark) -> dict[str, str]:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", SCRIPT, "porch-mark", f"{kind} {arguments.n}", MARKS, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise ToolFailure("The process of the mark died; it may have been left or not.")
        return {"n": arguments.n, "said": said.decode().strip()}

    @tool("write")
    async def leave_mark(arguments: Mark) -> dict[str, str]:
        """Leaves a mark that stays."""
        return await _mark("write", arguments)

    @tool("read")
    async def look_around(arguments: Mark) -> dict[str, str]:
        """Looks around, and could do so again."""
        return await _mark("read", arguments)

    @tool("write", approval=True)
    async def carve_mark(arguments: Mark) -> dict[str, str]:
        """Leaves a mark that stays, once somebody agrees."""
        return await _mark("write", arguments)

    builtin.BUILTIN.update({found.name: found for found in (leave_mark, look_around, carve_mark)})
