"""`/design`: every piece of the design system, in use."""

from datetime import UTC, datetime

from fastapi import Request
from starlette.responses import Response

from porch.http.auth import public
from porch.http.pages import page_router, render, visitor
from porch.status.chart import HEIGHT, WIDTH
from porch.status.pages import sample
from porch.status.tally import RANGES

router = page_router("design")


@router.get("/design", dependencies=[public()])
async def get_design(request: Request) -> Response:
    """Every colour, type, button, field and notice there is."""
    await visitor(request)
    now = datetime.now(UTC)
    return render(
        request,
        "web/design.html",
        now=now,
        chart_sample=sample(now),
        chart_range=RANGES["1h"],
        width=WIDTH,
        height=HEIGHT,
    )
