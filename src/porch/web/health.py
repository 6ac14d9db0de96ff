"""Is it alive, is it ready, what does it carry: for load balancers, operators and Prometheus."""

import json
from typing import Annotated, Any, cast

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from porch import __version__
from porch.contract.errors import PorchError
from porch.contract.principal import Principal
from porch.contract.schema import SCHEMA_URL, stream_schema
from porch.http.auth import public, requires
from porch.http.state import database
from porch.models.local.process import LocalModel
from porch.runs.service import Runs

router = APIRouter(tags=["about"])
_schema = json.dumps(stream_schema(), indent=2, sort_keys=True).encode()


class Alive(BaseModel):
    """A sign of life."""

    status: str = "ok"
    version: str = __version__


class Ready(BaseModel):
    """Whether messages can be taken, and what stands in the way."""

    ready: bool
    database: str
    runs: str
    local_model: str


@router.get("/healthz", operation_id="getHealth", dependencies=[public()])
async def get_health() -> Alive:
    """Answers as long as the process does."""
    return Alive()


@router.get(
    "/readyz", operation_id="getReadiness", dependencies=[public()], responses={503: {"model": Ready}}
)
async def get_readiness(request: Request) -> Response:
    """Ready when the database answers and this process may write runs; 503 otherwise."""
    try:
        await database(request).ping()
        found = "ok"
    except PorchError:
        found = "unavailable"
    runs = cast("Runs", request.app.state.runs)
    local = cast("LocalModel | None", request.app.state.local_model)
    ready = Ready(
        ready=found == "ok" and runs.ready,
        database=found,
        runs="ok" if runs.ready else "waiting for a lease",
        # A failure's sentence names paths; the operator reads it in `porch doctor`.
        local_model="off" if local is None else local.state.partition(":")[0],
    )
    return Response(ready.model_dump_json(), 200 if ready.ready else 503, media_type="application/json")


@router.get(SCHEMA_URL, operation_id="getStreamSchema", dependencies=[public()])
async def get_stream_schema() -> Response:
    """The stream contract as JSON Schema."""
    return Response(_schema, media_type="application/schema+json")


@router.get("/metrics", operation_id="getMetrics", response_class=Response)
async def get_metrics(
    request: Request, principal: Annotated[Principal, requires("admin:workspaces")]
) -> Response:
    """What this process carries just now, in Prometheus' text format."""
    runs = cast("Runs", request.app.state.runs)
    figures: list[tuple[str, str, str, Any]] = [
        ("porch_runs_started_total", "counter", "Runs that this process began.", runs.started),
        ("porch_runs_taken_over_total", "counter", "Runs that it took over.", runs.taken_over),
        ("porch_runs_active", "gauge", "Runs that it carries.", runs.active),
        ("porch_streams_open", "gauge", "Readers that follow a run here.", len(runs.readers)),
        ("porch_journal_waiting_bytes", "gauge", "Produced but not committed.", runs.waiting_bytes),
    ]
    lines = [f'porch_build_info{{version="{__version__}"}} 1']
    for name, kind, text, value in figures:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value}"]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")
