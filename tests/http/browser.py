"""A browser without scripts, before an ASGI app: it keeps cookies and says where its requests come from."""

import re
from collections.abc import Mapping
from html import unescape
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp

from tests.http.client import Answer, Client

FORM = "application/x-www-form-urlencoded"


class Browser:
    """One person's browser. Cookies are kept by name: all here are this host's."""

    def __init__(self, app: ASGIApp, host: str = "localhost:8642") -> None:
        self.client = Client(app, None, host)
        self.cookies: dict[str, str] = {}
        self.origin = f"http://{host}"
        self.csrf = ""

    async def open(self, path: str, **headers: str) -> Answer:
        """Go to a page, as by a link or a typed address."""
        return await self.send(
            "GET",
            path,
            {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "accept": "text/html"} | headers,
        )

    async def submit(self, path: str, fields: Mapping[str, str] | None = None, **headers: str) -> Answer:
        """Send a form of ours, with the CSRF token of the page that was opened last."""
        body = urlencode({"csrf": self.csrf} | dict(fields or {}) if self.csrf else dict(fields or {}))
        sent = {"sec-fetch-site": "same-origin", "origin": self.origin, "content-type": FORM, **headers}
        return await self.send("POST", path, sent, body=body.encode())

    async def fetch(self, method: str, path: str, *, json: Any = None, **headers: str) -> Answer:
        """What a script of ours asks of the API."""
        sent = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "origin": self.origin}
        if self.csrf:
            sent["x-csrf-token"] = self.csrf
        return await self.send(method, path, {**sent, **headers}, json=json)

    async def send(self, method: str, path: str, headers: Mapping[str, str], **content: Any) -> Answer:
        """A request with these headers and the cookies. A header that is "" is left out."""
        sent = {name.replace("_", "-"): value for name, value in headers.items() if value}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.client.request(method, path, headers=sent, **content)
        for line in answer.cookies:
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        if found := re.search(rb'name="csrf-token" content="([^"]+)"', answer.body):
            self.csrf = found[1].decode()
        return answer

    async def sign_in(self, link: str) -> Answer:
        """Open a sign-in link, press its button, and go on."""
        path = "/" + link.split("/", 3)[3]
        await self.open(path)
        answer = await self.submit(path)
        assert answer.status == 303, answer.body
        return await self.open(answer.headers["location"])


def words(answer: Answer) -> str:
    """What a page says, without its markup."""
    main = answer.body.decode().partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", "<" + main)).split())
