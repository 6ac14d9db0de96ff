"""`/api/v1/models`: what can be asked here, the keys it takes, and whether a model answers."""

from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Path, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.body_model import BodyModel
from porch.http.routing import api_router, json_response
from porch.models.abilities import model_record
from porch.models.catalogue import as_of
from porch.models.keys import LONGEST, SHORTEST, log
from porch.models.offers import Offer, list_offers, measure
from porch.models.service import Models

router: APIRouter = api_router("/api/v1/models", "models")

Reads = Annotated[Principal, requires("read:models")]
Administers = Annotated[Principal, requires("admin:models")]
Keeps = Annotated[Principal, requires("admin:models", home=True)]
Provider = Annotated[
    str, Path(description="The provider, as it stands before the colon.", examples=["openai"])
]


class KeyBody(BodyModel):
    """A key, as far as anybody may see it."""

    source: str = Field(examples=["kept"], description="`kept` by Porch, or found in the `environment`.")
    variable: str = Field(examples=["OPENAI_API_KEY"])
    last4: str = Field(
        examples=["x7Qa"],
        description="Of a kept key, for those who may change it (`admin:models` in the first workspace); else empty.",
    )


class PriceBody(BodyModel):
    """What a million tokens cost, as decimals, and the day of that price."""

    input: str = Field(examples=["0.15"])
    cached: str | None = Field(examples=["0.075"], description="Read from the cache; null where unknown.")
    output: str = Field(examples=["0.6"])
    currency: str = Field(examples=["USD"])
    priced_at: str = Field(examples=["2026-11-05"])
    up_to_tokens: int | None = Field(description="A longer prompt costs more, how much is not known.")


class ModelBody(BodyModel):
    """A model and what is known of it; limits are tokens."""

    name: str = Field(examples=["openai:gpt-4o-mini"])
    known: bool = Field(
        description="Whether the table or the provider's list says what it can do; the rest is cautious where not."
    )
    context_tokens: int = Field(examples=[128000])
    max_output_tokens: int | None = Field(examples=[16384])
    tools: bool
    vision: bool
    reasoning: bool
    price: PriceBody | None


class ProviderBody(BodyModel):
    """A provider, whether it can be asked now, and in words why not."""

    provider: str = Field(examples=["openai"])
    label: str = Field(examples=["OpenAI"])
    ready: bool
    note: str = Field(examples=["key kept by Porch"])
    takes_key: bool = Field(
        description="Whether a key can be kept for it here, which only the first workspace does."
    )
    key: KeyBody | None
    models: list[ModelBody] = Field(description="Models known to be there; the provider may have more.")


class ModelsBody(BodyModel):
    """Every provider, and the model of new agents."""

    default: str = Field(examples=["local:smollm2"])
    as_of: str = Field(examples=["2025-11-01"], description="The date of the table of models.")
    items: list[ProviderBody]


class NewKey(BodyModel):
    """A provider's key. No route answers it again."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: str = Field(description=f"{SHORTEST} to {LONGEST} visible ASCII characters.", examples=["sk-…"])


class ProbeRequest(BodyModel):
    """Which model to ask for a word."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=200, examples=["local:smollm2"])


class ProbeBody(BodyModel):
    """A sign of life."""

    model: str = Field(examples=["local:smollm2"])
    first_token_ms: int = Field(examples=[240])


@router.get("", operation_id="listModels", response_model=ModelsBody)
async def list_models(request: Request, principal: Reads) -> Response:
    """Every provider with its state and its models."""
    telling = principal.allows("admin", "models")
    models = installed(request)
    offers = await list_offers(models, principal.workspace)
    items = [_provider(models, offer, principal.workspace, telling=telling) for offer in offers]
    return json_response({"default": default_model(request), "as_of": as_of(), "items": items})


@router.put("/keys/{provider}", operation_id="keepModelKey", response_model=ProviderBody)
async def keep_key(request: Request, principal: Keeps, provider: Provider, body: NewKey) -> Response:
    """Keep a provider's key, for the next model call on. It is never shown again.

    Keys are the whole installation's: this takes a credential of its first workspace.
    """
    models = installed(request)
    await models.keep_key(provider, body.key, principal.workspace)
    log.info("The key of %s was set by %s", provider, principal.label)
    return json_response(await _found(models, provider, principal.workspace))


@router.delete("/keys/{provider}", operation_id="forgetModelKey", status_code=204)
async def forget_key(request: Request, principal: Keeps, provider: Provider) -> Response:
    """Forget a kept key; one in the environment holds again. It takes a credential of the first workspace."""
    await installed(request).forget_key(provider, principal.workspace)
    log.info("The key of %s was removed by %s", provider, principal.label)
    return Response(status_code=204)


@router.post("/test", operation_id="testModel", response_model=ProbeBody)
async def probe_model(request: Request, principal: Administers, body: ProbeRequest) -> Response:
    """Ask a model for one word. A problem says what keeps it from answering, and what to do."""
    took = await measure(installed(request), body.model, principal.workspace)
    return json_response({"model": body.model, "first_token_ms": took})


def installed(request: Request) -> Models:
    """The models of this installation."""
    return cast("Models", request.app.state.models)


def default_model(request: Request) -> str:
    """The model of new agents."""
    return cast("str", request.app.state.default_model)


async def _found(models: Models, provider: str, workspace: UUID) -> dict[str, object]:
    offers = await list_offers(models, workspace, seconds=0.01)
    offer = next(offer for offer in offers if offer.provider == provider)
    return _provider(models, offer, workspace, telling=True)


def _provider(models: Models, offer: Offer, workspace: UUID, *, telling: bool) -> dict[str, object]:
    """`telling`: with the end of its key."""
    key = offer.key
    return {
        "provider": offer.provider,
        "label": offer.label,
        "ready": offer.ready,
        "note": offer.note,
        "takes_key": offer.takes_key,
        "key": key
        and {"source": key.source, "variable": key.variable, "last4": key.ending if telling else ""},
        "models": [model_record(name, card, models.price_of(name, workspace)) for name, card in offer.models],
    }
