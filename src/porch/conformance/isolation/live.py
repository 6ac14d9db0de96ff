"""A server elsewhere, over HTTP."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from porch.client.connection import LOST, Connection
from porch.conformance.isolation.web import Answer

READ_SECONDS = 30.0
# A connection that a server closes while it idles would look like a server that does not answer.
FRESH = {"Connection": "close"}


class Live:
    """One server at an address, for everybody who asks it: each request brings its own credential, or none."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._connection = Connection(url, None, answer_seconds=READ_SECONDS)

    @property
    def origin(self) -> str:
        """Where its pages come from, as browsers say it."""
        return self._origin

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request and its whole answer; one that gets none has the status 0. Raises WrongAddress."""
        try:
            opened = await self._connection.open(
                method,
                path,
                content=body or None,
                headers={**FRESH, **headers},
                read_seconds=READ_SECONDS,
                redirects=True,
            )
            async with opened as response:
                pairs = [(str(name), str(value)) for name, value in response.headers.items()]
                return Answer(response.status, pairs, await response.read())
        except LOST as error:
            return Answer(0, (), f"no answer: {type(error).__name__} {error}".encode())

    async def close(self) -> None:
        """Close all sockets."""
        await self._connection.close()
