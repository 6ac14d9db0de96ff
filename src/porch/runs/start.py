"""What a run begins with: what was asked, its row, its first events, and the key under which it was asked for."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import msgspec

from porch.agents.files import StoredFile, stow
from porch.agents.obstacles import HERE, obstacle
from porch.agents.together import Sight, is_own, may_join
from porch.contract.definition import HANDLE
from porch.contract.errors import (
    Conflict,
    ConversationBusy,
    InProgress,
    InvalidInput,
    NotFound,
    PorchError,
    QueueFull,
)
from porch.contract.events import AnyEvent, RunStarted, StepStarted
from porch.contract.frames import Cursor, Framer
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.contract.messages import Part, ToolCallPart, ToolResultPart
from porch.contract.principal import Principal
from porch.identity.guests import occupied
from porch.runs import store
from porch.runs.context import StoredMessage
from porch.runs.options import NO_OPTIONS, RunOptions
from porch.runs.queue import MAX_WAITING, list_queued
from porch.runs.recall import Recall
from porch.runs.store import HEAD, Key, LoadedTurn, NewRun, Place
from porch.runs.title import make_title
from porch.storage.database import Database


@dataclass(frozen=True, slots=True)
class RunKey:
    """An idempotency key that the caller holds for a route."""

    route: str
    key: str

    def bind(self, principal: Principal, run: UUID) -> Key:
        """With the answer to keep: which run it was."""
        return Key(principal.id, self.route, self.key, b'{"run":"%b"}' % format_id("run", run).encode())


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was committed: its ids, and its first frames as they stand in the journal.

    One that is `queued` has none yet: it waits for the run before it.
    """

    run: UUID
    message: UUID
    frames: bytes
    cursor: Cursor
    sight: Sight
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be answered: `parts`, or without them the message at `place`.

    Messages `before` the parts, oldest first, come in with them. With `agent`, its handle or id, the conversation
    is opened for this call, and is ephemeral: it stays for `keep` from now.
    """

    parts: list[Part] | None
    key: RunKey | None = None
    place: Place = HEAD
    options: RunOptions = NO_OPTIONS
    before: Sequence[StoredMessage] = ()
    agent: str | None = None
    keep: timedelta | None = None

    def opens(self, turn: LoadedTurn) -> bool:
        """Whether somebody says something new, in a conversation that stays."""
        return self.parts is not None and self.place is HEAD and self.agent is None and not turn.trial

    def history(self, turn: LoadedTurn) -> list[StoredMessage]:
        """The branch that is answered, newest first."""
        if self.parts is None:
            return turn.history
        return [StoredMessage("user", self.parts), *reversed(self.before), *turn.history]


async def load_turn(
    database: Database, recall: Recall, principal: Principal, conversation: UUID, asked: Asked
) -> LoadedTurn:
    """The conversation as the run finds it, and its agent. Raises NotFound, Forbidden, InvalidInput."""
    if asked.agent is not None:
        turn = await _meet(database, recall, principal, asked.agent)
    else:
        turn = recall.take(principal.workspace, conversation)
        if turn is None or asked.place is not HEAD:
            turn = await store.load_turn(database, principal.workspace, conversation, asked.place)
            if turn is not None:
                recall.loaded(principal.workspace, turn)
    if turn is None or not await may_join(database, principal, turn.sight(conversation)):
        raise NotFound(f"There is no conversation {format_id('conv', conversation)!r} here.")
    agent = format_id("agt", turn.agent)
    principal.require("run", "agents", agent)
    if turn.trial:
        principal.require("write", "agents", agent)
    if turn.misplaced:
        raise await _misplaced(database, principal.workspace, conversation, asked.place)
    asked.options.check(turn.definition)
    _check_results(asked, turn)
    return turn


async def _meet(database: Database, recall: Recall, principal: Principal, named: str) -> LoadedTurn:
    """An agent that the principal may know of. Raises NotFound."""
    identifier = parse_id("agt", named) if named.startswith("agt_") else None
    turn = None
    if identifier or HANDLE.fullmatch(named):
        workspace, opener = principal.workspace, (principal.kind, principal.id)
        turn = recall.meet(workspace, identifier or named, opener)
        if turn is None:
            turn = await store.load_agent(database, workspace, identifier, named, opener)
            if turn is not None:
                recall.loaded(workspace, turn)
    if turn is not None:
        agent = format_id("agt", turn.agent)
        if principal.allows("run", "agents", agent) or principal.allows("read", "agents", agent):
            return turn
    raise NotFound(f"There is no agent {named[:80]!r} in {principal.workspace_handle!r}.")


def new_run(
    principal: Principal, conversation: UUID, turn: LoadedTurn, asked: Asked, process: UUID
) -> tuple[NewRun, list[AnyEvent]]:
    """A run to be committed, and its first events."""
    before, files = _link(asked.before, turn.message)
    run, message, parts = new_uuid(), new_uuid(), asked.parts
    if parts is not None:
        parts, own = stow(message, parts)
        files += own
    else:
        assert turn.message  # the one to answer
        message = turn.message
    events = _first_events(principal, conversation, turn, message)
    now, name = time.time_ns(), format_id("run", run).encode()
    said = msgspec.json.encode(parts) if parts else None
    frames = Framer(name, 1).frames(events, 1, now)
    new = NewRun(
        workspace=principal.workspace,
        conversation=conversation,
        at_head=asked.place.how == "head",
        parent=turn.message,
        message=message,
        parts=said,
        title=make_title(parts) if parts and asked.keep is None else None,
        run=run,
        agent=turn.agent,
        version=turn.version,
        draft=turn.draft,
        process=process,
        last_seq=len(events),
        frames=frames,
        key=asked.key and asked.key.bind(principal, run),
        options=msgspec.json.encode(asked.options) if asked.options is not NO_OPTIONS else None,
        before=before,
        opened_by=(principal.kind, principal.id) if asked.agent is not None else None,
        keep=asked.keep,
        files=files,
        busy=turn.definition.concurrency or "reject",
        how=asked.place.how,
        asked_by=principal.label,
        size=len(said or b"") + len(before or b"") + sum(len(file.content) for file in files),
        handle=turn.handle if turn.remembered else None,
        author=None
        if parts is None or is_own(principal, turn.participant_kind, turn.participant)
        else (principal.kind, principal.id, principal.name),
    )
    return new, events


def _first_events(
    principal: Principal, conversation: UUID, turn: LoadedTurn, message: UUID
) -> list[AnyEvent]:
    return [
        RunStarted(
            agent=f"@{principal.workspace_handle}/{turn.handle}",
            version=turn.version,
            workspace=principal.workspace_handle,
            conversation=format_id("conv", conversation),
            message=format_id("msg", message),
        ),
        StepStarted(step="s1", model=turn.definition.models[0]),
    ]


def _check_results(asked: Asked, turn: LoadedTurn) -> None:
    """Raise InvalidInput for a result that answers no call: no model would read such a conversation."""
    given = [*asked.before, StoredMessage("user", asked.parts or [])]
    results = [part.call for said in given for part in said.parts if isinstance(part, ToolResultPart)]
    if not results or turn.more:
        return
    known = [*turn.history, *asked.before]
    called = {part.call for said in known for part in said.parts if isinstance(part, ToolCallPart)}
    if missing := [call for call in results if call not in called]:
        raise InvalidInput(
            f"There is a tool's result for {missing[0][:80]!r}, and no call of that id before it. Send the call too, "
            "or go on from the response that made it."
        )


def _link(messages: Sequence[StoredMessage], parent: UUID | None) -> tuple[bytes | None, list[StoredFile]]:
    """Messages as `porch.start_run` takes them in, each the next one's parent, and their files; None for none."""
    linked: list[dict[str, object]] = []
    files: list[StoredFile] = []
    for message in messages:
        own = new_uuid()
        parts, held = stow(own, message.parts)
        files += held
        linked.append({"id": own, "parent": parent, "role": message.role, "parts": parts})
        parent = own
    return msgspec.json.encode(linked) if linked else None, files


async def _misplaced(database: Database, workspace: UUID, conversation: UUID, place: Place) -> PorchError:
    name = format_id("msg", place.message) if place.message else "That message"
    for waiting in await list_queued(database, workspace, conversation):
        if waiting.message == place.message and place.message:
            run = format_id("run", waiting.run)
            return Conflict(
                f"{name} still waits for the answer before it. Cancel it (POST /api/v1/runs/{run}/cancel) and send "
                "another, or wait for its answer."
            )
    return NotFound(f"There is no message {name!r} in this conversation. Read its messages again, then send.")


async def refuse(database: Database, principal: Principal, outcome: str, active: UUID | None) -> PorchError:
    """What to say where `porch.start_run` took no message: by its outcome, and the run that is at work."""
    match outcome:
        case "repeated":
            return InProgress("This message was sent twice at once under its Idempotency-Key. Try again.")
        case "occupied":
            return occupied()
        case "full":
            return QueueFull(
                f"{MAX_WAITING} messages wait in this conversation, or their files take up all the room there is. "
                "Wait for an answer, or take one of them back, then send this one again."
            )
        case _:
            return ConversationBusy(await _why_busy(database, principal, active))


async def _why_busy(database: Database, principal: Principal, active: UUID | None) -> str:
    reason = await store.pause_of(database, principal.workspace, active) if active else None
    return obstacle(principal, reason or "answer", format_id("run", active) if active else HERE, "send again")
