"""Pages of agents: the list, the gallery of new ones, the editor, and each agent's own page."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Request
from starlette.responses import Response

from porch.agents.editor import (
    FIELDS,
    Sheet,
    apply_changes,
    read_changes,
    read_next,
    read_revision,
    sheet_from,
    sheet_of,
)
from porch.agents.embedding_pages import router as embedding_pages
from porch.agents.legible import in_short, legible
from porch.agents.model import Agent, StaleRevision
from porch.agents.service import Agents, read_definition
from porch.agents.templates import BUNDLED, Template, find_template
from porch.agents.version_pages import router as version_pages
from porch.agents.views import (
    View,
    agent_path,
    agent_view,
    agents_of,
    chosen_models,
    difference_view,
    error_view,
    errors_by_field,
    gallery_view,
    heading,
    may_write,
    model_offers,
    names_of,
    setting_options,
    show,
    template_view,
    tool_offers,
    toolless,
    warnings_of,
)
from porch.contract.definition import Definition
from porch.contract.errors import Conflict, InvalidInput, NotFound
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.pages import form, moved, page_router, redirect
from porch.http.pagination import PageRequest, cut, encode_cursor

router = page_router("agents")

Reader = Annotated[Principal, requires("read:agents")]
AgentReader = Annotated[Principal, requires("read:agents", on="object")]
AgentRunner = Annotated[Principal, requires("run:agents", on="object")]
Writer = Annotated[Principal, requires("write:agents")]
AgentWriter = Annotated[Principal, requires("write:agents", on="object")]

CARDS = 24
BLANK = Template(
    name="blank",
    summary="An empty sheet: you write every word of it.",
    definition=Definition(name="agent", instructions="", model=BUNDLED, concurrency="queue"),
)


@router.get("/agents")
async def list_agents(request: Request, principal: Reader, cursor: str | None = None) -> Response:
    """The workspace's agents as cards, newest first."""
    agents = agents_of(request)
    before = PageRequest(CARDS, cursor).after_id("agents")
    shown, last = cut(await agents.page(principal, before=before, limit=CARDS + 1), CARDS)
    published = await agents.published(principal, shown)
    return show(
        request,
        "list",
        agents=[agent_view(principal, agent, published.get(agent.id)) for agent in shown],
        first=cursor is None,
        next_cursor=encode_cursor("agents", last.id) if last else None,
        may_write=principal.allows("write", "agents"),
    )


@router.get("/agents/new")
async def choose_template(request: Request, principal: Writer, template: str | None = None) -> Response:
    """The gallery; with `?template=` the form that makes an agent of one."""
    if template is None:
        return show(request, "gallery", templates=[*gallery_view(), template_view(BLANK)])
    chosen = _template(template)
    name = await _free_name(agents_of(request), principal, chosen.definition.name)
    model: str = getattr(request.app.state, "default_model", "")
    values = {"name": name, "title": chosen.definition.title or "", "model": model}
    return await _new_form(request, principal, chosen, values)


@router.post("/agents/new")
async def create_agent(request: Request, principal: Writer) -> Response:
    """Makes an agent of a template and goes to its editor, or with `then=chat` to its own page."""
    sent = await form(request)
    chosen = _template(sent.get("template", ""))
    values = {name: sent.get(name, "").strip() for name in ("name", "title", "model")}
    agents = agents_of(request)
    to_chat = read_next(sent, "chat")
    try:
        if "name" not in sent:
            values["name"] = await _free_name(agents, principal, chosen.definition.name)
        made = chosen.named(values["name"], default=values["model"] or None)
        draft = sheet_of(made) | ({"title": values["title"]} if "title" in sent else {})
        definition = apply_changes(made, read_changes(draft, made))
        agent, _ = await agents.create(principal, definition)
    except (InvalidInput, Conflict) as error:
        return await _new_form(request, principal, chosen, values, error)
    if to_chat:
        return redirect(request, f"/@{principal.workspace_handle}/{agent.handle}")
    return redirect(
        request, agent_path(agent), flash="It is made. Try it beside its sheet; change what you like."
    )


@router.get("/agents/{agent}")
async def edit_agent(request: Request, principal: AgentReader, agent: str) -> Response:
    """The editor: the draft as a form, and a chat with it."""
    found = await agents_of(request).read(principal, agent)
    return await _editor(request, principal, found, sheet_of(found.draft))


@router.post("/agents/{agent}")
async def save_draft(request: Request, principal: AgentWriter, agent: str) -> Response:
    """Keeps what was changed in the form; what cannot be kept comes back with every word typed."""
    agents = agents_of(request)
    sent = await form(request)
    sheet = sheet_from(sent)
    found = await agents.read(principal, agent)
    revision, to_publish = read_revision(sent), read_next(sent, "publish")
    patch: dict[str, Any] = {}
    try:
        patch = read_changes(sheet, found.draft)
        if patch and revision != found.revision:
            return await _conflicting(request, principal, found, sheet, patch)
        if patch:
            wanted = apply_changes(found.draft, patch)
            found, _ = await agents.replace(principal, agent, wanted, found.revision)
    except StaleRevision:
        return await _conflicting(request, principal, await agents.read(principal, agent), sheet, patch)
    except (InvalidInput, Conflict) as error:
        return await _editor(request, principal, found, sheet, status=error.status, error=error, patch=patch)
    if to_publish:
        return redirect(request, f"{agent_path(found)}/publish")
    said = "The draft is saved." if patch else "The draft was saved already; nothing has changed."
    return redirect(request, agent_path(found), flash=said)


@router.get("/agents/{agent}/delete")
async def confirm_deletion(request: Request, principal: AgentWriter, agent: str) -> Response:
    """What goes with the agent, and the button."""
    agents = agents_of(request)
    found = await agents.read(principal, agent)
    return show(request, "delete", agent=await heading(request, principal, found), error="")


@router.post("/agents/{agent}/delete")
async def delete_agent(request: Request, principal: AgentWriter, agent: str) -> Response:
    """Removes the agent with all that belongs to it."""
    agents = agents_of(request)
    found = await agents.read(principal, agent)
    try:
        await agents.delete(principal, agent)
    except Conflict as error:
        view = await heading(request, principal, found)
        return show(request, "delete", error.status, agent=view, error=error.message)
    return redirect(request, "/agents", flash=f"{in_short(found.handle)} is deleted.")


@router.get("/@{ws}/{agent}")
async def meet_agent(request: Request, principal: AgentRunner, ws: str, agent: str) -> Response:
    """The agent's own page, as its latest version has it: who it is, what to ask it, and a new chat.

    By a handle that the workspace has no more it leads to that of its present one, for good.
    """
    if not request.url.path.startswith((f"/@{principal.workspace_handle}/", "/@ws_")):
        return moved(f"/@{principal.workspace_handle}/{agent}", request.url.query)
    found, answering = await agents_of(request).meet(principal, agent)
    return show(
        request,
        "home",
        agent=await heading(request, principal, found) | names_of(answering, found.handle),
        questions=answering.questions,
        may_write=may_write(principal, found),
        warnings=warnings_of(request, principal, answering),
        toolless=toolless(answering) if answering.tools else "",
    )


async def _editor(
    request: Request,
    principal: Principal,
    agent: Agent,
    sheet: Sheet,
    *,
    status: int = 200,
    error: InvalidInput | Conflict | None = None,
    patch: Mapping[str, Any] | None = None,
    conflict: list[View] | None = None,
) -> Response:
    errors = _errors(error, patch)
    tools = tool_offers(request, sheet)
    return show(
        request,
        "editor",
        status,
        agent=await heading(request, principal, agent),
        sheet={**{name: kept for name, kept in sheet_of(agent.draft).items() if name in FIELDS}, **sheet},
        errors=errors,
        wrong=errors_by_field(errors),
        conflict=conflict,
        tools=tools,
        options=setting_options(sheet, tools),
        chosen=chosen_models(request, principal, sheet),
        may_try=principal.allows("admin", "models"),
        models=await model_offers(request, principal),
        warnings=warnings_of(request, principal, agent.draft),
        questions=agent.draft.questions,
        may_write=may_write(principal, agent),
    )


async def _conflicting(
    request: Request, principal: Principal, agent: Agent, sheet: Sheet, patch: Mapping[str, Any]
) -> Response:
    """The form again, over the draft that came in between, with the difference to what was typed."""
    try:
        typed = read_definition(apply_changes(agent.draft, patch))
        conflict = difference_view(agent.draft, typed)
    except InvalidInput as error:
        return await _editor(
            request,
            principal,
            agent,
            sheet,
            status=StaleRevision.status,
            error=error,
            patch=patch,
            conflict=[],
        )
    return await _editor(request, principal, agent, sheet, status=StaleRevision.status, conflict=conflict)


async def _new_form(
    request: Request,
    principal: Principal,
    template: Template,
    values: Mapping[str, str],
    error: InvalidInput | Conflict | None = None,
) -> Response:
    errors = _errors(error, {"model": values["model"]})
    offers = await model_offers(request, principal)
    return show(
        request,
        "new",
        error.status if error else 200,
        chosen=template_view(template),
        values=values,
        errors=errors,
        wrong=errors_by_field(errors),
        names=[(name, offer) for offer in offers for name in offer["names"]],
        models=offers,
        workspace=principal.workspace_handle,
    )


async def _free_name(agents: Agents, principal: Principal, wanted: str) -> str:
    """The handle, with the first number behind it that makes it a new one."""
    for number in range(1, 50):
        name = wanted if number == 1 else f"{wanted}-{number}"
        try:
            await agents.read(principal, name)
        except NotFound:
            return name
    return ""


def _template(name: str) -> Template:
    return BLANK if name == BLANK.name else find_template(name)


def _errors(error: InvalidInput | Conflict | None, patch: Mapping[str, Any] | None) -> list[View]:
    if isinstance(error, Conflict):
        return [{"field": "name", "label": "Handle", "text": legible(error.message)}]
    return error_view(error, patch) if error else []


router.routes.extend(version_pages.routes)
router.routes.extend(embedding_pages.routes)
