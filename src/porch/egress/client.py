"""The one way out: a shared aiohttp session with its rules."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from porch.contract.errors import SetupError
from porch.egress.failures import EgressError
from porch.egress.reply import Reply

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """Bounds on every outbound request; seconds and bytes.

    `proxy` is the only way through a proxy: HTTP_PROXY and .netrc are not read, so that no variable of the
    surroundings reroutes or adds credentials. `connections_per_host` 0 is no limit: a stream holds its
    connection for minutes, and a limit would queue answers behind each other.
    """

    connect_seconds: float = 10.0
    first_byte_seconds: float = 120.0
    idle_seconds: float = 60.0
    answer_seconds: float = 3600.0
    max_body_bytes: int = 64 * 1024 * 1024
    max_header_line_bytes: int = 8 * 1024
    max_headers: int = 128
    connections_per_host: int = 0
    keep_alive_seconds: float = 30.0
    proxy: str | None = None
    ca_file: str | None = None


class Egress:
    """Makes outbound requests over kept connections. Open it once per process, close it at the end."""

    def __init__(self, settings: EgressSettings | None = None) -> None:
        self.settings = settings or EgressSettings()
        self._session: aiohttp.ClientSession | None = None
        self.draining: set[asyncio.Task[None]] = set()
        """Replies whose last bytes are awaited, so that their connections can be reused."""

    async def open(self) -> None:
        """Make the session. Call it on the loop that will use it."""
        settings = self.settings
        connector = aiohttp.TCPConnector(
            ssl=ssl.create_default_context(cafile=settings.ca_file),
            limit=0,
            limit_per_host=settings.connections_per_host,
            keepalive_timeout=settings.keep_alive_seconds,
            ttl_dns_cache=60,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            # Kept cookies would carry one workspace's state into another's requests.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "porch"},
            timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_seconds),
            trust_env=False,
            proxy=settings.proxy,
            max_line_size=settings.max_header_line_bytes,
            max_field_size=settings.max_header_line_bytes,
            max_headers=settings.max_headers,
        )

    async def close(self) -> None:
        """Close every connection."""
        for task in list(self.draining):
            task.cancel()
        if self.draining:
            await asyncio.wait(self.draining)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> "Egress":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST once and answer when the head of the reply is there. Redirects are not followed.

        Raises EgressError.
        """
        return await self._request("POST", url, headers, body, self.settings.first_byte_seconds)

    async def get(self, url: str, *, headers: Mapping[str, str], seconds: float) -> Reply:
        """GET once, the head within `seconds`. Redirects are not followed. Raises EgressError."""
        return await self._request("GET", url, headers, None, seconds)

    def settle(self, reply: Reply) -> None:
        """Let the connection of a reply be reused that was read to its end, or to its dialect's end mark."""
        reply.settle(self.draining)

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float
    ) -> Reply:
        if self._session is None:
            raise SetupError(
                "Egress was used before open() or after close(); open it when the server starts."
            )
        try:
            async with asyncio.timeout(seconds):
                response = await self._session.request(
                    method, url, headers=headers, data=body, allow_redirects=False
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise explain(error, self.settings, seconds) from error
        return Reply(
            response,
            idle_seconds=self.settings.idle_seconds,
            answer_seconds=self.settings.answer_seconds,
            max_bytes=self.settings.max_body_bytes,
        )


def explain(error: Exception, settings: EgressSettings, seconds: float) -> EgressError:
    """What an exception of aiohttp means, without its internals."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            said = f"No connection came about within {settings.connect_seconds:g} seconds."
            return EgressError(said, "timeout")
        case TimeoutError():
            return EgressError(f"No answer began within {seconds:g} seconds.", "timeout")
        case aiohttp.ClientConnectorDNSError():
            return EgressError("The host name could not be resolved.", "dns")
        case aiohttp.ClientConnectorCertificateError():
            return EgressError("Its certificate does not verify.", "tls")
        case aiohttp.ClientConnectorSSLError():
            return EgressError("The TLS handshake failed.", "tls")
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return EgressError("The proxy did not connect.", "refused")
        case aiohttp.ClientConnectorError():
            return EgressError("The connection was refused.", "refused")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return EgressError("The address is not a URL that can be asked.", "address")
        case aiohttp.ClientResponseError():
            return EgressError("What came back is not HTTP, or its headers are too large.", "protocol")
        case aiohttp.ClientConnectionError() | OSError():
            return EgressError("The connection broke off before the answer.", "reset")
        case _:
            log.warning("outbound request failed as %s", type(error).__name__)
            return EgressError("The request could not be sent.", "protocol")
