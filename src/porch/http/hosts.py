"""Only requests that name this server come in: a page elsewhere cannot rebind its own name to our address."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from porch.http.problem import BadRequest, MisdirectedRequest
from porch.http.state import public_url

LOCAL = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(?::\d{1,5})?")


def outer_url(request: HTTPConnection) -> str:
    """The address that others reach: the public one, or where nobody set one, how this request came."""
    known = public_url(request)
    return known if urlsplit(known).hostname not in LOCAL else str(request.base_url).rstrip("/")


class HostCheck:
    """ASGI middleware: refuses a Host header that is neither local nor one of `names` (without ports)."""

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()) -> None:
        self.app = app
        self.allowed = frozenset(LOCAL) | {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            try:
                self._check(scope)
            except BadRequest:
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008})
                    return
                raise
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        sent = [value for name, value in scope["headers"] if name == b"host"]
        if len(sent) != 1:
            raise BadRequest(f"A request needs exactly one Host header; this one has {len(sent)}.")
        text = sent[0].decode("latin-1").lower()
        match = _HOST.fullmatch(text)
        if not match:
            raise BadRequest(f"The Host header {text[:100]!r} names no host.")
        if match[1] not in self.allowed:
            raise MisdirectedRequest(
                f"This server does not go by the name {match[1][:100]!r}. "
                "Whoever runs it can add the name to allowed_hosts (PORCH_ALLOWED_HOSTS)."
            )
