"""Runs over HTTP: start, look, follow, cancel."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

import msgspec
from fastapi import Header, Query, Request
from pydantic import ConfigDict, Discriminator, Field, Tag
from starlette.responses import Response

from porch.contract.frames import START, Cursor
from porch.contract.ids import format_id, parse_id
from porch.contract.messages import Part
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.body_model import BodyModel
from porch.http.idempotency import IDEMPOTENT, claimed
from porch.http.pagination import Page, Paging, cut, encode_cursor
from porch.http.routing import api_router
from porch.runs.approval_bodies import Waits, approval_body, waits_of
from porch.runs.input import MessageRoute, read_parts
from porch.runs.ledger import counted
from porch.runs.permit import admit
from porch.runs.queue import Queued
from porch.runs.record import RunRecord
from porch.runs.service import RunKey, Runs, Started
from porch.runs.store import HEAD, Place

router = api_router("/api/v1", "runs")
Runner = Annotated[Principal, requires("run:agents", on="object", guests=True)]
Viewer = Annotated[Principal, requires("read:conversations")]
Participant = Annotated[Principal, requires("read:conversations", guests=True)]


class TextInput(BodyModel):
    """Words of a message."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class ImageInput(BodyModel):
    """A picture of up to 5 MiB and 8,000 pixels a side; its bytes must be of the type that it names."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["image"]
    media_type: str = Field(examples=["image/png"], description="PNG, JPEG, GIF or WebP.")
    data: str = Field(description="The file as base64.", json_schema_extra={"contentEncoding": "base64"})
    name: str | None = Field(default=None, examples=["porch.png"])


class FileInput(BodyModel):
    """A document of up to 10 MiB: a PDF, or text in UTF-8."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["file"]
    media_type: str = Field(
        examples=["application/pdf"], description="`application/pdf`, `application/json` or `text/…`."
    )
    data: str = Field(description="The file as base64.", json_schema_extra={"contentEncoding": "base64"})
    name: str | None = Field(default=None, examples=["lease.pdf"])


PartInput = Annotated[TextInput | ImageInput | FileInput, Field(discriminator="type")]


def _form(value: Any) -> str | None:
    return "words" if isinstance(value, str) else "parts" if isinstance(value, list) else None


class RunInput(BodyModel):
    """A message to an agent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"input": "What time is it?"}]})
    input: Annotated[
        Annotated[str, Tag("words")] | Annotated[list[PartInput], Tag("parts")],
        Discriminator(
            _form,
            custom_error_type="message",
            custom_error_message="a text, or a list of parts, is needed here",
        ),
        Field(description="Text, or the message's parts."),
    ]
    parent: str | None = Field(
        default=None,
        examples=["msg_0199f3a1c2d47e10a5b6c7d8e9f00112"],
        description="The message that this one follows, which begins a branch; null for the conversation's "
        "start. Without the key it follows the head.",
    )


class RunAccepted(BodyModel):
    """A run that was committed and goes on by itself."""

    run: str = Field(examples=["run_0199f3a1c2d47e10a5b6c7d8e9f00112"])
    conversation: str
    message: str
    status: Literal["queued", "running"] = Field(
        default="running", description="`queued` where it waits for the answer before it."
    )


class QueuedMessage(BodyModel):
    """A message that waits for the answer before it."""

    run: str = Field(description="The run that will answer it; cancel this to take the message back.")
    message: str = Field(description="Its id, or of the message that is answered anew.")
    place: Literal["head", "after", "answer"] = Field(
        description="Where it will stand: at the `head`, `after` an earlier message, or as another `answer`."
    )
    parts: list[dict[str, Any]]
    created_at: datetime


class RunNotice(BodyModel):
    """Something that the run told whoever reads its answer."""

    code: str = Field(examples=["empty_answer"])
    text: str


class RunState(BodyModel):
    """A run as it stands."""

    id: str = Field(examples=["run_0199f3a1c2d47e10a5b6c7d8e9f00112"])
    agent: str = Field(examples=["@home/hello"])
    version: int | None = Field(description="The version that answers; null for a draft.")
    conversation: str
    status: Literal["queued", "running", "paused", "finished", "failed", "cancelled"] = Field(
        description="`queued` waits in its conversation for the run before it."
    )
    input_message: str
    output_message: str | None
    reason: str | None = Field(
        description="Why it finished: `stop`, `length`, `limit` or `content_filter`; null where it did not."
    )
    model: str | None = Field(description="The model that answered, where its journal still tells.")
    first_token_ms: int | None = Field(
        description="Milliseconds from the start to the first word of what stands; null where it is not known."
    )
    tokens_per_second: float | None = Field(
        description="The pace of the model that answered, over its own time; null where it is not known."
    )
    waits_for: Waits | None = Field(description="What a paused run waits for; null for all others.")
    notices: list[RunNotice]
    usage: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None


STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The stream: server-sent events, one contract event each (`/contract/v1/schema.json`). "
        "Go on after a lost connection from `Last-Event-ID`.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 1-3\nevent: part.started\ndata: {"v":1,"type":"part.started",…}\n\n',
            }
        },
    }
}


async def start_run(request: Request, principal: Runner, conversation: str, body: RunInput) -> Response:
    """Send a message and let the agent answer.

    With `Accept: text/event-stream` the answer is the run's stream, otherwise 202 with its id. The message is
    committed before anything is answered; the run goes on when its readers leave.

    A message is text, or up to 20 parts of text, pictures and files, whose bytes come as base64: pictures PNG,
    JPEG, GIF or WebP of up to 5 MiB; files PDF, text in UTF-8 or JSON of up to 10 MiB; 20 MiB in all.

    While another answer is being written the agent's `concurrency` decides: `reject` is 409 `conversation_busy`;
    with `queue` the message waits, its `status` is `queued` and its stream begins when its turn comes; with
    `interrupt` it stops that answer and comes next. When 16 wait, 409 `queue_full`.
    """
    runs = _runs(request)
    parts, place = _parts(body), _place(body)
    where = parse_id("conv", conversation)
    return await _answer(
        request, principal, where, lambda key: runs.start_run(principal, where, parts, key, place)
    )


router.add_api_route(
    "/conversations/{conversation}/runs",
    start_run,
    methods=["POST"],
    operation_id="startRun",
    status_code=202,
    response_model=RunAccepted,
    responses=STREAM,
    openapi_extra=IDEMPOTENT,
    route_class_override=MessageRoute,
)


@router.post(
    "/conversations/{conversation}/messages/{message}/regenerate",
    operation_id="regenerateMessage",
    status_code=202,
    response_model=RunAccepted,
    responses=STREAM,
    openapi_extra=IDEMPOTENT,
)
async def regenerate_message(
    request: Request, principal: Runner, conversation: str, message: str
) -> Response:
    """Answer once more, beside the answer that is there.

    `message` is an answer, or the user's message itself. Streams or answers 202 as a new message does.
    """
    runs = _runs(request)
    where, which = parse_id("conv", conversation), parse_id("msg", message)
    return await _answer(request, principal, where, lambda key: runs.regenerate(principal, where, which, key))


@router.get(
    "/conversations/{conversation}/runs", operation_id="listRuns", summary="List a conversation's runs"
)
async def list_runs(request: Request, principal: Viewer, conversation: str, paging: Paging) -> Page[RunState]:
    """Runs of all branches, newest first: how each answer ended, and what it took."""
    where, before = parse_id("conv", conversation), paging.after_id("runs")
    rows = await _runs(request).of_conversation(principal, where, before, paging.limit + 1)
    shown, last = cut(rows, paging.limit)
    cursor = encode_cursor("runs", last.id) if last else None
    return Page(items=[_state(principal, record) for record in shown], next_cursor=cursor)


@router.get(
    "/conversations/{conversation}/queue",
    operation_id="listQueue",
    summary="List what waits in a conversation",
)
async def list_queue(
    request: Request, principal: Participant, conversation: str
) -> dict[Literal["items"], list[QueuedMessage]]:
    """Messages that wait for the answer before them, in the order in which they will be answered.

    None is in the conversation's messages yet. Of their pictures and files only type, name and size are told.
    """
    waiting = await _runs(request).queued(principal, parse_id("conv", conversation))
    return {"items": [_queued(each) for each in waiting]}


@router.get("/runs/{run}", operation_id="getRun")
async def get_run(request: Request, principal: Participant, run: str) -> RunState:
    """A run's state, and of a paused one what it waits for."""
    record = await _runs(request).get(principal, parse_id("run", run))
    state = _state(principal, record)
    if record.paused_for == "approval" and state.waits_for:
        asked = await _runs(request).inbox.of_run(principal, record.id)
        state.waits_for.approvals = [approval_body(principal, one) for one in asked if one.decision is None]
    return state


@router.get(
    "/runs/{run}/events",
    operation_id="followRun",
    response_class=Response,
    responses={
        **STREAM,
        204: {"description": "The cursor stands at the run's end, or where it is paused: nothing more now."},
        409: {"description": "No event of the run has that cursor: read it from its start."},
    },
)
async def follow_run(
    request: Request,
    principal: Participant,
    run: str,
    after: Annotated[str | None, Query(description="A cursor `<epoch>-<seq>`.", examples=["1-57"])] = None,
    last_event_id: Annotated[str | None, Header(description="Like `after`, and stronger.")] = None,
) -> Response:
    """The run's stream, from its start or from behind a cursor, as long as the run exists."""
    text = last_event_id or after
    cursor = Cursor.parse(text) if text else START
    stream = await _runs(request).follow(principal, parse_id("run", run), cursor)
    return admit(request, stream) if stream else Response(status_code=204)


@router.post("/runs/{run}/cancel", operation_id="cancelRun", status_code=202)
async def cancel_run(request: Request, principal: Runner, run: str) -> RunState:
    """Ask the run to stop; its stream ends with `run.cancelled`. Nothing happens when it is over."""
    return _state(principal, await _runs(request).cancel(principal, parse_id("run", run)))


def _runs(request: Request) -> Runs:
    return cast("Runs", request.app.state.runs)


def _streams(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")


def _parts(body: RunInput) -> list[Part]:
    given = body.input
    return read_parts(given if isinstance(given, str) else [part.model_dump() for part in given])


def _place(body: RunInput) -> Place:
    if "parent" not in body.model_fields_set:
        return HEAD
    return Place("after", parse_id("msg", body.parent) if body.parent is not None else None)


async def _answer(
    request: Request,
    principal: Principal,
    conversation: UUID,
    start: Callable[[RunKey | None], Awaitable[Started]],
) -> Response:
    """Starts a run once under the request's key, and answers its stream or its id."""
    runs = _runs(request)
    if _streams(request):
        with counted(runs.ledger, principal.workspace):
            runs.places.check_stream(principal)
    async with claimed(request, principal, fenced=True) as claim:
        if claim is not None and claim.stored is not None:
            run = parse_id("run", msgspec.json.decode(claim.stored.body)["run"])
            return await _again(request, principal, run)
        started = await start(RunKey(claim.route, claim.key) if claim else None)
    if _streams(request):
        return admit(request, runs.follow_new(principal, started))
    return _accepted(started.run, conversation, started.message, queued=started.queued)


async def _again(request: Request, principal: Principal, run: UUID) -> Response:
    """The answer to a message that was sent before under the same key."""
    runs = _runs(request)
    replayed = {"Idempotency-Replayed": "true"}
    if _streams(request):
        stream = await runs.follow(principal, run)
        assert stream is not None  # from the start there is always something
        stream.headers.update(replayed)
        return admit(request, stream)
    record = await runs.get(principal, run)
    queued = record.status == "queued"
    answer = _accepted(run, record.conversation, record.input_message, queued=queued)
    answer.headers.update(replayed)
    return answer


def _accepted(run: UUID, conversation: UUID, message: UUID, *, queued: bool) -> Response:
    name = format_id("run", run)
    body = RunAccepted(
        run=name,
        conversation=format_id("conv", conversation),
        message=format_id("msg", message),
        status="queued" if queued else "running",
    )
    headers = {"location": f"/api/v1/runs/{name}"}
    return Response(body.model_dump_json(), 202, headers, "application/json")


def _queued(queued: Queued) -> QueuedMessage:
    return QueuedMessage(
        run=format_id("run", queued.run),
        message=format_id("msg", queued.message),
        place=queued.how,
        parts=[
            {name: value for name, value in msgspec.to_builtins(part).items() if name not in ("file", "data")}
            for part in queued.parts
        ],
        created_at=queued.created_at,
    )


def _state(principal: Principal, record: RunRecord) -> RunState:
    return RunState(
        id=format_id("run", record.id),
        agent=f"@{principal.workspace_handle}/{record.handle}",
        version=record.version,
        conversation=format_id("conv", record.conversation),
        status=record.status,
        input_message=format_id("msg", record.input_message),
        output_message=format_id("msg", record.output_message) if record.output_message else None,
        reason=record.reason,
        model=record.model,
        first_token_ms=record.first_token_ms,
        tokens_per_second=record.tokens_per_second,
        waits_for=waits_of(record),
        notices=[RunNotice(code=code, text=text) for code, text in record.notices],
        usage=msgspec.to_builtins(record.usage) if record.usage else None,
        error=msgspec.to_builtins(record.error) if record.error else None,
        created_at=record.created_at,
        finished_at=record.finished_at,
    )
