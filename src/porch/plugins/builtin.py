"""The tools that every installation has."""

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta, Struct

from porch.plugins.tool import Tool, ToolFailure, tool


class ClockArguments(Struct, forbid_unknown_fields=True):
    """What `clock` is asked."""

    timezone: Annotated[str, Meta(description='IANA name such as "Europe/Paris"; UTC when left out')] = "UTC"


@tool("read")
async def clock(arguments: ClockArguments) -> dict[str, str]:
    """Tells the current date, weekday and time in a time zone."""
    try:
        now = datetime.now(ZoneInfo(arguments.timezone) if arguments.timezone != "UTC" else UTC)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolFailure(
            f"There is no time zone {arguments.timezone!r}; use an IANA name such as Europe/Paris."
        ) from None
    return {
        "now": now.isoformat(timespec="seconds"),
        "weekday": now.strftime("%A"),
        "timezone": arguments.timezone,
    }


BUILTIN: dict[str, Tool] = {found.name: found for found in (clock,)}
