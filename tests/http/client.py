"""Requests straight into an ASGI app, and answers as one object."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answer:
    """What came back. `json` is the decoded body; `cookies` are all Set-Cookie headers."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The stable code of a problem, which must be one."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        problem = self.json
        assert problem["status"] == self.status
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert problem["request_id"] == self.headers["x-request-id"]
        detail = problem["detail"]
        assert detail[-1] in ".?)", detail
        return problem["code"]


@dataclass
class Client:
    """Asks an app; `token` and `headers` go with every request."""

    app: ASGIApp
    token: str | None = None
    host: str = "localhost:8642"

    def as_(self, token: str | None) -> "Client":
        """The same app seen with another token."""
        return Client(self.app, token, self.host)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Any) -> Answer:
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Any) -> Answer:
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.request("DELETE", path, **options)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        chunks: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        again: Iterable[tuple[str, str]] = (),
        address: str = "192.0.2.7",
    ) -> Answer:
        """`json` is encoded with its type; `body` goes as it is; `chunks` go without a length; `again` are headers
        beside those of the same name; `address` is where it comes from."""
        sent: dict[str, str] = {"host": self.host}
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token}"
        if json is not None:
            body = _encode(json)
            sent["content-type"] = "application/json"
        if chunks is None:
            chunks = [body or b""]
            if body:
                sent["content-length"] = str(len(body))
        sent.update({name.lower(): value for name, value in (headers or {}).items()})
        pairs = [*sent.items(), *again]
        async with exchange(self.app, method, path, pairs, chunks, address) as messages:
            start = messages[0]
            content = b"".join(message.get("body", b"") for message in messages[1:])
        decoded = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        cookies = [value.decode("latin-1") for name, value in start["headers"] if name == b"set-cookie"]
        return Answer(start["status"], decoded, content, tuple(cookies))


@asynccontextmanager
async def exchange(
    app: ASGIApp,
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]],
    chunks: Iterable[bytes],
    address: str = "192.0.2.7",
) -> AsyncGenerator[list[Message]]:
    """One request's messages, as a server would have sent them."""
    plain, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(plain),
        "raw_path": plain.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": (address, 50000),
        "server": ("127.0.0.1", 8642),
        "state": {},
    }
    incoming = _incoming(chunks)
    messages: list[Message] = []

    async def receive() -> Message:
        message = next(incoming, None)
        if message is None:
            await asyncio.Event().wait()  # the client stays for its answer
            raise AssertionError("unreachable")
        return message

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    yield messages


def _incoming(chunks: Iterable[bytes]) -> Iterator[Message]:
    for chunk in chunks:
        yield {"type": "http.request", "body": chunk, "more_body": True}
    yield {"type": "http.request", "body": b"", "more_body": False}


def _encode(value: Any) -> bytes:
    # Lone surrogates travel as escapes, which is how they come in from outside.
    return json.dumps(value, ensure_ascii=True).encode()
