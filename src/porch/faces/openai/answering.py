"""From a request to a run, and from the run to an answer of one piece."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from porch.contract.errors import NotFound
from porch.contract.events import TERMINAL, AnyEvent, RunCancelled, RunFailed, RunPaused
from porch.contract.ids import format_id, parse_id
from porch.contract.messages import Part
from porch.contract.principal import Principal
from porch.faces.openai.errors import Refused, RunEnded, UnknownModel, UnknownResponse
from porch.faces.openai.outcome import CUT, PAUSED, end_error, settled
from porch.faces.projection import Resync
from porch.faces.remote import Gap
from porch.faces.stream import events_of
from porch.runs.context import StoredMessage
from porch.runs.options import RunOptions
from porch.runs.record import RunRecord
from porch.runs.service import Runs, Started
from porch.runs.start import Asked, RunKey
from porch.runs.store import Place
from porch.runs.stream import EventStream

# How long what a call left stays here, from its last activity on.
KEEP: Final = timedelta(hours=24)
KEEP_STORED: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Question:
    """A request in our own terms: which agent, what was said before, what is to be answered, and how."""

    agent: str
    before: Sequence[StoredMessage]
    parts: list[Part]
    options: RunOptions
    keep: timedelta = KEEP
    previous: str | None = None
    gaps: Sequence[Gap] = ()


async def begin(runs: Runs, principal: Principal, question: Question, key: RunKey | None) -> Started:
    """Commit the question and let the agent answer. Raises UnknownModel, UnknownResponse, Refused and others."""
    asked = Asked(
        question.parts,
        key,
        options=question.options,
        before=question.before,
        agent=question.agent,
        keep=question.keep,
    )
    if question.previous is None:
        try:
            return await runs.open_run(principal, asked)
        except NotFound as error:
            raise UnknownModel(f"{error.message} GET …/models lists those that there are.") from None
    conversation, place = await _go_on(runs, principal, question.agent, question.previous)
    continued = Asked(
        asked.parts, key, place=place, options=asked.options, before=asked.before, keep=asked.keep
    )
    return await runs.ask(principal, conversation, continued)


async def _go_on(runs: Runs, principal: Principal, agent: str, previous: str) -> tuple[UUID, Place]:
    record, _ = await stored_response(runs, principal, previous)
    name = "previous_response_id"
    if not is_of(record, agent):
        raise Refused(f"{previous!r} is a response of another agent; go on with that one.", name)
    if record.output_message is None:
        raise Refused(f"{previous!r} has no answer to go on from.", name, code="invalid_value")
    return record.conversation, Place("after", record.output_message)


async def stored_response(
    runs: Runs, principal: Principal, response: str, agent: str | None = None
) -> tuple[RunRecord, RunOptions]:
    """A response that may be found again, of this agent where one is named. Raises UnknownResponse."""
    unknown = UnknownResponse(
        f"There is no response {response[:80]!r} here. Those sent with store=false are not kept, others for "
        f"{KEEP_STORED.days} days."
    )
    try:
        run = parse_id("resp", response)
        record = await runs.get(principal, run)
        options = await runs.options(principal, run)
    except NotFound:
        raise unknown from None
    stored = options.request.get("object") == "response" and options.request.get("store")
    if not stored or not principal.allows("run", "agents", format_id("agt", record.agent)):
        raise unknown
    if agent is not None and not is_of(record, agent):
        raise unknown
    return record, options


def is_of(record: RunRecord, agent: str) -> bool:
    """Whether the run is this agent's, named by handle or id."""
    return agent in (record.handle, format_id("agt", record.agent))


async def collect(
    runs: Runs,
    principal: Principal,
    run: UUID,
    admitted: Callable[[EventStream], EventStream],
    *,
    unbroken: bool = False,
) -> list[AnyEvent]:
    """What stands of a run, once it has ended. Raises RunEnded where there is no end to give, or `admitted` lets go.

    With `unbroken` a run that took something back is Refused.
    """
    items: list[AnyEvent | Resync] = []
    async with aclosing(events_of(runs, principal, run, admitted=admitted)) as following:
        async for item in following:
            items.append(item)
    kept = settled(items)
    if unbroken and len(kept) < len(items):
        raise Refused(
            "The agent began this response anew in mid-answer, so its events are numbered anew: stream it from its "
            "start.",
            "starting_after",
        )
    last = kept[-1] if kept else None
    if isinstance(last, RunPaused):
        raise RunEnded(409, PAUSED, again=False)
    if not isinstance(last, TERMINAL):
        raise RunEnded(503, CUT, again=True)
    return kept


def check_finished(events: list[AnyEvent]) -> None:
    """Raise RunEnded for a run that failed or was cancelled."""
    last = events[-1]
    if isinstance(last, RunFailed | RunCancelled):
        status, error, again = end_error(last)
        raise RunEnded(status, error, again=again)
