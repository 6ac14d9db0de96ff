"""The archive of journals over HTTP."""

from typing import Annotated, cast

from fastapi import Request
from starlette.responses import Response

from porch.contract.ids import parse_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.routing import api_router
from porch.runs.service import Runs

router = api_router("/api/v1", "runs")


@router.post(
    "/runs/{run}/journal", operation_id="fetchJournal", summary="Bring a run's journal back", status_code=204
)
async def fetch_journal(
    request: Request, principal: Annotated[Principal, requires("write:conversations")], run: str
) -> Response:
    """Bring back from the archive what the run's stream is replayed from, for a day. Following the run does it, too.

    410 `journal_gone` where it was removed; nothing happens where it is here.
    """
    runs, found = cast("Runs", request.app.state.runs), parse_id("run", run)
    await runs.get(principal, found)
    await runs.shelf.fetch(principal.workspace, found)
    return Response(status_code=204)
