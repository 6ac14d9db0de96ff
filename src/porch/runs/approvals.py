"""Calls that wait for a person: their rows, and what was decided about them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from porch.contract.canonical import canonical_hash
from porch.contract.events import ApprovalResolved, Decision
from porch.contract.ids import format_id
from porch.runs.transcript import Transcript
from porch.runs.verdict import Verdict, denial, tampered
from porch.storage.database import Database


@dataclass(frozen=True, slots=True)
class Approval:
    """A call that waits for a person, or waited: `canonical` is the text that was shown and runs."""

    id: UUID
    run: UUID
    conversation: UUID
    agent: UUID
    handle: str
    call: str
    name: str
    canonical: str
    hash: str
    reason: str
    requested_at: datetime
    expires_at: datetime
    decision: Decision | None
    decided_by: str | None
    decided_at: datetime | None
    note: str | None
    participant_kind: str
    participant: UUID
    guests: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """What the tool is called with."""
        return msgspec.json.decode(self.canonical)

    def resolved(self) -> ApprovalResolved | None:
        """The event that tells what was decided; None before."""
        if self.decision is None or self.decided_by is None:
            return None
        return ApprovalResolved(
            approval=format_id("apr", self.id), decision=self.decision, by=self.decided_by
        )

    def verdict(self, shown_hash: str | None, *, fresh: bool) -> Verdict:
        """What the engine makes of it, checked against the hash in the journal."""
        if self.decision != "approve":
            return Verdict(error=denial(self.decided_by or "system", self.note))
        if not canonical_hash(self.canonical) == self.hash == shown_hash:
            return Verdict(error=tampered())
        return Verdict(arguments=self.arguments, fresh=fresh)


_SELECT = """
    SELECT p.*, r.conversation_id, r.agent_id, a.handle, c.participant_kind,
      coalesce(v.definition, r.draft) -> 'approval' -> 'guests' = 'true' AS guests
    FROM porch.approvals p
    JOIN porch.runs r ON r.workspace_id = p.workspace_id AND r.id = p.run_id
    JOIN porch.agents a ON a.workspace_id = r.workspace_id AND a.id = r.agent_id
    JOIN porch.conversations c ON c.workspace_id = r.workspace_id AND c.id = r.conversation_id
    LEFT JOIN porch.agent_versions v
      ON v.workspace_id = r.workspace_id AND v.agent_id = r.agent_id AND v.number = r.agent_version
    WHERE p.workspace_id = $1
"""


async def list_approvals(
    database: Database,
    workspace: UUID,
    participant: UUID | None,
    before: UUID | None,
    limit: int,
    *,
    agents: Collection[UUID] | None = None,
    decided: bool = False,
) -> list[Approval]:
    """Those of one participant, or of all, newest first: what waits, or what was decided; of these agents alone."""
    state = "NOT NULL" if decided else "NULL"
    async with database.tenant(workspace) as connection:
        rows = await connection.fetch(
            f"{_SELECT} AND p.decision IS {state} AND c.deleted_at IS NULL"
            " AND ($2::uuid IS NULL OR p.participant_id = $2) AND ($3::uuid IS NULL OR p.id < $3)"
            " AND ($5::uuid[] IS NULL OR r.agent_id = ANY ($5))"
            " ORDER BY p.id DESC LIMIT $4",
            workspace,
            participant,
            before,
            limit,
            list(agents) if agents is not None else None,
        )
    return [_approval(row) for row in rows]


async def of_run(database: Database, workspace: UUID, run: UUID) -> list[Approval]:
    """All of one run, in the order they were asked for."""
    async with database.tenant(workspace) as connection:
        rows = await connection.fetch(f"{_SELECT} AND p.run_id = $2 ORDER BY p.id", workspace, run)
    return [_approval(row) for row in rows]


async def fetch_approval(database: Database, workspace: UUID, approval: UUID) -> Approval | None:
    """One by its id, unless its conversation was deleted."""
    async with database.tenant(workspace) as connection:
        row = await connection.fetchrow(
            f"{_SELECT} AND p.id = $2 AND c.deleted_at IS NULL", workspace, approval
        )
    return _approval(row) if row else None


async def resolve(
    database: Database, workspace: UUID, approval: Approval, decision: Decision, by: str, note: str | None
) -> str:
    """Decide, unless that was done. Answers what `porch.resolve_approval` does."""
    async with database.system() as connection:
        return await connection.fetchval(
            "SELECT porch.resolve_approval($1, $2, $3, $4, $5, $6)",
            workspace,
            approval.run,
            approval.id,
            decision,
            by,
            note,
        )


async def judge(
    database: Database, workspace: UUID, run: UUID, transcript: Transcript
) -> tuple[list[ApprovalResolved], dict[str, Verdict]]:
    """What was decided and no event tells yet, and the verdicts about all calls that somebody was asked about."""
    if not transcript.requests:
        return [], {}
    found = {format_id("apr", row.id): row for row in await of_run(database, workspace, run)}
    events: list[ApprovalResolved] = []
    verdicts: dict[str, Verdict] = {}
    for call, asked in transcript.requests.items():
        row = found.get(asked.approval)
        if row is None:
            verdicts[call] = Verdict(error=tampered())
            continue
        resolved = row.resolved()
        fresh = asked.approval not in transcript.decisions
        if resolved is not None:
            verdicts[call] = row.verdict(asked.arguments_hash, fresh=fresh)
            if fresh:
                events.append(resolved)
    return events, verdicts


def _approval(row: Any) -> Approval:
    return Approval(
        id=row["id"],
        run=row["run_id"],
        conversation=row["conversation_id"],
        agent=row["agent_id"],
        handle=row["handle"],
        call=row["call"],
        name=row["name"],
        canonical=row["arguments"],
        hash=row["arguments_hash"],
        reason=row["reason"],
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        decision=row["decision"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        note=row["note"],
        participant_kind=row["participant_kind"],
        participant=row["participant_id"],
        guests=bool(row["guests"]),
    )
