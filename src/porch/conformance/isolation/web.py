"""One server as those see it who have a browser or a token: requests as they are sent, answers as they come."""

import re
from collections.abc import Mapping, Sequence
from html import unescape
from http.cookies import SimpleCookie
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import msgspec

from porch.contract.errors import PorchError

FORM = "application/x-www-form-urlencoded"
_CSRF = re.compile(rb'name="csrf-token" content="([^"]+)"')


class Refused(PorchError):
    """Raised when the server will not do what the kit needs before it can check anything."""

    code = "refused"


class Answer(NamedTuple):
    """What a request got. `status` is 0 where nothing came."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """The first of that name, "" without one."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def told(self) -> dict[str, Any]:
        """The body's object; an empty one where it is none."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}

    @property
    def refusal(self) -> str:
        """What it said instead, as a sentence."""
        return f"{self.status}, {self.told.get('detail') or self.body[:200].decode('utf-8', 'replace')!r}"


class Web(Protocol):
    """Whatever carries a request to the server."""

    @property
    def origin(self) -> str:
        """Where its pages come from, as browsers say it."""
        ...

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request and its whole answer; redirections are answers too."""
        ...


class Person:
    """Somebody with an account of their own: a browser that is signed in, a workspace, and a token for all of it."""

    def __init__(self, web: Web, name: str) -> None:
        self.web = web
        self.name = name
        self.login = name
        self.cookies: dict[str, str] = {}
        self.csrf = ""
        self.token = ""
        self.user = ""
        self.session = ""
        self.handle = ""
        self.workspace = ""
        self.tokens: list[str] = []

    @property
    def path(self) -> str:
        """The API's path of their workspace."""
        return f"/api/v1/workspaces/{self.handle}"

    @property
    def cookie(self) -> str:
        """What the browser sends."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    async def browse(self, method: str, path: str, body: bytes = b"", kind: str = FORM) -> Answer:
        """A request of the browser's, as our own pages send it."""
        headers = {"Accept": "text/html, application/json;q=0.9", "Sec-Fetch-Site": "same-origin"}
        if self.cookies:
            headers["Cookie"] = self.cookie
        if method != "GET":
            headers |= {"Origin": self.web.origin, "Content-Type": kind}
            if self.csrf:
                headers["X-CSRF-Token"] = self.csrf
        answer = await self.web.ask(method, path, headers, body)
        for name, line in answer.headers:
            if name.lower() == "set-cookie":
                for key, morsel in SimpleCookie(line).items():
                    self.cookies[key] = morsel.value
                    if morsel["max-age"] == "0":
                        del self.cookies[key]
        if found := _CSRF.search(answer.body):
            self.csrf = unescape(found[1].decode())
        return answer

    async def submit(self, path: str, fields: Mapping[str, str]) -> Answer:
        """Send a form of a page."""
        return await self.browse("POST", path, urlencode(fields).encode())

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request of a program with the person's token. Header names have `_` for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.web.ask(method, path, {**bearer(self.token), **sent, **typed(body)}, encoded(body))

    async def must(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """The same where all that follows needs it. Raises Refused."""
        answer = await self.ask(method, path, body, **headers)
        if answer.status // 100 != 2:
            raise Refused(f"{method} {path} of {self.name} is answered with {answer.refusal}")
        return answer


def bearer(token: str) -> dict[str, str]:
    """The headers of a program with this token."""
    return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


def typed(body: Any) -> dict[str, str]:
    """The header that a JSON body needs."""
    return {} if body is None else {"Content-Type": "application/json"}


def encoded(body: Any) -> bytes:
    """A JSON body, empty for None."""
    return b"" if body is None else msgspec.json.encode(body)
