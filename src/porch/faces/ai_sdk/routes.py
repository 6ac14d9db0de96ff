"""The AI SDK's UI message stream over HTTP: what the DefaultChatTransport of the npm package `ai` asks for."""

from typing import Annotated, Any

from fastapi import Request
from starlette.responses import Response

from porch.contract.errors import NotFound
from porch.contract.principal import Principal
from porch.faces.ai_sdk.input import ChatRequest
from porch.faces.ai_sdk.projection import UiMessageStream
from porch.faces.remote import fill
from porch.faces.stream import projected
from porch.faces.talk import begin, egress_of, find_message, find_place, runs_of, threads_of
from porch.http.auth import requires
from porch.http.idempotency import IDEMPOTENT
from porch.http.routing import api_router
from porch.runs.input import MessageRoute
from porch.runs.service import Started
from porch.runs.start import Asked, RunKey
from porch.runs.store import Place

router = api_router("", "faces")
# A client of an older `ai` says so: it fails on chunks that it does not know.
VERSION = "Porch-Ai-Sdk"
Runner = Annotated[Principal, requires("run:agents", on="object", agents=True)]

STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The AI SDK's UI message stream (v1) as server-sent events.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'data: {"type":"start","messageId":"run_0199…"}\n\n',
            }
        },
    }
}


async def chat_ai_sdk(
    request: Request, principal: Runner, ws: str, agent: str, body: ChatRequest
) -> Response:
    """Talk to the agent from the AI SDK's `useChat`.

    The last user message is answered; what came before it the agent knows already. `id` is a conversation's id, or
    any id of the client's own, which begins one. Answers carry their run's id, so an edited message or a
    regenerated answer begins a branch where the client means it.
    """
    runs = runs_of(request)
    question = body.read()
    conversation = await threads_of(request).open(principal, agent, body.id)
    parts = question.parts
    if body.regenerates:
        named = body.messageId or ""
        message = await find_message(runs, principal, conversation.id, named, question=True)
        message = message or conversation.head_message_id
        if message is None:
            raise NotFound("There is no answer to regenerate in this conversation yet. Send a message first.")
        place, parts = Place("answer", message), None
    else:
        place = await find_place(
            runs, principal, conversation.id, question.earlier, otherwise=body.place_of_first
        )

    async def start(key: RunKey | None) -> Started:
        await fill(egress_of(request), question.gaps)
        return await runs.ask(principal, conversation.id, Asked(parts, key, place, question.options))

    return projected(request, await begin(request, principal, start), _projection(request))


def _projection(request: Request) -> UiMessageStream:
    return UiMessageStream(version=6 if request.headers.get(VERSION) == "6" else 7)


router.add_api_route(
    "/@{ws}/{agent}/ai-sdk",
    chat_ai_sdk,
    methods=["POST"],
    operation_id="chatAiSdk",
    response_class=Response,
    responses=STREAM,
    openapi_extra=IDEMPOTENT,
    route_class_override=MessageRoute,
)


@router.get(
    "/@{ws}/{agent}/ai-sdk/{chat}/stream",
    operation_id="resumeAiSdk",
    response_class=Response,
    responses={**STREAM, 204: {"description": "No answer is being written in this chat."}},
)
async def resume_ai_sdk(request: Request, principal: Runner, ws: str, agent: str, chat: str) -> Response:
    """The answer that is being written in a chat, from its beginning, as `useChat` resumes it."""
    found = await threads_of(request).find(principal, agent, chat)
    if found is None or found.active_run is None:
        return Response(status_code=204)
    stream = await runs_of(request).follow(principal, found.active_run)
    assert stream is not None  # from the start there is always something
    return projected(request, stream, _projection(request))
