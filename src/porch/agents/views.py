"""What the agents' pages show: plain values for the templates, from agents, versions and what is installed."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from porch.agents.diff import LABELS, Line, compare
from porch.agents.editor import ASK, EFFORTS, TOOL, Sheet, SheetError, field_of
from porch.agents.legible import in_short, legible
from porch.agents.model import Agent, Version
from porch.agents.service import Agents
from porch.agents.templates import Template, templates
from porch.contract.definition import Definition, content_hash
from porch.contract.errors import InvalidInput
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.pages import render
from porch.http.state import database
from porch.models.abilities import chain_view
from porch.models.catalogue import find_card
from porch.models.offers import choice
from porch.models.service import Models

# How the gallery is laid out; what is not named here comes last.
SHELF = ("assistant", "tool-user", "reviewer", "translator", "tutor", "minutes", "scripted-demo", "hello")
# Paths below /agents that are no agent's: one of this name is reached by its id.
TAKEN = frozenset({"new"})
OLLAMA_SECONDS = 0.05
# Of one difference; more is not read by anybody, and takes seconds to write.
MAX_LINES = 1000

View = dict[str, Any]


class Described(Protocol):
    """A tool, as far as a page shows it."""

    @property
    def description(self) -> str: ...


class Toolbox(Protocol):
    """The installed tools, by name."""

    def names(self) -> list[str]: ...
    def of(self, definition: Definition) -> Mapping[str, Described]: ...


def agent_view(principal: Principal, agent: Agent, published: str | None = None) -> View:
    """An agent on a card or in a heading; `published` is its latest version's hash."""
    dirty = agent.latest_version is not None and published != content_hash(agent.draft)
    return {
        "path": agent_path(agent),
        "talk": f"/@{principal.workspace_handle}/{agent.handle}",
        "address": f"@{principal.workspace_handle}/{agent.handle}",
        "id": format_id("agt", agent.id),
        "handle": agent.handle,
        **names_of(agent.draft, agent.handle),
        "model": in_short(agent.draft.models[0], 60),
        "others": len(agent.draft.models) - 1,
        "version": agent.latest_version,
        "changed": dirty,
        "revision": agent.revision,
        "updated_at": agent.updated_at,
    }


def names_of(definition: Definition, handle: str) -> View:
    """What a definition calls its agent, and says of it."""
    return {
        "title": in_short(definition.title or "", 80) or handle,
        "description": in_short(definition.description or "", 200),
    }


def agent_path(agent: Agent) -> str:
    """Where an agent's pages begin."""
    return f"/agents/{format_id('agt', agent.id) if agent.handle in TAKEN else agent.handle}"


def version_view(version: Version) -> View:
    """A version in a list."""
    return {
        "number": version.number,
        "note": in_short(version.note, 300),
        "created_at": version.created_at,
        "hash": version.content_hash.removeprefix("sha256:")[:12],
        "model": in_short(version.definition.models[0], 60),
    }


def difference_view(old: Definition, new: Definition) -> list[View]:
    """The difference between two definitions, every unseen character in it shown; of a very long one its beginning."""
    return [
        {
            "label": difference.label,
            "lines": [_line_view(line) for line in difference.lines[:MAX_LINES]],
            "left_out": max(0, len(difference.lines) - MAX_LINES),
        }
        for difference in compare(old, new)
    ]


def definition_view(definition: Definition) -> list[View]:
    """A definition as it is: label and text of every field that says something."""
    # The difference to nothing at all, which leaves every field's text.
    nothing = Definition(name="", instructions="", model=[])
    return [
        {
            "label": each.label,
            "text": legible("\n".join(line.text for line in each.lines if line.kind == "added")),
        }
        for each in compare(nothing, definition)
    ]


def gallery_view() -> list[View]:
    """The templates in the order of the shelf."""
    found = templates()
    order = [*SHELF, *(name for name in found if name not in SHELF)]
    return [template_view(found[name]) for name in order if name in found]


def template_view(template: Template) -> View:
    """A template on its card."""
    definition = template.definition
    return {
        "name": template.name,
        "title": definition.title or template.name.capitalize(),
        "handle": definition.name,
        "summary": template.summary,
        "description": definition.description or "",
        "questions": definition.questions,
        "tools": definition.tools or [],
        "bundled": definition.model == "local:smollm2",
        "model": definition.models[0],
    }


async def model_offers(request: Request, principal: Principal) -> list[View]:
    """The providers that the workspace may use, and the others, each with its state and the names to choose from."""
    models = cast("Models | None", getattr(request.app.state, "models", None))
    if models is None:
        return []
    offers: list[View] = []
    for found in await models.available(principal.workspace, seconds=OLLAMA_SECONDS):
        names = choice(found) if found.ready else []
        offers.append(
            {
                "provider": found.provider,
                "label": found.label,
                "ready": found.ready,
                "note": found.note,
                "names": names,
                "unlisted": found.ready and found.elsewhere and not names,
            }
        )
    return offers


def chosen_models(request: Request, principal: Principal, sheet: Sheet) -> View:
    """What the models that stand in a sheet can do, and what keeps them from it."""
    models = cast("Models | None", getattr(request.app.state, "models", None))
    names = [sheet.get("model", ""), *sheet.get("fallbacks", "").split("\n")]
    if models is None:
        return {"models": [], "toolless": []}
    written = [name.strip() for name in names if name.strip()]
    uses_tools = any(name.startswith(TOOL) for name in sheet)
    return chain_view(models, written, principal.workspace, uses_tools=uses_tools)


def tool_offers(request: Request, sheet: Sheet) -> list[View]:
    """The installed tools and those the sheet ticks beside them, to be ticked."""
    toolbox = cast("Toolbox | None", getattr(request.app.state, "tools", None))
    installed = toolbox.names() if toolbox else []
    every = Definition(name="any", instructions="", model="", tools=installed)
    described = {name: tool.description for name, tool in toolbox.of(every).items()} if toolbox else {}
    ticked = {name.removeprefix(TOOL) for name in sheet if name.startswith(TOOL)}
    return [
        {
            "field": TOOL + name,
            "name": in_short(name, 60),
            "description": described.get(name, "Not installed here: the draft cannot be saved with it."),
            "ticked": name in ticked,
            "ask": ASK + name,
            "asks": ASK + name in sheet,
        }
        for name in (*installed, *sorted(ticked - set(installed)))
    ]


CONDUCT = [
    ("queue", "It waits and is answered next"),
    ("interrupt", "It stops that answer and is answered at once"),
    ("reject", "It is refused until the answer has ended"),
    ("", "Not said: it is refused"),
]
"""What may become of a message that comes while another is being answered."""


def setting_options(sheet: Sheet, tools: Sequence[View]) -> dict[str, list[tuple[str, str]]]:
    """What can be chosen for each setting that is a choice; what stands in the sheet is always among it."""
    known = {
        "reasoning_effort": [(effort, effort) for effort in EFFORTS],
        "cache": [("yes", "Ask for it"), ("no", "Do not ask")],
        "parallel_tool_calls": [("yes", "Several"), ("no", "One at a time")],
        "tool_choice": [
            ("auto", "It may call some (auto)"),
            ("none", "It calls none"),
            ("required", "It must call one (required)"),
            *((name, f"It must call {name}") for tool in tools if (name := tool["field"].removeprefix(TOOL))),
        ],
    }
    for name, options in known.items():
        written = sheet.get(name, "")
        if written and written not in dict(options):
            options.append((written, in_short(written, 60)))
    choices = {name: [("", "Left to the model"), *options] for name, options in known.items()}
    return {**choices, "concurrency": CONDUCT}


def error_view(error: InvalidInput, patch: Mapping[str, Any] | None = None) -> list[View]:
    """What is wrong with a form: the field, its label and a sentence for each thing.

    `patch` is what was to be changed: an error that names no place is about its model, if that is in it.
    """
    if isinstance(error, SheetError):
        found = [(field_of(entry["pointer"]), entry["detail"]) for entry in error.errors]
    else:
        pointer = error.errors[0].get("pointer", "") if error.errors else ""
        guessed = "model" if "model" in (patch or {}) and not pointer else ""
        found = [(field_of(pointer) or guessed, error.message)]
    return [{"field": field, "label": _label(field), "text": legible(text)} for field, text in found]


def errors_by_field(errors: Sequence[View]) -> dict[str, str]:
    """The first sentence for every field."""
    return {each["field"]: each["text"] for each in reversed(errors) if each["field"]}


async def heading(request: Request, principal: Principal, agent: Agent) -> View:
    """One agent's view, with whether its draft is its latest version."""
    published = await agents_of(request).published(principal, [agent])
    return agent_view(principal, agent, published.get(agent.id))


def warnings_of(request: Request, principal: Principal, draft: Definition) -> list[str]:
    """What keeps a draft from answering as things are: a key that is not set, a tool that is gone."""
    try:
        return [legible(warning) for warning in agents_of(request).check(draft, principal.workspace)]
    except InvalidInput as error:
        return [legible(error.message)]


def toolless(draft: Definition) -> str:
    """The draft's first model if it is known to call no tools, else ""."""
    return in_short(draft.models[0], 60) if calls_no_tools(draft.models[0]) else ""


def calls_no_tools(name: str) -> bool:
    """Whether a model is known to call none."""
    provider, _, model = name.partition(":")
    card = find_card(provider, model)
    return card.known and not card.tools


def may_write(principal: Principal, agent: Agent) -> bool:
    """Whether to show what changes this agent."""
    return principal.allows("write", "agents", format_id("agt", agent.id))


def values_of(definition: Definition) -> View:
    """A definition as its JSON value."""
    return cast("View", msgspec.to_builtins(definition))


def show(request: Request, page: str, status: int = 200, **context: Any) -> Response:
    """One of the agents' pages."""
    return render(request, f"agents/{page}.html", status, nav="agents", **context)


def agents_of(request: Request) -> Agents:
    """The service, with the application's check of definitions and whom it tells of a changed agent."""
    state = request.app.state
    given = {"check": "check_definition", "changed": "agent_changed"}
    return Agents(
        database(request), **{one: getattr(state, at) for one, at in given.items() if hasattr(state, at)}
    )


def _line_view(line: Line) -> View:
    pieces = [{"text": legible(piece.text), "changed": piece.changed} for piece in line.pieces]
    return {"kind": line.kind, "pieces": pieces, "count": line.count}


def _label(field: str) -> str:
    labels = {
        **LABELS,
        "fallbacks": "Other models",
        "max_output_tokens": "Longest answer",
        "max_steps": "Steps",
        "stop": "Stop at",
        "parallel_tool_calls": "Tools at once",
    }
    return labels.get(field) or field.replace("_", " ").capitalize()
