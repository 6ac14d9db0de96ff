"""Whom this installation's keys and addresses serve: its home workspace, and others where they are shared."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from porch.contract.errors import Forbidden, SetupError
from porch.models.addresses import ModelNotConfigured
from porch.models.availability import Availability
from porch.models.places import PLACES

ALL = "*"
# They need no key and no address, and stand in this process or beside it.
FREE = frozenset({"local", "scripted"})
SHAREABLE = (*PLACES, "ollama")


@dataclass(frozen=True, slots=True)
class Sharing:
    """The `home` workspace, which is the operator's first one, and the providers that are `shared` with all others."""

    home: UUID
    shared: frozenset[str] = frozenset()

    def is_home(self, workspace: UUID) -> bool:
        """Whether this is the workspace of whoever runs the installation."""
        return workspace == self.home

    def serves(self, provider: str, workspace: UUID) -> bool:
        """Whether a workspace may ask this provider. One whose key another one keeps goes with that one."""
        place = PLACES.get(provider)
        names = {ALL, provider, place.holder if place else provider}
        return provider in FREE or self.is_home(workspace) or not names.isdisjoint(self.shared)

    def check(self, name: str, workspace: UUID) -> None:
        """Raise ModelNotConfigured for a model (`provider:model`) whose provider does not serve the workspace."""
        provider = name.partition(":")[0]
        if not self.serves(provider, workspace):
            raise ModelNotConfigured(f"{_quoted(name)} cannot be used here: {_closed(provider)}.")

    def missing(self, name: str) -> ModelNotConfigured:
        """Of a model that is shared, and has no key or address."""
        return ModelNotConfigured(
            f"{_quoted(name)} has no key or address in this installation; whoever runs it can give it one."
        )

    def check_home(self, workspace: UUID) -> None:
        """Raise Forbidden in every workspace but the home one."""
        if not self.is_home(workspace):
            raise Forbidden(
                "Only whoever runs this installation can change its keys: use a credential of its first workspace."
            )

    def show(self, found: Availability, workspace: UUID) -> Availability:
        """A provider as a workspace that it serves may see it: of its key and address only the home one learns."""
        if self.is_home(workspace) or found.provider in FREE:
            return found
        return replace(found, note=_lent_note(found), key=None)


def read_shared(names: Iterable[str]) -> frozenset[str]:
    """The setting `shared_providers`. Raises SetupError for a name that no provider has."""
    shared = frozenset(names)
    if unknown := sorted(shared - {ALL, *SHAREABLE}):
        raise SetupError(
            f"shared_providers (PORCH_SHARED_PROVIDERS) names {unknown[0][:60]!r}, which no provider is called. "
            f"Write some of {', '.join(SHAREABLE)}, or {ALL} for all; {' and '.join(sorted(FREE))} serve everybody."
        )
    return shared


def closed(provider: str, label: str, *, usual: bool) -> Availability:
    """A provider that does not serve a workspace, whatever it has to serve others with."""
    return Availability(provider, label, False, _closed(provider), [], usual=usual, unset=True)


def _closed(provider: str) -> str:
    place = PLACES.get(provider)
    name = place.holder if place else provider
    return (
        "this installation's keys and addresses serve its first workspace only; whoever runs it can share this one "
        f"(PORCH_SHARED_PROVIDERS={name})"
    )


def _lent_note(found: Availability) -> str:
    if found.refused:
        return "its key was refused when it was last used; whoever runs this installation can give another"
    if found.unreached:
        return "it cannot be reached just now; whoever runs this installation can see why"
    if not found.ready:
        return "not set up; whoever runs this installation can do that"
    shared = "shared by whoever runs this installation"
    if found.elsewhere and not found.models:
        return f"{shared}; write a model's name yourself, {found.provider}: and that name"
    return shared


def _quoted(name: str) -> str:
    provider, _, model = name.partition(":")
    return f'"{provider}:{model[:60]}"'
