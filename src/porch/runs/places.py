"""How many answers and streams this process has at once, and whose: asked before something new begins."""

from collections import Counter
from typing import NamedTuple
from uuid import UUID

from porch.contract.errors import Overloaded, RateLimited
from porch.contract.principal import Principal
from porch.http.pressure import RETRY_SECONDS, Pressure
from porch.runs.limits import RunLimits

# A browser's tabs share one for each run that they show.
PAGE_STREAMS = 32
GUEST_STREAMS = 8
# Of a browser's, so many are let in whatever else is open here: without them its page stands still.
SURE_STREAMS = 4


class TooManyStreams(RateLimited):
    """Raised when somebody has as many streams open as one may."""

    code = "too_many_streams"


class Place(NamedTuple):
    """Whom a stream is counted for: a browser by its session, everybody else by who they are."""

    owner: UUID
    page: bool


class Places:
    """The open streams by owner, and what there may be of them and of runs."""

    def __init__(self, limits: RunLimits, pressure: Pressure) -> None:
        self._limits = limits
        self._pressure = pressure
        self._open: Counter[UUID] = Counter()
        self.streams = 0

    def check_run(self, at_work: int) -> None:
        """Raise Overloaded when no more than the runs `at_work` may be begun."""
        self._pressure.check()
        if at_work >= self._limits.runs:
            raise Overloaded(
                f"This server works on {at_work:,} answers, as many as it may at once. "
                f"Try again in {RETRY_SECONDS:g} seconds.",
                retry_after=RETRY_SECONDS,
            )

    def check_stream(self, principal: Principal) -> None:
        """Raise TooManyStreams, or Overloaded, when this principal may not open another stream now."""
        owner, page = place_of(principal)
        have = self._open[owner]  # a Counter keeps nothing for who is not in it
        if page and have < SURE_STREAMS:
            return
        if have >= self._most(principal):
            raise TooManyStreams(
                f"You have {have:,} streams open, as many as one may. Close some, or read several runs one after "
                "the other.",
                retry_after=RETRY_SECONDS,
            )
        self._pressure.check()
        if self.streams >= self._limits.streams:
            raise Overloaded(
                f"This server has {self.streams:,} streams open, as many as it may. "
                f"Try again in {RETRY_SECONDS:g} seconds.",
                retry_after=RETRY_SECONDS,
            )

    def take(self, place: Place | None) -> None:
        """A stream is opened; one that serves the process itself has no place."""
        self.streams += 1
        if place is not None:
            self._open[place.owner] += 1

    def leave(self, place: Place | None) -> None:
        """It is open no more."""
        self.streams -= 1
        if place is not None:
            self._open[place.owner] -= 1
            if not self._open[place.owner]:
                del self._open[place.owner]

    def _most(self, principal: Principal) -> int:
        if principal.via == "session":
            return PAGE_STREAMS
        return GUEST_STREAMS if principal.kind == "guest" else self._limits.streams_each


def place_of(principal: Principal) -> Place:
    """Whom this principal's streams are counted for."""
    page = principal.via == "session"
    return Place(principal.credential if page else principal.id, page)
