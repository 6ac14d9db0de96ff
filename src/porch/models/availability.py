"""What stands behind each provider's name on this machine, found without asking any model."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from porch.egress import Egress, EgressError
from porch.models.addresses import ModelNotConfigured, ollama_url, read_key, read_url
from porch.providers.failures import show_url

BUNDLED = "smollm2"
BUNDLED_LABEL = "small demo model, for trying things out; not for real work"
OPENAI_URL = "https://api.openai.com/v1"
LATER = {
    "openai-responses": ("OpenAI Responses", "OPENAI_API_KEY"),
    "anthropic": ("Anthropic", "ANTHROPIC_API_KEY"),
    "openrouter": ("OpenRouter", "OPENROUTER_API_KEY"),
}
MAX_LISTED = 200
MAX_LIST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Availability:
    """One provider as found: what `porch models`, `hello` and `doctor` show.

    `ready` says that a model of it can be asked now; `key` names the variable in which a key was found,
    never the key; `models` are names known to be there, as an agent's definition would give them. `refused`: the
    key was, when it was last tested. `elsewhere`: another server than the provider's own stands behind the name.
    """

    provider: str
    label: str
    ready: bool
    note: str
    models: list[str]
    key: str | None = None
    refused: bool = False
    elsewhere: bool = False


def look_at_bundled(state: str) -> Availability:
    """The bundled model, by its process's state ("off" where there is none)."""
    notes = {"absent": "not installed; run: porch model install", "off": "switched off"}
    ready = state in ("idle", "starting", "ready")
    note = BUNDLED_LABEL if ready else notes.get(state, state)
    return Availability("local", "Bundled", ready, note, [f"local:{BUNDLED}"] if ready else [])


def look_at_openai(environ: Mapping[str, str], *, kept: bool = False, refused: bool = False) -> Availability:
    """OpenAI or a compatible server, by the variables that are set.

    `kept`: the key is one that Porch itself keeps; `refused`: its last test ended so.
    """
    try:
        key = read_key(environ, "OPENAI_API_KEY")
        url = read_url(environ, "OPENAI_BASE_URL", None)
    except ModelNotConfigured as error:
        return Availability("openai", "OpenAI", False, error.message, [])
    if key is None and url is None:
        note = "no key; set OPENAI_API_KEY, or OPENAI_BASE_URL for a compatible server"
        return Availability("openai", "OpenAI", False, note, [])
    found = "key found in OPENAI_API_KEY" if key else "without a key"
    if kept:
        found = "key kept by Porch"
    note = f"{found}, at {show_url(url)}" if url else found
    if refused:
        note += "; it was refused when it was last tested: test it again, or give another"
    variable = "OPENAI_API_KEY" if key and not kept else None
    return Availability(
        "openai", "OpenAI", not refused, note, [], variable, refused, elsewhere=url not in (None, OPENAI_URL)
    )


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


def look_at_later(environ: Mapping[str, str], name: str) -> Availability:
    """A provider that is not built in yet; a key that waits for it is named."""
    label, variable = LATER[name]
    found = variable if environ.get(variable, "").strip() else None
    note = "not built in yet" + (f" (key found in {variable})" if found else "")
    return Availability(name, label, False, note, [], found)


def look_at_scripted() -> Availability:
    """The model that speaks on cue."""
    note = "speaks on cue, in this process; for tests and demos"
    return Availability("scripted", "Scripted", True, note, ["scripted:demo"])


async def _ollama_models(egress: Egress, url: str, seconds: float) -> list[str] | None:
    reply = await egress.get(f"{url}/api/tags", headers={"Accept": "application/json"}, seconds=seconds)
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
