"""The last resort of a server that was told to stop and does not: it says what holds it up, and is ended."""

import asyncio
import contextlib
import logging
import math
import os
import sys
import threading
import time
from types import FrameType

from porch.background import MOST_PLACES, describe_all, describe_frame

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
"""How long an end may take beside the draining: PostgreSQL alone may take half of it."""
CLOSING_SECONDS = 20.0
"""How long threads and tasks may go on after everything was closed."""
EXIT_CODE = 70
SAYING_SECONDS = 2.0


class LastResort:
    """Ends this process when it takes longer to stop than it is allowed, in a thread that needs no event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._deadline = math.inf
        # A bare lock: `allow` is called in signal handlers, where anything that waits could wait for itself.
        self._asked = threading.Lock()
        self._asked.acquire()
        threading.Thread(target=self._watch, name="last-resort", daemon=True).start()

    def allow(self, seconds: float) -> None:
        """The process has so long from now on; an earlier moment that it was given stays."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        with contextlib.suppress(
            RuntimeError
        ):  # it was asked before, perhaps by a signal within this very call
            self._asked.release()

    def _watch(self) -> None:
        self._asked.acquire()
        while (left := self._deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
        # Whoever reads the log may be stuck as well.
        saying = threading.Thread(target=self._say, daemon=True)
        saying.start()
        saying.join(SAYING_SECONDS)
        os._exit(EXIT_CODE)

    def _say(self) -> None:
        log.critical(
            "This server was told to stop and did not end in time, so it is ended now. What is not finished goes on "
            "at another server or at the next start. What held it up: tasks: %s; threads: %s",
            describe_all(asyncio.all_tasks(self._loop)) or "none",
            "; ".join(self._describe_threads()),
        )

    @staticmethod
    def _describe_threads() -> list[str]:
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]  # the only way to them
        own = threading.current_thread()
        return [
            f"{thread.name} at {', '.join(map(describe_frame, _inwards(frames[thread.ident])))}"
            for thread in threading.enumerate()
            if thread is not own and thread.name != "last-resort" and thread.ident in frames
        ]


def _inwards(frame: FrameType | None) -> list[FrameType]:
    """The innermost frames of a thread."""
    found: list[FrameType] = []
    while frame is not None and len(found) < MOST_PLACES:
        found.append(frame)
        frame = frame.f_back
    return found
