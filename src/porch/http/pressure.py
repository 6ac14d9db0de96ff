"""Whether this process has room for new work: one watches its memory, and every door asks."""

from porch.contract.errors import Overloaded

RETRY_SECONDS = 5.0
# Smaller bodies are never refused for others' sake: stopping a run, signing in, saving a name.
SMALL_BODY_BYTES = 64 * 1024
MAX_BODIES_BYTES = 256 * 1024 * 1024


class Pressure:
    """What a process has taken up, and whether it may take up more.

    `used` and `limit` are the memory of what is fullest, in bytes, as it was seen last; `shedding` says that new
    work is refused until there is room again, `refused` how often that was said. `bodies` counts the bytes of
    requests that are being read and answered.
    """

    def __init__(self, max_bodies: int = MAX_BODIES_BYTES) -> None:
        self.shedding = False
        self.used = 0
        self.limit = 0
        self.refused = 0
        self.bodies = 0
        self.max_bodies = max_bodies

    @property
    def share(self) -> float:
        """How full the memory is, from 0 to 1."""
        return self.used / self.limit if self.limit else 0.0

    def check(self) -> None:
        """Raise Overloaded while no new work is taken."""
        if self.shedding:
            self.refused += 1
            raise Overloaded(
                "This server is short of memory, so it takes nothing new just now; what is at work goes on. "
                f"Try again in {RETRY_SECONDS:g} seconds.",
                retry_after=RETRY_SECONDS,
            )

    def check_body(self, size: int, more: int) -> None:
        """Raise Overloaded while there is no room for `more` bytes of a body of `size`, unless it is small."""
        if size <= SMALL_BODY_BYTES:
            return
        self.check()
        if self.bodies + more > self.max_bodies:
            self.refused += 1
            raise Overloaded(
                f"This server is reading as many large messages as it may. Try again in {RETRY_SECONDS:g} seconds.",
                retry_after=RETRY_SECONDS,
            )
