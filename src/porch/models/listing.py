"""What a provider says it has: its list of models, asked for once in a while and never for long."""

import asyncio
import datetime
import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

from porch.egress import Egress, EgressError, Reach
from porch.models.availability import MAX_LIST_BYTES, MAX_LISTED, Availability
from porch.models.catalogue import UNKNOWN_CONTEXT, ModelCard, known_models
from porch.models.places import Found, root
from porch.models.prices import Price
from porch.providers.complaints import blames_key, categorise, read_complaint
from porch.providers.messages import Quirks

# It may stand on the other side of the world, and nobody waits for it.
LIST_SECONDS = 5.0
LONGEST_NAME = 180
ABSENT = frozenset({"dns", "refused", "tls"})
# What servers call models that answer; they list those that draw, listen or measure as well.
SPEAKING = frozenset({None, "model", "chat", "language", "code"})
# A model's limits as OpenRouter and Together, Groq, Mistral, Anthropic and vLLM spell them in their lists.
CONTEXT = ("context_length", "context_window", "max_context_length", "max_input_tokens", "max_model_len")
OUTPUT = ("max_completion_tokens", "max_output_tokens")
# A price as text. A negative one says that it depends on where the router sends the question.
DECIMAL = re.compile(r"\d{1,4}(\.\d{1,20})?([eE]-\d{1,2})?")


async def look_at_list(egress: Egress, found: Found, plain: Availability) -> Availability:
    """The provider as `plain` has it, with the models it lists; where it lists none, the note says why."""
    try:
        async with asyncio.timeout(LIST_SECONDS):
            status, body = await _fetch(egress, found)
    except EgressError as error:
        if error.cause in ABSENT and found.given:
            note = f"{plain.note}: nothing answers there; start that server, or change {found.place.variable}"
            return replace(plain, ready=False, unreached=True, note=note)
        if error.cause in ABSENT:
            note = f"{plain.note}; it cannot be reached just now: check the network"
            return replace(plain, unreached=True, note=note)
        return _unlisted(plain, "gives no list of its models")
    except TimeoutError:
        return _unlisted(plain, "does not say in time which models it has")
    if found.key and not plain.refused and _refuses_key(status, body):
        note = f"{plain.note}; it was refused when its models were asked for ({status}): give another"
        return replace(plain, ready=False, refused=True, note=note)
    listed = _listed(body, found) if status == 200 else {}
    if listed and found.place.name == "openai" and not found.elsewhere:
        # Its list says nothing of which models converse; the table has those that do.
        return replace(plain, models=[f"openai:{name}" for name in known_models("openai")])
    if listed:
        cards = {name: _card(model) for name, model in listed.items()}
        routed = listed if found.place.name == "openrouter" else {}
        prices = {name: price for name, model in routed.items() if (price := _price(model))}
        return replace(plain, models=list(cards), cards=cards, prices=prices)
    said = f" (it answered {status})" if status != 200 else ""
    return _unlisted(plain, f"gives no list of its models{said}")


def unseen_list(plain: Availability) -> Availability:
    """The provider before it has answered."""
    return _unlisted(plain, "has not said yet which models it has") if plain.ready else plain


def _unlisted(plain: Availability, why: str) -> Availability:
    if known_models(plain.provider) and not plain.elsewhere:
        return plain
    name = f"write a model's name yourself, {plain.provider}: and that name"
    return replace(plain, note=f"{plain.note}; it {why}: {name}")


async def _fetch(egress: Egress, found: Found) -> tuple[int, bytes]:
    url, headers = f"{root(found)}/models", {"Accept": "application/json"}
    if found.place.dialect == "messages":
        url += "?limit=1000"
        headers |= {"anthropic-version": Quirks().version} | ({"x-api-key": found.key} if found.key else {})
    elif found.key:
        headers["Authorization"] = f"Bearer {found.key}"
    reach = Reach.OPERATOR if found.given else Reach.PUBLIC
    reply = await egress.get(url, headers=headers, seconds=LIST_SECONDS, reach=reach)
    try:
        return reply.status, await reply.read_all(MAX_LIST_BYTES)
    finally:
        reply.close()


def _refuses_key(status: int, body: bytes) -> bool:
    """Whether it is the key that is wrong: one that is good may not be allowed to ask for the list."""
    complaint = read_complaint(body)
    return status >= 400 and categorise(status, complaint) == "auth" and blames_key(status, complaint)


def _listed(body: bytes, found: Found) -> dict[str, Any]:
    """What is told of each model by its whole name, in the order in which they are listed."""
    models: dict[str, Any] = {}
    try:
        said: Any = json.loads(body)
        listed = cast("list[dict[str, Any]]", said if isinstance(said, list) else said["data"])
        for model in listed:
            name = model["id"]
            if _is_name(name) and model.get("type") in SPEAKING and len(models) < MAX_LISTED:
                models.setdefault(f"{found.place.name}:{name.removeprefix(found.place.prefix)}", model)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}
    return models


def _card(model: dict[str, Any]) -> ModelCard:
    """Its limits and what it can do, where the list tells them; all else is as unknown as before."""
    routed = _fields(model, "top_provider")
    context = _first(model, CONTEXT) or UNKNOWN_CONTEXT
    output = _first(model, OUTPUT) or _first(routed, OUTPUT)
    card = ModelCard(context_tokens=context, max_output_tokens=output and min(output, context))
    reads, takes = _fields(model, "architecture").get("input_modalities"), model.get("supported_parameters")
    if not isinstance(reads, list) or not isinstance(takes, list):
        return card
    return replace(
        card, tools="tools" in takes, vision="image" in reads, reasoning="reasoning" in takes, known=True
    )


def _price(model: dict[str, Any]) -> Price | None:
    """What OpenRouter's list asks, which it tells of one token, as of today; None where it varies."""
    said = _fields(model, "pricing")
    read, written = _of_a_million(said.get("prompt")), _of_a_million(said.get("completion"))
    if read is None or written is None:
        return None
    cached = _of_a_million(said.get("input_cache_read"))
    return Price(read, written, cached, "USD", datetime.datetime.now(datetime.UTC).date().isoformat())


def _of_a_million(amount: object) -> Decimal | None:
    if not isinstance(amount, str) or not DECIMAL.fullmatch(amount):
        return None
    return Decimal(amount) * 1_000_000


def _fields(model: dict[str, Any], name: str) -> dict[str, Any]:
    value = model.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = fields.get(name)
        if type(value) is int and 0 < value < 2**31:
            return value
    return None


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable() and " " not in name
