"""What lets somebody read a run's stream: a credential, and sight of the conversation. Either may end first."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request

from porch.agents.together import Sight, may_join
from porch.contract.errors import NotFound
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.auth import Requires, recheck
from porch.http.state import database
from porch.runs.stream import EventStream
from porch.storage.database import Database

ANY_CREDENTIAL = Requires(None, guests=True)


class Permit:
    """Asked again, it raises Unauthenticated, Forbidden or NotFound once its reader may read no more.

    `concerns` are the ids whose changes concern it; `ends` is when its credential does, by time.time(), or never.
    """

    __slots__ = ("_again", "_database", "_sight", "concerns", "ends")

    def __init__(
        self,
        again: Callable[[], Coroutine[Any, Any, Principal]],
        database: Database,
        sight: Sight,
        principal: Principal,
    ) -> None:
        self._again = again
        self._database = database
        self._sight = sight
        self.concerns = (principal.credential, *principal.line, principal.id, sight.agent, sight.conversation)
        self.ends = _end(principal)

    async def __call__(self) -> None:
        """Whether it still holds."""
        principal, sight = await self._again(), self._sight
        agent = format_id("agt", sight.agent)
        if not principal.allows("read", "conversations"):
            principal.require("run", "agents", agent)
        if not await may_join(self._database, principal, sight):
            raise NotFound("This conversation is not open to you any more.")
        self.ends = _end(principal)


def admit(request: Request, stream: EventStream) -> EventStream:
    """The stream, which ends when the request's principal may read it no more."""
    assert stream.sight is not None, "whose run it is must be known"
    principal = request.scope["state"]["principal"]
    stream.permit = Permit(recheck(ANY_CREDENTIAL, request), database(request), stream.sight, principal)
    return stream


def _end(principal: Principal) -> float | None:
    return principal.expires.timestamp() if principal.expires else None
