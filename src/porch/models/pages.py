"""`/models`: who can answer here, what each can do, keys, and a test on the spot. Every form works without scripts."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Request
from starlette.responses import Response

from porch.contract.errors import InvalidInput, PorchError
from porch.contract.principal import Principal
from porch.http.event_stream import EventResponse
from porch.http.pages import form, page_router, redirect, render
from porch.models.abilities import MAX_NAMES, View, chain_view, model_view
from porch.models.availability import BUNDLED_LABEL
from porch.models.keys import log
from porch.models.offers import Offer, list_offers, measure, promised
from porch.models.places import PLACES, try_first
from porch.models.routes import Administers, Keeps, Reads, default_model, installed
from porch.models.service import Models
from porch.models.trial_events import tell

router = page_router("models")

# Of a provider's models: at once, behind a fold, and of what a key would bring.
FIRST, SHOWN, PROMISED = 6, 40, 6
TONES = {"refused": "danger", "not reached": "warn", "ready": "good", "not set up": "warn"}
MAX_NAME = 200

Provider = Annotated[str, Path()]
Chosen = Annotated[tuple[str, ...], Query()]


@router.get("/models")
async def get_models(request: Request, principal: Reads) -> Response:
    """Providers and their models, with keys to add and buttons to try."""
    return await _page(request, principal)


@router.get("/models/abilities")
async def get_abilities(request: Request, principal: Reads, model: Chosen = (), tools: str = "") -> Response:
    """What these models can do, as a piece of the page in which somebody is choosing them."""
    names = [name.strip()[:MAX_NAME] for name in model[:MAX_NAMES] if name.strip()]
    view = chain_view(installed(request), names, principal.workspace, uses_tools=tools == "yes")
    return render(request, "models/abilities.html", view=view)


@router.post("/models/test/stream")
async def post_trial(request: Request, principal: Administers) -> Response:
    """Ask a model for a sentence and stream it; what goes wrong is told in the stream."""
    name = (await form(request)).get("model", "").strip()[:MAX_NAME]
    return EventResponse(tell(name, partial(installed(request).trial, workspace=principal.workspace)))


@router.post("/models/test")
async def post_test(request: Request, principal: Administers) -> Response:
    """Ask a model for a word, and say on the page what came of it."""
    name = (await form(request)).get("model", "").strip()
    if not name:
        problem = 'Which model? Write its whole name, such as "local:smollm2".'
        return await _page(request, principal, 422, problem=problem)
    try:
        took = await measure(installed(request), name, principal.workspace)
    except PorchError as error:
        return await _page(request, principal, _status(error), problem=error.message, tried=name)
    said = f"{name} answers: its first sign of life came after {took:,} ms."
    return await _page(request, principal, said=said, tried=name)


@router.post("/models/keys/{provider}")
async def post_key(request: Request, principal: Keeps, provider: Provider) -> Response:
    """Keep a key and try it at once."""
    sent = await form(request)
    models = installed(request)
    try:
        await models.keep_key(provider, sent.get("key", ""), principal.workspace)
    except InvalidInput as error:
        wrong = {provider: error.message}
        return await _page(request, principal, error.status, wrong=wrong, open_key=provider)
    log.info("The key of %s was set by %s", provider, principal.label)
    name = sent.get("model", "").strip()
    if not name:
        return redirect(
            request, "/models", flash="The key is kept. Test a model with it, to be sure that it works."
        )
    try:
        took = await measure(models, name, principal.workspace)
    except PorchError as error:
        problem = f"The key is kept, but the test failed. {error.message}"
        return await _page(request, principal, _status(error), problem=problem, tried=name, open_key=provider)
    said = f"The key works: {name} answered after {took:,} ms. Choose it when you make or edit an agent."
    return redirect(request, "/models", flash=said)


@router.post("/models/keys/{provider}/remove")
async def post_key_removal(request: Request, principal: Keeps, provider: Provider) -> Response:
    """Forget a kept key."""
    await installed(request).forget_key(provider, principal.workspace)
    log.info("The key of %s was removed by %s", provider, principal.label)
    return redirect(request, "/models", flash="The key is removed. Agents that need it say so when asked.")


def _status(error: PorchError) -> int:
    """That a provider fails is what was asked for here; a proxy would put its own page over a 502."""
    return 200 if error.status >= 500 else error.status


async def _page(request: Request, principal: Principal, status: int = 200, **more: Any) -> Response:
    models = installed(request)
    workspace, at_home = principal.workspace, models.sharing.is_home(principal.workspace)
    offers = await list_offers(models, workspace)
    may_change = principal.allows("admin", "models")
    told: dict[str, Any] = {"said": "", "problem": "", "tried": "", "wrong": {}, "open_key": "", **more}
    views = [offer_view(models, offer, workspace, telling=may_change) for offer in offers]
    others = [view for view in views if not view["set_up"]]
    # A house in which only what needs no key can answer is shown at once where to get one.
    keyless = at_home and not any(view["set_up"] and view["takes_key"] for view in views)
    offered = [view for view in others if keyless and view["usual"]]
    folded = [view for view in others if view not in offered]
    return render(
        request,
        "models/list.html",
        status,
        nav="models",
        providers=[view for view in views if view["set_up"]],
        offered=offered,
        folded=folded,
        open_folded=told["open_key"] in [view["provider"] for view in folded],
        names=[name for offer in offers if offer.tried for name, _ in offer.models],
        default=default_model(request),
        may_change=may_change,
        at_home=at_home,
        **told,
    )


def offer_view(models: Models, offer: Offer, workspace: UUID, *, telling: bool = False) -> View:
    """A provider as its card or its line shows it; `telling`: with the end of its key."""
    place = PLACES.get(offer.provider)
    return {
        "provider": offer.provider,
        "label": offer.label,
        "state": (offer.state, TONES[offer.state]),
        "tried": offer.tried,
        "set_up": offer.ready
        or offer.refused
        or offer.key is not None
        or (offer.elsewhere and not offer.unset),
        "usual": offer.usual,
        "sentence": _sentence(offer),
        "caution": BUNDLED_LABEL.capitalize() + "." if offer.provider == "local" and offer.ready else "",
        "takes_key": offer.takes_key,
        "keeper": PLACES[place.keeper].label if place and place.keeper else "",
        "key": offer.key if telling or offer.key is None else replace(offer.key, ending=""),
        "variable": offer.variable,
        "address": place.variable if place and place.url is None else "",
        "key_page": offer.key_page,
        "try_with": _try_with(offer),
        # What shares another's key has mostly its models too, which stand there.
        "first": 0 if place and place.keeper else FIRST,
        "models": [
            model_view(name, card, models.price_of(name, workspace)) for name, card in offer.models[:SHOWN]
        ],
        "more": max(0, len(offer.models) - SHOWN),
        "promised": [] if offer.tried else _promised(models, offer.provider, workspace),
    }


def _try_with(offer: Offer) -> str:
    """A model of which it is known that it is there, "" where none is."""
    if not offer.elsewhere:
        return try_first(offer.provider)
    return offer.models[0][0] if offer.models else ""


def _promised(models: Models, provider: str, workspace: UUID) -> list[View]:
    """What a key would bring, as far as the catalogue knows."""
    names = promised(provider)[:PROMISED]
    return [
        model_view(name, models.card_of(name, workspace), models.price_of(name, workspace)) for name in names
    ]


def _sentence(offer: Offer) -> str:
    """The note as a sentence for a page; the terminal's words for the rest."""
    if offer.provider == "local" and offer.ready:
        return "Runs on this machine, without a key and without the network."
    note = offer.note[:1].upper() + offer.note[1:]
    return note if note.endswith((".", "…", "?")) else note + "."
