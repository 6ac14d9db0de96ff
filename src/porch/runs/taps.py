"""A run's frames on their way to another process's readers, at the very moment its own readers see them."""

import time
from collections.abc import MutableMapping
from typing import Any
from uuid import UUID

from porch.contract.frames import Cursor
from porch.runs.live import LiveRun
from porch.runs.reader import End, Reader
from porch.storage.post import Post, Stretch


class Tap(Reader):
    """Stands among a run's readers and posts what they get, until `until` by the monotonic clock."""

    def __init__(self, live: LiveRun, address: UUID, post: Post, taps: "set[Tap]") -> None:
        """It begins with what is shown and not yet in the journal."""
        super().__init__(_nowhere, Cursor(live.epoch, live.committed_to), name=live.name)
        self.live = live
        self.address = address
        self.until = 0.0
        self._post = post
        self._taps = taps
        taps.add(self)
        live.attach(self)
        self.until = time.monotonic() + 1

    def push(self, data: bytes, cursor: Cursor | None = None) -> None:
        """Post frames; whoever follows has the journal for those that get lost."""
        if cursor is None:
            return
        if self.until and time.monotonic() > self.until:
            self.close()
            return
        first, self.cursor = self.cursor.seq + 1, cursor
        self._post.send(self.address, Stretch(self.live.id, cursor.epoch, first, cursor.seq, data))

    def finish(self, end: End) -> None:
        """The run has let go of its readers: they look into the journal for why."""
        del end
        if self in self._taps:
            at = self.cursor
            self._post.send(self.address, Stretch(self.live.id, at.epoch, at.seq + 1, at.seq, b""))
            self.close()

    def close(self) -> None:
        """Post nothing more."""
        self._taps.discard(self)
        self.live.detach(self)


async def _nowhere(message: MutableMapping[str, Any]) -> None:
    """No socket: what this reader gets is posted."""
