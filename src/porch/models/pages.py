"""`/models`: who can answer here, keys, and a test on the spot. Every form works without scripts."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Path, Request
from starlette.responses import Response

from porch.contract.errors import InvalidInput, PorchError
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.pages import form, page_router, redirect, render
from porch.models.availability import BUNDLED_LABEL, LATER
from porch.models.catalogue import ModelCard
from porch.models.keys import VARIABLES, log
from porch.models.offers import Offer, list_offers, measure
from porch.models.routes import default_model, installed

router = page_router("models")

# Cheap, quick, and known to every account.
TRIED_FIRST = {"openai": "openai:gpt-4o-mini"}
SHOWN = 40

Reads = Annotated[Principal, requires("read:models")]
Administers = Annotated[Principal, requires("admin:models")]
Provider = Annotated[str, Path()]


@router.get("/models")
async def get_models(request: Request, principal: Reads) -> Response:
    """Providers and their models, with keys to add and buttons to try."""
    return await _page(request, principal)


@router.post("/models/test")
async def post_test(request: Request, principal: Administers) -> Response:
    """Ask a model for a word, and say on the page what came of it."""
    name = (await form(request)).get("model", "").strip()
    if not name:
        problem = 'Which model? Write its whole name, such as "local:smollm2".'
        return await _page(request, principal, 422, problem=problem)
    try:
        took = await measure(installed(request), name)
    except PorchError as error:
        return await _page(request, principal, _status(error), problem=error.message, tried=name)
    said = f"{name} answers: its first sign of life came after {took:,} ms."
    return await _page(request, principal, said=said, tried=name)


@router.post("/models/keys/{provider}")
async def post_key(request: Request, principal: Administers, provider: Provider) -> Response:
    """Keep a key and try it at once."""
    sent = await form(request)
    models = installed(request)
    try:
        await models.keep_key(provider, sent.get("key", ""))
    except InvalidInput as error:
        wrong = {provider: error.message}
        return await _page(request, principal, error.status, wrong=wrong, open_key=provider)
    log.info("The key of %s was set by %s", provider, principal.label)
    name = sent.get("model", "").strip()
    if not name:
        return redirect(request, "/models", flash="The key is kept. Try a model with it below.")
    try:
        took = await measure(models, name)
    except PorchError as error:
        problem = f"The key is kept, but the test failed. {error.message}"
        return await _page(request, principal, _status(error), problem=problem, tried=name, open_key=provider)
    said = f"The key works: {name} answered after {took:,} ms. Choose it when you make or edit an agent."
    return redirect(request, "/models", flash=said)


@router.post("/models/keys/{provider}/remove")
async def post_key_removal(request: Request, principal: Administers, provider: Provider) -> Response:
    """Forget a kept key."""
    await installed(request).forget_key(provider)
    log.info("The key of %s was removed by %s", provider, principal.label)
    return redirect(request, "/models", flash="The key is removed. Agents that need it say so when asked.")


def _status(error: PorchError) -> int:
    """That a provider fails is what was asked for here; a proxy would put its own page over a 502."""
    return 200 if error.status >= 500 else error.status


async def _page(request: Request, principal: Principal, status: int = 200, **more: Any) -> Response:
    offers = await list_offers(installed(request))
    may_change = principal.allows("admin", "models")
    told: dict[str, Any] = {"said": "", "problem": "", "tried": "", "wrong": {}, "open_key": "", **more}
    return render(
        request,
        "models/list.html",
        status,
        nav="models",
        providers=[offer_view(offer, telling=may_change) for offer in offers],
        names=[name for offer in offers if offer.ready for name, _ in offer.models],
        default=default_model(request),
        may_change=may_change,
        **told,
    )


def offer_view(offer: Offer, *, telling: bool = False) -> dict[str, Any]:
    """A provider on its card; `telling`: with the end of its key."""
    return {
        "provider": offer.provider,
        "label": offer.label,
        "state": _state(offer),
        "later": offer.provider in LATER,
        "sentence": _sentence(offer),
        "caution": BUNDLED_LABEL.capitalize() + "." if offer.provider == "local" and offer.ready else "",
        "takes_key": offer.takes_key,
        "key": offer.key if telling or offer.key is None else replace(offer.key, ending=""),
        "variable": VARIABLES.get(offer.provider, ""),
        "try_with": _try_with(offer),
        "models": [_model_view(name, card) for name, card in offer.models[:SHOWN]],
        "more": max(0, len(offer.models) - SHOWN),
    }


def _state(offer: Offer) -> tuple[str, str]:
    if offer.refused:
        return "refused", "danger"
    return ("ready", "good") if offer.ready else ("not set up", "warn")


def _try_with(offer: Offer) -> str:
    if not offer.elsewhere:
        return TRIED_FIRST.get(offer.provider, "")
    return offer.models[0][0] if offer.models else f"{offer.provider}:"


def _sentence(offer: Offer) -> str:
    """The note as a sentence for a page; the terminal's words for the rest."""
    if offer.provider == "local" and offer.ready:
        return "Runs on this machine, without a key and without the network."
    if offer.provider == "openai" and not offer.ready and offer.key is None:
        return "Needs a key. Add yours below, or set OPENAI_BASE_URL to a compatible server that needs none."
    note = offer.note[:1].upper() + offer.note[1:]
    return note if note.endswith((".", "…", "?")) else note + "."


def _model_view(name: str, card: ModelCard) -> dict[str, Any]:
    abilities = (("tools", card.tools), ("images", card.vision), ("thinking", card.reasoning))
    able = [word for word, has in abilities if has]
    return {"name": name, "context": card.context_tokens, "able": able, "known": card.known}
