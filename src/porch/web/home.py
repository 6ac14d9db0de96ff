"""What the home page shows: the way to a first agent, or what one was last doing."""

from typing import Any
from uuid import UUID

from fastapi import Request

from porch.agents.views import calls_no_tools, gallery_view
from porch.models.availability import BUNDLED_LABEL
from porch.models.offers import Offer, list_offers
from porch.models.routes import default_model, installed

# The bundled model first tries what it can do; the rest of the gallery is one link away.
FIRST_SHELF = ("assistant", "translator", "tutor", "minutes", "reviewer", "tool-user")
SHOWN_MODELS = 30
OLLAMA_SECONDS = 0.05


async def first_run(request: Request, workspace: UUID) -> dict[str, Any]:
    """The templates to begin with, and the models to choose from, that of new agents first."""
    offers = await list_offers(installed(request), workspace, seconds=OLLAMA_SECONDS)
    default = default_model(request)
    gallery = {template["name"]: template for template in gallery_view()}
    return {
        "templates": [gallery[name] for name in FIRST_SHELF if name in gallery],
        "models": [(default, _label(default)), *_others(offers, default)],
        "default": default,
        "toolless": calls_no_tools(default),
        "unlisted": next((offer for offer in offers if offer.unlisted), None),
        "missing": _missing(offers, default),
        "could_have_key": any(offer.takes_key for offer in offers)
        and not any(offer.takes_key and offer.ready for offer in offers),
    }


def _others(offers: list[Offer], default: str) -> list[tuple[str, str]]:
    names = [name for offer in offers if offer.ready for name, _ in offer.models if name != default]
    # The model that speaks on cue is for developers; it stands last.
    names.sort(key=lambda name: name.startswith("scripted:"))
    return [(name, _label(name)) for name in names[:SHOWN_MODELS]]


def _label(name: str) -> str:
    match name.partition(":")[0]:
        case "local":
            return f"{name} · bundled: {BUNDLED_LABEL}"
        case "scripted":
            return f"{name} · no model at all: repeats what it hears, on cue"
        case _:
            return name


def _missing(offers: list[Offer], default: str) -> str:
    """What keeps the model of new agents from answering, or "" where nothing does."""
    for offer in offers:
        if offer.provider == default.partition(":")[0] and not offer.ready:
            return offer.note[:1].upper() + offer.note[1:]
    return ""
