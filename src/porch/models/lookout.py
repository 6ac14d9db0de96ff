"""What stands at an address on the network, without anybody waiting for one that is silent.

One look is under way at a time, and it goes on when nobody waits for it any more. Until it ends, what the look
before it found is answered, and says how old it is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from porch.models.availability import Availability

LOOK_SECONDS = 1.0
KEPT_SECONDS = 60.0
# An address that answers at all answers within this on one's own machine, and a refusal comes as soon.
GRACE_SECONDS = 0.02


@dataclass(slots=True)
class Lookout:
    """Asks `look`, which takes the seconds it may last; `unseen` is answered before anything was found.

    Models that were found within `fresh` seconds are answered without another look.
    """

    look: Callable[[float], Awaitable[Availability]]
    unseen: Callable[[], Availability]
    clock: Callable[[], float] = time.monotonic
    fresh: float = 0.0
    _found: Availability | None = field(default=None, init=False)
    _found_at: float = field(default=0.0, init=False)
    _looking: asyncio.Task[Availability] | None = field(default=None, init=False)

    async def see(self, seconds: float) -> Availability:
        """What is there now, or what was lately; nobody waits longer than `seconds`."""
        if self._found and self._found.models and self.clock() - self._found_at < self.fresh:
            return self._found
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        task, kept = self._looking, self._kept()
        await asyncio.wait([task], timeout=min(seconds, GRACE_SECONDS) if kept else seconds)
        if task.done():
            return task.result()
        return kept or self.unseen()

    async def _look(self) -> Availability:
        found = await self.look(LOOK_SECONDS)
        self._found, self._found_at = found, self.clock()
        return found

    def _kept(self) -> Availability | None:
        age = self.clock() - self._found_at
        if self._found is None or age > KEPT_SECONDS:
            return None
        ago = "a moment" if age < 2 else f"{age:.0f} seconds"
        return replace(self._found, note=f"{self._found.note} (as of {ago} ago; being looked at again)")
