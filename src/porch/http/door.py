"""The outermost layer of every request: its id, the headers all answers carry, and the last safety net."""

import logging
from collections.abc import Awaitable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from porch.contract.errors import PorchError
from porch.http.pages import error_page, wants_page
from porch.http.problem import problem_of, unexpected
from porch.http.request_id import HEADER, choose_request_id, current_request_id

log = logging.getLogger(__name__)

# An answer that sets one of these itself (a page's policy, a static file's caching) keeps its own.
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (b"cache-control", b"no-store"),
)

# What anybody may keep says the same to everybody; a page loads dozens of these, and their headers add up.
PUBLIC_HEADERS = ((b"x-content-type-options", b"nosniff"),)


class Door:
    """ASGI middleware; add it last, so that it stands outside of all others."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = choose_request_id(_header(scope, HEADER))
        marked = current_request_id.set(request_id)
        common = ((HEADER, request_id.encode()), *SECURITY_HEADERS)
        started = False

        def send_marked(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = list(message.get("headers", ()))
                present = {name.lower(): value for name, value in headers}
                public = present.get(b"cache-control", b"").startswith(b"public")
                added = PUBLIC_HEADERS if public else common
                message["headers"] = headers + [pair for pair in added if pair[0] not in present]
            return send(message)

        try:
            await self.app(scope, receive, send_marked)
        except ClientDisconnect:
            log.debug("The client left before its request was read")
        except Exception as error:
            expected = isinstance(error, PorchError)
            if not expected:
                log.exception("Request %s failed: %s %s", request_id, scope["method"], _route(scope))
            if started:
                raise
            answer = await _answer(scope, error)
            await answer(scope, receive, send_marked)
        finally:
            current_request_id.reset(marked)


async def _answer(scope: Scope, error: Exception) -> Response:
    """A page for those who ask for one, else a problem; a problem too when the page itself is what failed."""
    if wants_page(scope) and "app" in scope:
        try:
            return await error_page(Request(scope), error)
        except Exception:
            log.exception("The page that explains a failure failed")
    return problem_of(error) if isinstance(error, PorchError) else unexpected()


def _route(scope: Scope) -> str:
    """The path as its route declares it: in a path itself there may be a link's secret."""
    return str(getattr(scope.get("route"), "path", scope["path"]))


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return value
    return None
