"""The others in a conversation, over HTTP."""

from typing import Annotated, cast

from fastapi import Query, Request
from pydantic import Field

from porch.agents.bodies import AuthorBody
from porch.contract.principal import Principal
from porch.http.auth import Requires, recheck, requires
from porch.http.body_model import BodyModel
from porch.http.routing import api_router
from porch.runs.places import place_of
from porch.runs.service import Runs

router = api_router("/api/v1", "conversations")
READS = Requires("read:conversations")


class CompanyBody(BodyModel):
    """Who else is in a conversation, and whether anything happened there."""

    version: str = Field(
        description="Changes with anything of this; send it as `seen` with the next request."
    )
    activity: str = Field(
        description="Changes with the conversation: a message, an answer, a title, another branch."
    )
    open: bool = Field(
        description="Whether it is open to members; where it is not there is nothing to wait for."
    )
    present: list[AuthorBody] = Field(
        description="Who was here within the last 25 seconds, whoever asks included."
    )


@router.get(
    "/conversations/{conversation}/live", operation_id="watchConversation", summary="Watch a conversation"
)
async def watch_conversation(
    request: Request,
    principal: Annotated[Principal, requires("read:conversations")],
    conversation: str,
    seen: Annotated[str | None, Query(max_length=64, description="The version that is known.")] = None,
) -> CompanyBody:
    """Who is in a conversation that is open to members, and word of what happens in it.

    It is answered when something has changed since the version `seen`, or after 10 seconds. Whoever asks counts as
    present, and asks again at once to stay so.
    """
    runs = cast("Runs", request.app.state.runs)
    runs.places.check_stream(principal)
    place = place_of(principal)
    runs.places.take(place)
    try:
        company = await runs.company.watch(principal, conversation, seen)
    finally:
        runs.places.leave(place)
    # It may have waited for long: whoever asked may read no more.
    await recheck(READS, request)()
    return CompanyBody(
        version=company.version,
        activity=company.activity,
        open=company.open,
        present=[AuthorBody(id=each.id, name=each.name, you=each.you) for each in company.present],
    )
