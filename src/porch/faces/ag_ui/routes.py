"""AG-UI over HTTP: an agent's `/ag-ui` takes a RunAgentInput and answers the run's events."""

from typing import Annotated, Any

from fastapi import Request
from starlette.responses import Response

from porch.contract.principal import Principal
from porch.faces.ag_ui.input import RunAgentInput
from porch.faces.ag_ui.projection import AgUi
from porch.faces.remote import fill
from porch.faces.stream import projected
from porch.faces.talk import begin, egress_of, find_place, runs_of, threads_of
from porch.http.auth import requires
from porch.http.idempotency import IDEMPOTENT
from porch.http.routing import api_router
from porch.runs.input import MessageRoute
from porch.runs.service import Started
from porch.runs.start import Asked, RunKey

router = api_router("", "faces")
Runner = Annotated[Principal, requires("run:agents", on="object", agents=True)]

STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "AG-UI 1.0 events as server-sent events.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'data: {"type":"RUN_STARTED","threadId":"t1","runId":"r1","protocolVersion":"1.0"}\n\n',
            }
        },
    }
}


async def run_ag_ui(
    request: Request, principal: Runner, ws: str, agent: str, body: RunAgentInput
) -> Response:
    """Talk to the agent in AG-UI 1.0.

    The last user message, or the results of the client's own tools, are answered; what came before it the agent
    knows already. `threadId` is a conversation's id, or any id of the client's own, which begins one.
    """
    runs = runs_of(request)
    asked, conversation = body.read(), await threads_of(request).open(principal, agent, body.threadId)
    place = await find_place(runs, principal, conversation.id, asked.earlier)

    async def start(key: RunKey | None) -> Started:
        await fill(egress_of(request), asked.gaps)
        return await runs.ask(principal, conversation.id, Asked(asked.parts, key, place, asked.options))

    stream = await begin(request, principal, start)
    return projected(request, stream, AgUi(body.threadId, body.runId, body.messages, asked.notices))


router.add_api_route(
    "/@{ws}/{agent}/ag-ui",
    run_ag_ui,
    methods=["POST"],
    operation_id="runAgUi",
    response_class=Response,
    responses=STREAM,
    openapi_extra=IDEMPOTENT,
    route_class_override=MessageRoute,
)
