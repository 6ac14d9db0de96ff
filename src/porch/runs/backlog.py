"""What waits for all readers of this process together: when it is too much, the furthest behind go first, and of
them those whose sockets take nothing.
"""

import time
from typing import Protocol

MAX_BACKLOG_BYTES = 64 * 1024 * 1024
# So much is made room for at once: one reader at a time would mean a look at all of them for every token.
ROOM = 0.9
# Whose socket took something a moment ago is not stuck: a replay's first stretch makes a long queue, too.
QUICK_SECONDS = 2.0


class Waiting(Protocol):
    """A reader, as far as this goes."""

    page: bool
    last_sent: float

    @property
    def end(self) -> str | None:
        """Why it gets nothing more, None while it does."""
        ...

    @property
    def queued(self) -> int:
        """How many bytes wait for it."""
        ...

    def overflow(self) -> None:
        """Let it go: it resynchronises."""
        ...


class Backlog:
    """The bytes of all queues, and the readers that have one."""

    def __init__(self, max_bytes: int = MAX_BACKLOG_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.let_go = 0
        """How many readers had to go for the sake of all."""
        self._behind: set[Waiting] = set()

    def add(self, reader: Waiting, size: int) -> None:
        """A reader's queue has grown by so many bytes, or shrunk by them when there are less than none."""
        self.bytes += size
        if not reader.queued:
            self._behind.discard(reader)
        elif size > 0:
            self._behind.add(reader)
            if self.bytes > self.max_bytes:
                self._make_room()

    def _make_room(self) -> None:
        left, moment = self.bytes, time.monotonic() - QUICK_SECONDS
        for reader in sorted(
            self._behind, key=lambda each: (each.page, each.last_sent > moment, -each.queued)
        ):
            if left <= self.max_bytes * ROOM:
                return
            left -= reader.queued  # of what is replayed to it, some goes only a moment later
            if reader.end is None:
                self.let_go += 1
                reader.overflow()
