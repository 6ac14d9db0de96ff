"""One server as seen from a program: requests with their token, answers as JSON, problems as errors."""

import asyncio
import os
import ssl
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec

import porch
from porch.client.errors import ApiError, Closed, Unreachable, WrongAddress

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

    def __init__(self, base_url: str, token: str | None, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        """`answer_seconds` is how long one request may stay without an answer."""
        self.base_url = base_url.rstrip("/")
        self.answer_seconds = answer_seconds
        self.reached = False  # whether anything answered there yet
        self._token = token
        self._session: aiohttp.ClientSession | None = None
        self._responses = weakref.WeakSet[aiohttp.ClientResponse]()
        self._closed = False

    async def open(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: bytes | None = None,
        headers: dict[str, str],
        read_seconds: float,
        redirects: bool = False,
    ) -> aiohttp.ClientResponse:
        """Send one request and answer as soon as its headers are there. Raises WrongAddress, Closed, one of `LOST`.

        `content` goes as it is, instead of a `body` as JSON. With `redirects` these are answers like any other;
        they are followed in no case.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=read_seconds)
        data = content if body is None else msgspec.json.encode(body)
        if body is not None:
            headers = {**headers, "Content-Type": "application/json"}
        try:
            response = await self._open_session().request(
                method,
                self.base_url + path,
                data=data,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            )
        except aiohttp.ClientSSLError as error:
            if isinstance(_cause(error), ssl.SSLEOFError):
                raise
            raise WrongAddress(
                f"{self.base_url} cannot be trusted: {_describe_tls(error)}. Correct the address, or have this "
                "machine trust the certificate (SSL_CERT_FILE)."
            ) from error
        except aiohttp.ClientResponseError as error:
            raise WrongAddress(
                f"What answers at {self.base_url} speaks no HTTP. Correct the address."
            ) from error
        self.reached = True
        self._responses.add(response)
        if 300 <= response.status < 400 and not redirects:
            response.close()
            raise self._sent_away(response)
        return response

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: dict[str, Any] | None = None,
        key: str | None = None,
        pauses: Sequence[float] = RETRY_PAUSES,
    ) -> Any:
        """One request and its JSON answer, None where it is empty; sent again while it cannot do harm.

        `key` makes a write count once however often it is sent; without it there is a fresh one. `pauses`, in
        seconds, stand before each repetition. Raises ApiError, Unreachable, WrongAddress.
        """
        headers = {"Accept": "application/json"}
        if method not in {"GET", "DELETE"}:
            headers["Idempotency-Key"] = key or new_idempotency_key()
        given = {key: value for key, value in (query or {}).items() if value is not None}
        path = f"{path}?{urlencode(given)}" if given else path
        for pause in (*pauses, None):
            try:
                return await self._send_once(method, path, body, headers)
            except ApiError as error:
                if pause is None or not passes(error):
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
        """Close all sockets, for good; again is fine."""
        self._closed = True
        for response in list(self._responses):
            response.close()  # the session would leave whoever reads it waiting
        if self._session:
            await self._session.close()
            self._session = None

    async def _send_once(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        response = await self.open(method, path, body=body, headers=headers, read_seconds=self.answer_seconds)
        async with response:
            content = await response.read()
        if response.status >= 400:
            raise ApiError.of(response.status, content, response.headers.get("Retry-After"))
        try:
            return msgspec.json.decode(content) if content else None
        except msgspec.MsgspecError as error:
            raise ApiError.of(response.status, content) from error

    def _sent_away(self, response: aiohttp.ClientResponse) -> WrongAddress:
        # Not followed: the token is for the address that was given.
        place = urlsplit(response.headers.get("Location", ""))
        target = f"{place.scheme}://{place.netloc}" if place.netloc else "another path"
        return WrongAddress(
            f"{self.base_url} answers {response.status} and points to {target}. Give the server's own address."
        )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Closed("The client is closed. Make a new one.")
        if self._session is None:
            # aiohttp's own limit of 100 would let open streams keep `cancel` waiting.
            connector = aiohttp.TCPConnector(limit=0)
            credential = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
            self._session = aiohttp.ClientSession(
                headers={"User-Agent": f"porch/{porch.__version__}", **credential},
                auto_decompress=True,
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def passes(error: ApiError) -> bool:
    """Whether the same request may succeed in a moment."""
    return error.status in PASSING or error.code == "in_progress"


def _cause(error: aiohttp.ClientSSLError) -> Any:
    return getattr(error, "certificate_error", None) or getattr(error, "os_error", None)


def _describe_tls(error: aiohttp.ClientSSLError) -> str:
    found = _cause(error)
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"its certificate is refused ({found.verify_message})"
    return "it does not speak TLS as it should"
