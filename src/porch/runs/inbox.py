"""What waits for a person: who may see it, and who may decide."""

from collections.abc import Callable
from uuid import UUID

from porch.agents.together import is_keeper
from porch.contract.errors import Conflict, Forbidden, NotFound
from porch.contract.events import Decision
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.contract.text import check_text
from porch.runs import approvals
from porch.runs.approvals import Approval
from porch.storage.database import Database

MAX_NOTE_BYTES = 2000
DONE = {"approve": "approved", "deny": "denied"}


class DecidedAlready(Conflict):
    """Raised when somebody decided otherwise before; that stands."""

    code = "decided_already"


class Inbox:
    """The calls of a workspace that wait for somebody's word."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        """`wake` is called when a run's wait may be over."""
        self._database = database
        self._wake = wake

    async def list_approvals(
        self, principal: Principal, before: UUID | None, limit: int, *, decided: bool = False
    ) -> list[Approval]:
        """What waits on the principal, or was decided, newest first: all of a workspace's for who looks after it."""
        everyone = principal.kind == "user" and principal.allows("admin", "conversations")
        whose = None if everyone else principal.id
        return await approvals.list_approvals(
            self._database,
            principal.workspace,
            whose,
            before,
            limit,
            agents=principal.agents,
            decided=decided,
        )

    async def of_run(self, principal: Principal, run: UUID) -> list[Approval]:
        """All of a run that the principal may see."""
        return await approvals.of_run(self._database, principal.workspace, run)

    async def get(self, principal: Principal, approval: UUID) -> Approval:
        """One of them. Raises NotFound."""
        found = await approvals.fetch_approval(self._database, principal.workspace, approval)
        if found is None or not is_keeper(principal, found.agent, found.participant_kind, found.participant):
            raise NotFound(f"There is no approval {format_id('apr', approval)!r} here.")
        return found

    async def resolve(
        self, principal: Principal, run: UUID, approval: UUID, decision: Decision, note: str | None = None
    ) -> Approval:
        """Decide about a call; the same decision again answers the same. The last one lets the run go on.

        Raises NotFound, Forbidden, Conflict for a run that is over, DecidedAlready.
        """
        found = await self.get(principal, approval)
        if found.run != run:
            raise NotFound(f"There is no approval {format_id('apr', approval)!r} in {format_id('run', run)}.")
        _check_decider(principal, found)
        if note is not None:
            check_text(note, "The note", MAX_NOTE_BYTES)
        outcome = await approvals.resolve(
            self._database, principal.workspace, found, decision, principal.label, note or None
        )
        if outcome == "over":
            raise Conflict("The run has ended, so there is nothing to decide any more.")
        decided = await self.get(principal, approval)
        self._wake()
        if decided.decision != decision:
            assert decided.decision
            assert decided.decided_at
            when = decided.decided_at.isoformat(timespec="seconds")
            who = "You" if decided.decided_by == principal.label else decided.decided_by
            raise DecidedAlready(f"{who} {DONE[decided.decision]} this call at {when}, and that stands.")
        return decided


def may_decide(principal: Principal, approval: Approval) -> bool:
    """Whether the principal may decide about it: a person who may run the agent, and see what is asked."""
    if not is_keeper(principal, approval.agent, approval.participant_kind, approval.participant):
        return False
    if not principal.allows("run", "agents", format_id("agt", approval.agent)):
        return False
    return principal.kind == "user" or (principal.kind == "guest" and approval.guests)


def _check_decider(principal: Principal, approval: Approval) -> None:
    principal.require("run", "agents", format_id("agt", approval.agent))
    if not may_decide(principal, approval):
        raise Forbidden(
            "This call waits for somebody who looks after the agent; a visitor cannot decide about it."
            if principal.kind == "guest"
            else "An agent cannot decide about its own calls; a person must."
        )
