"""Watches the memory: when it runs short new work is refused, and the log says what holds it."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import sys
from collections.abc import Callable

from porch.background import end
from porch.http.pressure import Pressure
from porch.web.memory import MIB, MOST_IDLE, Load, Memory

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
SHED_AT = 0.85
BACK_AT = MOST_IDLE
# How often memory that nobody uses is sought for the system: it costs a pause.
RETURN_SECONDS = 5.0


class Watchdog:
    """Looks each second, and lets `pressure` know. `describe` says what holds the memory, for the log."""

    def __init__(self, pressure: Pressure, memory: Memory, describe: Callable[[], str]) -> None:
        self._pressure = pressure
        self._memory = memory
        self._describe = describe
        self._task: asyncio.Task[None] | None = None
        self._returned = -RETURN_SECONDS

    def start(self) -> None:
        """Begin looking."""
        self._task = asyncio.create_task(self._run(), name="watchdog")

    async def stop(self) -> None:
        """Stop looking."""
        await end(self._task)

    async def look(self) -> None:
        """Read once, and decide."""
        load = await self._read()
        if load is None:
            return
        if load.share >= (BACK_AT if self._pressure.shedding else SHED_AT) and self._return_memory():
            load = await self._read() or load
        if not self._pressure.shedding and load.share >= SHED_AT:
            self._pressure.shedding = True
            log.warning(
                "%s has %s MiB of %s MiB in use, so no new work is taken until it is below %d %%. What holds it: %s",
                load.whose.capitalize(),
                f"{load.used // MIB:,}",
                f"{load.limit // MIB:,}",
                BACK_AT * 100,
                self._describe(),
            )
        elif self._pressure.shedding and load.share <= BACK_AT:
            self._pressure.shedding = False
            log.warning(
                "There is memory again, and new work is taken: %s MiB in use.", f"{load.used // MIB:,}"
            )

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("The memory could not be looked at")
            await asyncio.sleep(EVERY_SECONDS)

    async def _read(self) -> Load | None:
        if sys.platform == "linux":
            load = self._memory.fullest()  # some small files, which cost less than a thread does
        else:
            load = await asyncio.to_thread(self._memory.fullest)
        if load is not None:
            self._pressure.used, self._pressure.limit = load.used, load.limit
        return load

    def _return_memory(self) -> bool:
        """Give back what is only kept: rubbish, and what the allocator has put by. False when that was just done."""
        now = asyncio.get_running_loop().time()
        if now < self._returned + RETURN_SECONDS:
            return False
        self._returned = now
        gc.collect()
        with contextlib.suppress(AttributeError, OSError):  # glibc alone has it
            ctypes.CDLL(None).malloc_trim(0)
        return True
