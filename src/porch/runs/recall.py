"""Conversations as this process left them: their next message asks its model without a look into the database.

Nothing is taken for granted here: `porch.start_run` takes the message only where the conversation's head and its agent
are still what is remembered of them.
"""

import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from porch.agents.model import Conversation
from porch.contract.definition import Definition, encode_definition
from porch.contract.messages import TextPart
from porch.runs.context import StoredMessage
from porch.runs.store import LoadedTurn
from porch.storage.bus import Bus

if TYPE_CHECKING:
    from porch.runs.turn import Turn

MOST_BRANCHES, MOST_AGENTS = 2048, 512
MOST_MESSAGES, MOST_BYTES = 40, 16 * 1024
MOST_AGENT_BYTES = 32 * 1024
KEEP_SECONDS = 900.0
AGENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Agent:
    """Who answers: the published version, or an unpublished agent's draft."""

    id: UUID
    handle: str
    version: int | None
    draft: bytes | None
    definition: Definition
    until: float


@dataclass(frozen=True, slots=True)
class _Branch:
    """A conversation that nobody answers in just now: whose it is, and its shown branch, newest first."""

    agent: UUID
    participant_kind: str
    participant: UUID
    head: UUID | None
    history: list[StoredMessage]
    until: float


class Recall:
    """The last conversations of this process and their agents, where they are small, and without files or calls."""

    def __init__(self, bus: Bus) -> None:
        """By the bus processes tell each other of agents that were changed."""
        self._bus = bus
        bus.listen("agent", self._hear_agent)
        self._branches: OrderedDict[UUID, tuple[UUID, _Branch]] = OrderedDict()
        self._agents: OrderedDict[tuple[UUID, UUID | str], _Agent] = OrderedDict()

    # -- learning

    def opened(self, workspace: UUID, conversation: Conversation) -> None:
        """A conversation has just begun, and has no message yet."""
        if not conversation.draft:
            kind, participant = conversation.participant_kind, conversation.participant_id
            self._keep(workspace, conversation.id, conversation.agent_id, (kind, participant), None, [])

    def loaded(self, workspace: UUID, turn: LoadedTurn) -> None:
        """This was read in the database."""
        if not turn.trial and len(encode_definition(turn.definition)) <= MOST_AGENT_BYTES:
            until = time.monotonic() + AGENT_SECONDS
            agent = _Agent(turn.agent, turn.handle, turn.version, turn.draft, turn.definition, until)
            for name in (turn.agent, turn.handle):
                self._agents[workspace, name] = agent
                self._agents.move_to_end((workspace, name))
            while len(self._agents) > MOST_AGENTS:
                self._agents.popitem(last=False)

    def answered(self, turn: "Turn") -> None:
        """A run has ended, and its answer is the conversation's head."""
        before, conversation = turn.before, turn.conversation
        if before is None or conversation is None or turn.answer is None or turn.more:
            return
        history = [StoredMessage("assistant", turn.transcript.parts()), *turn.history]
        if len(history) <= MOST_MESSAGES and _size(history) <= MOST_BYTES:
            whose = before.participant_kind, before.participant
            self._keep(turn.workspace, conversation, before.agent, whose, turn.answer, history)

    def _keep(
        self,
        workspace: UUID,
        conversation: UUID,
        agent: UUID,
        whose: tuple[str, UUID],
        head: UUID | None,
        history: list[StoredMessage],
    ) -> None:
        now = time.monotonic()
        branches = self._branches
        branches[conversation] = workspace, _Branch(agent, *whose, head, history, now + KEEP_SECONDS)
        branches.move_to_end(conversation)
        while len(branches) > MOST_BRANCHES or next(iter(branches.values()))[1].until < now:
            branches.popitem(last=False)

    # -- remembering

    def take(self, workspace: UUID, conversation: UUID) -> LoadedTurn | None:
        """The conversation as a message at its head finds it; it is not known any more until that is answered."""
        owner, branch = self._branches.pop(conversation, (None, None))
        if branch is None or owner != workspace or branch.until < time.monotonic():
            return None
        agent = self._agent(workspace, branch.agent)
        if agent is None:
            return None
        whose = branch.participant_kind, branch.participant
        return _turn(agent, whose, branch.head, branch.history)

    def meet(self, workspace: UUID, agent: UUID | str, opener: tuple[str, UUID]) -> LoadedTurn | None:
        """An agent, by id or by handle, as a conversation finds it that has yet to be opened."""
        known = self._agent(workspace, agent)
        return _turn(known, opener, None, []) if known else None

    def _agent(self, workspace: UUID, named: UUID | str) -> _Agent | None:
        known = self._agents.get((workspace, named))
        return known if known is not None and known.until > time.monotonic() else None

    def deleted(self, conversation: UUID) -> None:
        """Nothing of it is kept here either."""
        self._branches.pop(conversation, None)

    def agent_changed(self, workspace: UUID, agent: UUID) -> None:
        """No words may go to a model that the agent names no longer: not from here, nor from another process."""
        self._forget_agent(workspace, agent)
        self._bus.tell("agent", workspace.hex, agent.hex)

    def forget(self, workspace: UUID, turn: LoadedTurn) -> None:
        """It is not so any more: ask the database again."""
        if turn.remembered:
            self._forget_agent(workspace, turn.agent)

    def _hear_agent(self, workspace: str, agent: str) -> None:
        self._forget_agent(UUID(hex=workspace), UUID(hex=agent))

    def _forget_agent(self, workspace: UUID, agent: UUID) -> None:
        if known := self._agents.pop((workspace, agent), None):
            self._agents.pop((workspace, known.handle), None)


def _turn(
    agent: _Agent, whose: tuple[str, UUID], head: UUID | None, history: list[StoredMessage]
) -> LoadedTurn:
    return LoadedTurn(
        agent=agent.id,
        handle=agent.handle,
        version=agent.version,
        draft=agent.draft,
        definition=agent.definition,
        trial=False,
        participant_kind=whose[0],
        participant=whose[1],
        message=head,
        misplaced=False,
        history=history,
        more=False,
        active_run=None,
        remembered=True,
    )


def _size(history: list[StoredMessage]) -> int:
    """How many bytes its words take; what is more than text counts for more than there is room."""
    total = 0
    for message in history:
        for part in message.parts:
            total += sys.getsizeof(part.text) if type(part) is TextPart else MOST_BYTES + 1
    return total
