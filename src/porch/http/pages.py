"""Pages as all rooms make them: HTML in, HTML out, failures included.

A room's `pages.py` takes everything from here: `page_router`, `render`, `redirect`, `form`.
"""

import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.utils import get_parameterless_sub_dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from porch.contract.errors import InvalidInput, PorchError, Unauthenticated
from porch.contract.principal import Principal
from porch.http.auth import Requires
from porch.http.forms import fields, form, is_form
from porch.http.problem import http_problem, note_refusal, problem_of, validation_error
from porch.http.rendering import put_flash, render
from porch.http.request_id import current_request_id
from porch.http.state import database, doors
from porch.identity.service import list_workspaces

__all__ = [
    "PageRoute",
    "confirmation_page",
    "error_page",
    "fields",
    "form",
    "local_path",
    "moved",
    "page_router",
    "redirect",
    "render",
    "visitor",
    "wants_page",
]
log = logging.getLogger(__name__)

CONFIRM = "confirmation_needed"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route whose failures are pages too; a stranger who opens one is sent to sign in and back."""

    def get_route_handler(self) -> Handler:
        # The last of the route's dependencies: by then it is known who asks.
        surround = Depends(load_workspaces)
        self.dependant.dependencies.append(
            get_parameterless_sub_dependant(depends=surround, path=self.path_format)
        )
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except Unauthenticated as error:
                if request.method != "GET":
                    return await error_page(request, error)
                return redirect(request, f"/sign-in?next={quote(_own(request), safe='/@')}")
            except PorchError as error:
                return await error_page(request, error)
            except RequestValidationError as error:
                return await error_page(request, validation_error(error))
            except (ClientDisconnect, HTTPException):
                raise
            except Exception as error:
                log.exception("Request %s failed: %s %s", current_request_id.get(), request.method, self.path)
                return await error_page(request, error)

        return handle_or_explain


def page_router(tag: str) -> APIRouter:
    """A router of pages. Routes name their whole path and declare `requires(…)` or `public()`."""
    return APIRouter(tags=[tag], route_class=PageRoute, include_in_schema=False)


def redirect(request: Request, path: str, *, flash: str | None = None) -> Response:
    """Go to another page of this server by GET (303); `flash` is a sentence that it shows once.

    Raises InvalidInput for what is no local path.
    """
    found = local_path(path)
    if found is None:
        raise InvalidInput(f"{path[:100]!r} is no address of this server. Use one that begins with '/'.")
    response = Response(status_code=303, headers={"Location": quote(found, safe="/?#&=@:%+,;~!$'()*.-_")})
    if flash:
        put_flash(request, response, flash)
    return response


def moved(path: str, query: str = "") -> Response:
    """The page is elsewhere for good (308)."""
    return Response(
        status_code=308, headers={"Location": quote(path, safe="/@") + (f"?{query}" if query else "")}
    )


def local_path(text: str) -> str | None:
    """A path (with query) of this server as it stands, or None: nothing that a browser reads as another host."""
    if not text.startswith("/") or text.startswith(("//", "/\\")) or not text.isprintable():
        return None
    return text


async def load_workspaces(request: Request) -> None:
    """Leave in `request.state.workspaces` those that a signed-in person may switch to, for render().

    A page is shown without them rather than not at all.
    """
    principal = cast("Principal | None", getattr(request.state, "principal", None))
    if principal is None or principal.via != "session" or not doors(request).multi_user:
        return
    if not hasattr(request.state, "workspaces"):
        with suppress(PorchError):
            request.state.workspaces = await list_workspaces(principal, database(request))


async def visitor(request: Request) -> Principal | None:
    """Who is signed in, for pages that anyone may see; render() shows it too."""
    known = cast("Principal | None", getattr(request.state, "principal", None))
    if known is None and "cookie" in request.headers:
        with suppress(PorchError):
            known = await Requires(None)(request)
    await load_workspaces(request)
    return known


def wants_page(scope: Scope) -> bool:
    """Whether the caller would rather see HTML than JSON: a person's browser, opening an address."""
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept").lower()
    html = accepted.find(b"text/html")
    json = accepted.find(b"json")
    return html >= 0 and not 0 <= json < html


async def error_page(request: Request, error: Exception) -> Response:
    """A failure as a page: what happened, and the way forward. Of what is not ours it tells nothing."""
    if not isinstance(error, PorchError):
        return await _explained(request, 500, "")
    if error.code == CONFIRM and request.method == "POST" and is_form(request):
        held = [pair for pair in await fields(request) if pair[0] != "csrf"]
        await visitor(request)
        return confirmation_page(request, held or [("confirm_again", "1")], request.url.path, 403)
    note_refusal(request, error)
    errors = error.errors if isinstance(error, InvalidInput) else []
    response = await _explained(request, error.status, error.message, errors)
    for name in ("Retry-After", "WWW-Authenticate"):
        if value := problem_of(error).headers.get(name):
            response.headers[name] = value
    return response


def confirmation_page(
    request: Request, held: Sequence[tuple[str, str]], on: str, status: int, problem: str = ""
) -> Response:
    """Asks for the password again. The form that needed it is `held`, and is sent `on` to its address afterwards."""
    return render(request, "identity/confirm_again.html", status, held=list(held), on=on, problem=problem)


async def _explained(
    request: Request, status: int, sentence: str, errors: Sequence[dict[str, str]] = ()
) -> Response:
    if status != Unauthenticated.status:
        await visitor(request)
    return render(
        request,
        "error.html",
        status,
        sentence=sentence,
        errors=errors,
        request_id=current_request_id.get(),
        here=_own(request) if request.method == "GET" else "",
        back=_referrer(request),
    )


def add_page_handlers(app: FastAPI) -> None:
    """Unknown addresses and wrong methods as pages, for those who ask for pages; goes over the problems' handler."""
    app.add_exception_handler(HTTPException, _http_exception)


async def _http_exception(request: Request, error: Exception) -> Response:
    raised = cast("HTTPException", error)
    if not wants_page(request.scope) or isinstance(raised.__cause__, PorchError):
        return await http_problem(request, error)
    match raised.status_code:
        case 404:
            sentence = f"There is nothing at {request.url.path[:200]!r} on this server."
        case 405:
            sentence = f"{request.url.path[:200]!r} takes what a form sends; it is not a page to open."
        case _:
            sentence = str(raised.detail)
    response = await _explained(request, raised.status_code, sentence)
    response.headers.update(raised.headers or {})
    return response


def _own(request: Request) -> str:
    """The request's own path and query."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _referrer(request: Request) -> str:
    """The page of ours that the request came from, or ""."""
    sent = urlsplit(request.headers.get("referer", ""))
    if sent.netloc != request.headers.get("host"):
        return ""
    return local_path(sent.path + (f"?{sent.query}" if sent.query else "")) or ""
