"""What both of OpenAI's interfaces need to know of a run: its end in their words, and what of it still stands."""

from collections.abc import Iterable
from typing import Any, Final

from porch.contract.events import AnyEvent, RunCancelled, RunFailed, StepDiscarded, Usage
from porch.faces.openai.errors import RunEnded, error_body, run_error
from porch.faces.projection import Resync

RESTARTED: Final = error_body(
    "The agent began this answer anew, because its model or its server failed in mid-answer, and this protocol "
    "cannot take back what was sent. Drop it. Asking again is safe: under the same Idempotency-Key it gives the "
    "answer that this run came to, otherwise a new one.",
    "server_error",
    None,
    "answer_restarted",
)
CUT: Final = error_body(
    "The stream ended before the answer did, which goes on without it. Ask again, under the same Idempotency-Key "
    "where one was sent.",
    "server_error",
    None,
    "stream_cut",
)
PAUSED: Final = error_body(
    "The agent waits for a person's approval, which this protocol cannot carry. Give it in the agent's workspace.",
    "server_error",
    None,
    "run_paused",
)


def end_error(event: RunFailed | RunCancelled) -> tuple[int, dict[str, Any], bool]:
    """Status, error, and whether asking again may help, of a run that did not finish."""
    if isinstance(event, RunFailed):
        return *run_error(event.error), event.error.retryable
    message = "The run was cancelled before its end. Ask again."
    return 409, error_body(message, "server_error", None, "run_cancelled"), False


def ended_early(end: RunFailed | RunCancelled | None) -> RunEnded:
    """What to answer for a run that ended before it said anything, or of which no end was heard."""
    if end is None:
        return RunEnded(503, CUT, again=True)
    status, error, again = end_error(end)
    return RunEnded(status, error, again=again)


def settled(items: Iterable[AnyEvent | Resync]) -> list[AnyEvent]:
    """A run's events without those that were taken back: of discarded steps, and behind a takeover's cut."""
    kept: list[AnyEvent] = []
    for item in items:
        if isinstance(item, Resync):
            kept = [event for event in kept if event.seq <= item.keep_through]
        elif isinstance(item, StepDiscarded):
            kept = [event for event in kept if event.step != item.step]
        else:
            kept.append(item)
    return kept


def count_usage(usage: Usage) -> tuple[int, int, int, int]:
    """Input, output, cached and reasoning tokens; a count that is not known is 0, as their types want it."""
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens or 0,
        usage.reasoning_tokens or 0,
    )
