"""How much a process carries at once, and how far one run may go: docs/limits.md lists every limit there is."""

from collections.abc import Sequence
from dataclasses import dataclass

from porch.contract.events import ErrorInfo, Notice
from porch.runs.transcript import Step
from porch.settings import Settings

KIB, MIB = 1024, 1024 * 1024
MAX_OUTPUT_BYTES = 256 * KIB
# What one run's answer may come to: words, thoughts, calls and results of all its steps. It ends where another
# output might not fit, so that the model is not asked again in vain.
MAX_ANSWER_BYTES = 8 * MIB
FULL_ANSWER_BYTES = MAX_ANSWER_BYTES - MAX_OUTPUT_BYTES
# Each has a frame in the journal, which a takeover reads as a whole.
MAX_EVENTS = 250_000
# What all runs together may have produced that is not committed yet, and what one may have of it.
MAX_UNCOMMITTED_BYTES = 32 * MIB
MOST_UNCOMMITTED_BYTES, LEAST_UNCOMMITTED_BYTES = 1 * MIB, 16 * KIB


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What one process takes on. Seconds, and counts of what there may be at once.

    `streams_each` is for one person's programs together; a browser's own stream is not counted among them.
    """

    runs: int = 4000
    streams: int = 10_000
    streams_each: int = 2000
    run_seconds: float = 3600.0

    @classmethod
    def read(cls, settings: Settings) -> "RunLimits":
        """What an installation is told."""
        return cls(settings.max_runs, settings.max_streams, settings.max_streams_each, settings.run_seconds)


DEFAULTS = RunLimits()


def uncommitted_room(together: int) -> int:
    """How much a run may have produced beyond what is committed, where all have so much together."""
    return LEAST_UNCOMMITTED_BYTES if together > MAX_UNCOMMITTED_BYTES else MOST_UNCOMMITTED_BYTES


def check_answer(steps: Sequence[Step], events: int) -> Notice | None:
    """What is said of an answer that has come to its limit; None while the model may be asked once more."""
    if sum(step.size for step in steps) > FULL_ANSWER_BYTES:
        text = f"The answer came to {MAX_ANSWER_BYTES // MIB} MiB, as much as one may be, and ends here."
    elif events > MAX_EVENTS:
        text = f"The answer came to {MAX_EVENTS:,} events, as many as one may have, and ends here."
    else:
        return None
    return Notice(step=steps[-1].id, code="answer_limit", text=text)


def time_is_up(seconds: float, *, emitted_any: bool) -> ErrorInfo:
    """The end of a run that was at work for as long as it may."""
    return ErrorInfo(
        code="run_timeout",
        category="timeout",
        message=f"The answer was worked on for {seconds:g} seconds, as long as it may, and was stopped. Ask for less "
        "at once, or raise run_seconds.",
        retryable=False,
        emitted_any=emitted_any,
    )
