"""Which sites embed anything here at all: what the common layers ask before a browser may show an answer to one."""

import logging
import time
from collections import OrderedDict

from porch.contract.errors import DatabaseUnavailable
from porch.identity import guest_store
from porch.storage.database import Database

log = logging.getLogger(__name__)

KEEP_SECONDS = 5.0
MAX_KEPT = 2048


class Sites:
    """The origins that some agent is embedded in, each remembered for a few seconds.

    It gives no access: that is the token's. A process that has just been told `forget()` knows at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[str, tuple[float, bool]] = OrderedDict()

    async def knows(self, origin: str) -> bool:
        """Whether some agent is embedded there; while the database is away, whether one was when last asked."""
        kept, asked, known = self._kept, time.monotonic(), self._kept.get(origin)
        if known is not None and known[0] > asked:
            return known[1]
        try:
            async with self._database.system() as connection:
                found = await guest_store.knows_origin(connection, origin)
        except DatabaseUnavailable as error:
            log.info("Whether %r is known could not be asked: %s", origin, error)
            return known is not None and known[1]
        kept[origin] = (asked + KEEP_SECONDS, found)
        kept.move_to_end(origin)
        while len(kept) > MAX_KEPT:
            kept.popitem(last=False)
        return found

    def forget(self) -> None:
        """Ask the database again: some agent's origins have changed."""
        # A new one, so that an answer still under way is kept where nobody looks any more.
        self._kept = OrderedDict()
