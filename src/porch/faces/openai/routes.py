"""OpenAI's interfaces over HTTP: for every agent of a token, and for one agent at its own address."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, ClassVar, cast
from uuid import UUID

import msgspec
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from porch.agents.model import Agent
from porch.agents.service import Agents
from porch.contract.errors import NotFound, PorchError
from porch.contract.events import AnyEvent, RunCancelled, RunFailed
from porch.contract.ids import format_id, parse_id
from porch.contract.principal import Principal
from porch.faces.openai.addressing import named_agent, only_agent
from porch.faces.openai.answering import (
    KEEP,
    KEEP_STORED,
    Question,
    begin,
    check_finished,
    collect,
    stored_response,
)
from porch.faces.openai.chat_request import ChatRequest, read_chat
from porch.faces.openai.chat_stream import ChatChunks, complete_chat
from porch.faces.openai.errors import UnknownModel, UnknownUrl, answer_error
from porch.faces.openai.outcome import ended_early
from porch.faces.openai.response_request import ResponseRequest, read_response
from porch.faces.openai.response_stream import ResponseEvents
from porch.faces.openai.stored import (
    ITEMS_QUERY,
    STREAM_QUERY,
    USUAL_ITEMS,
    Later,
    page_items,
    read_input,
    read_place,
)
from porch.faces.remote import fill
from porch.faces.stream import QUIET, projected, whole_stream
from porch.faces.talk import egress_of
from porch.http.auth import requires
from porch.http.idempotency import IDEMPOTENT, REPLAYED, claimed
from porch.http.problem import validation_error
from porch.http.routing import DirectRoute, api_router, json_response
from porch.http.state import database
from porch.runs.input import MAX_BODY_BYTES
from porch.runs.options import RunOptions
from porch.runs.permit import admit
from porch.runs.record import RunRecord
from porch.runs.removal import forget_request
from porch.runs.service import Runs
from porch.runs.start import RunKey
from porch.runs.store import ACTIVE

EVERY, ONE = "/openai/v1", "/@{ws}/{agent}/v1"

router = api_router("", "openai")
Runner = Annotated[Principal, requires("run:agents", on="object", agents=True)]


class OpenAIRoute(DirectRoute):
    """A route whose failures have OpenAI's shape."""

    max_body_bytes: ClassVar[int] = MAX_BODY_BYTES

    async def call(self, request: Request) -> Response:
        try:
            return await super().call(request)
        except RequestValidationError as error:
            # Of a union each member says what it misses; who got furthest was meant.
            told = sorted(error.errors(), key=lambda item: -len(item["loc"]))
            return answer_error(validation_error(RequestValidationError(told)))
        except PorchError as error:
            return answer_error(error)


class NoRoute(OpenAIRoute):
    """A route of what is not here, which reads no body."""

    async def call(self, request: Request) -> Response:
        try:
            await self._requires(request)
            raise UnknownUrl(request.method, request.url.path)
        except PorchError as error:
            return answer_error(error)


# -- models


async def list_models(request: Request, principal: Runner) -> Response:
    """Every agent that the token may run, as models."""
    agents = await Agents(database(request)).runnable(principal)
    return json_response({"object": "list", "data": [_model(principal, agent) for agent in agents]})


async def get_model(request: Request, principal: Runner, model: str) -> Response:
    """One agent as a model."""
    return await _find_model(request, principal, await named_agent(request, principal, model))


async def list_agent_models(request: Request, principal: Runner, ws: str, agent: str) -> Response:
    """The one agent as a list of models."""
    found = _model(principal, await _find_agent(request, principal, agent))
    return json_response({"object": "list", "data": [found]})


async def get_agent_model(request: Request, principal: Runner, ws: str, agent: str, model: str) -> Response:
    """The one agent as a model."""
    return await _find_model(request, principal, await only_agent(request, principal, agent, model))


# -- chat completions


async def create_chat_completion(request: Request, principal: Runner, body: ChatRequest) -> Response:
    """Let an agent answer a list of messages. Its instructions stand; the caller's are added to them."""
    return await _complete(request, principal, await named_agent(request, principal, body.model), body)


async def create_agent_chat_completion(
    request: Request,
    principal: Runner,
    ws: str,
    agent: str,
    body: ChatRequest,
) -> Response:
    """Let this agent answer a list of messages."""
    return await _complete(request, principal, await only_agent(request, principal, agent, body.model), body)


async def _complete(request: Request, principal: Principal, agent: str, body: ChatRequest) -> Response:
    before, parts, options, gaps = read_chat(body)
    tools = {tool.name for tool in options.tools}
    with_usage = bool(body.stream_options and body.stream_options.include_usage)

    def whole(events: list[AnyEvent]) -> Response:
        check_finished(events)
        return json_response(complete_chat(events, tools))

    question = Question(agent, before, parts, options, KEEP, gaps=gaps)
    projection = ChatChunks(tools, include_usage=with_usage) if body.stream else None
    return await _answer(request, principal, question, projection, whole)


# -- responses


async def create_response(request: Request, principal: Runner, body: ResponseRequest) -> Response:
    """Let an agent respond, anew or behind `previous_response_id`."""
    return await _respond(request, principal, await named_agent(request, principal, body.model), body)


async def create_agent_response(
    request: Request,
    principal: Runner,
    ws: str,
    agent: str,
    body: ResponseRequest,
) -> Response:
    """Let this agent respond."""
    return await _respond(request, principal, await only_agent(request, principal, agent, body.model), body)


async def _respond(request: Request, principal: Principal, agent: str, body: ResponseRequest) -> Response:
    before, parts, options, gaps = read_response(body)

    def whole(events: list[AnyEvent]) -> Response:
        check_finished(events)
        return json_response(_as_response(events, options))

    keep = KEEP if body.store is False else KEEP_STORED
    question = Question(agent, before, parts, options, keep, body.previous_response_id, gaps)
    projection = _response_events(options) if body.stream else None
    return await _answer(request, principal, question, projection, whole)


async def get_response(request: Request, principal: Principal, response: str, agent: str | None) -> Response:
    """A stored response as it stands, or with `stream=true` its events, behind the one named by `starting_after`."""
    runs = _runs(request)
    record, options = await stored_response(runs, principal, response, agent)
    if request.query_params.get("stream", "false") not in ("false", "0"):
        return await _stream_again(request, principal, record, options)
    if record.status in ACTIVE:
        events = _response_events(options)
        events.begin(
            format_id("run", record.id), f"@{principal.workspace_handle}/{record.handle}", record.created_at
        )
        return json_response(events.response)
    return json_response(_as_response(await _collect(request, principal, record.id), options))


async def _stream_again(
    request: Request, principal: Principal, record: RunRecord, options: RunOptions
) -> Response:
    runs, after = _runs(request), read_place(request.query_params.get("starting_after"))
    told = Later(_response_events(options), after)
    if record.status in ACTIVE and (stream := await runs.follow(principal, record.id)):
        return projected(request, stream, told)
    return whole_stream(told, await _collect(request, principal, record.id, unbroken=after >= 0))


async def delete_response(
    request: Request, principal: Principal, response: str, agent: str | None
) -> Response:
    """Forget a stored response. One that is being written is stopped."""
    runs = _runs(request)
    record, _ = await stored_response(runs, principal, response, agent)
    if record.status in ACTIVE:
        await runs.cancel(principal, record.id)
        await _collect(request, principal, record.id)
    await forget_request(database(request), principal.workspace, record.conversation, record.id)
    return json_response({"id": response, "object": "response", "deleted": True})


async def cancel_response(
    request: Request, principal: Principal, response: str, agent: str | None
) -> Response:
    """Stop a response that is being written; one that has ended is given as it is."""
    runs = _runs(request)
    record, options = await stored_response(runs, principal, response, agent)
    await runs.cancel(principal, record.id)
    return json_response(_as_response(await _collect(request, principal, record.id), options))


async def list_input_items(
    request: Request, principal: Principal, response: str, agent: str | None
) -> Response:
    """What was sent for a stored response, as items."""
    runs, asked = _runs(request), request.query_params
    record, options = await stored_response(runs, principal, response, agent)
    items = await read_input(database(request), runs, principal, record, options)
    limit, order = asked.get("limit", str(USUAL_ITEMS)), asked.get("order", "desc")
    return json_response(page_items(items, after=asked.get("after"), limit=limit, order=order))


def _response_events(options: RunOptions) -> ResponseEvents:
    return ResponseEvents({tool.name for tool in options.tools}, options.request)


def _as_response(events: list[AnyEvent], options: RunOptions) -> dict[str, Any]:
    told = _response_events(options)
    for event in events:
        told.feed(event)
    return told.response


# -- both


async def _answer(
    request: Request,
    principal: Principal,
    question: Question,
    projection: ChatChunks | ResponseEvents | None,
    whole: Callable[[list[AnyEvent]], Response],
) -> Response:
    """Starts the run once under the request's key; streams it by the projection, or gives it as a whole."""
    runs = _runs(request)
    async with claimed(request, principal, fenced=True) as claim:
        if claim is not None and claim.stored is not None:
            run = parse_id("run", msgspec.json.decode(claim.stored.body)["run"])
            return _again(await _collect(request, principal, run), projection, whole)
        key = RunKey(claim.route, claim.key) if claim else None
        await fill(egress_of(request), question.gaps)
        started = await begin(runs, principal, question, key)
    if projection is not None:
        return projected(request, runs.follow_new(principal, started), projection, _explain)
    answer = whole(await _collect(request, principal, started.run))
    answer.headers["porch-run"] = format_id("run", started.run)
    return answer


async def _collect(
    request: Request, principal: Principal, run: UUID, *, unbroken: bool = False
) -> list[AnyEvent]:
    return await collect(_runs(request), principal, run, partial(admit, request), unbroken=unbroken)


def _explain(end: RunFailed | RunCancelled | None) -> Response:
    return answer_error(ended_early(end))


def _again(
    events: list[AnyEvent],
    projection: ChatChunks | ResponseEvents | None,
    whole: Callable[[list[AnyEvent]], Response],
) -> Response:
    """The answer to what was sent before under the same key: what the run came to, without what it took back."""
    if all(isinstance(event, QUIET) for event in events[:-1]):
        check_finished(events)
    answer = whole(events) if projection is None else whole_stream(projection, events)
    answer.headers[REPLAYED] = "true"
    return answer


async def _find_agent(request: Request, principal: Principal, agent: str) -> Agent:
    try:
        found, _ = await Agents(database(request)).meet(principal, agent)
    except NotFound as error:
        raise UnknownModel(error.message) from None
    return found


async def _find_model(request: Request, principal: Principal, agent: str) -> Response:
    return json_response(_model(principal, await _find_agent(request, principal, agent)))


def _model(principal: Principal, agent: Agent) -> dict[str, Any]:
    return {
        "id": f"@{principal.workspace_handle}/{agent.handle}",
        "object": "model",
        "created": int(agent.created_at.timestamp()),
        "owned_by": principal.workspace_handle,
    }


def _runs(request: Request) -> Runs:
    return cast("Runs", request.app.state.runs)


STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer in OpenAI's shape; with `stream` as server-sent events.",
        "content": {"application/json": {}, "text/event-stream": {"schema": {"type": "string"}}},
    }
}


Call = Callable[..., Awaitable[Response]]
OfResponse = Callable[[Request, Principal, str, str | None], Awaitable[Response]]


def _add(
    method: str, path: str, operation: str, every: Call, one: Call, extra: dict[str, Any] | None = None
) -> None:
    """A door at both base URLs. `operation` has a `{}` for what the one agent's is called apart."""
    for base, apart, call in ((EVERY, "", every), (ONE, "Agent", one)):
        begins = method == "POST" and call.__name__.startswith("create")
        router.add_api_route(
            base + path,
            call,
            methods=[method],
            operation_id=operation.format(apart),
            response_class=Response,
            responses=STREAMED if begins else None,
            openapi_extra=IDEMPOTENT if begins else extra,
            route_class_override=OpenAIRoute,
        )


def _add_of_response(
    method: str, path: str, operation: str, act: OfResponse, extra: dict[str, Any] | None = None
) -> None:
    async def every(request: Request, principal: Runner, response: str) -> Response:
        return await act(request, principal, response, None)

    async def one(request: Request, principal: Runner, ws: str, agent: str, response: str) -> Response:
        return await act(request, principal, response, agent)

    every.__name__ = one.__name__ = act.__name__
    every.__doc__ = one.__doc__ = act.__doc__
    _add(method, f"/responses/{{response}}{path}", operation, every, one, extra)


_add("GET", "/models", "openaiList{}Models", list_models, list_agent_models)
_add("GET", "/models/{model:path}", "openaiGet{}Model", get_model, get_agent_model)
_chat = create_chat_completion, create_agent_chat_completion
_add("POST", "/chat/completions", "openaiCreate{}ChatCompletion", *_chat)
_add("POST", "/responses", "openaiCreate{}Response", create_response, create_agent_response)
_add_of_response("GET", "", "openaiGet{}Response", get_response, STREAM_QUERY)
_add_of_response("DELETE", "", "openaiDelete{}Response", delete_response)
_add_of_response("POST", "/cancel", "openaiCancel{}Response", cancel_response)
_add_of_response("GET", "/input_items", "openaiList{}InputItems", list_input_items, ITEMS_QUERY)


async def _nowhere(request: Request, principal: Runner, rest: str) -> Response:
    raise UnknownUrl(request.method, request.url.path)


async def _nowhere_of_one(request: Request, principal: Runner, ws: str, agent: str, rest: str) -> Response:
    raise UnknownUrl(request.method, request.url.path)


for _base, _call in ((EVERY, _nowhere), (ONE, _nowhere_of_one)):
    router.add_api_route(
        _base + "/{rest:path}",
        _call,
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        include_in_schema=False,
        route_class_override=NoRoute,
    )
