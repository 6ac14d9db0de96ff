"""What stands behind each provider's name on this machine, found without asking any model."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from porch.egress import Egress, EgressError, Reach
from porch.models.addresses import ModelNotConfigured, ollama_url
from porch.models.catalogue import ModelCard
from porch.models.places import Place, find_place
from porch.models.prices import Price
from porch.providers.failures import show_url

BUNDLED = "smollm2"
BUNDLED_LABEL = "small demo model, for trying things out; not for real work"
MAX_LISTED = 600
MAX_LIST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Availability:
    """One provider as found: what `porch models`, `hello` and `doctor` show.

    `ready` says that a model of it can be asked now; `key` names the variable in which a key was found,
    never the key; `models` are names known to be there, as an agent's definition would give them. `refused`: the
    key was, when it was last used. `elsewhere`: another server than the provider's own stands behind the name.
    `usual` ones are shown to everybody; of the others those that are not `unset`. `cards` holds what the provider
    itself tells of its models, `prices` what it asks for them. `unreached`: it is set up, and nothing answers at its
    address.
    """

    provider: str
    label: str
    ready: bool
    note: str
    models: list[str]
    key: str | None = None
    refused: bool = False
    elsewhere: bool = False
    usual: bool = True
    unset: bool = False
    unreached: bool = False
    cards: Mapping[str, ModelCard] = field(default_factory=dict[str, ModelCard], repr=False)
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price], repr=False)

    @property
    def state(self) -> str:
        """`ready`, `refused`, `not reached` or `not set up`."""
        if self.refused:
            return "refused"
        if self.unreached:
            return "not reached"
        return "ready" if self.ready else "not set up"


def look_at_bundled(state: str) -> Availability:
    """The bundled model, by its process's state ("off" where there is none)."""
    notes = {"absent": "not installed; run: porch model install", "off": "switched off"}
    ready = state in ("idle", "starting", "ready")
    note = BUNDLED_LABEL if ready else notes.get(state, state)
    return Availability("local", "Bundled", ready, note, [f"local:{BUNDLED}"] if ready else [])


def look_at_place(
    environ: Mapping[str, str], place: Place, *, kept: bool = False, refused: bool = False
) -> Availability:
    """A provider by the variables that are set.

    `kept`: the key is one that Porch itself keeps; `refused`: its last use ended so.
    """
    plain = Availability(place.name, place.label, False, "", [], usual=place.usual)
    try:
        found = find_place(environ, place)
    except ModelNotConfigured as error:
        return replace(plain, note=error.message)
    if found is None:
        return replace(plain, note=_unset(place), unset=True)
    note = f"key found in {place.key}" if found.key else "without a key"
    if kept:
        note = "key kept by Porch"
    if found.given:
        note += f", at {show_url(found.url)}"
    if refused:
        note += "; it was refused when it was last used: test it again, or give another"
    variable = place.key if found.key and not kept else None
    return replace(
        plain, ready=not refused, note=note, key=variable, refused=refused, elsewhere=found.elsewhere
    )


def _unset(place: Place) -> str:
    if place.url is None:
        also = f", with its key in {place.key} if it asks for one"
        return f"no address; set {place.variable} to where it runs{also}"
    if place.holder == "openai":
        return f"no key; set {place.key}, or {place.variable} for a compatible server"
    return f"no key; set {place.key}"


async def look_at_ollama(egress: Egress, environ: Mapping[str, str], seconds: float) -> Availability:
    """Ollama and the models it has, if it answers within `seconds`."""
    url = ollama_url(environ)
    try:
        async with asyncio.timeout(seconds):
            names = await _ollama_models(egress, url, seconds)
    except (EgressError, TimeoutError):
        names = None
    if names is None:
        note = f"nothing answers at {show_url(url)}; start Ollama, or set OLLAMA_HOST"
        return Availability("ollama", "Ollama", False, note, [])
    if not names:
        note = f"answers at {show_url(url)} and has no models; run: ollama pull qwen3"
        return Availability("ollama", "Ollama", False, note, [])
    return Availability("ollama", "Ollama", True, f"answers at {show_url(url)}", names)


def unseen_ollama(environ: Mapping[str, str]) -> Availability:
    """Ollama before the first look at it has ended."""
    note = f"no answer yet from {show_url(ollama_url(environ))}; look again, start Ollama, or set OLLAMA_HOST"
    return Availability("ollama", "Ollama", False, note, [])


def look_at_scripted() -> Availability:
    """The model that speaks on cue."""
    note = "speaks on cue, in this process; for tests and demos"
    return Availability("scripted", "Scripted", True, note, ["scripted:demo"])


async def _ollama_models(egress: Egress, url: str, seconds: float) -> list[str] | None:
    headers = {"Accept": "application/json"}
    reply = await egress.get(f"{url}/api/tags", headers=headers, seconds=seconds, reach=Reach.OPERATOR)
    try:
        body = await reply.read_all(MAX_LIST_BYTES)
    finally:
        reply.close()
    if reply.status != 200:
        return None
    try:
        listed = cast("dict[str, Any]", json.loads(body))["models"]
        names = [str(model["name"]) for model in listed]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return [f"ollama:{name}" for name in names[:MAX_LISTED] if name.isprintable() and " " not in name]
