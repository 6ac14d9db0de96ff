"""The one way out: two shared aiohttp sessions with their rules."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from porch.background import end
from porch.contract.errors import SetupError
from porch.egress.failures import EgressError, Redirected
from porch.egress.names import StrangersNames
from porch.egress.reach import (
    Place,
    Reach,
    check_public,
    find_origin,
    is_this_machine,
    name_place,
    not_allowed,
    read_place,
    read_url,
    refuse_user,
)
from porch.egress.redirects import MOST_HOPS, find_hop, find_host, is_redirect, strip_headers
from porch.egress.reply import Reply
from porch.egress.unpacking import CODINGS
from porch.egress.wall import OutsidePublic, PublicResolver, open_public_socket
from porch.egress.wire import Asking, lay_wires
from porch.settings import Settings

log = logging.getLogger(__name__)

CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """Bounds on every outbound request; seconds and bytes.

    `allow` are places that may be asked whoever wrote the URL, wherever their names lead. `proxy` is the only
    way through a proxy: HTTP_PROXY and .netrc are not read, so that no variable of the surroundings reroutes or
    adds credentials. This machine and what `allow` names are asked without it. `connections_per_host` 0 is no
    limit: a stream holds its connection for minutes, and a limit would queue answers behind each other. Of what
    comes within `event_seconds` some must mean something: for those who read events, which egress does not.
    """

    connect_seconds: float = 10.0
    first_byte_seconds: float = 120.0
    idle_seconds: float = 60.0
    event_seconds: float = 300.0
    answer_seconds: float = 3600.0
    max_body_bytes: int = 64 * 1024 * 1024
    max_header_line_bytes: int = 8 * 1024
    max_headers: int = 128
    connections_per_host: int = 0
    keep_alive_seconds: float = 30.0
    allow: frozenset[Place] = frozenset()
    proxy: str | None = None
    ca_file: str | None = None

    @classmethod
    def read(cls, settings: Settings) -> "EgressSettings":
        """What an installation is told about its way out. Raises SetupError for a place that cannot be one."""
        try:
            allow = frozenset(read_place(place) for place in settings.egress_allow)
        except ValueError as error:
            raise SetupError(f"egress_allow cannot be used: {error}.") from error
        if settings.egress_proxy:
            _check_proxy(settings.egress_proxy)
        return cls(
            connect_seconds=settings.provider_connect_timeout,
            first_byte_seconds=settings.provider_first_byte_timeout,
            idle_seconds=settings.provider_idle_timeout,
            event_seconds=settings.provider_event_timeout,
            allow=allow,
            proxy=settings.egress_proxy,
        )


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole body and what its server calls it: `image/png`, in lower case, "" when it says nothing."""

    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class _Question:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    reach: Reach = Reach.PUBLIC
    hops: int = 0


class Egress:
    """Makes outbound requests over kept connections. Open it once per process, close it at the end.

    A request that does not name its `reach` gets to the public internet alone. Public and other connections are
    kept apart, so that no request travels over a connection that it could not have opened. `names` looks hosts
    up in place of the system.
    """

    def __init__(
        self, settings: EgressSettings | None = None, *, names: AbstractResolver | None = None
    ) -> None:
        self.settings = settings or EgressSettings()
        self._names = names
        self._proxy = read_url(self.settings.proxy) if self.settings.proxy else None
        self._strangers: PublicResolver | None = None
        self._public: aiohttp.ClientSession | None = None
        self._anywhere: aiohttp.ClientSession | None = None
        self.draining: set[asyncio.Task[None]] = set()
        """Replies whose last bytes are awaited, so that their connections can be reused."""

    async def open(self) -> None:
        """Make the sessions. Call it on the loop that will use them."""
        # Reading a system's certificates takes 0.05 s, and aiohttp has read them once.
        ca_file = self.settings.ca_file
        tls = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._anywhere = self._session(tls, self._names)
        self._strangers = PublicResolver(self._names or StrangersNames())
        self._public = self._session(tls, self._strangers, walled=True)

    def _session(
        self, tls: ssl.SSLContext | Literal[True], names: AbstractResolver | None, *, walled: bool = False
    ) -> aiohttp.ClientSession:
        settings = self.settings
        connector = aiohttp.TCPConnector(
            ssl=tls,
            limit=0,
            limit_per_host=settings.connections_per_host,
            keepalive_timeout=settings.keep_alive_seconds,
            ttl_dns_cache=60,
            resolver=names,
            socket_factory=open_public_socket if walled else None,
        )
        return aiohttp.ClientSession(
            connector=lay_wires(connector),
            request_class=Asking,
            # Kept cookies would carry one workspace's state into another's requests.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "porch", "Accept-Encoding": CODINGS},
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_seconds),
            trust_env=False,
            max_line_size=settings.max_header_line_bytes,
            max_field_size=settings.max_header_line_bytes,
            max_headers=settings.max_headers,
        )

    async def close(self) -> None:
        """Close every connection, in bounded time."""
        await end(*self.draining)
        sessions = self._public, self._anywhere
        self._public = self._anywhere = None
        for session in sessions:
            if session is not None:
                # It waits until what is being sent is sent, which a peer that reads nothing never lets happen.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await session.close()
        # A connector closes no resolver that it was given.
        if self._strangers is not None:
            await self._strangers.close()

    async def __aenter__(self) -> "Egress":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, reach: Reach = Reach.PUBLIC
    ) -> Reply:
        """POST once and answer when the head of the reply is there.

        Raises EgressError, and Redirected for an answer that points elsewhere.
        """
        question = _Question("POST", url, headers, body, reach)
        return await self._ask(question, self.settings.first_byte_seconds)

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        seconds: float,
        reach: Reach = Reach.PUBLIC,
        follow: bool = False,
        max_bytes: int | None = None,
    ) -> Reply:
        """GET, the head within `seconds`, the body up to `max_bytes`.

        With `follow`, up to five redirects are followed: each is checked as a URL of anyone's, and another origin
        is sent no credentials. Raises EgressError, and Redirected for an answer that points elsewhere.
        """
        question = _Question("GET", url, headers, reach=reach, hops=MOST_HOPS if follow else 0)
        return await self._ask(question, seconds, max_bytes)

    async def fetch(self, url: str, *, seconds: float, max_bytes: int, accept: str = "*/*") -> Fetched:
        """A public image or file, whole within `seconds`; redirects are followed as by `get`.

        `max_bytes` counts what is unpacked. Raises EgressError; its cause is `status` when the answer is not 200.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._fetch(url, seconds, max_bytes, accept)
        except TimeoutError as error:
            raise EgressError(f"It was not there within {seconds:g} seconds.", "timeout") from error

    def settle(self, reply: Reply) -> None:
        """Let the connection of a reply be reused that was read to its end, or to its dialect's end mark."""
        reply.settle(self.draining)

    async def _fetch(self, url: str, seconds: float, max_bytes: int, accept: str) -> Fetched:
        question = _Question("GET", url, {"Accept": accept}, hops=MOST_HOPS)
        reply = await self._ask(question, seconds, max_bytes)
        try:
            if reply.status != 200:
                raise EgressError(f"It answered {reply.status}.", "status")
            content = await reply.read_whole()
        finally:
            reply.close()
        named = reply.headers.get("Content-Type", "")
        return Fetched(content, named.partition(";")[0].strip().lower())

    async def _ask(self, question: _Question, seconds: float, max_bytes: int | None = None) -> Reply:
        try:
            async with asyncio.timeout(seconds):
                response = await self._follow(question)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise explain(error, self.settings, seconds) from error
        return Reply(
            response,
            idle_seconds=self.settings.idle_seconds,
            answer_seconds=self.settings.answer_seconds,
            max_bytes=self.settings.max_body_bytes if max_bytes is None else max_bytes,
        )

    async def _follow(self, question: _Question) -> aiohttp.ClientResponse:
        url, headers, reach = read_url(question.url), question.headers, question.reach
        hops = question.hops
        while True:
            response = await self._send(question, url, headers, reach)
            if not is_redirect(response.status):
                return response
            response.close()
            location = response.headers.get("Location", "")
            if hops == 0:
                why = "which is one redirect too many" if question.hops else "which is not followed"
                raise Redirected(response.status, find_host(url, location), why)
            hops -= 1
            hop = find_hop(url, response.status, location)
            if find_origin(hop) != find_origin(url):
                reach, headers = Reach.PUBLIC, strip_headers(headers)
            url = hop

    async def _send(
        self, question: _Question, url: URL, headers: Mapping[str, str], reach: Reach
    ) -> aiohttp.ClientResponse:
        session, proxy = self._way(url, reach)
        if url.raw_user is not None and any(name.lower() == "authorization" for name in headers):
            said = "The address has a user in it and a key is sent too; leave one of them out."
            raise EgressError(said, "address")
        try:
            return await session.request(
                question.method, url, headers=headers, data=question.body, allow_redirects=False, proxy=proxy
            )
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, OutsidePublic):
                raise not_allowed(name_place(url)) from error
            raise

    def _way(self, url: URL, reach: Reach) -> tuple[aiohttp.ClientSession, URL | None]:
        """The session that may make this request, and the proxy if it takes one. Raises EgressError."""
        if self._public is None or self._anywhere is None:
            raise SetupError(
                "Egress was used before open() or after close(); open it when the server starts."
            )
        place = name_place(url)
        allowed = place in self.settings.allow
        if reach is Reach.PUBLIC:
            refuse_user(url)
            if not allowed:
                check_public(url, resolved_here=self._proxy is None)
                return (self._anywhere, self._proxy) if self._proxy else (self._public, None)
        direct = allowed or is_this_machine(place.host)
        return self._anywhere, None if direct else self._proxy


def _check_proxy(proxy: str) -> None:
    try:
        read_url(proxy)
    except EgressError:
        # The URL may hold a password.
        raise SetupError("egress_proxy cannot be used: write http://proxy.example:3128.") from None


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
