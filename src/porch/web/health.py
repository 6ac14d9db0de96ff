"""Is it alive, is it ready, what does it carry: for load balancers, operators and Prometheus."""

import json
from typing import Annotated, cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from porch import __version__
from porch.contract.errors import PorchError
from porch.contract.principal import Principal
from porch.contract.schema import SCHEMA_URL, stream_schema
from porch.http.auth import public, requires
from porch.http.body_model import BodyModel
from porch.http.problem import RETRY_SECONDS
from porch.http.state import database
from porch.models.local.process import LocalModel
from porch.runs.service import Runs
from porch.telemetry.exposition import MEDIA_TYPE, expose

router = APIRouter(tags=["about"])
_schema = json.dumps(stream_schema(), indent=2, sort_keys=True).encode()


class Alive(BodyModel):
    """A sign of life."""

    status: str = "ok"
    version: str = __version__


class Ready(BodyModel):
    """Whether messages can be taken, and what stands in the way."""

    ready: bool
    database: str
    runs: str
    replicas: int
    messages: str
    valkey: str
    journal: str
    memory: str
    local_model: str


@router.get("/healthz", operation_id="getHealth", dependencies=[public()])
async def get_health() -> Alive:
    """Answers as long as the process does."""
    return Alive()


@router.get(
    "/readyz", operation_id="getReadiness", dependencies=[public()], responses={503: {"model": Ready}}
)
async def get_readiness(request: Request) -> Response:
    """Ready when the database answers and this process may write runs; 503 otherwise.

    `replicas` counts the servers that take runs, this one included. While `messages` between them are `down`, readers
    of another one's runs follow by looking. Under `memory` it says `short` while new work is refused. That alone keeps
    nobody away: pages answer, readers come back to their streams, and new work gets its own 503.
    """
    try:
        await database(request).ping()
        found = "ok"
    except PorchError:
        found = "unavailable"
    runs = cast("Runs", request.app.state.runs)
    local = cast("LocalModel | None", request.app.state.local_model)
    journal = "no room on the disk" if database(request).full else "failing" if runs.trouble else "ok"
    ready = Ready(
        ready=found == journal == "ok" and runs.ready,
        database=found,
        runs=runs.state,
        replicas=runs.replicas.others + (not runs.replicas.draining),
        messages="ok" if runs.bus.up else "down",
        valkey=runs.replicas.post_state,
        journal=journal,
        memory="short" if runs.pressure.shedding else "ok",
        # A failure's sentence names paths; the operator reads it in `porch doctor`.
        local_model="off" if local is None else local.state.partition(":")[0],
    )
    content = ready.model_dump_json()
    if ready.ready:
        return Response(content, media_type="application/json")
    return Response(content, 503, {"Retry-After": f"{RETRY_SECONDS:g}"}, "application/json")


@router.get(SCHEMA_URL, operation_id="getStreamSchema", dependencies=[public()])
async def get_stream_schema() -> Response:
    """The stream contract as JSON Schema."""
    return Response(_schema, media_type="application/schema+json")


@router.get("/metrics", operation_id="getMetrics", response_class=Response)
async def get_metrics(
    request: Request, principal: Annotated[Principal, requires("admin:workspaces", home=True)]
) -> Response:
    """What this process carries and has measured since its start, in Prometheus' text format.

    It counts all workspaces' together: this takes a credential of the first one.
    """
    runs = cast("Runs", request.app.state.runs)
    build = f'porch_build_info{{version="{__version__}"}} 1\n'
    return Response(build + expose(runs.telemetry.instruments), headers={"Content-Type": MEDIA_TYPE})
