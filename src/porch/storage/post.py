"""What carries a run's frames from the process that makes them to those whose readers follow it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol
from uuid import UUID


class Stretch(NamedTuple):
    """Frames of one run in one epoch that follow one another; without frames, word that no more come."""

    run: UUID
    epoch: int
    first: int
    last: int
    frames: bytes


class Post(Protocol):
    """Sends stretches to other processes and hears those for this one. Any may be lost: the journal has them all."""

    sends: bool
    """Whether others can be reached just now."""
    hears: bool
    """Whether others reach this process."""

    def watch(self, *, hear: Callable[[Stretch], None], on_change: Callable[[], None]) -> None:
        """Call `hear` with every stretch that comes, `on_change` when `sends` or `hears` has changed."""
        ...

    def send(self, to: UUID, stretch: Stretch) -> None:
        """Send frames to a process at once."""
        ...

    async def start(self) -> None:
        """Begin to hear and to send."""
        ...

    async def stop(self) -> None:
        """Let go of all connections."""
        ...


def open_post(url: str, address: UUID, *, may_send: Callable[[], bool]) -> Post:
    """The post of a process by the server at that URL; the driver is loaded only where there is one."""
    from porch.storage.valkey import ValkeyPost

    return ValkeyPost(url, address, may_send=may_send)
