"""Templates into pages, and the headers that every page carries."""

import base64
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

import porch
from porch import __version__
from porch.contract.text import clean_text
from porch.http.cookies import is_secure

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

StaticUrl = Callable[[str], str]
"""From a path in the static folder, `css/base.css`, to the URL that serves it."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
THEMES = ("light", "dark")
FLASH_SECONDS = 60
MAX_FLASH = 600


def plain_static(path: str) -> str:
    """The URL of a static file by its bare path."""
    return f"/static/{path}"


def render(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page from a template of any room, `agents/list.html`.

    Besides `context` it knows `status`, `request_path`, `principal` (or None), `csrf`, `nav` (the current section, ""),
    `version`, `static(path)`, `theme` ("light", "dark", or None for the system's) and `flash` (a sentence from the page
    before, shown this once, or None) and `workspaces` (those that one may switch to, none where there is one user).
    A template sets `sheets` and `scripts`, the names of those it needs besides.
    """
    name = flash_cookie(request)
    sent = request.cookies.get(name)
    state = request.state
    values: dict[str, Any] = {
        "status": status,
        "request_path": request.url.path,
        "principal": getattr(state, "principal", None),
        "csrf": getattr(state, "csrf", ""),
        "workspaces": getattr(state, "workspaces", ()),
        "nav": "",
        "version": __version__,
        "static": request.app.state.static,
        "theme": next((theme for theme in THEMES if request.cookies.get("porch_theme") == theme), None),
        "flash": decode_flash(sent) if sent else None,
        **context,
    }
    body = templates().get_template(template).render(values)
    response = Response(
        clean_text(body), status, {"Content-Security-Policy": POLICY}, "text/html; charset=utf-8"
    )
    if sent:
        response.delete_cookie(name, httponly=True, samesite="lax")
    return response


def put_flash(request: Request, response: Response, sentence: str) -> None:
    """Let the next page show this sentence once."""
    text = base64.urlsafe_b64encode(clean_text(sentence)[:MAX_FLASH].encode()).decode()
    response.set_cookie(
        flash_cookie(request),
        text,
        max_age=FLASH_SECONDS,
        httponly=True,
        samesite="lax",
        secure=is_secure(request),
    )


def flash_cookie(request: Request) -> str:
    """The cookie's name. Cookies ignore ports, so it holds the port that this server is called by."""
    port = request.url.port or {"https": 443}.get(request.url.scheme, 80)
    return f"porch_flash_{port}"


def decode_flash(sent: str) -> str | None:
    """The sentence in a cookie, or None for what is none."""
    try:
        return base64.urlsafe_b64decode(sent.encode("ascii"))[: 4 * MAX_FLASH].decode() or None
    except ValueError:
        return None


@cache
def templates() -> "Environment":
    """The templates of all rooms, each below a folder of the room's own name, compiled once."""
    # A server takes its first requests before it is asked for a page; this takes as long as PostgreSQL's start.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folders = sorted(Path(porch.__file__).parent.glob("*/templates"))
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["json"] = _json
    return environment


def compile_templates() -> None:
    """Compile every template there is, which takes a while; whoever renders one first would wait for it."""
    environment = templates()
    for name in environment.list_templates(["html"]):
        environment.get_template(name)


def _json(value: Any) -> "Markup":
    """JSON for within `<script type="application/json">`, where no `<` may end it early."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  # it cannot hold a tag any more
