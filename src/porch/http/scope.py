"""What the common layers leave in a request's ASGI scope for those further in."""

from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

RAW_SEND = "porch.send"
"""The server's own `send`. A stream sends its start through all layers, which add to it, and its body by this,
since no layer has anything to say about a token."""


STAY = "porch.stay"
"""A Stay, where the server can carry an answer on by itself."""


WatchDeparture = Callable[[Receive, Callable[[], None] | None], bool]
"""Has a function called when the client of a `receive` leaves, or none any more; False where it cannot."""

Write = Callable[[bytes], bool]
"""Sends more of a body at once; False where it has to go by `send`, which waits for slow clients and knows of ends."""


class Stay:
    """The way out for a stream whose start has been sent: what is `left` goes on when all layers have returned.

    None of them has anything to say about the rest, and their two dozen frames are 15 KB for each open stream.
    """

    __slots__ = ("left", "receive", "send", "watch", "write")

    def __init__(
        self,
        receive: Receive,
        send: Send,
        watch: WatchDeparture | None = None,
        write: Write | None = None,
    ) -> None:
        self.receive = receive
        self.send = send
        self.watch = watch
        self.write = write
        self.left: Callable[[], Awaitable[None]] | None = None


def find_stay(scope: Scope) -> Stay | None:
    """The way out, unless somebody listens in on the stream's body."""
    stay: Stay | None = scope.get(STAY)
    return stay if stay is not None and scope.get(RAW_SEND) is stay.send else None
