"""`porch models`: who can answer here, what each model can do, and what would unlock more."""

import json
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from porch.cli.commands import tell_commands
from porch.cli.invocation import as_invoked, common, current, program
from porch.cli.model_table import print_models
from porch.cli.prose import Prose
from porch.cli.terminal import neutral, paint, plain
from porch.contract.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from porch.egress import EgressSettings
    from porch.models import Availability, LocalModel, Models
    from porch.models.offers import Offer

MOST_MODELS, MOST_NAMES = 8, 4
SIGNS = {
    "ready": ("✓", "green"),
    "not reached": ("!", "yellow"),
    "refused": ("✗", "red"),
    "not set up": ("·", "dim"),
}
Record = dict[str, Any]
# A command has the environment and the data folder before it, which serve it as they serve the home workspace.
OWN = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Row:
    """A provider, what is known of its models, and of those that its key would unlock.

    `keeper` is whose key it shares.
    """

    offer: "Offer"
    models: list[Record]
    unlocks: list[Record]
    keeper: str


@click.command(epilog="Example: porch models openai")
@click.argument("names", nargs=-1, metavar="[PROVIDER]...")
@common(json=True)
def models(names: tuple[str, ...]) -> None:
    """The models that can be used from here, what each can do and costs, and what unlocks more.

    With a PROVIDER all of its models. Keys are those given on the Models page, and those in the environment under
    their usual names. Limits are tokens, prices those of a million tokens.
    """
    import asyncio

    from porch.egress import EgressSettings
    from porch.models.local.process import LocalModel as Bundled

    invocation = current()
    settings = invocation.settings()
    local = Bundled(settings.data_dir) if settings.local_model else None
    bounds = EgressSettings.read(settings)
    rows = asyncio.run(_look(local, settings.data_dir, bounds))
    if unknown := next((name for name in names if name not in [row.offer.provider for row in rows]), None):
        known = ", ".join(row.offer.provider for row in rows)
        raise InvalidInput(f"There is no provider {unknown[:60]!r}. These are: {known}.")
    chosen = [row for row in rows if not names or row.offer.provider in names]
    if invocation.json:
        print(json.dumps({"items": [_plain(row) for row in chosen]}, ensure_ascii=False))
        return
    prose = Prose(sys.stdout)
    for row in chosen:
        if names or row.offer.usual or not row.offer.unset:
            _tell(prose, row, whole=bool(names))
    if not names:
        _tell_more(prose, [row.offer for row in rows if row.offer.unset and not row.offer.usual])
        command = f"{program()} models PROVIDER{invocation.options}"
        tell_commands(prose, [(command, "all models of one, or what its key unlocks")])


def _tell(prose: Prose, row: Row, *, whole: bool) -> None:
    offer = row.offer
    sign = plain(paint(*SIGNS[offer.state], prose.file), prose.file)
    prose.hanging(f"{sign} {offer.label:<16} ", 19, as_invoked(neutral(offer.note)))
    if whole:
        if row.unlocks:
            prose.hanging("  ", 2, "A key unlocks, among others:", "dim")
        print_models(row.models or row.unlocks)
        return
    if row.keeper and row.models:
        prose.hanging("  ", 2, f"{len(row.models)} models, with {row.keeper}’s key.", "dim")
        return
    print_models(row.models[:MOST_MODELS])
    if len(row.models) > MOST_MODELS:
        prose.hanging("  ", 2, f"and {len(row.models) - MOST_MODELS} more.", "dim")
    elif row.unlocks:
        shown = ", ".join(record["name"] for record in row.unlocks[:MOST_NAMES])
        rest = f" and {len(row.unlocks) - MOST_NAMES} more" if len(row.unlocks) > MOST_NAMES else ""
        prose.hanging("  ", 2, f"A key unlocks {shown}{rest}.", "dim")


def _tell_more(prose: Prose, unset: "Sequence[Offer]") -> None:
    """Those that few have set up, by the variable to set."""
    from porch.models.places import PLACES

    places = [PLACES[offer.provider] for offer in unset if not PLACES[offer.provider].keeper]
    keys = [f"{place.name} ({place.key})" for place in places if place.url]
    servers = [f"{place.name} ({place.variable})" for place in places if not place.url]
    for what, names in (("More with a key", keys), ("More with an address", servers)):
        if names:
            prose.line(f"{what}: {', '.join(names)}.", "dim")


async def _look(local: "LocalModel | None", data_dir: "Path", bounds: "EgressSettings") -> list[Row]:
    from porch.models.abilities import model_record
    from porch.models.offers import list_offers, promised
    from porch.models.places import PLACES

    def keeper(provider: str) -> str:
        place = PLACES.get(provider)
        return PLACES[place.keeper].label if place and place.keeper else ""

    async with opened(local, data_dir, bounds) as models:

        def record(name: str) -> Record:
            return model_record(name, models.card_of(name, OWN), models.price_of(name, OWN))

        return [
            Row(
                offer,
                [record(name) for name, _ in offer.models],
                [record(name) for name in promised(offer.provider)] if offer.unset else [],
                keeper(offer.provider),
            )
            for offer in await list_offers(models, OWN, seconds=2)
        ]


def _plain(row: Row) -> Record:
    offer, key = row.offer, row.offer.key
    return {
        "provider": offer.provider,
        "label": offer.label,
        "ready": offer.ready,
        "state": offer.state,
        "note": as_invoked(offer.note),
        "key": key.variable if key and key.source == "environment" else None,
        "variable": offer.variable,
        "refused": offer.refused,
        "elsewhere": offer.elsewhere,
        "usual": offer.usual,
        "unset": offer.unset,
        "unreached": offer.unreached,
        "models": row.models,
        "unlocks": row.unlocks,
    }


async def look_around(
    local: "LocalModel | None" = None,
    data_dir: "Path | None" = None,
    *,
    seconds: float = 0.3,
    bounds: "EgressSettings | None" = None,
) -> "list[Availability]":
    """Every provider, with what was found for it in this environment and among the keys in `data_dir`.

    Waits no longer than `seconds` for what must be asked, which goes out as `bounds` say.
    """
    async with opened(local, data_dir, bounds) as models:
        return await models.available(OWN, seconds=seconds)


@asynccontextmanager
async def opened(
    local: "LocalModel | None" = None,
    data_dir: "Path | None" = None,
    bounds: "EgressSettings | None" = None,
) -> "AsyncGenerator[Models]":
    """The models of this environment and of the keys in `data_dir`."""
    from porch.egress import Egress
    from porch.models import Models
    from porch.models.keys import ModelKeys
    from porch.models.sharing import Sharing

    egress = Egress(bounds)
    await egress.open()
    try:
        keys = ModelKeys(data_dir) if data_dir else None
        yield Models(dict(os.environ), egress, Sharing(OWN), local, keys)
    finally:
        await egress.close()
