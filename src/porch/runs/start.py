"""What a run begins with: its row, its first events, and the key under which it was asked for."""

import time
from dataclasses import dataclass
from uuid import UUID

import msgspec

from porch.contract.events import AnyEvent, RunStarted, StepStarted
from porch.contract.frames import encode_frame
from porch.contract.ids import format_id, new_uuid
from porch.contract.messages import Part
from porch.contract.principal import Principal
from porch.runs.store import Key, LoadedTurn, NewRun, Place
from porch.runs.title import make_title


@dataclass(frozen=True, slots=True)
class RunKey:
    """An idempotency key that the caller holds for a route."""

    route: str
    key: str

    def bind(self, principal: Principal, run: UUID) -> Key:
        """With the answer to keep: which run it was."""
        return Key(principal.id, self.route, self.key, b'{"run":"%b"}' % format_id("run", run).encode())


def new_run(
    principal: Principal,
    conversation: UUID,
    turn: LoadedTurn,
    place: Place,
    parts: list[Part] | None,
    process: UUID,
    key: RunKey | None,
) -> tuple[NewRun, list[AnyEvent]]:
    """A run to be committed, and its first events; without `parts` it answers the message that is there."""
    run, message = new_uuid(), new_uuid()
    if parts is None:
        assert turn.message  # the one to answer
        message = turn.message
    events: list[AnyEvent] = [
        RunStarted(
            agent=f"@{principal.workspace_handle}/{turn.handle}",
            version=turn.version,
            workspace=principal.workspace_handle,
            conversation=format_id("conv", conversation),
            message=format_id("msg", message),
        ),
        StepStarted(step="s1", model=turn.definition.models[0]),
    ]
    now, name = time.time_ns(), format_id("run", run).encode()
    frames = b"".join(encode_frame(event, name, 1, seq, now) for seq, event in enumerate(events, 1))
    new = NewRun(
        workspace=principal.workspace,
        conversation=conversation,
        at_head=place.how == "head",
        parent=turn.message,
        message=message,
        parts=msgspec.json.encode(parts) if parts else None,
        title=make_title(parts) if parts else None,
        run=run,
        agent=turn.agent,
        version=turn.version,
        draft=turn.draft,
        process=process,
        last_seq=len(events),
        frames=frames,
        key=key and key.bind(principal, run),
    )
    return new, events
