"""A stream ends with the credential that opened it: signing out, or revoking a token, reaches what is being read."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator

from porch.contract.errors import Forbidden, NotFound, Unauthenticated
from porch.contract.frames import KEEP_ALIVE
from porch.runs.reader import Reader

RECHECK_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 10.0
TURN = 16  # readers, before others have theirs: a word must not wait for a look at thousands

log = logging.getLogger(__name__)


async def guard_readers(readers: set[Reader], hurry: asyncio.Event) -> None:
    """Let go of readers whose credential has ended; runs until it is cancelled.

    One after another, so that many streams never ask the database at once; `hurry` says that a credential has ended.
    """
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECHECK_SECONDS):
                await hurry.wait()
        hurry.clear()
        async for reader in _in_turns(readers):
            await _check(reader)


async def _check(reader: Reader) -> None:
    if reader.recheck is None or reader.end is not None:
        return
    try:
        await reader.recheck()
    except (Unauthenticated, Forbidden, NotFound):
        reader.finish("ended")
    except Exception as error:  # a fault is no verdict: the next round asks again
        log.warning("Whether a stream's reader may still read could not be found out: %s", error)


async def send_keep_alives(readers: set[Reader]) -> None:
    """Send a sign of life to readers that have heard nothing for a while; runs until it is cancelled.

    One whose socket is full has words before it, and behind them it would only be nearer to its bounds.
    """
    while True:
        await asyncio.sleep(KEEP_ALIVE_SECONDS / 3)
        quiet_since = time.monotonic() - KEEP_ALIVE_SECONDS
        async for reader in _in_turns(readers):
            if reader.last_sent < quiet_since and not reader.queued:
                reader.push(KEEP_ALIVE)


async def _in_turns(readers: set[Reader]) -> AsyncGenerator[Reader]:
    """Those of now, with turns for others between them."""
    for number, reader in enumerate(tuple(readers), 1):
        yield reader
        if number % TURN == 0:
            await asyncio.sleep(0)
