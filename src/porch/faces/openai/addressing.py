"""Which agent a request's `model` means."""

from fastapi import Request

from porch.contract.definition import HANDLE
from porch.contract.principal import Principal
from porch.faces.openai.errors import Refused, UnknownModel
from porch.http.state import database
from porch.identity.lifecycle import follow_handle


async def named_agent(request: Request, principal: Principal, model: str | None) -> str:
    """The agent that `model` names, as "@workspace/agent", be it by a former handle. Raises UnknownModel, Refused."""
    if not model:
        raise Refused("'model' is missing: name an agent, as \"@workspace/agent\".", "model", code="missing")
    workspace, _, agent = model.removeprefix("@").partition("/")
    if not HANDLE.fullmatch(agent) or not await _is_called(request, principal, workspace):
        raise UnknownModel(
            f'There is no model {model[:100]!r} for this token. Models are agents, named "@workspace/agent"; '
            "GET …/models lists yours."
        )
    return agent


async def only_agent(request: Request, principal: Principal, agent: str, model: str | None) -> str:
    """The agent of the path, unless `model` means another one. Raises UnknownModel."""
    workspace, slash, name = (model or agent).removeprefix("@").rpartition("/")
    if name != agent or (slash and not await _is_called(request, principal, workspace)):
        whole = f"{principal.workspace_handle}/{agent}"
        raise UnknownModel(
            f"{(model or '')[:100]!r} is not the agent of this address, which is \"@{whole}\". Leave 'model' out or "
            "name it."
        )
    return agent


async def _is_called(request: Request, principal: Principal, workspace: str) -> bool:
    if workspace == principal.workspace_handle:
        return True
    led = await follow_handle(database(request), workspace)
    return led is not None and led[0] == principal.workspace
