"""How the provider that people sign in with is asked: by the one way out, and no longer than somebody waits."""

import asyncio
from collections.abc import Mapping

from porch.egress import Egress, EgressError, Reach

SECONDS = 10.0
MOST_BYTES = 256 * 1024


async def ask_provider(
    egress: Egress, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
) -> tuple[int, bytes]:
    """Status and body of one request; no redirect is followed. Raises EgressError.

    Whoever runs this Porch has named the provider, wherever that is.
    """
    try:
        async with asyncio.timeout(SECONDS):
            if method == "GET":
                reply = await egress.get(
                    url, headers=headers, seconds=SECONDS, reach=Reach.OPERATOR, max_bytes=MOST_BYTES
                )
            else:
                reply = await egress.post(url, headers=headers, body=body, reach=Reach.OPERATOR)
            try:
                return reply.status, await reply.read_whole()
            finally:
                reply.close()
    except TimeoutError as error:
        raise EgressError(f"It was not there within {SECONDS:g} seconds.", "timeout") from error
