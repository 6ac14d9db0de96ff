"""Models asked for a word, to see whether they answer and how soon."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from porch.contract.definition import ModelSettings
from porch.contract.errors import ModelError
from porch.contract.events import AnyEvent, PartStarted, StreamChunk, Usage, UsageReported
from porch.contract.messages import TextPart
from porch.providers.assembly import Assembly
from porch.providers.request import ModelMessage, ModelRequest, Provider, StepOutcome

SILENT_SECONDS = 30.0
TRIAL_SECONDS = 60.0
# Room for models that think before they speak.
TRIAL_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Probe:
    """A model's sign of life: the model that answered and the seconds to its first event."""

    model: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One short answer: the whole name of the model that gave it, and when its first token and its end came.

    `first_token_seconds` counts thoughts too, and is None for an answer without any.
    """

    model: str
    first_token_seconds: float | None
    seconds: float
    usage: Usage | None


async def probe(provider: Provider, model: str) -> Probe:
    """Ask for a word, and hang up at the first event. Raises ModelError."""
    outcome = StepOutcome()
    started = time.perf_counter()
    async with aclosing(_ask(provider, model, "Say OK.", 16, outcome)) as events:
        async for _ in events:
            break
    return Probe(model=outcome.model or model, seconds=time.perf_counter() - started)


async def trial(provider: Provider, model: str, name: str) -> AsyncGenerator[str | Trial, None]:
    """Ask for one sentence: its words as they come, and then the Trial. Raises ModelError, for long silence too.

    `name` is the model's whole name.
    """
    outcome = StepOutcome()
    usage: Usage | None = None
    first: float | None = None
    spoken: set[str] = set()
    started = time.perf_counter()
    async with aclosing(
        _ask(provider, model, "Say hello in one short sentence.", TRIAL_TOKENS, outcome)
    ) as stream:
        while (events := await _next(stream, name, started)) is not None:
            for event in events:
                match event:
                    case PartStarted(kind="text" | "refusal", part=part):
                        spoken.add(part)
                    case StreamChunk(part=part, delta=delta):
                        first = first or time.perf_counter() - started
                        if part in spoken:
                            yield delta
                    case UsageReported():
                        usage = _usage(event)
                    case _:
                        pass
    answered = f"{name.partition(':')[0]}:{outcome.model}" if outcome.model else name
    yield Trial(answered, first, time.perf_counter() - started, usage)


def _ask(
    provider: Provider, model: str, words: str, tokens: int, outcome: StepOutcome
) -> AsyncGenerator[list[AnyEvent], None]:
    request = ModelRequest(
        model=model,
        instructions="",
        messages=[ModelMessage(role="user", parts=[TextPart(text=words)])],
        settings=ModelSettings(max_output_tokens=tokens),
    )
    return cast("Any", provider.stream(request, Assembly("trial"), outcome))


async def _next(
    stream: AsyncGenerator[list[AnyEvent], None], name: str, started: float
) -> list[AnyEvent] | None:
    """The next events, None at the end. The clock runs only while they are waited for."""
    left = TRIAL_SECONDS - (time.perf_counter() - started)
    try:
        async with asyncio.timeout(min(SILENT_SECONDS, left)):
            return await anext(stream, None)
    except TimeoutError:
        raise ModelError(
            f"{name[:80]!r} did not answer in time. Try again, or choose another model.",
            code="timeout",
            category="timeout",
            retryable=True,
        ) from None


def _usage(event: UsageReported) -> Usage:
    return Usage(
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        cached_input_tokens=event.cached_input_tokens,
        reasoning_tokens=event.reasoning_tokens,
        cost=event.cost,
    )
