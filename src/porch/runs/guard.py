"""A stream ends with the credential that opened it: signing out, or revoking a token, reaches what is being read."""

import asyncio
import logging

from porch.contract.errors import Forbidden, Unauthenticated
from porch.runs.reader import Reader

RECHECK_SECONDS = 10.0

log = logging.getLogger(__name__)


async def guard_readers(readers: set[Reader]) -> None:
    """Let go of readers whose credential has ended; runs until it is cancelled.

    One after another, so that many streams never ask the database at once.
    """
    while True:
        await asyncio.sleep(RECHECK_SECONDS)
        for reader in tuple(readers):
            await _check(reader)


async def _check(reader: Reader) -> None:
    if reader.recheck is None or reader.end is not None:
        return
    try:
        await reader.recheck()
    except (Unauthenticated, Forbidden):
        reader.finish("ended")
    except Exception as error:  # a fault is no verdict: the next round asks again
        log.warning("Whether a stream's reader may still read could not be found out: %s", error)
