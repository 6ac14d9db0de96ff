"""A model tried on the spot, as contract events for the page that waits for it.

It is one step and no run: `step.started`, a part of text, `usage`, then `step.finished`, whose `ext` holds
`first_token_ms` and `total_ms`; or `run.failed` with the error, at any time. A stream without one of these two at its
end was cut.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from porch.contract.errors import ModelError, PorchError
from porch.contract.events import (
    ErrorInfo,
    Event,
    PartFinished,
    PartStarted,
    RunFailed,
    StepFinished,
    StepStarted,
    StreamChunk,
    UsageReported,
)
from porch.models.trials import Trial

STEP, PART = "s1", "s1.p1"
log = logging.getLogger(__name__)


async def tell(name: str, ask: Callable[[str], AsyncGenerator[str | Trial]]) -> AsyncGenerator[Event]:
    """The events of one trial of the model `name` by `ask`, whatever becomes of it."""
    yield StepStarted(step=STEP, model=name)
    said = ""
    try:
        async with aclosing(ask(name)) as items:
            async for item in items:
                if isinstance(item, str):
                    if not said:
                        yield PartStarted(step=STEP, part=PART, kind="text")
                    said += item
                    yield StreamChunk(step=STEP, part=PART, delta=item)
                else:
                    for event in _ending(item, said):
                        yield event
    except PorchError as error:
        yield RunFailed(error=_describe(error, emitted_any=bool(said)))
    except Exception:
        log.exception("Trying %r failed by a fault of our own", name[:80])
        message = "Porch failed by a fault of its own; the server's log says more. Try again."
        yield RunFailed(
            error=ErrorInfo(
                code="internal", category="internal", message=message, retryable=True, emitted_any=bool(said)
            )
        )


def _ending(trial: Trial, said: str) -> list[Event]:
    events: list[Event] = []
    if said:
        events.append(PartFinished(step=STEP, part=PART, kind="text", value=said))
    if (usage := trial.usage) is not None:
        events.append(
            UsageReported(
                step=STEP,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_input_tokens=usage.cached_input_tokens,
                reasoning_tokens=usage.reasoning_tokens,
                cost=usage.cost,
            )
        )
    first = trial.first_token_seconds
    took = {"total_ms": round(trial.seconds * 1000)}
    if first is not None:
        took["first_token_ms"] = round(first * 1000)
    events.append(StepFinished(step=STEP, model=trial.model, ext=took))
    return events


def _describe(error: PorchError, *, emitted_any: bool) -> ErrorInfo:
    known = isinstance(error, ModelError)
    return ErrorInfo(
        code=error.reason if known else error.code,
        category=error.kind if known else error.category,
        message=error.message,
        retryable=error.retryable if known else error.status >= 500,
        emitted_any=emitted_any,
    )
