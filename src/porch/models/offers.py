"""What is offered of each provider: its state, its key's whereabouts, and what its models can do."""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

from porch.contract.errors import ModelError
from porch.models.availability import Availability
from porch.models.catalogue import ModelCard, known_models
from porch.models.keys import VARIABLES
from porch.models.places import PLACES, try_first
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
    """A provider as found. `models` are whole names with what is known of each; a provider may have more.

    `state` is as of an Availability; `variable` is where its key would be found, `key_page` where one gets
    a key ("" where there is none, and in every workspace but the home one, which takes no keys). `usual` ones are shown
    to everybody; of the others those that are not `unset`.
    """

    provider: str
    label: str
    ready: bool
    note: str
    state: str
    takes_key: bool
    key: KeySource | None
    models: list[tuple[str, ModelCard]]
    refused: bool = False
    elsewhere: bool = False
    usual: bool = True
    unset: bool = False
    unreached: bool = False
    variable: str = ""
    key_page: str = ""

    @property
    def unlisted(self) -> bool:
        """Whether it can be asked and nobody knows for which models: their names are for people to write."""
        return self.ready and self.elsewhere and not self.models

    @property
    def tried(self) -> bool:
        """Whether its models are there to be tried: a key that was refused once may be taken the next time."""
        return self.ready or self.refused


async def list_offers(models: Models, workspace: UUID, *, seconds: float = 0.3) -> list[Offer]:
    """Every provider, as the workspace may use it. Waits for Ollama no longer than `seconds`."""
    return [_offer(models, found, workspace) for found in await models.available(workspace, seconds=seconds)]


async def measure(models: Models, name: str, workspace: UUID) -> int:
    """Ask a model for a word: milliseconds to its first sign of life.

    Raises InvalidInput, ModelNotConfigured, and ModelError when it refuses or is silent.
    """
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await models.probe(name, workspace)
    except TimeoutError:
        raise ModelError(
            f"{name[:80]!r} said nothing for {PROBE_SECONDS:.0f} seconds. Try again, or choose another model.",
            code="timeout",
            category="timeout",
            retryable=True,
        ) from None
    return round((time.perf_counter() - started) * 1000)


def _offer(models: Models, found: Availability, workspace: UUID) -> Offer:
    place = PLACES.get(found.provider) if models.sharing.is_home(workspace) else None
    return Offer(
        provider=found.provider,
        label=found.label,
        ready=found.ready,
        note=found.note,
        state=found.state,
        takes_key=place is not None and found.provider in VARIABLES,
        key=_key(models, found, workspace),
        models=[(name, models.card_of(name, workspace)) for name in choice(found)],
        refused=found.refused,
        elsewhere=found.elsewhere,
        usual=found.usual,
        unset=found.unset,
        unreached=found.unreached,
        variable=place.key if place else "",
        key_page=place.key_page if place else "",
    )


def choice(found: Availability) -> list[str]:
    """Names to choose from: those it lists, else those that the table of models has of the provider itself."""
    if found.models or found.elsewhere or not (found.ready or found.refused):
        return found.models
    first = try_first(found.provider) if found.refused else ""
    return promised(found.provider) or ([first] if first else [])


def promised(provider: str) -> list[str]:
    """The names that the table of models has of a provider: what a key brings at least."""
    return [f"{provider}:{name}" for name in known_models(provider)]


def _key(models: Models, found: Availability, workspace: UUID) -> KeySource | None:
    ending = models.key_ending(found.provider, workspace)
    if ending is not None:
        return KeySource("kept", PLACES[found.provider].key, ending)
    return KeySource("environment", found.key) if found.key else None
