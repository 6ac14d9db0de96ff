"""How often strangers may do what costs something: limits that all processes share, kept by the database."""

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from porch.contract.errors import RateLimited
from porch.storage.connection import Connection


@dataclass(frozen=True, slots=True)
class Limit:
    """So many at once, and one more `every` so often; `sentence` tells who has used it up."""

    name: str
    at_once: int
    every: timedelta
    sentence: str


VISITORS_OF_ADDRESS = Limit(
    "visitors-of-address",
    30,
    timedelta(minutes=1),
    "Too many new visitors came from this network just now.",
)
VISITORS_OF_AGENT = Limit(
    "visitors-of-agent", 300, timedelta(seconds=1), "Too many new visitors came to this agent just now."
)
RENEWALS = Limit("renewals", 20, timedelta(seconds=30), "This visitor asked for too many tokens just now.")
CONVERSATIONS = Limit(
    "conversations", 10, timedelta(minutes=1), "You began many conversations in a short time."
)
RUNS = Limit("runs", 10, timedelta(seconds=6), "You sent many messages in a short time.")
# By the mebibyte: what comes in stays on the operator's disk.
FILES = Limit("files", 20, timedelta(minutes=1), "You sent large pictures and files in a short time.")


async def use_limit(
    connection: Connection, workspace: UUID, limit: Limit, *subject: UUID | str, cost: int = 1
) -> None:
    """Take one, or `cost`, from what is left for this subject.

    Raises RateLimited, after which the transaction takes nothing.
    """
    digest = hashlib.sha256(limit.name.encode())
    for part in subject:
        digest.update(b"\0" + (part.bytes if isinstance(part, UUID) else part.encode()))
    wait: float = await connection.fetchval(
        "SELECT porch.use_limit($1, $2, $3, $4)",
        workspace,
        digest.digest(),
        limit.every * cost,
        max(1, limit.at_once // cost),
    )
    if wait:
        raise RateLimited(f"{limit.sentence} Try again in {_said(wait)}.", retry_after=wait)


def network_of(address: str | None) -> str:
    """What one visitor's connection is known by: the IPv4 address, or of an IPv6 one the 64 bits that a line gets."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))


def _said(seconds: float) -> str:
    whole = max(1, round(seconds))
    if whole < 90:
        return f"{whole} second{'' if whole == 1 else 's'}"
    return f"{round(whole / 60)} minutes"
