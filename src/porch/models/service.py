"""From a model's name to the provider that answers for it."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from porch.contract.errors import InvalidInput, SetupError, Unavailable
from porch.egress import Egress
from porch.models.addresses import ModelNotConfigured
from porch.models.availability import (
    BUNDLED,
    Availability,
    look_at_bundled,
    look_at_ollama,
    look_at_place,
    look_at_scripted,
    unseen_ollama,
)
from porch.models.catalogue import ModelCard, find_card
from porch.models.keys import ModelKeys
from porch.models.listing import LIST_SECONDS, look_at_list, unseen_list
from porch.models.lookout import Lookout
from porch.models.makers import LocalModel, make, make_bundled, make_ollama
from porch.models.metered import Metered
from porch.models.places import PLACES, Place, find_place, is_elsewhere
from porch.models.prices import Price, find_price
from porch.models.refusals import Refusals
from porch.models.sharing import Sharing, closed
from porch.models.trials import Probe, Trial, probe, trial
from porch.providers.request import Provider
from porch.providers.scripted import Scripted

log = logging.getLogger(__name__)

# A list of models changes seldom, and who gives it is asked over the network.
LIST_FRESH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that can be asked. `model` is the provider's own name for it, `name` the whole one."""

    provider: Provider
    model: str
    context_tokens: int
    max_output_tokens: int | None
    name: str
    card: ModelCard


class Models:
    """The models of this installation.

    `environ` holds keys and addresses under their usual names; it is read here and nowhere else. `keys` are
    those that people gave to Porch itself, which come first. `sharing` says which workspaces both serve.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        egress: Egress,
        sharing: Sharing,
        local: LocalModel | None = None,
        keys: ModelKeys | None = None,
    ) -> None:
        self._environ = keys.over(environ) if keys else environ
        self._keys = keys
        self.sharing = sharing
        self._changing = asyncio.Lock()
        self._egress = egress
        self._local = local
        self._ollama_lookout = Lookout(
            lambda seconds: look_at_ollama(egress, self._environ, seconds),
            lambda: unseen_ollama(self._environ),
        )
        self._lists: dict[str, Lookout] = {}
        self._told: dict[str, ModelCard] = {}
        self._prices: dict[str, Price] = {}
        self._refusals = keys.refusals if keys else Refusals()
        self._makers: dict[str, Callable[[str], Provider]] = {
            "ollama": lambda _: make_ollama(egress, self._environ),
            "local": self._bundled,
            "scripted": lambda _: Scripted(),
        }
        self._providers: dict[str, Provider] = {}

    def resolve(self, name: str, workspace: UUID) -> ResolvedModel:
        """The model of that name (`provider:model`), for an agent of this workspace.

        Raises InvalidInput for a name that nothing answers to, ModelNotConfigured when a key, an address or
        the weights are missing, or serve another workspace only.
        """
        provider, _, model = name.partition(":")
        if not model or (provider not in PLACES and provider not in self._makers):
            raise self._unknown(name, provider, model)
        if provider == "local":
            _check_bundled(model)
        self.sharing.check(name, workspace)
        if provider not in self._providers:
            maker = self._makers.get(provider)
            self._providers[provider] = (
                maker(model) if maker else self._at(PLACES[provider], model, workspace)
            )
        card = self.card_of(name, workspace)
        context = self._ollama_window(card) if provider == "ollama" else card.context_tokens
        return ResolvedModel(
            provider=self._providers[provider],
            model=model,
            context_tokens=context,
            max_output_tokens=card.max_output_tokens,
            name=name,
            card=card,
        )

    async def available(self, workspace: UUID, *, seconds: float = 0.3) -> list[Availability]:
        """Every provider with what was found for it, as this workspace may know it: the usual ones first.

        Waits for Ollama, and for those that list their models, no longer than `seconds`; what was found within the
        last minute is told at once, with its age.
        """
        served = {place.name for place in PLACES.values() if self.sharing.serves(place.name, workspace)}
        holders = sorted({PLACES[name].holder for name in served})
        looks = [self._see(PLACES[name], seconds) for name in holders]
        ollama, *seen = await asyncio.gather(self._see_ollama(workspace, seconds), *looks)
        by_holder = dict(zip(holders, seen, strict=True))
        found = [
            self.sharing.show(_under(place, by_holder[place.holder]), workspace)
            if place.name in served
            else closed(place.name, place.label, usual=place.usual)
            for place in PLACES.values()
        ]
        return [
            look_at_bundled(self._local.state if self._local is not None else "off"),
            *(item for item in found if item.usual),
            ollama,
            *(item for item in found if not item.usual),
            look_at_scripted(),
        ]

    async def look_ahead(self) -> None:
        """Ask each provider that is set up for its models once, so that their limits are known before they are used.

        Takes seconds, not more. Nothing that goes wrong is raised: the next look will find it, and say so.
        """
        looks = (self._see(place, LIST_SECONDS) for place in PLACES.values() if not place.keeper)
        for fault in await asyncio.gather(*looks, return_exceptions=True):
            if isinstance(fault, Exception):
                log.warning("A provider's list of models could not be read.", exc_info=fault)

    def is_refused(self, provider: str) -> bool:
        """Whether the provider refused the key that it has here, when that was last used."""
        place = PLACES.get(provider)
        key = self._environ.get(place.key) if place else None
        return place is not None and key is not None and self._refusals.has(place.holder, key)

    def key_ending(self, provider: str, workspace: UUID) -> str | None:
        """The last characters of the key that Porch itself keeps for a provider.

        None where it keeps none, and for every workspace but the home one.
        """
        return self._ending(provider) if self.sharing.is_home(workspace) else None

    async def keep_key(self, provider: str, key: str, workspace: UUID) -> None:
        """Keep a key, for the next model call on. Raises Forbidden, InvalidInput, NotFound, SetupError."""
        self.sharing.check_home(workspace)
        keys = self._own_keys()
        await self._change(provider, lambda: keys.put(provider, key))

    async def forget_key(self, provider: str, workspace: UUID) -> None:
        """Forget a kept key; one in the environment holds again. Raises Forbidden, NotFound, SetupError."""
        self.sharing.check_home(workspace)
        keys = self._own_keys()
        await self._change(provider, lambda: keys.remove(provider))

    async def probe(self, name: str, workspace: UUID) -> Probe:
        """Ask a model for a word and wait for its first event. Raises as `resolve` does, and ModelError."""
        resolved = self.resolve(name, workspace)
        return await probe(resolved.provider, resolved.model)

    def trial(self, name: str, workspace: UUID) -> AsyncGenerator[str | Trial, None]:
        """Ask a model for one sentence: its words as they come, and a Trial at the end.

        Raises as `resolve` does, at once; ModelError while it answers.
        """
        resolved = self.resolve(name, workspace)
        return trial(resolved.provider, resolved.model, name)

    def card_of(self, name: str, workspace: UUID) -> ModelCard:
        """What is known of a model: from the table, else from its provider's own list once that was seen."""
        provider, _, model = name.partition(":")
        card = find_card(provider, model)
        told = not card.known and self.sharing.serves(provider, workspace)
        return self._told.get(name, card) if told else card

    def price_of(self, name: str, workspace: UUID) -> Price | None:
        """What a model costs here; None where unknown, or where another server stands behind the name."""
        provider, _, model = name.partition(":")
        place = PLACES.get(provider)
        if not self.sharing.serves(provider, workspace):
            return find_price(provider, model)
        if place is None or is_elsewhere(self._environ, place):
            return None
        return find_price(provider, model) or self._prices.get(name)

    async def _see_ollama(self, workspace: UUID, seconds: float) -> Availability:
        if not self.sharing.serves("ollama", workspace):
            return closed("ollama", "Ollama", usual=True)
        return self.sharing.show(await self._ollama_lookout.see(seconds), workspace)

    async def _see(self, place: Place, seconds: float) -> Availability:
        plain = self._look_at(place)
        found = find_place(self._environ, place) if plain.ready or plain.refused else None
        if found is None or not place.lists:
            return plain

        async def look(_: float) -> Availability:
            seen = await look_at_list(self._egress, found, self._look_at(place))
            self._told.update(seen.cards)
            self._prices.update(seen.prices)
            return seen

        if place.name not in self._lists:
            unseen = partial(self._unseen, place)
            self._lists[place.name] = Lookout(look, unseen, fresh=LIST_FRESH_SECONDS)
        return await self._lists[place.name].see(seconds)

    def _unseen(self, place: Place) -> Availability:
        return unseen_list(self._look_at(place))

    def _look_at(self, place: Place) -> Availability:
        kept = self._ending(place.name) is not None
        return look_at_place(self._environ, place, kept=kept, refused=self.is_refused(place.name))

    async def _note_key(self, place: Place, key: str, *, refused: bool) -> None:
        """Remember whether a key was taken, until it is used again or another comes in its place."""
        if key != self._environ.get(place.key, "").strip() or refused == self.is_refused(place.name):
            return
        self._forget_lists(place.holder)
        async with self._changing:
            try:
                await asyncio.to_thread(self._refusals.note, place.holder, key, refused=refused)
            except SetupError as error:
                # This process knows it all the same.
                log.warning("Whether the key was taken is not kept: %s", error.message)

    def _ending(self, provider: str) -> str | None:
        place = PLACES.get(provider)
        return self._keys.ending(place.holder) if self._keys and place else None

    def _own_keys(self) -> ModelKeys:
        if self._keys is None:
            raise Unavailable("This process keeps no keys. Set them in its environment.")
        return self._keys

    async def _change(self, holder: str, change: Callable[[], None]) -> None:
        async with self._changing:
            await asyncio.to_thread(change)
        # The next call finds the key; calls that are under way keep the provider they have.
        for place in PLACES.values():
            if place.holder == holder:
                self._providers.pop(place.name, None)
        self._forget_lists(holder)

    def _forget_lists(self, holder: str) -> None:
        for place in PLACES.values():
            if place.holder == holder:
                self._lists.pop(place.name, None)

    def _unknown(self, name: str, provider: str, model: str) -> InvalidInput:
        if not model:
            return InvalidInput(
                f'{name[:80]!r} names no model; write "provider:model", such as "local:smollm2".'
            )
        known = ", ".join(f"{known}:" for known in [*PLACES, *self._makers])
        return InvalidInput(
            f"{name[:80]!r} cannot be used: there is no provider {provider[:40]!r}. Known: {known}."
        )

    def _at(self, place: Place, model: str, workspace: UUID) -> Provider:
        found = find_place(self._environ, place)
        if found is None and not self.sharing.is_home(workspace):
            raise self.sharing.missing(f"{place.name}:{model}")
        if found is None:
            raise self._not_configured(place, model)
        inner = make(self._egress, found, kept=self._ending(place.name) is not None)
        if found.key is None:
            return Metered(inner, place.name, priced=False)
        key = found.key

        async def note(refused: bool) -> None:
            await self._note_key(place, key, refused=refused)

        return Metered(inner, place.name, priced=not found.elsewhere, note=note)

    def _not_configured(self, place: Place, model: str) -> ModelNotConfigured:
        name = f'"{place.name}:{model[:60]}"'
        if place.url is None:
            return ModelNotConfigured(
                f"{name} needs an address: set {place.variable} to where {place.label} runs, and start Porch again."
            )
        page = "add one on the Models page, or " if self._keys else ""
        return ModelNotConfigured(
            f"{name} needs a key: {page}set {place.key}, or set {place.variable} to a server that needs none, "
            "and start Porch again."
        )

    def _bundled(self, _: str) -> Provider:
        if self._local is None:
            raise ModelNotConfigured(
                f'"local:{BUNDLED}" cannot run here: the bundled model is switched off. Choose another model.'
            )
        return make_bundled(self._egress, self._local)

    def _ollama_window(self, card: ModelCard) -> int:
        size = self._environ.get("OLLAMA_CONTEXT_LENGTH", "").strip()
        return int(size) if re.fullmatch(r"[1-9]\d{2,8}", size, re.ASCII) else card.context_tokens


def _under(place: Place, found: Availability) -> Availability:
    """What was found for a place, or for the one whose key and address it shares."""
    if place.name == found.provider:
        return found
    names = [f"{place.name}:{name.partition(':')[2]}" for name in found.models]
    note = found.note.replace(f" {found.provider}: and", f" {place.name}: and")
    return replace(found, provider=place.name, label=place.label, models=names, note=note, usual=place.usual)


def _check_bundled(model: str) -> None:
    if model != BUNDLED:
        raise InvalidInput(f'"local:{model[:60]}" is not bundled; the bundled model is "local:{BUNDLED}".')
