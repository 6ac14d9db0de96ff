"""One server as seen from a program: requests with their token, answers as JSON, problems as errors."""

import asyncio
import os
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec

from porch import __version__
from porch.client.errors import ApiError, Unreachable

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
RETRY_PAUSES = (0.1, 0.4, 1.0)
# What a server, or a proxy before one, says while it cannot answer for the moment.
PASSING = frozenset({429, 502, 503, 504})
LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError)


def new_idempotency_key() -> str:
    """A fresh key for one write; the same write sent twice carries the same key."""
    return os.urandom(16).hex()


class Connection:
    """Requests to one server. Open until `close`."""

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": f"porch/{__version__}"}
        self._session: aiohttp.ClientSession | None = None

    async def open(
        self, method: str, path: str, *, body: Any = None, headers: dict[str, str], read_seconds: float
    ) -> aiohttp.ClientResponse:
        """Send one request and answer as soon as its headers are there. Raises one of `LOST`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=read_seconds)
        data = None if body is None else msgspec.json.encode(body)
        if data is not None:
            headers = {**headers, "Content-Type": "application/json"}
        return await self._open_session().request(
            method, self.base_url + path, data=data, headers=headers, timeout=timeout
        )

    async def send(
        self, method: str, path: str, *, body: Any = None, query: dict[str, Any] | None = None
    ) -> Any:
        """One request and its JSON answer, None where it is empty; sent again while it cannot do harm.

        Raises ApiError, Unreachable.
        """
        headers = {"Accept": "application/json"}
        if method not in {"GET", "DELETE"}:
            headers["Idempotency-Key"] = new_idempotency_key()
        given = {key: value for key, value in (query or {}).items() if value is not None}
        path = f"{path}?{urlencode(given)}" if given else path
        for pause in (*RETRY_PAUSES, None):
            try:
                return await self._send_once(method, path, body, headers)
            except ApiError as error:
                if pause is None or not (error.status in PASSING or error.code == "in_progress"):
                    raise
                wait = max(pause, min(error.retry_after or 0.0, 5.0))
            except LOST as error:
                if pause is None:
                    raise self.unreachable() from error
                wait = pause
            await asyncio.sleep(wait)
        raise AssertionError

    def unreachable(self) -> Unreachable:
        """The error for a server that does not answer."""
        return Unreachable(f"No Porch server answers at {self.base_url}. Start it with: porch up")

    async def close(self) -> None:
        """Close all sockets; again is fine."""
        if self._session:
            await self._session.close()
            self._session = None

    async def _send_once(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        response = await self.open(method, path, body=body, headers=headers, read_seconds=ANSWER_SECONDS)
        async with response:
            content = await response.read()
        if response.status >= 400:
            raise ApiError.of(response.status, content, response.headers.get("Retry-After"))
        try:
            return msgspec.json.decode(content) if content else None
        except msgspec.MsgspecError as error:
            raise ApiError.of(response.status, content) from error

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            # aiohttp's own limit of 100 would let open streams keep `cancel` waiting.
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(
                headers=self._headers, auto_decompress=True, connector=connector
            )
        return self._session

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
