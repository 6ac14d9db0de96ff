"""What is offered of each provider: its state, its key's whereabouts, and what its models can do."""

import asyncio
import time
from dataclasses import dataclass

from porch.contract.errors import ModelError
from porch.models.availability import Availability
from porch.models.catalogue import ModelCard, find_card, known_models
from porch.models.keys import VARIABLES
from porch.models.service import Models

PROBE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a provider's key comes from: `kept` by Porch or a `variable`; `ending` is its last characters."""

    source: str
    variable: str
    ending: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider as found. `models` are whole names with what is known of each; a provider may have more."""

    provider: str
    label: str
    ready: bool
    note: str
    takes_key: bool
    key: KeySource | None
    models: list[tuple[str, ModelCard]]
    refused: bool = False
    elsewhere: bool = False

    @property
    def unlisted(self) -> bool:
        """Whether it can be asked and nobody knows for which models: their names are for people to write."""
        return self.ready and self.elsewhere and not self.models


async def list_offers(models: Models, *, seconds: float = 0.3) -> list[Offer]:
    """Every provider. Waits for Ollama no longer than `seconds`."""
    return [_offer(models, found) for found in await models.available(seconds=seconds)]


async def measure(models: Models, name: str) -> int:
    """Ask a model for a word: milliseconds to its first sign of life.

    Raises InvalidInput, ModelNotConfigured, and ModelError when it refuses or is silent.
    """
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await models.probe(name)
    except TimeoutError:
        raise ModelError(
            f"{name[:80]!r} said nothing for {PROBE_SECONDS:.0f} seconds. Try again, or choose another model.",
            code="timeout",
            category="timeout",
            retryable=True,
        ) from None
    return round((time.perf_counter() - started) * 1000)


def _offer(models: Models, found: Availability) -> Offer:
    return Offer(
        provider=found.provider,
        label=found.label,
        ready=found.ready,
        note=found.note,
        takes_key=found.provider in VARIABLES,
        key=_key(models, found),
        models=[(name, find_card(found.provider, name.partition(":")[2])) for name in choice(found)],
        refused=found.refused,
        elsewhere=found.elsewhere,
    )


def choice(found: Availability) -> list[str]:
    """Names to choose from: those it lists, else those that the table of models has of the provider itself."""
    if found.models or not found.ready or found.elsewhere:
        return found.models
    return [f"{found.provider}:{name}" for name in known_models(found.provider)]


def _key(models: Models, found: Availability) -> KeySource | None:
    ending = models.key_ending(found.provider)
    if ending is not None:
        return KeySource("kept", VARIABLES[found.provider], ending)
    return KeySource("environment", found.key) if found.key else None
